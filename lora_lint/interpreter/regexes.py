"""Regular expressions of the user that can be tried: those whose matching takes no time to speak of."""

from __future__ import annotations

import re

from lora_lint.interpreter.values import Const, Value

_MAX_PATTERN = 300
_MAX_REPEATS = 5


def compiled(value: Value) -> re.Pattern[str] | None:
    """The pattern behind a constant, None when it is none or could be slow."""
    source = value.value if isinstance(value, Const) else None
    if isinstance(source, re.Pattern):
        return source
    if not isinstance(source, str) or len(source) > _MAX_PATTERN:
        return None
    if re.search(r"\)[*+{]", source) or len(re.findall(r"[*+{]", source)) > _MAX_REPEATS:
        return None
    try:
        return re.compile(source)
    except (re.error, OverflowError, RecursionError):
        return None
