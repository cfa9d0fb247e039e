"""The fast front end: the tree of the running Python to IR, ten times as fast as the reference and equal to it.

What it does not lower (newer grammar, match statements, template strings) is left to the reference.
"""

from __future__ import annotations

import ast
import warnings
from typing import Any

from lora_lint.syntax import endings, ir, iterators
from lora_lint.syntax.ast_base import STATEMENTS, Lowering, NotForAstError, expression, optional, statements
from lora_lint.syntax.ast_expressions import OPERATORS, arguments, parameters
from lora_lint.syntax.comments import put_aside


def lower_with_ast(text: str, path: str) -> ir.Module | None:
    """The IR of a module, None when only the reference front end can tell what it is or what is wrong with it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
            return ir.Module(path, statements(Lowering(text), tree.body), put_aside(text))
    except (NotForAstError, SyntaxError, ValueError, IndexError, RecursionError, MemoryError):
        return None


# --- simple statements ------------------------------------------------------------------------------------------------


def _expression_statement(at: Lowering, node: ast.Expr, out: list[ir.Stmt]) -> None:
    out.append(ir.ExprStmt(at.loc(node), expression(at, node.value)))


def _assign(at: Lowering, node: ast.Assign, out: list[ir.Stmt]) -> None:
    targets = tuple([expression(at, target) for target in node.targets])
    out.append(ir.Assign(at.loc(node), targets, expression(at, node.value)))


def _annotated(at: Lowering, node: ast.AnnAssign, out: list[ir.Stmt]) -> None:
    target = expression(at, node.target)
    annotation = expression(at, node.annotation)
    out.append(ir.Assign(at.loc(node), (target,), optional(at, node.value), annotation))


def _augmented(at: Lowering, node: ast.AugAssign, out: list[ir.Stmt]) -> None:
    target = expression(at, node.target)
    out.append(ir.AugAssign(at.loc(node), target, OPERATORS[type(node.op)], expression(at, node.value)))


def _delete(at: Lowering, node: ast.Delete, out: list[ir.Stmt]) -> None:
    out.append(ir.Delete(at.loc(node), tuple([expression(at, target) for target in node.targets])))


def _assert(at: Lowering, node: ast.Assert, out: list[ir.Stmt]) -> None:
    test = expression(at, node.test)
    optional(at, node.msg)
    out.append(ir.Assert(at.loc(node), test))


def _return(at: Lowering, node: ast.Return, out: list[ir.Stmt]) -> None:
    out.append(ir.Return(at.loc(node), optional(at, node.value)))


def _raise(at: Lowering, node: ast.Raise, out: list[ir.Stmt]) -> None:
    value = optional(at, node.exc)
    optional(at, node.cause)
    out.append(ir.Raise(at.loc(node), value))


def _jump(at: Lowering, node: ast.Pass | ast.Break | ast.Continue, out: list[ir.Stmt]) -> None:
    out.append(ir.Jump(at.loc(node), type(node).__name__.lower()))


def _scope(at: Lowering, node: ast.Global | ast.Nonlocal, out: list[ir.Stmt]) -> None:
    out.append(ir.Scope(at.loc(node), type(node).__name__.lower(), tuple(node.names)))


def _import(at: Lowering, node: ast.Import, out: list[ir.Stmt]) -> None:
    _eager(node)
    loc = at.loc(node)
    out.extend(ir.Import(loc, alias.name, 0, None, alias.asname) for alias in node.names)


def _import_from(at: Lowering, node: ast.ImportFrom, out: list[ir.Stmt]) -> None:
    _eager(node)
    names = tuple([(alias.name, alias.asname or alias.name) for alias in node.names])
    out.append(ir.Import(at.loc(node), node.module or "", node.level, names, None))


def _eager(node: Any) -> None:
    if getattr(node, "is_lazy", 0):  # Python 3.15
        raise NotForAstError


def _type_alias(at: Lowering, node: Any, out: list[ir.Stmt]) -> None:
    target = expression(at, node.name)
    out.append(ir.Assign(at.loc(node), (target,), expression(at, node.value)))


# --- compound statements ----------------------------------------------------------------------------------------------


def _if(at: Lowering, node: ast.If, out: list[ir.Stmt]) -> None:
    # A loop over the arms: an elif chain may be longer than Python's stack is deep.
    arms = []
    rest: list[ast.stmt] = [node]
    while len(rest) == 1 and isinstance(arm := rest[0], ast.If):
        arms.append((at.loc(arm), expression(at, arm.test), statements(at, arm.body)))
        rest = arm.orelse
    orelse = statements(at, rest)
    for loc, test, body in reversed(arms):
        orelse = (ir.If(loc, test, body, orelse),)
    out.extend(orelse)


def _for(at: Lowering, node: ast.For | ast.AsyncFor, out: list[ir.Stmt]) -> None:
    target = expression(at, node.target)
    iterated = expression(at, node.iter)
    out.append(ir.For(at.loc(node), target, iterated, statements(at, node.body), statements(at, node.orelse)))


def _while(at: Lowering, node: ast.While, out: list[ir.Stmt]) -> None:
    test = expression(at, node.test)
    out.append(iterators.loop(at.loc(node), test, statements(at, node.body), statements(at, node.orelse)))


def _with(at: Lowering, node: ast.With | ast.AsyncWith, out: list[ir.Stmt]) -> None:
    items = tuple([_with_item(at, item) for item in node.items])
    out.append(ir.With(at.loc(node), items, statements(at, node.body)))


def _with_item(at: Lowering, node: ast.withitem) -> ir.WithItem:
    value = expression(at, node.context_expr)
    target = optional(at, node.optional_vars)
    return ir.WithItem((*value.loc[:2], *(target or value).loc[2:]), value, target)


def _try(at: Lowering, node: Any, out: list[ir.Stmt]) -> None:
    body = statements(at, node.body)
    handlers = tuple([_handler(at, handler) for handler in node.handlers])
    orelse = statements(at, node.orelse)
    out.append(ir.Try(at.loc(node), body, handlers, orelse, statements(at, node.finalbody)))


def _handler(at: Lowering, node: ast.ExceptHandler) -> ir.Handler:
    kind = optional(at, node.type)
    return ir.Handler(at.loc(node), kind, node.name, statements(at, node.body))


def _function(at: Lowering, node: ast.FunctionDef | ast.AsyncFunctionDef, out: list[ir.Stmt]) -> None:
    decorators = tuple([expression(at, decorator) for decorator in node.decorator_list])
    params = parameters(at, node.args)
    returns = optional(at, node.returns)
    outer, at.yields = at.yields, False
    body = statements(at, node.body)
    generator, at.yields = at.yields, outer
    is_async = isinstance(node, ast.AsyncFunctionDef)
    whole = endings.of_function(body)
    out.append(ir.FunctionDef(at.loc(node), node.name, params, whole, decorators, returns, is_async, generator))


def _class(at: Lowering, node: ast.ClassDef, out: list[ir.Stmt]) -> None:
    decorators = tuple([expression(at, decorator) for decorator in node.decorator_list])
    bases = arguments(at, node.bases, node.keywords)
    out.append(ir.ClassDef(at.loc(node), node.name, bases, statements(at, node.body), decorators))


STATEMENTS.update(
    {
        ast.Expr: _expression_statement,
        ast.Assign: _assign,
        ast.AnnAssign: _annotated,
        ast.AugAssign: _augmented,
        ast.Delete: _delete,
        ast.Assert: _assert,
        ast.Return: _return,
        ast.Raise: _raise,
        ast.Pass: _jump,
        ast.Break: _jump,
        ast.Continue: _jump,
        ast.Global: _scope,
        ast.Nonlocal: _scope,
        ast.Import: _import,
        ast.ImportFrom: _import_from,
        ast.If: _if,
        ast.For: _for,
        ast.AsyncFor: _for,
        ast.While: _while,
        ast.With: _with,
        ast.AsyncWith: _with,
        ast.Try: _try,
        ast.FunctionDef: _function,
        ast.AsyncFunctionDef: _function,
        ast.ClassDef: _class,
    }
)
STATEMENTS.update((getattr(ast, name), _try) for name in ("TryStar",) if hasattr(ast, name))  # Python 3.11
STATEMENTS.update((getattr(ast, name), _type_alias) for name in ("TypeAlias",) if hasattr(ast, name))  # Python 3.12
