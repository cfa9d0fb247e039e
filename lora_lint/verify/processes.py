"""The processes of an observed run, seen from outside: who they are, what they hold, how they are ended."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from lora_lint.verify.config import VARIABLE

PATIENCE = 3.0  # seconds between the polite and the other signal
_PROC = Path("/proc")


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, the first of Ctrl-C, SIGTERM and SIGHUP raises KeyboardInterrupt, so that the children are ended on every
    way out; what comes later is ignored, so that nothing disturbs the ending."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end(process: subprocess.Popen[bytes], settings: Path) -> None:
    """End the command's process group, gently first, and then whoever of the run lives in a group of his own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            break
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            continue
        if number is signal.SIGTERM:
            time.sleep(0.05)
    process.wait()
    _end_strays(settings)


def _end_strays(settings: Path) -> None:
    """torchrun gives every worker a session of its own: they outlive a launcher that had to be killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        left = members(settings)
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        limit = time.time() + PATIENCE
        while left and time.time() < limit:
            time.sleep(0.05)
            left = members(settings)
        if not left:
            return


def members(settings: Path) -> list[int]:
    """The living processes of the run that `settings` belongs to: those that carry its path in their environment. Where
    there is no /proc, those that were observed."""
    if not (_PROC / "self" / "environ").exists():
        return [pid for pid in observed(settings.parent) if _alive(pid)]
    mark = f"{VARIABLE}={settings}".encode()
    found = []
    for path in _PROC.glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def observed(folder: Path) -> list[int]:
    """Every process that came under observation has a file for its stacks."""
    return [int(path.name.split("-")[1]) for path in folder.glob("stacks-*")]


def resident(folder: Path) -> int:
    """Bytes of main memory that the observed processes hold together; 0 where that cannot be read."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = 0
    for pid in observed(folder):
        with suppress(OSError, IndexError, ValueError):
            total += int((_PROC / str(pid) / "statm").read_text().split()[1]) * page
    return total


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
