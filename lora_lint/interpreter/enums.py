"""Members of the user's enums: constants that have the methods and properties of their class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lora_lint.interpreter.calls as calls
from lora_lint.interpreter.values import Bound, ClassVal, Const, FuncVal, Member, Value

if TYPE_CHECKING:
    from lora_lint.interpreter.run import Run
    from lora_lint.syntax import ir

_BASES = frozenset({"enum.Enum", "enum.StrEnum", "enum.IntEnum", "enum.Flag", "enum.IntFlag"})
_TEXTS = frozenset({"enum.StrEnum", "builtins.str"})


class Auto(Const):
    """What `enum.auto()` gives."""

    __slots__ = ()


def is_enum(cls: ClassVal) -> bool:
    """Whether a class of the user is an enum."""
    return not _BASES.isdisjoint(cls.library_bases())


def fill(cls: ClassVal) -> None:
    """Turn the constants in the body of an enum into its members. `auto()` counts on, or is the name in lower case."""
    texts = not _TEXTS.isdisjoint(cls.library_bases())
    last: object = 0
    for name, value in cls.attrs.items():
        if not isinstance(value, Const) or name.startswith("_"):
            continue
        counted = name.lower() if texts else last + 1 if isinstance(last, int) else name
        last = counted if isinstance(value, Auto) else value.value
        cls.attrs[name] = Member(last, cls, name)


def attribute(run: Run, member: Member, name: str, node: ir.Node) -> Value | None:
    """`member.name`; None for what the value of a member has."""
    if name in ("value", "_value_"):
        return Const(member.value)
    if name in ("name", "_name_"):
        return Const(member.label)
    found = member.cls.find(name)
    if isinstance(found, FuncVal):
        if found.is_property:
            return calls.call_function(run, found, [(None, member)], node)
        return found if found.static else Bound(found, member.cls if found.of_class else member)
    return found


def by_value(cls: ClassVal, value: Value) -> Member | None:
    """`Enum(value)`: the member with this value; None where that is not known."""
    members = [each for each in cls.attrs.values() if isinstance(each, Member)]
    if not isinstance(value, Const):
        return None
    return next((m for m in members if type(m.value) is type(value.value) and m.value == value.value), None)
