"""Inside every observed process: install the hooks, and write the report however the process ends."""

from __future__ import annotations

import atexit
import faulthandler
import os
import re
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from lora_lint.verify import config
from lora_lint.verify.hooks import also, install_hooks, slot
from lora_lint.verify.patching import wrap
from lora_lint.verify.slot import Slot
from lora_lint.verify.watch import Watch


def install(path: str) -> Watch:
    """Observe this process as the file says."""
    observation = config.read(path)
    watch = Watch(observation)
    slot.current = watch
    also("multiprocessing.process", patch_process)
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
    error = getattr(sys, "last_value", None)
    if watch.error is None and isinstance(error, Exception):  # a hook of the program's own was in the way of ours
        watch.error = describe(watch, type(error), error, error.__traceback__)
    blames_user = watch.error is not None and bool(watch.error["places"])  # not the launcher's own
    if os.getpid() == owner and (watch.relevant or blames_user) and watch.recorder.active:
        watch.write()


def _in_fork(watch: Watch) -> None:
    """A child that was forked before the training began may be a process of it, and goes on as one; a later one is a
    data loader's worker."""
    rank = watch.recorder.rank
    if rank.backwards or rank.steps:
        watch.recorder.active = False
        return
    from multiprocessing import util

    util.register_after_fork(watch, _as_process)


def _as_process(watch: Watch) -> None:
    """A forked process of multiprocessing does not come by the handlers of atexit, but by its finalizers."""
    from multiprocessing import util

    util.Finalize(None, _end_of_fork, (watch,), exitpriority=0)


def _end_of_fork(watch: Watch) -> None:
    rank = watch.recorder.rank
    if watch.recorder.active and (rank.backwards or rank.steps or (watch.error is not None and watch.error["places"])):
        watch.write()


def patch_process(watch: Slot, module: ModuleType) -> None:
    """multiprocessing.process: an exception that ends a process is printed by it and goes no further."""

    def run(original: Any, self: Any) -> Any:
        try:
            return original(self)
        except Exception as error:
            if watch.current.error is None and watch.recorder.active:
                watch.current.error = describe(watch.current, type(error), error, error.__traceback__)
            raise

    wrap(module.BaseProcess, "run", run)


def _limit_memory(limit: int) -> None:
    """A process that asks for more gets a MemoryError, with its place; the parent adds up what all of them hold. Address
    space is not limited: CUDA reserves more of it than there is memory."""
    if limit:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


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
    places += _told(watch, str(error))
    if isinstance(error, SyntaxError) and error.filename and frames.is_user(error.filename):
        places.append({"path": frames.shown(error.filename), "line": error.lineno or 1, "function": "<module>"})
    whole = traceback.TracebackException(kind, error, trace)
    _leave_out_ours(whole)
    return {"type": kind.__name__, "text": str(error), "places": places, "traceback": "".join(whole.format())[-8000:]}


_FRAME = re.compile(r'^ *File "([^"]+)", line (\d+), in (\S+)', re.MULTILINE)


def _told(watch: Watch, text: str) -> list[dict[str, object]]:
    """The user's frames in the traceback of a data loader's worker, which torch puts into the text of the exception that
    it raises in its place."""
    _, found, traceback_text = text.partition("Original Traceback")
    frames = watch.recorder.frames
    return [
        {"path": frames.shown(path), "line": int(line), "function": function}
        for path, line, function in (_FRAME.findall(traceback_text) if found else ())
        if frames.is_user(path)
    ]


_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep


def _leave_out_ours(whole: traceback.TracebackException | None) -> None:
    """Take the frames of our wrappers out of a traceback and of those it came from."""
    seen: set[int] = set()
    waiting = [whole]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        kept = [f for f in one.stack if not f.filename.startswith(_OURS) or f.filename.endswith("model_program.py")]
        one.stack = traceback.StackSummary.from_list(kept)
        waiting += [one.__cause__, one.__context__]


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
