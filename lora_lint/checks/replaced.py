"""Optimizers whose parameters were replaced after they were collected: LL301."""

from __future__ import annotations

from collections.abc import Iterator

from lora_lint.checks.base import Report, check
from lora_lint.checks.common import feeds, has_adapters, held_models, name_of, on_condition, optimizers, trained
from lora_lint.lifecycle.heap import Copy, Obj
from lora_lint.lifecycle.trace import GRADIENT_WRITTEN, Event, Trace
from lora_lint.lifecycle.vocabulary import Ev

_SHARDED = "fsdp2"  # makes new parameters in place


@check("LL301", on=Ev.STEP)
def optimizer_before_sharding(event: Event, trace: Trace) -> Iterator[Report]:
    """The whole model was sharded in place after the optimizer had collected its parameters."""
    optimizer, made = _built(event, trace)
    if optimizer is None or made is None:
        return
    for model in held_models(optimizer):
        wraps = (e for e in model.model.wraps if e.args.get("by") == _SHARDED and e.model is not None)
        shard = next((e for e in wraps if e.model is not None and not e.model.full_path), None)
        if shard is None or shard.seq < _collected(optimizer, model, made) or has_adapters(model).no:
            continue
        yield Report(
            made,
            f"the optimizer collects the parameters of {name_of(shard, 'model')} before it is sharded: it never updates "
            "what is trained",
            help="build the optimizer after fully_shard(), which makes new parameters",
            story=((shard, "parameters are replaced here"), (event, "optimizer steps here")),
        )
        return


@check("LL301", on=Ev.STEP)
def optimizer_of_the_original(event: Event, trace: Trace) -> Iterator[Report]:
    """A copy of the model is trained, the optimizer holds the parameters of the original, and nothing trains that."""
    optimizer, made = _built(event, trace)
    if optimizer is None or made is None:
        return
    backward = next((e for e in trace.before(event, Ev.BACKWARD, Ev.STEP) if not e.args.get("implicit")), None)
    if backward is None or backward.kind is not Ev.BACKWARD or feeds(backward, optimizer):
        return
    held = {id(model.root): model for model in held_models(optimizer)}
    for model in trained(backward):
        copied = model.root.facts.get("copy")
        original = held.get(id(copied.of)) if isinstance(copied, Copy) else None
        if not isinstance(copied, Copy) or original is None or copied.seq < _collected(optimizer, original, made):
            continue
        if model.model.escaped or original.model.escaped or on_condition(backward, event):
            continue
        if any(_may_hold(other, model) for other in optimizers(trace)):
            continue
        if any(m.root is original.root for e in trace.of(Ev.BACKWARD) for m in trained(e)):
            continue
        yield Report(
            made,
            f"the optimizer holds the parameters that were there before {name_of(backward, 'model', 'the model')} was "
            "copied: it never updates the copy that is trained",
            help="build the optimizer from the parameters of the copy",
            story=((copied.location, "copied here"), (event, "optimizer steps here")),
            unless=frozenset({(GRADIENT_WRITTEN,)}),
        )
        return


def _built(step: Event, trace: Trace) -> tuple[Obj | None, Event | None]:
    """The optimizer that steps, and where it was made; None when it is not certain what it holds."""
    optimizer = step.role("optimizer")
    if optimizer is None or not optimizer.facts.get("captures") or optimizer.facts.get("escaped"):
        return None, None
    return optimizer, next((e for e in trace.of(Ev.OPTIMIZER) if e.role("optimizer") is optimizer), None)


def _collected(optimizer: Obj, model: Obj, made: Event) -> int:
    """When the optimizer's parameters of a model were collected, at the latest."""
    captures = optimizer.facts.get("captures") or ()
    return max((c.seq or made.seq for c in captures if c.model.root is model.root), default=made.seq)


def _may_hold(optimizer: Obj, model: Obj) -> bool:
    """Whether an optimizer holds parameters of a model, or may."""
    captures = optimizer.facts.get("captures")
    return captures is None or any(c.model.root is model.root for c in captures)
