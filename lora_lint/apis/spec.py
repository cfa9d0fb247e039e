"""What an API spec says: the parsed form of rules/apis/*.yaml. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Union

from lora_lint.lifecycle.vocabulary import Ev, Kind, Verb


@dataclass(frozen=True, slots=True)
class Ref:
    """`$name` or `$name.attr.attr`: a bound parameter, `$self`, `$class` or a name made by `new`/`call … as`."""

    name: str
    attrs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Derived:
    """`{derive: quantization, from: [$a, $b]}`: a fact computed from values by a function of the closed list."""

    function: str
    inputs: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Test:
    """A condition with three answers. op: set, unset, undecided, equals, adapted, quantized, user-defined, not, all, any, true."""

    op: str
    operands: tuple[Term, ...]


Term = Union[Ref, Derived, Test, str, int, float, bool, None]


@dataclass(frozen=True, slots=True)
class Effect:
    """One effect of a call.

    fields: verb-specific (see `lora_lint.apis.load`). when: condition, None for always. versions: library -> range in
    which the effect holds. unknown: what to do when the condition is unknown: "havoc" the model role or "skip".
    each: a Ref to a list parameter; the effect is repeated with `$item` bound.
    """

    verb: Verb | str
    fields: dict[str, Any] = field(default_factory=dict)
    event: Ev | None = None
    roles: dict[str, Term] = field(default_factory=dict)
    args: dict[str, Any] = field(default_factory=dict)
    when: Test | None = None
    versions: dict[str, str] = field(default_factory=dict)
    unknown: str = "havoc"
    each: Ref | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class CallSpec:
    """What a call does. name: "peft.get_peft_model", "torch.nn.Module.eval", "peft.LoraConfig" (construction).

    params: in their order. also: keyword parameters that only some releases take, with the range of those that do.
    home: class or module that defines it, where it is not found under its own name (delegation, mixins).
    """

    name: str
    params: tuple[str, ...]
    defaults: dict[str, Any]
    effects: tuple[Effect, ...]
    versions: dict[str, str]
    source: str
    place: str
    also: dict[str, str] = field(default_factory=dict)
    home: str = ""


@dataclass(frozen=True, slots=True)
class TypeSpec:
    """A library type. match: globs of class names that are of this type. pure: globs of methods without effect on any
    facet. changes: globs of methods that may change anything. computes, conforms: globs of methods of a tensor whose result is
    made of the values of their arguments, or takes from these its place, shape or type alone. folds: those that make a single
    number of it. attributes: name -> return
    form. protocol: what a framework does with an instance of a user subclass, the instance being `$self`.
    group: no class has this name, it stands for the classes that match. home: full name in the newest release, where
    that is another one. versions: releases that have it."""

    name: str
    bases: tuple[str, ...]
    kind: Kind | None
    match: tuple[str, ...]
    pure: tuple[str, ...]
    attributes: dict[str, Any]
    protocol: tuple[Effect, ...]
    changes: tuple[str, ...]
    place: str
    group: bool = False
    home: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    computes: tuple[str, ...] = ()
    conforms: tuple[str, ...] = ()
    folds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Override:
    """What the library passes to a method that users override: a parameter by name or place (after self, from 1).
    callers: the method of the library that passes it and those by which that one is called; none when several pass it."""

    method: str
    parameter: str
    place: int
    versions: dict[str, str]
    callers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Default:
    """What calls of a module without a spec of their own do. behaviour: "pure" (nothing), "propagate" (tensor in,
    tensor out), "numpy" (leaves autograd), "havoc" (anything)."""

    prefix: str
    behaviour: str
