"""Reading the plain values that events and facts carry, without knowing how the interpreter represents them."""

from __future__ import annotations

from typing import Any

from lora_lint.lifecycle.trace import Tensor

MISSING: Any = object()


def literal(value: Any) -> Any:
    """The Python constant behind a value, MISSING when it is none (or the value was not given)."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return value.value if hasattr(value, "value") else MISSING


def by_default(value: Any) -> Any:
    """The Python constant behind a value or, where the user can set it, behind the user's own default for it; else MISSING."""
    return literal(getattr(value, "default", None) or value)


def option_of(value: Any) -> str:
    """The option of a command line whose default a value is, "" when it is none."""
    return str(getattr(getattr(value, "symbol", None), "option", ""))


def is_option(value: Any) -> bool:
    """Whether a value is only the default of an option: the code may well be written for others, too."""
    return getattr(value, "by_default", False) is True


def given(facts: dict[str, Any], name: str) -> bool:
    """Whether an argument was given, and not as None."""
    return name in facts and literal(facts[name]) is not None


def strings(value: Any) -> list[str] | None:
    """The strings of a list, tuple or set that is fully known; None otherwise."""
    items = getattr(value, "items", None)
    if not isinstance(items, list) or getattr(value, "open", False):
        return None
    found = [literal(item) for item in items]
    return found if all(isinstance(item, str) for item in found) else None


def read_off(value: Any) -> set[str]:
    """The strings of a list that the program read off a model, where a few names stand for all."""
    items = getattr(value, "items", None)
    return {literal(item) for item in items if hasattr(item, "prefixes")} if isinstance(items, list) else set()


def enum_member(value: Any) -> str | None:
    """The name of a string constant or of an enum member ("SEQ_CLS" for TaskType.SEQ_CLS); None when it is neither."""
    text = literal(value)
    if text is MISSING:
        text = getattr(value, "name", None) if type(value).__name__ == "LibRef" else None
    return text.rsplit(".", 1)[-1] if isinstance(text, str) else None


GAP = "\0"  # a part of a text that is not known


def text_of(value: Any) -> str | None:
    """A text, with a gap for each part that is not known; None when it is no text that was put together."""
    whole = literal(value)
    if isinstance(whole, str):
        return whole
    key = getattr(value, "key", None)
    if not isinstance(key, tuple) or len(key) != 2 or key[0] != "fstring":
        return None
    parts = (part[2] if isinstance(part, tuple) and len(part) == 3 and part[0] == "const" else GAP for part in key[1])
    return "".join(part if isinstance(part, str) else GAP for part in parts)


def tensors_in(row: Any) -> list[Tensor]:
    """The tensors of a row that a dataset returns, or of those that it is made of."""
    items = getattr(row, "items", ())
    parts = list(items.values()) if isinstance(items, dict) else items if isinstance(items, list) else [row]
    return [part for part in parts if isinstance(part, Tensor)]
