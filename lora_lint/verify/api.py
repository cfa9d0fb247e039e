"""Observation from inside a program: a context manager, a pytest assertion, a repair and a report.

Nothing here starts a process. The hooks are the ones of `lora-lint verify`; the program goes on when enough was seen.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from lora_lint.verify.config import Observation
from lora_lint.verify.hooks import install_hooks, slot
from lora_lint.verify.observed import Observed
from lora_lint.verify.verdict import FAIL, PASS, Verdict, judge
from lora_lint.verify.watch import Watch

_WRAPPED = re.compile(r"(?:(?<=\.)|^)(?:_fsdp_wrapped_module|_orig_mod|_checkpoint_wrapped_module)\.")


class NotLearning(AssertionError):  # noqa: N818 - reads as what it says in `pytest.raises(NotLearning)`
    """A model was shown not to learn; `verdict` says why."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        first = verdict.findings[0] if verdict.findings else None
        text = (
            f"{first.code} {first.name}: {first.location.path}:{first.location.line}: {first.message}"
            if first
            else verdict.reason
        )
        super().__init__(text)


class Session:
    """One observation. `verdict` can be read at any time after the block; inside it, it ends the observation."""

    def __init__(self, watch: Watch, probes: bool) -> None:
        self._watch = watch
        self._probes = probes
        self._verdict: Verdict | None = None

    @property
    def verdict(self) -> Verdict:
        """The verdict over what was seen."""
        if self._verdict is None:
            self._watch.close(self._probes)
            seconds = time.time() - self._watch.started_at
            observed = Observed(reports=[self._watch.report()], status=0, seconds=seconds)
            self._verdict = judge(observed, self._watch.observation.steps)
        return self._verdict

    def check(self) -> None:
        """Raise NotLearning when the verdict is FAIL."""
        if self.verdict.verdict == FAIL:
            raise NotLearning(self.verdict)

    def text(self) -> str:
        """The report as text."""
        from lora_lint.verify import report_text

        return report_text.render(self.verdict, lambda colour, text: text)


@contextmanager
def observe(steps: int = 3, probes: bool = False, model: Any = None) -> Iterator[Session]:
    """Observe the training inside the block: models, optimizers and steps of this process.

    Observation ends after `steps` optimizer cycles; the program goes on. `probes`: experiment with the model then (two
    evaluations, save and load). model: one that was made before, to be in the ledger from the
    start. Raises RuntimeError when an observation is running already.
    """
    if slot.current is not slot.inactive:
        raise RuntimeError("an observation is running already")
    watch = Watch(Observation(folder="", cwd=os.getcwd(), steps=steps, probes=probes), in_process=True)
    slot.current = watch
    install_hooks()
    torch = sys.modules.get("torch")
    if torch is not None and not watch.started:
        watch.start(torch)
    session = Session(watch, probes)
    if model is not None:
        watch.recorder.guard(_register)(watch, model)
    try:
        yield session
    finally:
        watch.close(probes)
        slot.current = slot.inactive


def _register(watch: Watch, model: Any) -> None:
    live = watch.recorder.live(model, watch.recorder.frames.here())
    watch.ledger("observation begins", watch.recorder.frames.here(), live)


def assert_trains(
    model: Any, batch: Any, *, steps: int = 3, lr: float = 1e-3, loss: Callable[[Any, Any], Any] | None = None
) -> Verdict:
    """Train a model on one batch for a few steps and raise NotLearning unless the proof chain holds. For pytest.

    batch: keyword arguments of the forward, or its only argument. loss: computes the loss from the output and the
    batch; without it the output's `loss` is used. Parameters, gradients and modes are restored afterwards. Returns the
    verdict.
    """
    import torch

    kept = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    training = model.training
    with observe(steps) as session:
        model.train()
        optimizer = torch.optim.AdamW(
            [p for p in model.parameters() if p.requires_grad] or list(model.parameters()), lr=lr
        )
        try:
            for _ in range(steps):
                output = model(**batch) if isinstance(batch, dict) else model(batch)
                value = loss(output, batch) if loss is not None else output.loss
                optimizer.zero_grad()
                if not value.requires_grad:
                    _backward_of_nothing(value)
                    break
                value.backward()
                optimizer.step()
        finally:
            verdict = session.verdict
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.grad = None
                    if name in kept:
                        parameter.copy_(kept[name])
            model.train(training)
    if verdict.verdict != PASS:
        raise NotLearning(verdict)
    return verdict


def _backward_of_nothing(loss: Any) -> None:
    """The backward that torch refuses: seen by the observation, which knows more about why than torch's message says."""
    with suppress(RuntimeError):
        loss.backward()


def ensure_adapters_trainable(model: Any, adapter_names: tuple[str, ...] | None = None) -> list[str]:
    """Thaw the parameters of the active adapters (or of the named ones) and return the names of those that were frozen.

    Base weights are left alone. Works through DDP, FSDP and torch.compile wrappers.
    """
    from lora_lint.lifecycle.vocabulary import Part
    from lora_lint.verify.models import unwrapped
    from lora_lint.verify.parts import walk

    inner = unwrapped(model)
    wanted = set(adapter_names) if adapter_names is not None else _active(inner)
    thawed = []
    for row in walk(inner):
        mine = row.part in (Part.ADAPTER, Part.COPY) and (wanted is None or row.adapter in wanted)
        if mine and not row.parameter.requires_grad and row.parameter.is_floating_point():
            row.parameter.requires_grad_(True)
            thawed.append(row.name)
    return thawed


def _active(model: Any) -> set[str] | None:
    active = getattr(model, "active_adapters", None)
    if callable(active):
        try:
            active = active()
        except ValueError:  # a transformers model without adapters
            return None
    return set(active) if isinstance(active, (list, tuple)) else None


def gradient_report(model: Any) -> dict[str, dict[str, Any]]:
    """Gradient norms after a backward: parameter name -> part, adapter, trainable, grad (None when there is none).

    Names are those of the unwrapped model: what DDP, FSDP, torch.compile and activation checkpointing put into them is
    taken out.
    """
    from lora_lint.verify.models import unwrapped
    from lora_lint.verify.parts import walk
    from lora_lint.verify.tensors import norms

    rows = [row for row in walk(unwrapped(model)) if row.parameter.requires_grad or row.parameter.grad is not None]
    present = [row for row in rows if row.parameter.grad is not None]
    values = dict(zip((row.name for row in present), norms([row.parameter.grad for row in present]), strict=True))
    return {
        _WRAPPED.sub("", row.name): {
            "part": row.part.value,
            "adapter": row.adapter,
            "trainable": bool(row.parameter.requires_grad),
            "grad": values.get(row.name),
        }
        for row in rows
    }
