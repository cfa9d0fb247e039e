"""Inside every observed process: install the hooks, and write the report however the process ends."""

from __future__ import annotations

import atexit
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType

from lora_lint.verify import config
from lora_lint.verify.hooks import install_hooks, slot
from lora_lint.verify.watch import Watch


def install(path: str) -> Watch:
    """Observe this process as the file says."""
    observation = config.read(path)
    watch = Watch(observation)
    slot.current = watch
    install_hooks()
    _limit_memory(observation.memory_limit)
    _on_exception(watch)
    _on_dump(observation.folder)
    if observation.deadline:
        _on_deadline(watch, observation.deadline)
    owner = os.getpid()
    atexit.register(lambda: _at_exit(watch, owner))
    os.register_at_fork(after_in_child=lambda: _in_fork(watch))
    return watch


def _at_exit(watch: Watch, owner: int) -> None:
    if os.getpid() == owner and watch.relevant and watch.recorder.active:
        watch.write()


def _in_fork(watch: Watch) -> None:
    """A forked child (a data loader's worker) is not observed."""
    watch.recorder.active = False


def _limit_memory(limit: int) -> None:
    if limit:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _on_exception(watch: Watch) -> None:
    """Note the exception that ends the program before Python prints it."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if watch.error is None and watch.recorder.active:
            watch.error = describe(watch, kind, error, trace)
        before(kind, error, trace)

    sys.excepthook = hook


def describe(
    watch: Watch, kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> dict[str, object]:
    """An exception as plain data, with the user's own frames as places."""
    frames = watch.recorder.frames
    places = []
    step = trace
    while step is not None:
        code = step.tb_frame.f_code
        if frames.is_user(code.co_filename):
            places.append({"path": frames.shown(code.co_filename), "line": step.tb_lineno, "function": code.co_name})
        step = step.tb_next
    text = "".join(traceback.format_exception(kind, error, trace))
    return {"type": kind.__name__, "text": str(error), "places": places, "traceback": text[-8000:]}


def _on_dump(folder: str) -> None:
    """On SIGUSR1 every thread's stack goes to a file: the parent asks for it before it ends a stuck process."""
    if hasattr(signal, "SIGUSR1"):
        stream = open(_stacks(folder), "a", encoding="utf-8")  # noqa: SIM115 - open until the end
        faulthandler.register(signal.SIGUSR1, file=stream, all_threads=True)


def _stacks(folder: str) -> Path:
    return Path(folder) / f"stacks-{os.getpid()}"


def _on_deadline(watch: Watch, deadline: float) -> None:
    def end() -> None:
        if not watch.recorder.active or not watch.relevant:
            return
        watch.outcome = "timeout"
        with _stacks(watch.observation.folder).open("a", encoding="utf-8") as stream:
            faulthandler.dump_traceback(file=stream, all_threads=True)
        watch.write()
        os._exit(0)

    timer = threading.Timer(max(0.1, deadline - time.time()), end)
    timer.daemon = True
    timer.start()
