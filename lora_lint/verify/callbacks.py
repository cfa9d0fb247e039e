"""Callbacks for people whose loop is a trainer: a transformers TrainerCallback and a Lightning Callback."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from lora_lint.verify.api import NotLearning, Session, observe
from lora_lint.verify.verdict import FAIL

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class _Observer:
    """Observes the first steps of a training and prints the report, or stops the training when it does not learn."""

    def __init__(self, steps: int, stop: bool) -> None:
        self.steps = steps
        self.stop = stop
        self.session: Session | None = None
        self._context: AbstractContextManager[Session] | None = None

    def begin(self, model: Any) -> None:
        """Training begins."""
        self._context = observe(self.steps, model=model)
        self.session = self._context.__enter__()

    def end(self) -> None:
        """Enough was seen, or the training is over: report once."""
        if self._context is None or self.session is None:
            return
        context, self._context = self._context, None
        context.__exit__(None, None, None)
        sys.stderr.write(self.session.text())
        if self.stop and self.session.verdict.verdict == FAIL:
            raise NotLearning(self.session.verdict)


def _trainer_callback() -> type[Any]:
    from transformers import TrainerCallback

    class VerifyCallback(TrainerCallback):  # type: ignore[misc]
        """`Trainer(callbacks=[VerifyCallback()])`: watches the first steps; raises NotLearning when `stop` is true.

        What happened before `train()` (injection, freezes) was not seen: findings are symptoms, rarely causes.
        """

        def __init__(self, steps: int = 3, stop: bool = True) -> None:
            self.observer = _Observer(steps, stop)
            self._left = steps

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """Observation begins."""
            self.observer.begin(kwargs.get("model"))

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """One step is done."""
            self._left -= 1
            if self._left == 0:
                self.observer.end()

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """The training ended early."""
            self.observer.end()

    return VerifyCallback


def _lightning_callback() -> type[Any]:
    try:
        module = importlib.import_module("lightning.pytorch")
    except ImportError:
        module = importlib.import_module("pytorch_lightning")
    callback: Any = module.Callback

    class LightningVerify(callback):  # type: ignore[misc]
        """`Trainer(callbacks=[LightningVerify()])`: watches the first steps; raises NotLearning when `stop` is true."""

        def __init__(self, steps: int = 3, stop: bool = True) -> None:
            self.observer = _Observer(steps, stop)
            self._steps = steps

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            """Observation begins."""
            self.observer.begin(pl_module)

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
            """One batch is done."""
            if trainer.global_step >= self._steps:
                self.observer.end()

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            """The training ended early."""
            self.observer.end()

    return LightningVerify


def __getattr__(name: str) -> Any:
    """The two classes, made when they are asked for: their bases are those of the libraries."""
    makers = {"VerifyCallback": _trainer_callback, "LightningVerify": _lightning_callback}
    if name not in makers:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = makers[name]()
    globals()[name] = made
    return made
