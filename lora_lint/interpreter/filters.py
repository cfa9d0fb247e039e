"""Filters on parameter names that would match if a wrapper had not put its prefix before every name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lora_lint.interpreter.describe import variable
from lora_lint.interpreter.parameter_values import Element, ParamName
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, Value
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.vocabulary import Ev
from lora_lint.syntax import ir


def name_of(element: Element, prefixes: tuple[str, ...]) -> ParamName:
    """The name of a representative parameter, with the prefixes that wrappers put before it."""
    return ParamName(element.name, prefixes)


def note(run: Run, name: ParamName, node: ir.Node, wanted: Value, matches: Callable[[str], bool]) -> None:
    """Note whether a filter at the start of a name matches it: as it is, or only without the prefixes of wrappers."""
    text = str(name.value)
    place = run.loc(node)
    hits, misses, _ = run.filters.setdefault(place, (set(), set(), _text(node, wanted)))
    if matches(text):
        hits.add(text)
        return
    if any(matches(bare) for bare in _with_fewer(text, name.prefixes)):
        misses.add(text)


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


def settle(run: Run, model: Obj) -> None:
    """Emit what the filters of a loop that ended never matched, but for the prefix of a wrapper."""
    found, run.filters = run.filters, {}
    hit: set[str] = set().union(*(hits for hits, _, _ in found.values())) if found else set()
    for place, (hits, misses, (owner, start)) in found.items():
        if misses and not hits and not misses & hit:
            run.emit(
                Ev.FILTER,
                None,
                {"model": model},
                {"variable": owner, "start": start, "name": min(misses, key=lambda name: (len(name), name))},
                at=place,
            )
