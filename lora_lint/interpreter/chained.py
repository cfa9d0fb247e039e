"""Python's tools that take several collections, or the items of one, together: `itertools.chain`, `ChainMap`, `reduce`."""

from __future__ import annotations

import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.param_loops as param_loops
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.builtin_collections import Handler, first, items_of
from lora_lint.interpreter.parameter_values import ParamIter, ParamSet
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, DictVal, Scope, SeqVal, Value
from lora_lint.syntax import ir


def _chain(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    return _chained([value for value, _ in args.positional], args.open_positional)


def _chained(parts: list[Value], opened: bool) -> SeqVal:
    """The items of several collections, one after the other. Parameters stay together, as collections of their own."""
    found: list[Value] = []
    for part in parts:
        listed = isinstance(part, SeqVal) and not isinstance(part.whole, ParamIter)
        opened = opened or (listed and part.open)
        found.extend(part.items if listed else [part])
    return SeqVal("list", found, opened)


def _from_iterable(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """`chain.from_iterable(collections)`."""
    items, opened = items_of(run, first(args), node)
    return _chained(items, opened)


def _starmap(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """`starmap(function, rows)` is `[function(*row) for row in rows]`."""
    if len(args.positional) < 2:
        return run.fresh(node)
    function, iterable = args.positional[0][0], args.positional[1][0]

    def act(row: Value) -> Value:
        given = row.items if isinstance(row, SeqVal) and not row.open else None
        spread = Args([(item, None) for item in given or ()], open_positional=given is None)
        return calls.call_value(run, function, spread, node, scope)

    if isinstance(iterable, (ParamIter, ParamSet)):
        param_loops.over(run, iterable, node, act)
        return run.fresh(node)
    items, opened = items_of(run, iterable, node)
    return SeqVal("list", [act(item) for item in items[:4]], opened or len(items) > 4)


def _chain_map(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """A dict with the items of several, those of the first ones in front."""
    maps = [value for value, _ in args.positional]
    out = DictVal({}, args.open_positional)
    for value in reversed(maps):
        if not isinstance(value, DictVal) or value.open:  # it may have anything in front of what those behind it have
            out = DictVal({}, open=True)
        out.items.update(value.items if isinstance(value, DictVal) else {})
    return out


def _reduce(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    given = [value for value, _ in args.positional]
    if len(given) < 2:
        return run.fresh(node)
    items, opened = items_of(run, given[1], node)
    if opened or len(items) > 20:
        calls.escape(run, args, node)
        return run.fresh(node)
    queue = [*given[2:3], *items]
    result = queue.pop(0) if queue else Const(None)
    for item in queue:
        result = calls.call_value(run, given[0], Args([(result, None), (item, None)]), node, scope)
    return result


HANDLERS: dict[str, Handler] = {
    "collections.ChainMap": _chain_map,
    "functools.reduce": _reduce,
    "itertools.chain": _chain,
    "itertools.chain.from_iterable": _from_iterable,
    "itertools.starmap": _starmap,
}
