"""The classes of representative modules, and what the user's code asks of them: `isinstance(module, nn.LayerNorm)`,
`type(module) is nn.Linear`, `module.__class__.__name__.endswith("Norm")`."""

from __future__ import annotations

from dataclasses import dataclass

from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.keys import compound
from lora_lint.interpreter.parameter_values import Element
from lora_lint.interpreter.values import Const, LibRef, SeqVal, Sym, Value, key_of
from lora_lint.lifecycle.vocabulary import Part, Tri

_ENDS = {
    Part.NORM: ("Norm",),
    Part.EMBED: ("Embedding",),
    Part.BASE: ("Linear", "Conv1D"),
    Part.HEAD: ("Linear",),
    Part.ADAPTER: ("Linear", "LoraLayer", "BaseTunerLayer"),
}
_OF_ADAPTERS = frozenset({"LoraLayer", "BaseTunerLayer", "LoraModel"})
_LOWERED = frozenset({"lower", "casefold"})


@dataclass(slots=True, eq=False)
class ModuleClass(Sym):
    """The class of a representative module."""

    element: Element | None = None


@dataclass(slots=True, eq=False)
class ClassName(Sym):
    """The name of that class. lowered: in small letters."""

    element: Element | None = None
    lowered: bool = False


def of(element: Element) -> ModuleClass:
    """`module.__class__`, `type(module)`."""
    found = ModuleClass(("element-class", element.name), "", element=element)
    found.attrs["__name__"] = ClassName(("element-class-name", element.name), "", element=element)
    return found


def is_a(element: Element, type_name: str) -> Tri:
    """isinstance(element, type) for representative modules."""
    last = type_name.rsplit(".", 1)[-1]
    if last in ("Parameter", "Tensor"):
        return Tri.of(not element.module)
    if not element.module or element.extra:
        return Tri.UNKNOWN
    if last in _OF_ADAPTERS:
        return Tri.of(element.part is Part.ADAPTER or None)
    if any(last.endswith(word) for word in _ENDS.get(element.part, ())):
        return Tri.YES
    return Tri.NO if _known(last) or "Conv" in last or "BatchNorm" in last else Tri.UNKNOWN


def _known(type_name: str) -> bool:
    """Whether a class is one of those that some representative stands for."""
    return any(type_name.endswith(word) for words in _ENDS.values() for word in words)


def compared(op: str, left: Value, right: Value) -> Tri:
    """`type(module) is nn.LayerNorm`, `name in ("LlamaRMSNorm", …)`, `"Norm" in name`, either way round."""
    if op == "in" and isinstance(left, Const) and isinstance(right, ClassName):
        return _named(right, left)
    if op == "in" and isinstance(right, SeqVal) and not right.open:
        return _any([compared("==", left, item) for item in right.items])
    for one, other in ((left, right), (right, left)) if op in ("==", "is") else ():
        if isinstance(one, ModuleClass) and isinstance(other, LibRef) and one.element is not None:
            return _exactly(one.element, other.name)
        if isinstance(one, ClassName) and isinstance(other, Const):
            return _named(one, other, whole=True)
    return Tri.UNKNOWN


def _exactly(element: Element, type_name: str) -> Tri:
    """Whether a module is of this very class. One of an adapter's layers stands for the layer around it, too."""
    return Tri.UNKNOWN if type_name.rsplit(".", 1)[-1] in _OF_ADAPTERS else is_a(element, type_name)


def _named(name: ClassName, text: Const, whole: bool = False) -> Tri:
    """Whether the name of a class is, ends with or has in it a text: the class of a norm ends in "Norm", whatever the
    model's family calls it."""
    if name.element is None or not isinstance(text.value, str) or not text.value:
        return Tri.UNKNOWN
    wanted = text.value
    if name.lowered and not whole:
        words = {word for ends in _ENDS.values() for word in ends}
        wanted = next((wanted[: -len(w)] + w for w in words if wanted.endswith(w.lower())), wanted)
    if _known(name.element.extra) and _known(wanted):
        return Tri.NO  # it stands for what bears this text as its own name, but that is one of the classes asked for
    return _exactly(name.element, wanted)


def method(name: Sym, called: str, args: Args) -> Value | None:
    """`name.endswith("Norm")`, `name.lower()` of the name of a class; None for everything else."""
    if not isinstance(name, ClassName):
        return None
    if called in _LOWERED:
        return ClassName(("lowered", name.key), "", element=name.element, lowered=True)
    ends = args.first()
    if called != "endswith" or ends is None:
        return None
    options = ends.items if isinstance(ends, SeqVal) else [ends]
    answer = _any([_named(name, option) if isinstance(option, Const) else Tri.UNKNOWN for option in options])
    if answer.known:
        return Const(answer.yes)
    return compound(("endswith", name.key, tuple(map(key_of, options))), [name])


def _any(answers: list[Tri]) -> Tri:
    if any(answer.yes for answer in answers):
        return Tri.YES
    return Tri.NO if all(answer.no for answer in answers) else Tri.UNKNOWN
