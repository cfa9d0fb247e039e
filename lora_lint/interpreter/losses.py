"""Losses made by functions that cannot be followed. Where such a function got the model that an optimizer holds, and what it
gave back is what backward() starts from, the call was a forward of the model: it changed nothing of what trains."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Sym, Value
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Event
from lora_lint.lifecycle.vocabulary import Ev


def models_behind(run: Run, loss: Value) -> list[Obj]:
    """The models that a loss comes from by way of functions that cannot be followed. What was forgotten of their trainable
    parameters at those calls is known again."""
    found: list[Obj] = []
    made_at = set(_places(loss.key)) if isinstance(loss, Sym) else set()
    for call in reversed(list(run.trace.of(Ev.CALL))) if made_at else ():
        if call.args.get("place") not in made_at:
            continue
        made_at.discard(call.args["place"])
        for model in call.args.get("given", ()):
            if _optimized(run, model, call):
                _remember(model, call)
                if all(model.root is not other.root for other in found):
                    found.append(model)
    return found


def _places(key: Hashable) -> Iterator[Hashable]:
    """Where the calls stand whose results a value is made of: by items, attributes and arithmetic alone."""
    if not isinstance(key, tuple) or not key:
        return
    if key[0] == "at":
        yield key[1]
    elif key[0] in ("item", "attr"):
        yield from _places(key[1])
    elif key[0] == "op":
        for part in key[2]:
            yield from _places(part)


def _optimized(run: Run, model: Obj, call: Event) -> bool:
    """Whether an optimizer that was there before a call holds parameters of the model."""
    roots = {id(member.root) for member in model.models()}
    optimizers = (e.role("optimizer") for e in run.trace.of(Ev.OPTIMIZER) if e.seq < call.seq)
    captures = (c for o in optimizers if o is not None for c in o.facts.get("captures") or ())
    return any(id(capture.model.root) in roots for capture in captures)


def _remember(model: Obj, call: Event) -> None:
    for member in model.models():
        member.model.ops = [op for op in member.model.ops if op.event is not call]
