"""One observed run from the outside: start the command, wait, stop it in time, collect what its processes wrote."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_lint.verify import processes, rankwise
from lora_lint.verify.command import Command
from lora_lint.verify.config import VARIABLE, Observation
from lora_lint.verify.observed import Observed

BOOTSTRAP = Path(__file__).parent / "bootstrap"
GRACE = 10.0  # seconds that a process gets to write its report after the time is up
TAIL = 40  # lines of output kept for the report of a crash

# Trackers that would upload a three-step run; the user's own setting wins.
_OFFLINE = {
    "WANDB_MODE": "offline",
    "COMET_MODE": "DISABLED",
    "NEPTUNE_MODE": "offline",
    "CLEARML_OFFLINE_MODE": "1",
    "SWANLAB_MODE": "disabled",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONFAULTHANDLER": "1",  # a segmentation fault says where it was
}
Progress = Callable[[list[dict[str, Any]], float], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """steps: optimizer cycles to watch. timeout: seconds, 0 for none. memory: bytes of main memory, 0 for none."""

    steps: int = 3
    timeout: float = 0.0
    memory: int = 0
    probes: bool = True


def observe(command: Command, limits: Limits, progress: Progress, show_output: bool = False) -> Observed:
    """Run the command under observation. Ctrl-C, SIGTERM and the limits end it with all its children."""
    folder = Path(tempfile.mkdtemp(prefix="lora-lint-verify-"))
    try:
        with processes.interruptible():
            return _observe(command, limits, progress, show_output, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _observe(command: Command, limits: Limits, progress: Progress, show_output: bool, folder: Path) -> Observed:
    start = time.time()
    settings = folder / "observation.json"
    observation = Observation(
        folder=str(folder),
        cwd=os.getcwd(),
        steps=limits.steps,
        deadline=start + limits.timeout if limits.timeout else 0.0,
        memory_limit=limits.memory,
        probes=limits.probes,
        peers=str(rankwise.meeting_place() or folder),
        aliases=dict(command.aliases),
    )
    observation.write(settings)
    log = folder / "output.txt"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            list(command.words),
            env=_environment(settings, folder),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr if show_output else stream,  # standard output is the report's
            stderr=None if show_output else subprocess.STDOUT,
            start_new_session=True,
        )
        result = Observed(expected=command.processes)
        try:
            _wait(process, limits, progress, folder, start, result)
        except KeyboardInterrupt:
            result.interrupted = True
        finally:
            processes.end(process, settings)
    result.seconds = time.time() - start
    result.reports = _collect(folder)
    # Its own clock may have ended a process before ours looked at the time.
    result.timed_out |= any(report["outcome"] == "timeout" for report in result.reports)
    ended = result.timed_out or result.interrupted or result.over_memory
    result.status = None if ended else process.returncode
    result.output = _tail(log)
    if result.timed_out:
        result.stacks = "\n".join(path.read_text(errors="replace") for path in sorted(folder.glob("stacks-*")))[-8000:]
    return result


def _environment(settings: Path, folder: Path) -> dict[str, str]:
    environment = {**_OFFLINE, **os.environ, VARIABLE: str(settings)}
    paths = [str(BOOTSTRAP), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    tracking = environment.get("MLFLOW_TRACKING_URI", "")
    if tracking and not tracking.startswith(("file:", "/", "./")):
        environment["MLFLOW_TRACKING_URI"] = (folder / "mlruns").as_uri()  # it has no offline mode
    return environment


def _wait(
    process: subprocess.Popen[bytes],
    limits: Limits,
    progress: Progress,
    folder: Path,
    start: float,
    result: Observed,
) -> None:
    limit = start + limits.timeout + GRACE if limits.timeout else None
    while True:
        try:
            process.wait(0.1)
            return
        except subprocess.TimeoutExpired:
            pass
        now = time.time()
        progress(_progress(folder), now - start)
        if limits.memory and processes.resident(folder) > limits.memory:
            result.over_memory = limits.memory
            return
        if limits.timeout and now > start + limits.timeout and not result.timed_out:
            result.timed_out = True
            _dump_stacks(folder)
        if limit is not None and now > limit:
            return


def _progress(folder: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted(folder.glob("progress-*")):
        try:
            found.append(json.loads(path.read_text(encoding="utf-8")))
        except ValueError:
            continue  # being written
    return found


def _dump_stacks(folder: Path) -> None:
    """Ask the observed processes for the stacks of their threads, for the report of a stuck run."""
    for pid in processes.observed(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGUSR1)


def _collect(folder: Path) -> list[dict[str, Any]]:
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("report-*.json"))]
    training = [r for r in reports if r["rank"]["backwards"] or r["rank"]["steps"] or r["error"]]
    return training or reports[:1]


def _tail(log: Path) -> list[str]:
    """The last lines, as a terminal would show them: a progress bar is its last state."""
    lines = log.read_text(encoding="utf-8", errors="replace").rstrip().split("\n")[-TAIL:]
    return [line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines]
