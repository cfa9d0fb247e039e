"""The tables of handlers and the functions that use them.

Ranges follow CPython's `ast`: parentheses around an expression do not count, except those of a tuple and of a generator
expression.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, TypeVar

import libcst as cst

from lora_lint.syntax import ir
from lora_lint.syntax.positions import Cursor

_Handler = TypeVar("_Handler", bound=Callable[..., ir.Expr])
_StatementHandler = TypeVar("_StatementHandler", bound=Callable[..., None])

# Filled while the modules of handlers are imported, constant afterwards.
_HANDLERS: dict[type[cst.CSTNode], Callable[[Cursor, Any], ir.Expr]] = {}
_LINKS: dict[type[cst.CSTNode], Callable[[Cursor, Any, int, ir.Expr], ir.Expr]] = {}
_STATEMENTS: dict[type[cst.CSTNode], Callable[[Cursor, Any, list[ir.Stmt]], None]] = {}

# Nodes that begin with another expression, and how to reach it.
_LEFT: dict[type[cst.CSTNode], Callable[[Any], cst.BaseExpression]] = {
    cst.Attribute: attrgetter("value"),
    cst.Call: attrgetter("func"),
    cst.Subscript: attrgetter("value"),
    cst.BinaryOperation: attrgetter("left"),
    cst.BooleanOperation: attrgetter("left"),
}


class UnknownNodeError(Exception):
    """A LibCST node that this version of the lowering has no rule for."""


def newer(*names: str) -> tuple[type[Any], ...]:
    """Node types that only newer LibCST versions have: those of `names` that the installed one knows."""
    return tuple(getattr(cst, name) for name in names if hasattr(cst, name))


def expression(*kinds: type[cst.CSTNode]) -> Callable[[_Handler], _Handler]:
    """Register a handler `(cursor, node) -> Expr` for these node types."""

    def register(handler: _Handler) -> _Handler:
        _HANDLERS.update(dict.fromkeys(kinds, handler))
        return handler

    return register


def link(kind: type[cst.CSTNode]) -> Callable[[_Handler], _Handler]:
    """Register a handler `(cursor, node, start, left) -> Expr` for what follows the left operand of such a node."""

    def register(handler: _Handler) -> _Handler:
        _LINKS[kind] = handler
        return handler

    return register


def statement(*kinds: type[cst.CSTNode]) -> Callable[[_StatementHandler], _StatementHandler]:
    """Register a handler `(cursor, node, out)` that appends to `out` the statements its node becomes."""

    def register(handler: _StatementHandler) -> _StatementHandler:
        _STATEMENTS.update(dict.fromkeys(kinds, handler))
        return handler

    return register


def lower(at: Cursor, node: cst.BaseExpression) -> ir.Expr:
    """The IR of one expression, parentheses included; the cursor ends after its last token.

    Left-nested chains (`a + b + …`, `a.b().c…`) are unrolled, since they may be thousands of links long.
    UnknownNodeError: there is no handler.
    """
    kind = type(node)
    if kind not in _LEFT:
        return _parenthesised(at, node) if node.lpar else _handler(kind)(at, node)
    links: list[tuple[Any, int]] = []
    while kind in _LEFT:
        for _ in node.lpar:
            at.token(1)
        links.append((node, at.skip()))
        node = _LEFT[kind](node)
        kind = type(node)
    result = _parenthesised(at, node) if node.lpar else _handler(kind)(at, node)
    while links:
        node, start = links.pop()
        result = _LINKS[type(node)](at, node, start, result)
        for _ in node.rpar:
            at.token(1)
    return result


def _handler(kind: type[cst.CSTNode]) -> Callable[[Cursor, Any], ir.Expr]:
    try:
        return _HANDLERS[kind]
    except KeyError:
        raise UnknownNodeError(kind.__name__) from None


def _parenthesised(at: Cursor, node: cst.BaseExpression) -> ir.Expr:
    for _ in node.lpar:
        at.token(1)
    inner = at.pos - 1
    result = _handler(type(node))(at, node)
    at.token(1)
    if type(node) is cst.Tuple or type(node) is cst.GeneratorExp:
        result.loc = at.loc(inner)
    for _ in node.rpar[1:]:
        at.token(1)
    return result


def lower_statements(at: Cursor, nodes: Sequence[cst.CSTNode]) -> tuple[ir.Stmt, ...]:
    """The IR of consecutive statements; the cursor ends after the last token. UnknownNodeError: there is no handler."""
    out: list[ir.Stmt] = []
    for node in nodes:
        try:
            handler = _STATEMENTS[type(node)]
        except KeyError:
            raise UnknownNodeError(type(node).__name__) from None
        handler(at, node, out)
    return tuple(out)
