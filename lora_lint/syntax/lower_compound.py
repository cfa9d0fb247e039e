"""LibCST compound statements and lines of simple ones to IR. Ranges follow CPython's `ast`."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from lora_lint.syntax import endings, ir, iterators
from lora_lint.syntax.dispatch import lower, lower_statements, statement
from lora_lint.syntax.lower_expr import arguments, identifier, parameters
from lora_lint.syntax.lower_match import lower_match
from lora_lint.syntax.lower_simple import type_parameters
from lora_lint.syntax.positions import Cursor


@statement(cst.SimpleStatementLine)
def _line(at: Cursor, node: cst.SimpleStatementLine | cst.SimpleStatementSuite, out: list[ir.Stmt]) -> None:
    for small in node.body:
        out.extend(lower_statements(at, (small,)))
        if type(small.semicolon) is cst.Semicolon:
            at.token(1)


def _block(at: Cursor, suite: cst.BaseSuite) -> tuple[ir.Stmt, ...]:
    if isinstance(suite, cst.SimpleStatementSuite):
        out: list[ir.Stmt] = []
        _line(at, suite, out)
        return tuple(out)
    return lower_statements(at, suite.body)


def _suite(at: Cursor, suite: cst.BaseSuite) -> tuple[ir.Stmt, ...]:
    """The colon and the block after it."""
    at.token(1)
    return _block(at, suite)


@statement(cst.If)
def _if(at: Cursor, node: cst.If, out: list[ir.Stmt]) -> None:
    # A loop over the arms: an elif chain may be longer than Python's stack is deep.
    arms = []
    keyword = 2
    rest: cst.If | cst.Else | None = node
    while isinstance(rest, cst.If):
        start = at.skip()
        at.pos = start + keyword
        test = lower(at, rest.test)
        arms.append((start, test, _suite(at, rest.body)))
        rest, keyword = rest.orelse, 4
    orelse = _else(at, rest)
    for start, test, body in reversed(arms):
        orelse = (ir.If(at.loc(start), test, body, orelse),)
    out.extend(orelse)


def _else(at: Cursor, node: cst.Else | None) -> tuple[ir.Stmt, ...]:
    if node is None:
        return ()
    at.token(4)
    return _suite(at, node.body)


@statement(cst.For)
def _for(at: Cursor, node: cst.For, out: list[ir.Stmt]) -> None:
    start = at.skip()
    if node.asynchronous is not None:
        at.token(5)
    at.token(3)
    target = lower(at, node.target)
    at.token(2)
    iterated = lower(at, node.iter)
    body = _suite(at, node.body)
    orelse = _else(at, node.orelse)
    out.append(ir.For(at.loc(start), target, iterated, body, orelse))


@statement(cst.While)
def _while(at: Cursor, node: cst.While, out: list[ir.Stmt]) -> None:
    start = at.skip()
    at.pos = start + 5
    test = lower(at, node.test)
    body = _suite(at, node.body)
    orelse = _else(at, node.orelse)
    out.append(iterators.loop(at.loc(start), test, body, orelse))


@statement(cst.With)
def _with(at: Cursor, node: cst.With, out: list[ir.Stmt]) -> None:
    start = at.skip()
    if node.asynchronous is not None:
        at.token(5)
    at.token(4)
    parenthesised = isinstance(node.lpar, cst.LeftParen)
    if parenthesised:
        at.token(1)
    items = tuple(_with_item(at, item) for item in node.items)
    if parenthesised:
        at.token(1)
    body = _suite(at, node.body)
    out.append(ir.With(at.loc(start), items, body))


def _with_item(at: Cursor, node: cst.WithItem) -> ir.WithItem:
    value = lower(at, node.item)
    target = None
    if node.asname is not None:
        at.token(2)
        target = lower(at, node.asname.name)
    at.optional(",")
    return ir.WithItem((*value.loc[:2], *(target or value).loc[2:]), value, target)


@statement(cst.Try, cst.TryStar)
def _try(at: Cursor, node: cst.Try | cst.TryStar, out: list[ir.Stmt]) -> None:
    start = at.skip()
    at.pos = start + 3
    body = _suite(at, node.body)
    handlers = tuple(_except(at, handler) for handler in node.handlers)
    orelse = _else(at, node.orelse)
    final: tuple[ir.Stmt, ...] = ()
    if node.finalbody is not None:
        at.token(7)
        final = _suite(at, node.finalbody.body)
    out.append(ir.Try(at.loc(start), body, handlers, orelse, final))


def _except(at: Cursor, node: cst.ExceptHandler | cst.ExceptStarHandler) -> ir.Handler:
    start = at.skip()
    at.pos = start + 6
    if isinstance(node, cst.ExceptStarHandler):
        at.token(1)
    kind = None if node.type is None else lower(at, node.type)
    name = None
    if node.name is not None and isinstance(node.name.name, cst.Name):
        at.token(2)
        name = identifier(at, node.name.name)
    body = _suite(at, node.body)
    return ir.Handler(at.loc(start), kind, name, body)


@statement(cst.Match)
def _match(at: Cursor, node: cst.Match, out: list[ir.Stmt]) -> None:
    out.append(lower_match(at, node, _block))


@statement(cst.FunctionDef)
def _function(at: Cursor, node: cst.FunctionDef, out: list[ir.Stmt]) -> None:
    decorators = _decorators(at, node.decorators)
    start = at.skip()
    if node.asynchronous is not None:
        at.token(5)
    at.token(3)
    name = identifier(at, node.name)
    type_parameters(at, node.type_parameters)
    at.token(1)
    params = parameters(at, node.params)
    at.token(1)
    returns = None
    if node.returns is not None:
        at.token(2)
        returns = lower(at, node.returns.annotation)
    outer, at.yields = at.yields, False
    body = _suite(at, node.body)
    generator, at.yields = at.yields, outer
    is_async = node.asynchronous is not None
    whole = endings.of_function(body)
    out.append(ir.FunctionDef(at.loc(start), name, params, whole, decorators, returns, is_async, generator))


@statement(cst.ClassDef)
def _class(at: Cursor, node: cst.ClassDef, out: list[ir.Stmt]) -> None:
    decorators = _decorators(at, node.decorators)
    start = at.skip()
    at.pos = start + 5
    name = identifier(at, node.name)
    type_parameters(at, node.type_parameters)
    bases: tuple[ir.Arg, ...] = ()
    if isinstance(node.lpar, cst.LeftParen):
        at.token(1)
        bases = arguments(at, [*node.bases, *node.keywords])
        at.token(1)
    body = _suite(at, node.body)
    out.append(ir.ClassDef(at.loc(start), name, bases, body, decorators))


def _decorators(at: Cursor, nodes: Sequence[cst.Decorator]) -> tuple[ir.Expr, ...]:
    found = []
    for node in nodes:
        at.token(1)
        found.append(lower(at, node.decorator))
    return tuple(found)
