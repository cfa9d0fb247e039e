"""Texts that are put together of known parts by `%` and `format`."""

from __future__ import annotations

import re

from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.keys import MAX_CONSTANT
from lora_lint.interpreter.values import Const, DictVal, SeqVal, Value

_UNKNOWN = object()
_PLAIN = (str, int, float)
# Templates whose widths are written down and small; others are of no use in names.
_PERCENT = re.compile(r"([^%]|%(\(\w+\))?[-+ 0#]?\d{0,2}(\.\d{1,2})?[a-zA-Z%])*", re.DOTALL)
_BRACES = re.compile(
    r"([^{}]|\{\{|\}\}|\{\w*(\[\w+\])?(![rsa])?(:[^{}\d]?\d{0,2}(\.\d{1,2})?[a-zA-Z]?)?\})*", re.DOTALL
)


def formatted(values: list[Value]) -> Const | None:
    """`"%s.%s" % (package, name)`; None where a part is not known, and for anything else."""
    text, given = values[0], _plain(values[-1])
    if len(values) != 2 or not isinstance(text, Const) or not isinstance(text.value, str) or given is _UNKNOWN:
        return None
    try:
        return _short(text.value % given) if _PERCENT.fullmatch(text.value) else None
    except (TypeError, ValueError, KeyError, OverflowError):
        return None


def filled(text: str, args: Args) -> Const | None:
    """`"{package}.{name}".format(…)` with keywords; None where a part is not known."""
    positional = [_plain(value) for value, _ in args.positional]
    named = {name: _plain(value) for name, (value, _) in args.keywords.items()}
    if args.open_positional or args.open_keywords or _UNKNOWN in positional or _UNKNOWN in named.values():
        return None
    try:
        return _short(text.format(*positional, **named)) if _BRACES.fullmatch(text) else None
    except (TypeError, ValueError, LookupError, AttributeError):
        return None


def _plain(value: Value) -> object:
    """What a value is for a text: a text, a number, a tuple or a dict of such."""
    if isinstance(value, Const):
        short = isinstance(value.value, _PLAIN) and (not isinstance(value.value, int) or abs(value.value) < 1e12)
        return value.value if short else _UNKNOWN
    if isinstance(value, SeqVal) and value.kind == "tuple" and not value.open:
        items = tuple(map(_plain, value.items))
        return items if _UNKNOWN not in items else _UNKNOWN
    if isinstance(value, DictVal) and not value.open:
        held = {key: _plain(item) for key, item in value.items.items()}
        return held if _UNKNOWN not in held.values() else _UNKNOWN
    return _UNKNOWN


def _short(text: str) -> Const | None:
    return Const(text) if len(text) <= MAX_CONSTANT else None
