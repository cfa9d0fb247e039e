"""What takes tokens out of labels: comparisons of ids with a token, and what is written where they hold."""

from __future__ import annotations

from dataclasses import replace

from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, SeqVal, Sym, Value
from lora_lint.lifecycle.trace import Equal, Tensor
from lora_lint.lifecycle.vocabulary import Ev, Graph
from lora_lint.syntax import ir

_IGNORED = -100  # what the loss of torch and of transformers leaves out
_COMPARES = {"eq": "==", "ne": "!="}
_FILLS = frozenset({"masked_fill", "masked_fill_"})
METHODS = frozenset({*_COMPARES, *_FILLS, "where"})


def compared(op: str, values: list[Value], answer: Value) -> Value:
    """`ids == value` tells where a token is, `ids != value` where it is not."""
    ids = [value.ids for value in values if isinstance(value, Tensor) and value.ids is not None]
    others = [value for value in values if not isinstance(value, Tensor)]
    if op in ("==", "!=") and isinstance(answer, Tensor) and ids and others:
        answer.equals = Equal(ids[0], others[0], op == "==")
    return answer


def operated(op: str, values: list[Value], answer: Value) -> Value:
    """`mask | other` and `~mask` still tell of a token, ids with another token behind them are ids that end with it."""
    if not isinstance(answer, Tensor):
        return answer
    told = [value.equals for value in values if isinstance(value, Tensor) and value.equals is not None]
    if told and op == "u~":
        answer.equals = replace(told[0], there=not told[0].there)
    elif told and op in ("|", "&"):
        answer.equals = next((one for one in told if one.there == (op == "|")), None)
    elif op == "+" and (longer := _appended(*values)) is not None:
        return longer
    return answer


def _appended(ids: Value, more: Value) -> Tensor | None:
    """`ids + [token]`: the ids of a text in a list, and what is put behind them."""
    if not isinstance(ids, Tensor) or ids.ids is None or ids.ids.tensors:
        return None
    if not isinstance(more, SeqVal) or more.open or not more.items:
        return None
    return replace(ids, ids=replace(ids.ids, entries={}, end=more.items[-1]))


def method(run: Run, ids: Tensor, name: str, args: Args, node: ir.Node) -> Tensor | None:
    """What a method of ids says of a token in them: `ids.eq(token)`, `ids.masked_fill(mask, -100)`; None for others."""
    if name in _COMPARES:
        answer = Tensor(Graph.PLAIN, device=ids.device)
        return answer if compared(_COMPARES[name], [ids, *args.values()], answer) is answer and answer.equals else None
    if name in _FILLS and _constant(args.get(1, "value")) == _IGNORED:
        return _taken_out(run, ids if name.endswith("_") else replace(ids), args.get(0, "mask"), True, node)
    return chosen(run, args.get(0, "condition"), ids, args.get(1, "other"), node) if name == "where" else None


def function(run: Run, name: str, args: Args, node: ir.Node) -> Tensor | None:
    """The same for the functions that these methods have."""
    first, *others = args.positional or [(None, None)]
    if name == "where" and len(others) == 2:
        return chosen(run, first[0], others[0][0], others[1][0], node)
    if isinstance(first[0], Tensor) and first[0].ids is not None and (name in _COMPARES or name in _FILLS):
        return method(run, first[0], name, Args(others, args.keywords), node)
    return None


def chosen(run: Run, mask: Value, first: Value, second: Value, node: ir.Node) -> Tensor | None:
    """`torch.where(mask, first, second)`, or `first if mask else second`, where one of them is ids and the other is left out."""
    for ids, other, there in ((second, first, True), (first, second, False)):
        if isinstance(ids, Tensor) and ids.ids is not None and _constant(other) == _IGNORED:
            return _taken_out(run, replace(ids), mask, there, node)
    return None


def written(run: Run, labels: Tensor, mask: Value, value: Value, node: ir.Node) -> None:
    """`labels[mask] = value`: a token is taken out, and what is written otherwise may put it back."""
    if labels.ids is not None and _constant(value) != _IGNORED:
        labels.masked = labels.ids.rewritten = True
    else:
        _taken_out(run, labels, _asked(run, mask) or mask, True, node)


def _asked(run: Run, place: Value) -> Value | None:
    """What decides whether a label is written where a loop does nothing else than that with each in turn: `for i, token in
    enumerate(labels): if token == pad: labels[i] = -100`; None for anything else."""
    asked, value = run.last_condition or (None, None)
    turn = place.turn if isinstance(place, Sym) else None
    whole = isinstance(asked, ir.If) and asked is run.alone and len(asked.body) == 1 and not asked.orelse
    return value if whole and turn is not None and turn.start == 0 and not turn.offset else None


def _taken_out(run: Run, labels: Tensor, mask: Value, there: bool, node: ir.Node) -> Tensor:
    """Emit an event when one token is what is taken out of these labels."""
    labels.masked = True
    told = mask.equals if isinstance(mask, Tensor) else None
    if told is not None and told.ids is labels.ids and told.there is there:
        labels.taken += (run.emit(Ev.MASKED, node, args={"ids": told.ids, "token": told.token}),)
    return labels


def _constant(value: Value) -> object:
    """The number that a value is, or that a tensor holds everywhere."""
    return value.value if isinstance(value, Const) else value.fill if isinstance(value, Tensor) else None
