"""Methods of lists, dicts, strings and other plain values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import lora_lint.interpreter.items as item_access
from lora_lint.interpreter import config_files, filters, gathering, patterns, texts
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.describe import variable
from lora_lint.interpreter.keys import parts_of
from lora_lint.interpreter.parameter_values import PARAMETERS, Element, ParamIter, ParamName, ParamSet
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import (
    Choice,
    Const,
    DictVal,
    LibRef,
    Mutated,
    Scope,
    SeqVal,
    Sym,
    Value,
    constant,
    key_of,
)
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.vocabulary import Ev, Kind
from lora_lint.syntax import ir


def method(run: Run, value: SeqVal | DictVal | Const, name: str, args: Args, node: ir.Node, scope: Scope) -> Value:
    """`value.name(args)` for a list, dict or constant."""
    if isinstance(value, SeqVal):
        return _list_method(run, value, name, args, node)
    if isinstance(value, DictVal):
        return _dict_method(run, value, name, args, node)
    if isinstance(value, ParamName) and _asks_for_block(value, name):
        return run.fresh(node)
    if isinstance(value, ParamName) and name == "startswith" and (wanted := args.first()) is not None:
        start = _plain(wanted)
        if isinstance(wanted, Sym):
            start = _known_start(wanted)
        if isinstance(start, (str, tuple)) and start:
            filters.note(run, value, node, wanted, lambda text: text.startswith(start))
    if isinstance(value.value, (str, bytes)):
        return _string_method(run, value, name, args, node)
    if isinstance(value.value, re.Pattern) and name in patterns.FUNCTIONS and len(args.positional) == 1:
        return patterns.match(run, name, value, args.positional[0][0], node)
    return run.fresh(node)


def words(run: Run, text: Sym, default: Const, args: Args, node: ir.Node, scope: Scope) -> Value:
    """The words of a text that the user can set: each unknown, with the one of the default."""
    words = method(run, default, "split", args, node, scope)
    known = isinstance(words, SeqVal) and not words.open and all(isinstance(item, Const) for item in words.items)
    if not isinstance(words, SeqVal) or not known:
        return run.fresh(node)
    made = [
        Sym(("word", text.key, i), text.text, item) for i, item in enumerate(words.items) if isinstance(item, Const)
    ]
    return SeqVal("list", list(made))


def _asks_for_block(part: ParamName, name: str) -> bool:
    """Whether a method asks for the end of a part of a name where the number of a block stands."""
    text = str(part.value)
    return (name == "startswith" and text[:1].isdigit()) or (name == "endswith" and text[-1:].isdigit())


def _known_start(text: Sym) -> str:
    """The known beginning of a text that was put together."""
    parts = parts_of(text)
    first = parts[0] if parts else None
    known = isinstance(first, tuple) and len(first) == 3 and first[0] == "const" and isinstance(first[2], str)
    return str(first[2]) if known and isinstance(first, tuple) else ""


def _mutated(run: Run, name: str, args: Args, node: ir.Node) -> Value:
    """The None that a mutating method returns, with what a reader needs to write the expression that was meant."""
    func = node.func if isinstance(node, ir.Call) else None
    owner = variable(func.value) if isinstance(func, ir.Attr) else ""
    given = args.positional[0] if len(args.positional) == 1 else None
    text = ""
    if given is not None and isinstance(given[0], Const) and isinstance(given[0].value, str):
        text = json.dumps(given[0].value)
    elif given is not None:
        text = variable(given[1])
    return Mutated(None, name, run.loc(node), owner, text)


def _list_method(run: Run, value: SeqVal, name: str, args: Args, node: ir.Node) -> Value:
    given = [v for v, _ in args.positional]
    if name in ("append", "appendleft", "add") and given:
        item = gathering.put_into(run, value, given[0], node)
        if len(value.items) < 200:
            value.items.insert(0 if name == "appendleft" else len(value.items), item)
        gathering.note_growth(run, value)
        one = isinstance(given[0], Element) or gathering.is_group(given[0])
        if run.param_loops and (isinstance(value.whole, ParamIter) or not one):
            value.open = True  # the loop runs over samples: a model has more names than these
        return _mutated(run, name, args, node)
    if name in ("pop", "popleft", "clear", "remove"):
        value.whole, value.spliced = None, ()
    elif name in ("insert", "extend", "extendleft", "update") and isinstance(value.whole, ParamIter):
        value.whole = None
    if name == "insert" and len(given) == 2:
        place = constant(given[0])
        known = type(place) is int and not value.open
        value.items.insert(place if type(place) is int and known else len(value.items), given[1])
        value.open = not known
        return _mutated(run, name, args, node)
    if name in ("extend", "extendleft", "update") and given:
        if isinstance(given[0], SeqVal):
            value.items.extend(given[0].items[:200])
            value.open = value.open or given[0].open
        else:
            value.items.append(given[0])
            value.open = True
        return _mutated(run, name, args, node)
    if name in ("pop", "popleft"):
        value.open = True
        return value.items[-1 if name == "pop" else 0] if value.items else run.fresh(node)
    if name in ("clear", "remove", "sort", "reverse", "rotate"):
        value.open = name != "clear"
        if name == "clear":
            value.items.clear()
        return _mutated(run, name, args, node)
    if name == "copy":
        return SeqVal(value.kind, list(value.items), value.open)
    return run.fresh(node)


def _dict_method(run: Run, value: DictVal, name: str, args: Args, node: ir.Node) -> Value:
    key = args.positional[0][0] if args.positional else None
    if name in ("pop", "setdefault", "update", "clear", "popitem"):
        value.listed = None
    if name in ("get", "pop", "setdefault"):
        return _entry(run, value, name, key, args, node)
    if PARAMETERS in value.items and name in ("items", "values"):
        held = value.items[PARAMETERS]
        if len(value.items) > 1 or not isinstance(held, ParamSet):
            return run.fresh(node)
        if name == "values":
            return ParamSet(held.captures, modules=held.modules)
        return held if held.named else run.fresh(node)  # a comprehension may have made something else of them
    if name in ("items", "values") and value.listed is not None:
        return value.listed if name == "items" else gathering.values_of(value.listed)
    whole = value if value.keyed else None
    if name == "items":
        pairs: list[Value] = [SeqVal("tuple", [key_value(k), v]) for k, v in value.items.items()]
        return SeqVal("list", pairs, value.open, whole)
    if name == "values":
        return SeqVal("list", list(value.items.values()), value.open, whole)
    if name == "keys":
        return SeqVal("list", [key_value(k) for k in value.items], value.open, whole)
    if name == "copy":
        return DictVal(dict(value.items), value.open)
    if name == "update":
        if isinstance(key, DictVal):
            value.items.update(key.items)
            value.open = value.open or key.open
        elif key is not None:
            value.open = True
        value.keyed = False
        for keyword, (item, _) in args.keywords.items():
            value.items[keyword] = item
        return Const(None)
    if name == "clear":
        value.items.clear()
        return Const(None)
    return run.fresh(node)


def _entry(run: Run, value: DictVal, name: str, key: Value | None, args: Args, node: ir.Node) -> Value:
    """`value.get(key, fallback)`, and the same with `pop` and `setdefault`."""
    fallback = args.positional[1][0] if len(args.positional) > 1 else Const(None)
    if isinstance(key, ParamName) and name == "get":
        filters.compared(run, "in", key, value, node)
    if key is not None and (planned := item_access.for_turn(value, key)) is not None:
        return planned[0] if planned else fallback
    if isinstance(key, Const) and _hashable(key.value):
        if key.value in value.items:
            found = value.items[key.value]
            if name == "pop":
                del value.items[key.value]
            return found
        if not value.open:
            if name == "setdefault":
                value.items[key.value] = fallback
            return config_files.absent(value, key.value, fallback)
    elif key is not None and not isinstance(key, Const):
        unknown = ("unknown", key_of(key))
        if unknown in value.items:
            return value.items[unknown]
        if name == "setdefault":
            gathering.put_under(run, value, key, fallback)
            return fallback
    if name != "get" or key is None:
        return run.fresh(node)
    found = item_access.held_by_name(run, value, key) or item_access.picked_by_default(run, value, key, node)
    found = found or item_access.registered(run, value, key, node, certain=False, other=fallback)
    return item_access.unknown_entry(run, value, key, node) if found is None else found


def key_value(key: object) -> Value:
    """A key of a dict as a value; one that is not known is an unknown."""
    if isinstance(key, tuple) and key and key[0] == "unknown":
        return Sym(("key", key))
    return Const(key)


def _hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


_STRING_METHODS = frozenset(
    [
        "startswith",
        "endswith",
        "lower",
        "upper",
        "strip",
        "lstrip",
        "rstrip",
        "split",
        "rsplit",
        "replace",
        "removeprefix",
        "removesuffix",
        "find",
        "count",
        "isdigit",
        "partition",
        "rpartition",
        "title",
        "capitalize",
        "join",
        "format",
        "isnumeric",
        "splitlines",
    ]
)


def _string_method(run: Run, value: Const, name: str, args: Args, node: ir.Node) -> Value:
    plain = [_plain(v) for v, _ in args.positional]
    if name in _STRING_METHODS and not args.keywords and all(p is not NotImplemented for p in plain):
        try:
            result = getattr(value.value, name)(*plain)
        except (TypeError, ValueError, IndexError, KeyError):
            return run.fresh(node)
        if isinstance(value, ParamName):
            return _of_name(value, name, plain, result)
        if isinstance(result, (list, tuple)):
            return SeqVal("list", [Const(item) for item in result])
        return _joined(value, args, result) if name == "join" else Const(result)
    if name == "format" and isinstance(value.value, str) and (text := texts.filled(value.value, args)) is not None:
        return text
    return Sym(("strmethod", run.module.path, node.loc, name), "")


def _of_name(name: ParamName, method: str, given: list[object], result: object) -> Value:
    """What a method of a representative name gives. Of what takes parts out of it, it is known how they came about."""
    cuts = method in _CUTS
    if not isinstance(result, (list, tuple)):
        return _piece(result)

    def cut(place: int) -> Callable[[Any], object]:
        return lambda text: getattr(text, method)(*given)[place]

    return SeqVal("list", [_piece(part, name if cuts else None, cut(i)) for i, part in enumerate(result)])


_CUTS = frozenset({"split", "partition"})  # from the start of a name


def _joined(between: Const, args: Args, result: object) -> Value:
    """A text joined of others: of parts of a name, it is a part of that name again."""
    given = args.first()
    items = given.items if isinstance(given, SeqVal) else []
    cuts = [item.cut for item in items if isinstance(item, ParamName) and item.cut is not None]
    whole = items[0].whole if cuts and len(cuts) == len(items) else None
    if whole is None or any(item.whole is not whole for item in items):
        return Const(result)
    text = str(between.value)
    return whole.part(str(result), lambda name: text.join(str(cut(name)) for cut in cuts))


def _piece(part: object, name: ParamName | None = None, cut: Callable[[Any], object] | None = None) -> Value:
    """A part of a representative name. The number of a block is unknown: one block stands for all."""
    if not isinstance(part, str):
        return Const(part)
    if part.isdigit():
        return Sym(("block", part), "block number")
    return ParamName(part) if name is None or cut is None else name.part(part, cut)


def _plain(value: Value) -> object:
    if isinstance(value, Const):
        return value.value
    if isinstance(value, SeqVal) and not value.open and all(isinstance(i, Const) for i in value.items):
        return tuple(i.value for i in value.items)
    return NotImplemented


def note_device(run: Run, name: str, args: Args, node: ir.Node) -> None:
    """`.to("cuda")` or `.cuda()` on data: a touch of CUDA that matters in a data loader worker."""
    if name == "cuda" or (name == "to" and any(device_of(v).startswith("cuda") for v in args.values())):
        run.emit(Ev.TOUCH_CUDA, node, args={"how": f".{name}()", "move": True, "inner": run.inner(node)})


def hands_gpu(args: Args) -> bool:
    """Whether a call is given the GPU as a device: what it makes may be there. A number says so only by its name."""
    named = args.keywords.get("device")
    rest = (v for v in args.values() if not isinstance(v, Const) or isinstance(v.value, str))
    return (named is not None and device_of(named[0]) == "cuda") or any(device_of(v) == "cuda" for v in rest)


def moved_to(name: str, args: Args, before: str) -> str:
    """Where a tensor is after `.cuda()`, `.cpu()` or `.to(…)`, which may only change its dtype."""
    if name != "to":
        return name
    named = next((d for d in map(device_of, args.values()) if d != "unknown"), None)
    return named or ("unknown" if any(isinstance(value, Sym) for value in args.values()) else before)


def device_of(value: Value) -> str:
    """ "cuda", "cpu" or "unknown": the device a value names. Where one of two is chosen by availability, it is CUDA."""
    if isinstance(value, Choice):
        found = {device_of(v) for v in value.values}
        return "cuda" if "cuda" in found else found.pop() if len(found) == 1 else "unknown"
    if isinstance(value, Const):
        if isinstance(value.value, str):
            head = value.value.split(":")[0]
            if head in ("cuda", "auto", "balanced", "balanced_low_0", "sequential"):
                return "cuda"
            return head if head in ("cpu", "xla", "meta") else "unknown"
        if isinstance(value.value, int) and not isinstance(value.value, bool):
            return "cuda"
        return "unknown"
    if isinstance(value, DictVal):
        found = {device_of(v) for v in value.items.values()}
        return "cuda" if "cuda" in found else "unknown"
    if isinstance(value, SeqVal) and value.items:
        known = [device_of(v) for v in value.items]
        return next((k for k in known if k != "unknown"), "unknown")
    if isinstance(value, Obj):
        if value.kind is Kind.MODEL:
            return "unknown"
        return str(value.facts.get("device", "unknown"))
    if isinstance(value, Sym):
        if value.text.startswith("cuda:"):
            return "cuda"
        if value.default is not None and isinstance(value.default.value, str):
            return device_of(value.default)
        return "unknown"
    if isinstance(value, LibRef):
        return "unknown"
    return "unknown"
