"""The intermediate representation: what the interpreter sees of a program, free of any syntax tree.

Both front ends lower to these nodes. Every node carries `loc`, a tuple (line, column, end_line, end_column): lines and
columns from 1, columns in code points, end exclusive. Parentheses and comments are not part of a node's range. A
statement's range starts at its first keyword or expression (decorators excluded) and ends at its last token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

Loc = tuple[int, int, int, int]


@dataclass(slots=True, eq=False)
class Node:
    """Base of all nodes."""

    loc: Loc


# --- expressions ------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Const(Node):
    """A literal: None, bool, int, float, complex, str, bytes or Ellipsis. Adjacent strings are joined."""

    value: object


@dataclass(slots=True, eq=False)
class Name(Node):
    """A name that is read (or bound, as a target)."""

    id: str


@dataclass(slots=True, eq=False)
class Attr(Node):
    """`value.name`."""

    value: Expr
    name: str


@dataclass(slots=True, eq=False)
class Item(Node):
    """`value[index]`."""

    value: Expr
    index: Expr


@dataclass(slots=True, eq=False)
class Slice(Node):
    """`lower:upper:step` inside an Item."""

    lower: Expr | None
    upper: Expr | None
    step: Expr | None


@dataclass(slots=True, eq=False)
class Arg(Node):
    """One argument: `name` for keywords, `star` 1 for `*value`, 2 for `**value`."""

    name: str | None
    value: Expr
    star: int = 0


@dataclass(slots=True, eq=False)
class Call(Node):
    """`func(args)`, arguments in source order."""

    func: Expr
    args: tuple[Arg, ...]


@dataclass(slots=True, eq=False)
class Op(Node):
    """Everything else with operands.

    op: "and" "or" "not" "+" "-" … (binary), "u-" "u+" "u~" (unary), "==" "!=" "<" "in" "not in" "is" "is not" …
    (a chain `a < b < c` becomes "and" of comparisons), "fstring" (texts and embedded expressions in order), "await", "yield",
    "yield from", "format" (t-strings and whatever a front end does not know, with the sub-expressions it has).
    """

    op: str
    operands: tuple[Expr, ...]


@dataclass(slots=True, eq=False)
class Star(Node):
    """`*value` in a display or target."""

    value: Expr


@dataclass(slots=True, eq=False)
class Seq(Node):
    """A tuple, list or set display. kind: "tuple" | "list" | "set"."""

    kind: str
    items: tuple[Expr, ...]


@dataclass(slots=True, eq=False)
class Mapping(Node):
    """A dict display; a pair with key None is `**value`."""

    pairs: tuple[tuple[Expr | None, Expr], ...]


@dataclass(slots=True, eq=False)
class Cond(Node):
    """`body if test else orelse`."""

    test: Expr
    body: Expr
    orelse: Expr


@dataclass(slots=True, eq=False)
class Lambda(Node):
    """`lambda params: body`."""

    params: tuple[Param, ...]
    body: Expr


@dataclass(slots=True, eq=False)
class Clause(Node):
    """`for target in iter if conditions` of a comprehension."""

    target: Expr
    iter: Expr
    conditions: tuple[Expr, ...]


@dataclass(slots=True, eq=False)
class Comp(Node):
    """A comprehension. kind: "list" | "set" | "dict" | "generator"; `key` only for dicts."""

    kind: str
    key: Expr | None
    element: Expr
    clauses: tuple[Clause, ...]


@dataclass(slots=True, eq=False)
class Walrus(Node):
    """`target := value`."""

    target: Expr
    value: Expr


Expr = Union[Const, Name, Attr, Item, Slice, Call, Op, Star, Seq, Mapping, Cond, Lambda, Comp, Walrus]

# --- statements -------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class ExprStmt(Node):
    """An expression on its own."""

    value: Expr


@dataclass(slots=True, eq=False)
class Assign(Node):
    """`a = b = value` (two targets) or `a: annotation = value` (value None without `=`)."""

    targets: tuple[Expr, ...]
    value: Expr | None
    annotation: Expr | None = None


@dataclass(slots=True, eq=False)
class AugAssign(Node):
    """`target op= value`; op without the `=`."""

    target: Expr
    op: str
    value: Expr


@dataclass(slots=True, eq=False)
class Delete(Node):
    """`del targets`."""

    targets: tuple[Expr, ...]


@dataclass(slots=True, eq=False)
class Assert(Node):
    """`assert test`."""

    test: Expr


@dataclass(slots=True, eq=False)
class If(Node):
    """`if test: body else: orelse`; elif is an If alone in `orelse`. A match statement becomes a chain of Ifs whose
    tests are `==` for literal patterns and Op("match", (subject,)) for others."""

    test: Expr
    body: tuple[Stmt, ...]
    orelse: tuple[Stmt, ...]


@dataclass(slots=True, eq=False)
class For(Node):
    """`for target in iter: body else: orelse`."""

    target: Expr
    iter: Expr
    body: tuple[Stmt, ...]
    orelse: tuple[Stmt, ...]


@dataclass(slots=True, eq=False)
class While(Node):
    """`while test: body else: orelse`."""

    test: Expr
    body: tuple[Stmt, ...]
    orelse: tuple[Stmt, ...]


@dataclass(slots=True, eq=False)
class WithItem(Node):
    """`value as target` of a with statement."""

    value: Expr
    target: Expr | None


@dataclass(slots=True, eq=False)
class With(Node):
    """`with items: body`."""

    items: tuple[WithItem, ...]
    body: tuple[Stmt, ...]


@dataclass(slots=True, eq=False)
class Handler(Node):
    """`except type as name: body`."""

    type: Expr | None
    name: str | None
    body: tuple[Stmt, ...]


@dataclass(slots=True, eq=False)
class Try(Node):
    """`try … except … else … finally …`."""

    body: tuple[Stmt, ...]
    handlers: tuple[Handler, ...]
    orelse: tuple[Stmt, ...]
    final: tuple[Stmt, ...]


@dataclass(slots=True, eq=False)
class Param(Node):
    """A parameter. kind: "positional" (positional-only), "normal", "keyword" (keyword-only), "*", "**"."""

    name: str
    kind: str
    default: Expr | None
    annotation: Expr | None


@dataclass(slots=True, eq=False)
class FunctionDef(Node):
    """A def, async or not. `generator` is True when its own body yields."""

    name: str
    params: tuple[Param, ...]
    body: tuple[Stmt, ...]
    decorators: tuple[Expr, ...]
    returns: Expr | None
    is_async: bool
    generator: bool


@dataclass(slots=True, eq=False)
class ClassDef(Node):
    """A class; `bases` holds positional and keyword arguments of the class statement."""

    name: str
    bases: tuple[Arg, ...]
    body: tuple[Stmt, ...]
    decorators: tuple[Expr, ...]


@dataclass(slots=True, eq=False)
class Return(Node):
    """`return value`."""

    value: Expr | None


@dataclass(slots=True, eq=False)
class Raise(Node):
    """`raise value`."""

    value: Expr | None


@dataclass(slots=True, eq=False)
class Jump(Node):
    """kind: "break" | "continue" | "pass"."""

    kind: str


@dataclass(slots=True, eq=False)
class Import(Node):
    """`import a.b as c` (names None) or `from ..module import x as y, *`.

    module: dotted name, "" for `from . import x`. level: number of leading dots. names: pairs (name, bound name) or
    None; `("*", "*")` for a star. alias: the bound name of a plain import, None without `as`.
    """

    module: str
    level: int
    names: tuple[tuple[str, str], ...] | None
    alias: str | None


@dataclass(slots=True, eq=False)
class Scope(Node):
    """`global names` or `nonlocal names`."""

    kind: str
    names: tuple[str, ...]


Stmt = Union[
    ExprStmt,
    Assign,
    AugAssign,
    Delete,
    Assert,
    If,
    For,
    While,
    With,
    Try,
    FunctionDef,
    ClassDef,
    Return,
    Raise,
    Jump,
    Import,
    Scope,
]


@dataclass(slots=True, eq=False)
class Module:
    """One file (or the code cells of one notebook) lowered. put_aside: variables that calls in comments get."""

    path: str
    body: tuple[Stmt, ...]
    put_aside: frozenset[str] = frozenset()
