"""Losses made by functions that cannot be followed. Where such a function got the model that an optimizer holds, and what it
gave back is what backward() starts from, the call was a forward of the model: it changed nothing of what trains. Where it
got nothing but tensors and data, what it gave back may hang on the forwards behind those, and on no others."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator

from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Choice, Const, DictVal, SeqVal, Sym, Value
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Event, Tensor
from lora_lint.lifecycle.vocabulary import Cut, Ev, Graph, Kind, Tri
from lora_lint.syntax import ir

# Objects that no model can be behind.
_PLAIN = frozenset({Kind.ARGUMENTS, Kind.MODEL_CONFIG, Kind.TOKENIZER, Kind.ROW})
_MAX_VALUES = 100
_MADE_OF = "made-of-cuts"


def leaves(values: Iterable[Value]) -> Iterator[Value]:
    """What is in nested containers; constants left out."""
    stack = list(values)
    budget = _MAX_VALUES
    while stack and budget:
        budget -= 1
        value = stack.pop()
        if isinstance(value, (SeqVal, DictVal)):
            stack.extend(value.items if isinstance(value, SeqVal) else value.items.values())
        elif isinstance(value, Choice):
            stack.extend(value.values)
        elif not isinstance(value, Const):
            yield value


def note_computed(run: Run, values: Iterable[Value], node: ir.Node) -> None:
    """Note a call that cannot be followed: what its result may hang on, where it got nothing that a model could be behind."""
    place = (run.module.path, node.loc)
    run.computed.pop(place, None)
    sources: list[Event] = []
    for value in leaves(values):
        if isinstance(value, Sym) and value.obj is None:
            sources.extend(sources_behind(run, value))
        elif isinstance(value, Tensor):
            cut = value.graph is Graph.DETACHED
            sources.extend(e for e in value.sources if not cut or e.args.get("grad") is Tri.NO)
        elif not (isinstance(value, Obj) and value.kind in _PLAIN):
            return
    if sources:
        run.computed[place] = tuple(dict.fromkeys(sources))


def note_cut(run: Run, values: Iterable[Value], node: ir.Node) -> None:
    """Note a call of which only the result is not known: what it got that had been cut from its graph. What is made of that
    result has no graph either, where it is a tensor of its own."""
    run.made_of_cuts.pop((run.module.path, node.loc), None)
    if cuts := _cuts(run, values):
        run.made_of_cuts[(run.module.path, node.loc)] = cuts


def note_made(run: Run, made: Obj, values: Iterable[Value]) -> None:
    """The same for an object of a library that is made of them, a table of numbers, say."""
    if cuts := _cuts(run, values):
        made.facts[_MADE_OF] = cuts


def _cuts(run: Run, values: Iterable[Value]) -> tuple[Tensor, ...]:
    found = (v for value in leaves(values) for v in (value, *cuts_behind(run, value)) if isinstance(v, Tensor))
    return tuple(v for v in found if v.graph is Graph.DETACHED and v.sources and v.cut is not Cut.NO_GRAD)


def cuts_behind(run: Run, value: Value) -> tuple[Tensor, ...]:
    """The tensors without their graph that an unknown value, or an object that is not followed, is computed from."""
    if isinstance(value, Obj):
        return tuple(value.facts.get(_MADE_OF, ()))
    if not run.made_of_cuts or not isinstance(value, Sym):
        return ()
    return tuple(cut for place in _places(value.key) for cut in run.made_of_cuts.get(place, ()))


def sources_behind(run: Run, value: Value) -> tuple[Event, ...]:
    """The forwards that an unknown value may hang on by way of functions that cannot be followed."""
    if not run.computed or not isinstance(value, Sym):
        return ()
    return tuple(dict.fromkeys(e for place in _places(value.key) for e in run.computed.get(place, ())))


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
