"""Filters on parameter names that would match if a wrapper had not put its prefix before every name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lora_lint.interpreter.describe import variable
from lora_lint.interpreter.parameter_values import ParamName
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, DictVal, Planned, SeqVal, Sym, Value
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.vocabulary import Ev
from lora_lint.syntax import ir


def note(run: Run, name: ParamName, node: ir.Node, wanted: Value, matches: Callable[[str], bool]) -> None:
    """Note whether a filter at the start of a name, or of a part of one, matches it: as it is, or only without the prefixes of
    wrappers."""
    whole = name.whole or name
    text = str(whole.value)
    place = run.loc(node)
    hits, misses, _ = run.filters.setdefault(place, (set(), set(), _text(node, wanted)))
    if _holds(name, text, matches):
        hits.add(text)
        return
    if any(_holds(name, bare, matches) for bare in _with_fewer(text, whole.prefixes)):
        misses.add(text)


def _holds(name: ParamName, text: str, matches: Callable[[str], bool]) -> bool:
    """Whether a filter on (a part of) a name matches another name."""
    try:
        part = text if name.cut is None else name.cut(text)
    except LookupError:
        return False  # a shorter name has no such part
    return isinstance(part, str) and matches(part)


def sides(left: Value, right: Value) -> tuple[Value, Value]:
    """What a filter on names goes by: a word that the user can set is taken to be the default, and of the words that a plan
    has for the turns that come it is one that the name has."""
    if isinstance(left, Planned) and isinstance(right, ParamName):
        words = [word for word in left.values if str(word.value) in str(right.value)]
        return (words or [*left.values])[0], right
    return _by_default(left), _by_default(right)


def _by_default(value: Value) -> Value:
    default = value.default if isinstance(value, Sym) else None
    return default if default is not None and isinstance(default.value, str) else value


def compared(run: Run, op: str, left: Value, right: Value, node: ir.Node) -> None:
    """Note a comparison of (a part of) a name with what the user wrote down: `name.split(".")[0] in ("classifier", "score")`."""
    if op == "==" and not isinstance(left, ParamName):
        left, right = right, left
    if isinstance(left, ParamName) and op in ("==", "in") and (words := _words(right)):
        note(run, left, node, Const(None), lambda text: text in words)
    elif op == "in" and isinstance(right, ParamName) and right.whole is not None and (words := _words(left)):
        note(run, right, node, Const(None), lambda text: any(word in text for word in words))


def _words(value: Value) -> frozenset[str]:
    """The texts that a name is compared with; none where there may be others, or numbers: of blocks, one stands for all."""
    if isinstance(value, DictVal):
        value = SeqVal("set", [Const(key) for key in value.items], value.open)
    items = value.items if isinstance(value, SeqVal) and not value.open else [value]
    words = frozenset(each.value for each in items if type(each) is Const and isinstance(each.value, str))
    return frozenset() if len(words) < len(items) or any(map(str.isdigit, words)) else words


def _with_fewer(text: str, prefixes: tuple[str, ...]) -> Iterator[str]:
    """A name without some of its prefixes: without the first ones, or with one left out behind another that is there."""
    for first in range(len(prefixes)):
        kept = "".join(prefixes[:first])
        for end in range(first + 1, len(prefixes) + 1):
            spelled = "".join(prefixes[:end])
            if text.startswith(spelled):
                yield kept + text.removeprefix(spelled)


def _text(node: ir.Node, wanted: Value) -> tuple[str, str]:
    """The variable that is filtered, and the start it is asked for; "" where they are not plain."""
    owner = node.func.value if isinstance(node, ir.Call) and isinstance(node.func, ir.Attr) else None
    start = wanted.value if isinstance(wanted, Const) and isinstance(wanted.value, str) else ""
    return variable(owner), start


def _within(name: str, other: str) -> bool:
    """Whether a name is another one, or that of something in the module whose parameter the other one is."""
    return name == other or name.startswith(other.removesuffix("weight"))


def settle(run: Run, model: Obj) -> None:
    """Emit what the filters of a loop that ended never matched, but for the prefix of a wrapper."""
    found, run.filters = run.filters, {}
    hit: set[str] = set().union(*(hits for hits, _, _ in found.values())) if found else set()
    for place, (hits, misses, (owner, start)) in found.items():
        if misses and not hits and not any(_within(one, missed) for one in hit for missed in misses):
            run.emit(
                Ev.FILTER,
                None,
                {"model": model},
                {"variable": owner, "start": start, "name": min(misses, key=lambda name: (len(name), name))},
                at=place,
            )
