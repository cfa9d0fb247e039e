"""Abstract values of the interpreted program. Objects with a lifecycle are `lifecycle.heap.Obj`, tensors are
`lifecycle.trace.Tensor`; the rest is here."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lora_lint.interpreter.class_order import linear
from lora_lint.interpreter.turns import Turn
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.vocabulary import Kind
from lora_lint.location import Location

if TYPE_CHECKING:
    from lora_lint.interpreter.sharing import Variant
    from lora_lint.syntax import ir

Value = Any


@dataclass(slots=True, eq=False)
class Const:
    """A known Python constant."""

    value: object


@dataclass(slots=True, eq=False)
class Mutated(Const):
    """The None that a mutating method returns, as in `names.append("score")`. method: its name, place: the call."""

    method: str = ""
    place: Location | None = None
    receiver: str = ""
    argument: str = ""


@dataclass(slots=True, eq=False)
class Member(Const):
    """A member of an enum of the user. label: its name."""

    cls: ClassVal
    label: str


@dataclass(slots=True, eq=False)
class Sym:
    """An unknown value with an identity.

    key: equal keys are the same unknown value, so one condition takes one arm. default: what the user's own defaults
    (argparse, dataclass, parameter) make of it. attrs, items: children that were read, memoised so that their identity is
    stable. obj: the object it turned out to be, once used like one. data: comes out of a data loader. turn: for the counter of
    a loop, the turn it counts. size: how many parts its key is made of. fixed: the default is what holds in this project,
    anything else is another configuration of it. some: never None, as what `str` makes of it. option: the option of the command
    line it is: without one of this name there, it is the default. read_of: what it is an attribute of, and its name there:
    calling it is calling that method. fallback: what it is where nothing of its name is there (`fallbacks`). put: what was put
    under keys that are texts.
    """

    key: Hashable
    text: str = ""
    default: Const | None = None
    attrs: dict[str, Value] = field(default_factory=dict)
    obj: Obj | None = None
    data: bool = False
    annotation: str = ""
    size: int = 1
    loader: Obj | None = None  # the data loader it is a batch of, untouched since
    turn: Turn | None = None
    fixed: bool = False
    some: bool = False
    option: str = ""
    read_of: tuple[Value, str] | None = None
    fallback: Const | None = None
    put: dict[str, Value] | None = None


@dataclass(slots=True, eq=False)
class Setting(Const):
    """A value from a configuration file, or the default of an option where that holds. As a condition it is `symbol`: both
    arms are followed. Code that a file switches off is there for other configurations: such an arm can refute a finding,
    but make none."""

    symbol: Sym = field(default_factory=lambda: Sym(None))

    @property
    def by_default(self) -> bool:
        """Whether it is only the default of an option, not what a file says."""
        return not self.symbol.fixed


@dataclass(slots=True, eq=False)
class Choice:
    """One of a few known values; which one is unknown."""

    values: tuple[Value, ...]


@dataclass(slots=True, eq=False)
class Planned(Choice):
    """What a plan has for the turns that come, one after the other: in the last of them all have come."""


@dataclass(slots=True, eq=False)
class LibRef:
    """A name of a library: module, class or function."""

    name: str


@dataclass(slots=True, eq=False)
class Scope:
    """Names of a module or of one call of a function; `parent` is the lexically enclosing scope."""

    names: dict[str, Value]
    module: ModuleVal
    parent: Scope | None = None
    globals_: set[str] = field(default_factory=set)
    nonlocals: set[str] = field(default_factory=set)
    of_class: bool = False  # the body of a class, in which its methods do not look names up

    def lookup(self, name: str) -> Value | None:
        """The value of a name here or further out, None when unbound."""
        scope: Scope | None = self.module.scope if name in self.globals_ else self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        return None

    def bind(self, name: str, value: Value) -> None:
        """Bind a name, minding global and nonlocal."""
        if name in self.globals_:
            self.module.scope.names[name] = value
            return
        if name in self.nonlocals:
            scope = self.parent
            while scope is not None:
                if name in scope.names:
                    scope.names[name] = value
                    return
                scope = scope.parent
        self.names[name] = value


class ModuleVal:
    """A module of the project. place: how many modules its run had before it. variant: what it is shared as, if it is."""

    __slots__ = ("name", "node", "path", "place", "scope", "started", "variant")

    def __init__(self, path: str, name: str, node: ir.Module) -> None:
        self.path = path
        self.name = name
        self.node = node
        self.place = 0
        self.started = False
        self.variant: Variant | None = None
        self.scope = Scope({}, self)


@dataclass(slots=True, eq=False)
class FuncVal:
    """A function or lambda of the user. contexts: context objects its decorators put around every call. setter: of a
    property. cached: a call with the same arguments gives the same result. preset: arguments that a partial method gives after
    the receiver. variants: of a function that dispatches on the class of its argument, the classes and their functions.
    attrs: what is written to it, as in `register.known = []`.
    """

    node: ir.FunctionDef | ir.Lambda
    scope: Scope
    owner: ClassVal | None = None
    contexts: tuple[tuple[Obj, Location, str], ...] = ()
    static: bool = False
    of_class: bool = False
    is_property: bool = False
    setter: FuncVal | None = None
    cached: bool = False
    defaults: dict[str, Value] = field(default_factory=dict)
    preset: tuple[tuple[str | None, Value], ...] = ()
    variants: list[tuple[Value, Value]] | None = None
    attrs: dict[str, Value] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name, "lambda" for lambdas."""
        return getattr(self.node, "name", "lambda")


@dataclass(slots=True, eq=False)
class ClassVal:
    """A class of the user. bases: ClassVal, LibRef or unknown values, in order."""

    node: ir.ClassDef
    scope: Scope
    bases: tuple[Value, ...]
    attrs: dict[str, Value]
    is_dataclass: bool = False
    _order: list[ClassVal] | None = field(default=None, init=False)

    def mro(self) -> list[ClassVal]:
        """This class and its user-defined bases, in the order of Python."""
        if self._order is None:
            self._order = linear(self, lambda cls: [base for base in cls.bases if isinstance(base, ClassVal)])
        return self._order

    def find(self, name: str) -> Value | None:
        """A class attribute, through user-defined bases."""
        for cls in self.mro():
            if name in cls.attrs:
                return cls.attrs[name]
        return None

    def library_base(self) -> str:
        """Qualified name of the nearest library base class, "" when there is none."""
        for cls in self.mro():
            for base in cls.bases:
                if isinstance(base, LibRef) and base.name not in ("abc.ABC", "typing.Generic", "builtins.object"):
                    return base.name
        return ""

    def library_bases(self) -> set[str]:
        """Qualified names of all library classes that it or its user-defined bases are made of."""
        return {base.name for cls in self.mro() for base in cls.bases if isinstance(base, LibRef)}

    def opaque(self) -> bool:
        """Whether a base is a class we cannot see."""
        return any(isinstance(base, Sym) for cls in self.mro() for base in cls.bases)


@dataclass(slots=True, eq=False)
class Bound:
    """A user function bound to an object."""

    func: FuncVal
    receiver: Value


@dataclass(slots=True, eq=False)
class LibMethod:
    """A method of a library object (or of a value we know by type), not called yet."""

    receiver: Value
    name: str
    receiver_expr: ir.Expr | None = None
    kept: Location | None = None  # the statement that bound it to a name


@dataclass(slots=True, eq=False)
class Partial:
    """functools.partial."""

    func: Value
    args: tuple[Value, ...]
    kwargs: dict[str, Value]


@dataclass(slots=True, eq=False)
class Super:
    """super() inside a method."""

    owner: ClassVal
    receiver: Value


@dataclass(slots=True, eq=False)
class SeqVal:
    """A list, tuple or set. open: there may be more items than these. grows: turns of a loop put more into it, and how many
    turns there are is unknown. born: the turn in which it was written down. whole: what is iterated here from end to end, with
    nothing left out, as by `enumerate(layers)`. spliced: the lists of modules of which all are among the items, as in
    `[model.embeddings, *model.encoder.layer]`."""

    kind: str
    items: list[Value]
    open: bool = False
    whole: Value | None = None
    spliced: tuple[Obj, ...] = ()
    grows: bool = False
    born: int | None = None


@dataclass(slots=True, eq=False)
class DictVal:
    """A dict with constant keys. open: there may be more. unpacked: for keyword arguments, what `**` took the others from,
    with the name of the variable. dotted: its items are read as attributes too. origin: the configuration file it is read
    from, and where it stands in there. factory: makes what a missing key gets, as in a defaultdict. listed: its items as
    a list, where those are known to go over modules. options: what more there may be comes from the command line alone.
    group_of: the optimizer whose parameters these are.
    keyed: it is open only because a loop over parameters put them under keys that are not known; all it holds is here."""

    items: dict[object, Value]
    open: bool = False
    unpacked: tuple[tuple[Value, str], ...] = ()
    dotted: bool = False
    origin: Hashable = None
    factory: Value = None
    listed: SeqVal | None = None
    options: bool = False
    group_of: Obj | None = None
    keyed: bool = False

    def forget(self, key: Value) -> None:
        """`del value[key]`: where the key is not known, some other one is gone."""
        if isinstance(key, Const) and isinstance(key.value, Hashable):
            self.items.pop(key.value, None)
        self.open, self.keyed = True, False


@dataclass(slots=True, eq=False)
class Generator:
    """A generator of the user, not run yet."""

    func: FuncVal
    args: list[tuple[str | None, Value]]


class Jump(Exception):
    """Control flow of the interpreted program: break, continue, raise, close (of a generator)."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Returned(Exception):
    """Return from a function of the interpreted program."""

    def __init__(self, value: Value) -> None:
        self.value = value


class OutOfBudget(Exception):
    """This path used up its steps; what was found so far stands."""


NONE = Const(None)


def is_none(value: Value) -> bool:
    """Whether a value is certainly None."""
    return isinstance(value, Const) and value.value is None


def is_slice(index: Value) -> bool:
    """Whether an index is `start:stop:step`, also where these are not known."""
    if isinstance(index, Const):
        return isinstance(index.value, slice)
    return isinstance(index, Sym) and isinstance(index.key, tuple) and index.key[:1] == ("slice",)


def constant(value: Value) -> object:
    """The Python constant behind a value, or NotImplemented when it is not one."""
    return value.value if isinstance(value, Const) else NotImplemented


def default_text(value: object) -> str:
    """The text that a value is, or is by the user's own default; "" for anything else."""
    known = value.default if isinstance(value, Sym) else value
    return known.value if isinstance(known, Const) and isinstance(known.value, str) else ""


def choices(value: Value) -> tuple[Value, ...]:
    """The possible values: those of a Choice, or the value itself."""
    return value.values if isinstance(value, Choice) else (value,)


def join(a: Value, b: Value) -> Value:
    """One value that stands for either of two."""
    if a is b:
        return a
    out: list[Value] = []
    for value in (*choices(a), *choices(b)):
        if not any(same(value, other) for other in out):
            out.append(value)
    if len(out) == 1:
        return out[0]
    # Each adapter config is remembered: which ones are applied refutes that they never are.
    too_many = len(out) > 6 and not all(isinstance(v, Obj) and v.kind is Kind.ADAPTER_CONFIG for v in out)
    if too_many or any(isinstance(value, (SeqVal, DictVal)) for value in out):
        return Sym(object(), "")
    return Choice(tuple(out))


def same(a: Value, b: Value) -> bool:
    """Whether two values are certainly the same."""
    if a is b:
        return True
    if isinstance(a, Const) and isinstance(b, Const):
        return type(a.value) is type(b.value) and a.value == b.value
    if isinstance(a, LibRef) and isinstance(b, LibRef):
        return a.name == b.name
    return isinstance(a, Sym) and isinstance(b, Sym) and a.key == b.key


# Longer lists are told apart by what they are, not by what is in them.
MAX_KEYED_ITEMS = 40


def key_of(value: Value) -> Hashable:
    """A hashable identity of a value: equal keys mean the same value."""
    if isinstance(value, Const):
        try:
            hash(value.value)
        except TypeError:
            return ("const", repr(value.value))
        return ("const", type(value.value).__name__, value.value)
    if isinstance(value, Sym):
        return value.key
    if isinstance(value, LibRef):
        return ("lib", value.name)
    if isinstance(value, Choice):
        return ("choice", id(value))
    if isinstance(value, SeqVal) and not value.open and len(value.items) <= MAX_KEYED_ITEMS:
        if all(isinstance(item, (Const, LibRef)) for item in value.items):
            return ("seq", value.kind, tuple(map(key_of, value.items)))
    return ("id", id(value))
