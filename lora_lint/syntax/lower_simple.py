"""LibCST simple statements (those without a block) to IR. Ranges follow CPython's `ast`."""

from __future__ import annotations

import libcst as cst

from lora_lint.syntax import ir
from lora_lint.syntax.dispatch import UnknownNodeError, lower, newer, statement
from lora_lint.syntax.lower_display import elements
from lora_lint.syntax.lower_expr import BINARY, identifier
from lora_lint.syntax.positions import Cursor

# --- simple statements ------------------------------------------------------------------------------------------------


@statement(cst.Expr)
def _expression_statement(at: Cursor, node: cst.Expr, out: list[ir.Stmt]) -> None:
    start = at.skip()
    value = lower(at, node.value)
    out.append(ir.ExprStmt(at.loc(start), value))


@statement(cst.Assign)
def _assign(at: Cursor, node: cst.Assign, out: list[ir.Stmt]) -> None:
    start = at.skip()
    targets = []
    for target in node.targets:
        targets.append(lower(at, target.target))
        at.token(1)
    value = lower(at, node.value)
    out.append(ir.Assign(at.loc(start), tuple(targets), value))


@statement(cst.AnnAssign)
def _annotated(at: Cursor, node: cst.AnnAssign, out: list[ir.Stmt]) -> None:
    start = at.skip()
    target = lower(at, node.target)
    at.token(1)
    annotation = lower(at, node.annotation.annotation)
    value = None
    if node.value is not None:
        at.token(1)
        value = lower(at, node.value)
    out.append(ir.Assign(at.loc(start), (target,), value, annotation))


_AUGMENTED: dict[type[cst.CSTNode], str] = {
    getattr(cst, f"{operator.__name__}Assign"): symbol for operator, symbol in BINARY.items()
}


@statement(cst.AugAssign)
def _augmented(at: Cursor, node: cst.AugAssign, out: list[ir.Stmt]) -> None:
    start = at.skip()
    op = _AUGMENTED[type(node.operator)]
    target = lower(at, node.target)
    at.token(len(op) + 1)
    value = lower(at, node.value)
    out.append(ir.AugAssign(at.loc(start), target, op, value))


@statement(cst.Del)
def _delete(at: Cursor, node: cst.Del, out: list[ir.Stmt]) -> None:
    start = at.skip()
    at.pos = start + 3
    if isinstance(node.target, cst.Tuple) and not node.target.lpar:
        targets = elements(at, node.target.elements)
    else:
        targets = (lower(at, node.target),)
    out.append(ir.Delete(at.loc(start), targets))


@statement(cst.Assert)
def _assert(at: Cursor, node: cst.Assert, out: list[ir.Stmt]) -> None:
    start = at.skip()
    at.pos = start + 6
    test = lower(at, node.test)
    if node.msg is not None:
        at.token(1)
        lower(at, node.msg)
    out.append(ir.Assert(at.loc(start), test))


@statement(cst.Return)
def _return(at: Cursor, node: cst.Return, out: list[ir.Stmt]) -> None:
    start = at.skip()
    at.pos = start + 6
    value = None if node.value is None else lower(at, node.value)
    out.append(ir.Return(at.loc(start), value))


@statement(cst.Raise)
def _raise(at: Cursor, node: cst.Raise, out: list[ir.Stmt]) -> None:
    start = at.skip()
    at.pos = start + 5
    value = None if node.exc is None else lower(at, node.exc)
    if node.cause is not None:
        at.token(4)
        lower(at, node.cause.item)
    out.append(ir.Raise(at.loc(start), value))


@statement(cst.Pass, cst.Break, cst.Continue)
def _jump(at: Cursor, node: cst.Pass | cst.Break | cst.Continue, out: list[ir.Stmt]) -> None:
    kind = type(node).__name__.lower()
    start = at.skip()
    at.pos = start + len(kind)
    out.append(ir.Jump(at.loc(start), kind))


@statement(cst.Global, cst.Nonlocal)
def _scope(at: Cursor, node: cst.Global | cst.Nonlocal, out: list[ir.Stmt]) -> None:
    kind = type(node).__name__.lower()
    start = at.skip()
    at.pos = start + len(kind)
    names = []
    for item in node.names:
        names.append(identifier(at, item.name))
        at.optional(",")
    out.append(ir.Scope(at.loc(start), kind, tuple(names)))


@statement(cst.TypeAlias)
def _type_alias(at: Cursor, node: cst.TypeAlias, out: list[ir.Stmt]) -> None:
    start = at.skip()
    at.pos = start + 4
    target = lower(at, node.name)
    type_parameters(at, node.type_parameters)
    at.token(1)
    value = lower(at, node.value)
    out.append(ir.Assign(at.loc(start), (target,), value))


# --- imports ----------------------------------------------------------------------------------------------------------


_LAZY_IMPORT = newer("LazyImport")  # Python 3.15
_LAZY_FROM = newer("LazyImportFrom")


@statement(cst.Import, *_LAZY_IMPORT)
def _import(at: Cursor, node: cst.Import, out: list[ir.Stmt]) -> None:
    start = at.skip()
    if isinstance(node, _LAZY_IMPORT):
        at.token(4)
    at.token(6)
    found = [_alias(at, alias) for alias in node.names]
    loc = at.loc(start)
    out.extend(ir.Import(loc, module, 0, None, alias) for module, alias in found)


@statement(cst.ImportFrom, *_LAZY_FROM)
def _import_from(at: Cursor, node: cst.ImportFrom, out: list[ir.Stmt]) -> None:
    start = at.skip()
    if isinstance(node, _LAZY_FROM):
        at.token(4)
    at.token(4)
    for _ in node.relative:
        at.token(1)
    module = "" if node.module is None else _dotted(at, node.module)
    at.token(6)
    at.optional("(")
    names = []
    if isinstance(node.names, cst.ImportStar):
        at.token(1)
        names.append(("*", "*"))
    else:
        for node_alias in node.names:
            name, alias = _alias(at, node_alias)
            names.append((name, alias or name))
    at.optional(")")
    out.append(ir.Import(at.loc(start), module, len(node.relative), tuple(names), None))


def _alias(at: Cursor, node: cst.ImportAlias) -> tuple[str, str | None]:
    name = _dotted(at, node.name)
    alias = None
    if node.asname is not None and isinstance(node.asname.name, cst.Name):
        at.token(2)
        alias = identifier(at, node.asname.name)
    at.optional(",")
    return name, alias


def _dotted(at: Cursor, node: cst.Attribute | cst.Name) -> str:
    attributes: list[cst.Name] = []
    base: cst.BaseExpression = node
    while isinstance(base, cst.Attribute):
        attributes.append(base.attr)
        base = base.value
    if not isinstance(base, cst.Name):
        raise UnknownNodeError(type(base).__name__)
    parts = [identifier(at, base)]
    for attribute in reversed(attributes):
        at.token(1)
        parts.append(identifier(at, attribute))
    return ".".join(parts)


# --- type parameters --------------------------------------------------------------------------------------------------


def type_parameters(at: Cursor, node: cst.TypeParameters | None) -> None:
    """Step over the brackets of a generic definition: the interpreter has no use for type variables."""
    if node is None:
        return
    at.token(1)
    for item in node.params:
        param = item.param
        if isinstance(param, cst.TypeVarTuple):
            at.token(1)
        elif isinstance(param, cst.ParamSpec):
            at.token(2)
        identifier(at, param.name)
        if isinstance(param, cst.TypeVar) and param.bound is not None:
            at.token(1)
            lower(at, param.bound)
        if item.default is not None:
            at.token(1)
            at.token(len(item.star))
            lower(at, item.default)
        at.optional(",")
    at.token(1)
