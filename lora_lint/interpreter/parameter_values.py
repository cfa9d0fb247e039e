"""Abstract values that stand for parameters and modules of a model: iterators over them, collections, single ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lora_lint.interpreter.values import Const, Scope, Sym, Value
from lora_lint.lifecycle.captures import Capture
from lora_lint.lifecycle.heap import Adapter, Obj
from lora_lint.lifecycle.vocabulary import Part
from lora_lint.location import Location

if TYPE_CHECKING:
    from lora_lint.syntax import ir

# The key under which a dict from names to parameters holds all of them.
PARAMETERS = ("unknown", "params")


@dataclass(slots=True, eq=False)
class ParamName(Const):
    """The name of a representative parameter. prefixes: what each wrapper put before it, outermost first. whole, cut: of a
    part of a name, the name, and how the part was taken out of it."""

    prefixes: tuple[str, ...] = ()
    whole: ParamName | None = None
    cut: Callable[[str], object] | None = None

    def part(self, value: str, cut: Callable[[Any], object]) -> ParamName:
        """What is taken out of this name, or out of this part of one."""
        before = self.cut
        return ParamName(value, (), self.whole or self, cut if before is None else lambda text: cut(before(text)))


@dataclass(slots=True, eq=False)
class ParamIter:
    """`model.parameters()` and its kin, lazily evaluated as in torch: what it holds is decided when it is consumed.

    parts: restriction to some parts (None for all). keep: a filter not evaluated yet (comprehension or `filter`). extras,
    inside: see Capture. listed: the only ones of them, where a list of some is gone over. perhaps: parts that a slice may
    have cut off. since: of a list that a loop filled, how many events there were before.
    """

    model: Obj
    named: bool = False
    modules: bool = False
    parts: frozenset[Part] | None = None
    keep: LazyFilter | None = None
    collected: Location | None = None
    extras: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()
    listed: tuple[Element, ...] | None = None
    perhaps: frozenset[Part] = frozenset()
    since: int | None = None


@dataclass(slots=True, eq=False)
class LazyFilter:
    """A filter over parameters: a comprehension with its scope, or a predicate function."""

    comp: ir.Comp | None
    scope: Scope | None
    predicate: Value = None


@dataclass(slots=True, eq=False)
class ParamSet:
    """Parameters (or modules) that were collected into a list (or consumed by an optimizer). named: each with its name.
    perhaps: of a slice that leaves out a few at one end, the parts that those may belong to; None for all other lists.
    group_of: the optimizer whose list it is."""

    captures: list[Capture]
    named: bool = False
    modules: bool = False
    perhaps: frozenset[Part] | None = None
    group_of: Obj | None = None


@dataclass(slots=True, eq=False)
class Element:
    """One representative parameter or module while a loop runs over `parameters()` or `modules()`."""

    model: Obj
    part: Part
    name: str
    module: bool = False
    shape: str = ""  # "matrix" | "vector"
    extra: str = ""  # a name from the user's own conditions that no other representative bears
    adapter: Adapter | None = None  # the adapter it belongs to
    doubt: bool = False  # in a list: whether it certainly was put there is not known
    prefixes: tuple[str, ...] = ()  # what attributes and wrappers put before the names of its model, outermost first


def among(wanted: Const, items: list[Value]) -> bool | None:
    """Whether a constant is in a list of constants. Among the parts of a parameter's name the number of a block is unknown,
    but a number."""
    known = [item for item in items if isinstance(item, Const)]
    numbers = [i for i in items if isinstance(i, Sym) and isinstance(i.key, tuple) and i.key[:1] == ("block",)]
    if any(item.value == wanted.value for item in known):
        return True
    sure = not numbers or not str(wanted.value).isdigit()
    return False if sure and len(known) + len(numbers) == len(items) else None
