"""Python's builtins that make, go over or fold collections."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace

import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.conditions as conditions
import lora_lint.interpreter.iteration as iteration
import lora_lint.interpreter.param_loops as param_loops
import lora_lint.interpreter.params as params
from lora_lint.interpreter import containers, encodings, fallbacks, found_modules, gathering, generators, tensors
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.keys import compound
from lora_lint.interpreter.parameter_values import PARAMETERS, Element, LazyFilter, ParamIter, ParamSet
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.turns import Turn
from lora_lint.interpreter.values import (
    Const,
    DictVal,
    FuncVal,
    Generator,
    LibRef,
    Scope,
    SeqVal,
    Sym,
    Value,
    constant,
    key_of,
)
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import VALUES_HANDLED, Tensor
from lora_lint.lifecycle.vocabulary import Kind
from lora_lint.syntax import ir

Handler = Callable[[Run, Args, ir.Node, Scope], Value]


def first(args: Args) -> Value:
    """The first argument of a call, None when there is none."""
    value = args.first()
    return value if value is not None else Const(None)


def _to_list(kind: str) -> Handler:
    def handler(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
        if not args.positional:
            return SeqVal(kind, [], born=run.turns)
        value = args.positional[0][0]
        if isinstance(value, (ParamIter, ParamSet)):
            return params.materialise(run, value, node)
        if kind == "list" and isinstance(value, Tensor) and value.ids is not None:
            return replace(value)  # ids are a list or a tensor: both become the same labels
        return SeqVal(
            kind, *items_of(run, value, node), iteration.modules_of(value) or gathering.grouped(value), born=run.turns
        )

    return handler


def items_of(run: Run, value: Value, node: ir.Node) -> tuple[list[Value], bool]:
    """The known items of an iterable, and whether there may be more."""
    value = iteration.given_by(run, iteration.held_modules(value) or value, node)
    if isinstance(value, SeqVal):
        return list(value.items), value.open
    if isinstance(value, DictVal):
        return [containers.key_value(k) for k in value.items], value.open
    if isinstance(value, Generator):
        produced = generators.collect(run, value, node, max(iteration.MAX_STORED, 50))
        if produced and all(isinstance(item, Element) and not item.module for item in produced):
            return produced, False  # they stand for all that there are
        produced = produced[: iteration.MAX_STORED]
        every = all(map(iteration.is_known, produced)) and len({key_of(item) for item in produced}) == len(produced)
        return (produced, False) if every and produced else (produced[:4], True)
    if isinstance(value, Const) and isinstance(value.value, (str, tuple)) and len(value.value) < 50:
        return [Const(item) for item in value.value], False
    if isinstance(value, (ParamIter, ParamSet)):
        return [value], True
    return [iteration.item_of(run, value, node)], True


def _same(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    return first(args)


def _sequence(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    value = first(args)
    if isinstance(value, (ParamIter, ParamSet)):
        return value
    return SeqVal("list", *items_of(run, value, node), value)


def _some(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """The first of several modules or parameters; of data and other things, what some say is what all say."""
    value = first(args)
    if isinstance(value, (ParamIter, ParamSet)):
        return params.subset(run, value, node)
    modules = isinstance(value, Obj) and value.kind is Kind.MODEL
    return SeqVal("list", *items_of(run, value, node)) if modules else value


def _enumerate(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    value = first(args)
    if isinstance(value, (ParamIter, ParamSet)):
        return value
    items, opened = items_of(run, value, node)
    start = args.get(1, "start")
    begin = 0 if start is None else constant(start)
    if not opened and type(begin) is int:
        return SeqVal("list", [SeqVal("tuple", [Const(begin + i), item]) for i, item in enumerate(items)])
    items = items or [run.fresh(node)]
    turns = _turns(run, node, begin, iteration.length(value))
    return SeqVal(
        "list", [SeqVal("tuple", [turn, items[min(i, len(items) - 1)]]) for i, turn in enumerate(turns)], True, value
    )


def _turns(run: Run, node: ir.Node, start: object, stop: Hashable) -> list[Value]:
    """The counter of a loop in the two turns that are followed."""
    key = run.fresh(node).key
    run.counters.add(key)
    begin = start if type(start) is int else None
    return [Sym(key, "index", data=True, turn=Turn(first, begin, stop)) for first in (True, False)]


def _range(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    values = [value for value, _ in args.positional]
    numbers = [constant(value) for value in values]
    whole_numbers = [number for number in numbers if type(number) is int]
    if numbers and len(whole_numbers) == len(numbers) <= 3 and 0 not in whole_numbers[2:]:
        whole = range(*whole_numbers)
        if not whole[2:]:  # len() takes no longer ones than memory could hold
            return SeqVal("list", [Const(i) for i in whole])
    if not 1 <= len(values) <= 2 or args.open_positional:
        return run.fresh(node)
    start = 0 if len(values) == 1 else numbers[0]
    return SeqVal("list", _turns(run, node, start, key_of(values[-1])), True)


def _zip(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    columns = [items_of(run, v, node) for v, _ in args.positional]
    if not columns:
        return SeqVal("list", [])
    length = max(1, min(len(items) for items, _ in columns))
    rows: list[Value] = []
    for i in range(min(length, iteration.MAX_STORED)):
        rows.append(SeqVal("tuple", [items[i] if i < len(items) else run.fresh(node) for items, _ in columns]))
    return SeqVal("list", rows, length > len(rows) or any(opened for _, opened in columns))


def _filter(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    if len(args.positional) < 2:
        return run.fresh(node)
    predicate, value = args.positional[0][0], args.positional[1][0]
    if isinstance(value, ParamIter):
        return ParamIter(
            value.model, value.named, value.modules, value.parts, LazyFilter(None, None, predicate), value.collected
        )
    if isinstance(value, ParamSet):
        return params.subset(run, value, node)
    items, _ = items_of(run, value, node)
    return SeqVal("list", items, open=True)


def _map(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    if len(args.positional) < 2:
        return run.fresh(node)
    function, iterable = args.positional[0][0], args.positional[1][0]
    if isinstance(iterable, (ParamIter, ParamSet)):
        param_loops.each(run, function, iterable, node, scope)
        return run.fresh(node)
    items, opened = items_of(run, iterable, node)
    out = [calls.call_value(run, function, Args([(item, None)]), node, scope) for item in items[:4]]
    return SeqVal("list", out, opened or len(items) > 4)


def _len(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    value = first(args)
    if isinstance(value, SeqVal) and not value.open and not value.grows:
        return Const(len(value.items))
    if isinstance(value, Const) and isinstance(value.value, (str, bytes, tuple)):
        return Const(len(value.value))
    return compound(iteration.length(value), [value], "len(…)", data=True)


def _any_all(stop: bool) -> Handler:
    def handler(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
        value = first(args)
        if isinstance(value, Generator):
            value = SeqVal("list", *items_of(run, value, node))
        if isinstance(value, SeqVal):
            answers = [conditions.truth(run, item) for item in value.items]
            if any(a.known and a.yes == stop for a in answers):
                return Const(stop)
            if not value.open and all(a.known for a in answers):
                return Const(not stop)
        return run.fresh(node)

    return handler


def _known_numbers(value: Value) -> list[float]:
    """The numbers in a list of numbers that the user wrote down, none for anything else."""
    if not isinstance(value, SeqVal) or value.open or value.grows:
        return []
    numbers = [v.value for v in value.items if type(v) is Const and isinstance(v.value, (int, float))]
    return numbers if len(numbers) == len(value.items) else []


def _sum(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    value = first(args)
    if isinstance(value, ParamIter):
        return tensors.made_of_weights(run, params.made(run, value), node)
    if isinstance(value, ParamSet):
        return run.fresh(node)
    if isinstance(value, Generator):
        value = SeqVal("list", *items_of(run, value, node))
    if (numbers := _known_numbers(value)) and len(list(args.values())) == 1:
        return Const(sum(numbers))
    return tensors.combine(run, [value], node)


def _pairs(value: Value) -> dict[object, Value] | None:
    """What `dict([("key", value), …])` holds; None where it is not told."""
    pairs = [item.items for item in value.items if isinstance(item, SeqVal)] if isinstance(value, SeqVal) else []
    if not isinstance(value, SeqVal) or value.open or len(pairs) < len(value.items) or any(len(p) != 2 for p in pairs):
        return None
    keys = [pair[0].value for pair in pairs if isinstance(pair[0], Const) and isinstance(pair[0].value, (str, int))]
    return {key: pair[1] for key, pair in zip(keys, pairs, strict=True)} if len(keys) == len(pairs) else None


def _dict(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    out = DictVal({}, args.open_keywords)
    if args.positional:
        value = args.positional[0][0]
        if isinstance(value, Tensor) and value.encoding is not None:
            value = encodings.mapping(value)
        if isinstance(value, DictVal):
            out.items.update(value.items)
            out.open = out.open or value.open
        elif (pairs := _pairs(value)) is not None:
            out.items.update(pairs)
        else:
            out.open = True
            if isinstance(value, (ParamIter, ParamSet)):
                out.items[PARAMETERS] = params.materialise(run, value, node)
            if isinstance(value, ParamIter):
                run.witnesses.add((VALUES_HANDLED, value.model.root.site))  # to be looked up by name
    for name, (value, expr) in args.keywords.items():
        out.items[name] = value
        if name == "labels":
            encodings.note_labels(run, value, expr or node)
    return out


_CONTAINERS = frozenset({"builtins.list", "builtins.dict", "builtins.set", "collections.OrderedDict"})


def _defaultdict(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """A dict that makes a container for a missing key; of other factories (counters) nothing is followed."""
    factory = first(args)
    if not (isinstance(factory, LibRef) and factory.name in _CONTAINERS) and not isinstance(factory, FuncVal):
        run.touch_args(args)
        return run.fresh(node)
    rest = Args(args.positional[1:], args.keywords, args.open_positional, args.open_keywords)
    out = _dict(run, rest, node, scope)
    if isinstance(out, DictVal):
        out.factory = factory
    return out


def _deque(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """A list; of what is given with a greatest length, only the end may be in it."""
    if args.positional and (len(args.positional) > 1 or "maxlen" in args.keywords):
        run.touch_args(args)
        return run.fresh(node)
    return _to_list("list")(run, args, node, scope)


def _fromkeys(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """`dict.fromkeys(keys, value)`: one value under each key."""
    given = [value for value, _ in args.positional]
    if not given or args.open_positional:
        run.touch_args(args)
        return run.fresh(node)
    keys, opened = items_of(run, given[0], node)
    known = [key.value for key in keys if isinstance(key, Const)]
    value = given[1] if len(given) > 1 else Const(None)
    return DictVal(dict.fromkeys(known, value), open=opened or len(known) < len(keys))


def _next(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    value = first(args)
    if isinstance(value, ParamIter):
        return found_modules.first_kept(run, value) or param_loops.draw(run, value, node)
    items, _ = items_of(run, value, node)
    return items[0] if items else run.fresh(node)


def _extreme(choose: Callable[[Iterable[float]], float] | None) -> Handler:
    """`max`, `min` and `abs`: of tensors a tensor, of options with defaults what these give."""

    def handler(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
        for value in args.values():
            if isinstance(value, Generator):
                generators.collect(run, value, node)
        if any(isinstance(v, Tensor) for v in args.values()):
            return tensors.combine(run, args.values(), node)
        whole = compound(("max", tuple(key_of(v) for v in args.values())), args.values())
        known = [v.default if isinstance(v, Sym) else v for v in args.values()]
        numbers = [v.value for v in known if isinstance(v, Const) and isinstance(v.value, (int, float))]
        if choose is not None and 1 < len(numbers) == len(known):
            whole.default = Const(choose(numbers))
        return fallbacks.computed(run, whole, args.values())

    return handler


HANDLERS: dict[str, Handler] = {
    "builtins.decorator": _same,
    "builtins.list": _to_list("list"),
    "builtins.tuple": _to_list("tuple"),
    "builtins.set": _to_list("set"),
    "builtins.frozenset": _to_list("set"),
    "builtins.sorted": _sequence,
    "builtins.reversed": _sequence,
    "builtins.iter": _same,
    "builtins.next": _next,
    "builtins.enumerate": _enumerate,
    "builtins.range": _range,
    "builtins.zip": _zip,
    "builtins.filter": _filter,
    "builtins.map": _map,
    "builtins.len": _len,
    "builtins.abs": _extreme(None),
    "builtins.max": _extreme(max),
    "builtins.min": _extreme(min),
    "builtins.any": _any_all(True),
    "builtins.all": _any_all(False),
    "builtins.sum": _sum,
    "builtins.dict": _dict,
    "builtins.dict.fromkeys": _fromkeys,
    "collections.OrderedDict": _dict,
    "collections.defaultdict": _defaultdict,
    "collections.deque": _deque,
    "itertools.islice": _some,
    "itertools.cycle": _same,
    "itertools.repeat": lambda run, args, node, scope: SeqVal("list", [first(args)], open=True),
}
