"""What settings are where nobody gives them: `cfg.get("accum", 1)`, `getattr(cfg, "amp", False)`, an option's default.

No path is followed for that: the user may well set them. It only tells whether an arm of a condition is the one that is
taken as long as nothing is set.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import replace
from typing import Any

import lora_lint.interpreter.comparisons as comparisons
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, Sym, Value
from lora_lint.syntax import ir

_ASK = frozenset({"get", "pop", "getenv"})
_UNKNOWN: Any = object()
_DEPTH = 8


def asked(run: Run, node: ir.Call, value: Value) -> Value:
    """The result of a call, with what it is where there is nothing of the name that it asks for."""
    if not isinstance(value, Sym) or not node.args or any(arg.star or arg.name for arg in node.args):
        return value
    named = node.func.name if isinstance(node.func, ir.Attr) else node.func.id if isinstance(node.func, ir.Name) else ""
    last = node.args[-1].value
    if (
        len(node.args) != 3 - (named in _ASK)
        or not (named in _ASK or named == "getattr")
        or not isinstance(last, ir.Const)
    ):
        return value
    found = replace(value, fallback=Const(last.value)) if isinstance(last.value, (bool, int, float, str)) else value
    note(run, [found])
    return found


def note(run: Run, values: Iterable[Value]) -> None:
    """Remember what these are where nobody sets them, as far as they are settings."""
    for value in values:
        if isinstance(value, Sym) and (known := value.fallback or value.default) is not None:
            run.fallbacks[value.key] = known.value


def takes(run: Run, value: Value, arm: bool) -> bool | None:
    """Whether a condition takes this arm where nothing is set, or as a configuration file says; None where that is not
    known, and for an option, of which the user may expect either."""
    if not isinstance(value, Sym):
        return None
    stated = value.fallback if value.default is None or not value.fixed else value.default
    if stated is not None:
        return bool(stated.value) is arm
    known = _UNKNOWN if value.default is not None else _of(run, value.key, _DEPTH)
    return None if known is _UNKNOWN else bool(known) is arm


def computed(run: Run, value: Sym, parts: Iterable[Value]) -> Sym:
    """A value made of others, with what it is where those are not set."""
    note(run, parts)
    known = _of(run, value.key, _DEPTH)
    value.fallback = None if known is _UNKNOWN else Const(known)
    return value


def _of(run: Run, key: Hashable, depth: int) -> Any:
    if key in run.fallbacks:
        return run.fallbacks[key]
    if not isinstance(key, tuple) or len(key) not in (2, 3) or not depth:
        return _UNKNOWN
    if key[0] == "const":
        return key[-1] if len(key) == 3 else _UNKNOWN
    operands = key[2] if key[0] == "op" else key[1] if key[0] in _NARY else key[1:]
    values = [_of(run, each, depth - 1) for each in operands] if isinstance(operands, tuple) else []
    if key[:2] == ("op", "%") and len(values) == 2 and values[1] == 1:
        return 0
    if key[0] == "or":
        known = [each for each in values if each is not _UNKNOWN]
        return next(filter(None, known), known[-1] if values and values[-1] is not _UNKNOWN else _UNKNOWN)
    if key[0] == "and" and any(each is not _UNKNOWN and not each for each in values):
        return False
    if _UNKNOWN in values or not values:
        return _UNKNOWN
    return _computed(key[0], values)


_NARY = frozenset({"and", "or", "max"})
_COMPARES = frozenset({"==", "<", ">", "<=", ">="})


def _computed(op: Hashable, values: list[Any]) -> Any:
    first, second = values[0], values[-1]
    if op == "number":
        try:
            return float(first) if isinstance(first, str) else first
        except ValueError:
            return _UNKNOWN
    if op == "not":
        return not first
    if op == "and":
        return second
    if isinstance(op, str) and op in _COMPARES:
        answer = comparisons.constants(op, first, second)
        return _UNKNOWN if answer is None else answer
    return first if op == "max" and all(each == first for each in values) else _UNKNOWN
