"""Facts of live objects in the form in which checks read them: `.value` for constants, `.items` for collections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A constant."""

    value: Any


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """A collection of constants."""

    items: list[Known]


def known(value: Any) -> Known | Items | None:
    """The value as a fact: None stays None, collections are unpacked, an enum is its value."""
    if value is None:
        return None
    if isinstance(value, (list, tuple, set, frozenset)):
        return Items([Known(item) for item in value])
    plain = getattr(value, "value", value)
    return Known(plain)
