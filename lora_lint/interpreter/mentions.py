"""Strings that the user's code tells parameters apart by: in conditions, in the lists and functions these mention."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from lora_lint.interpreter.values import Const, DictVal, FuncVal, Partial, Scope, SeqVal, Value
from lora_lint.interpreter.walk import children
from lora_lint.lifecycle.heap import Obj
from lora_lint.syntax import ir

_BUDGET = 400


def in_body(body: Iterable[ir.Stmt], scope: Scope) -> Iterator[str]:
    """Strings in the conditions and assigned values of a loop body."""
    stack: list[object] = list(body)
    budget = _BUDGET
    while stack and budget:
        budget -= 1
        node = stack.pop()
        if isinstance(node, ir.If):
            stack.extend([*node.body, *node.orelse])
            yield from in_expression(node.test, scope)
        elif isinstance(node, (ir.Assign, ir.Return, ir.ExprStmt)):
            if node.value is not None:
                yield from in_expression(node.value, scope)
        elif isinstance(node, ir.For):
            stack.extend(node.body)
            yield from in_expression(node.iter, scope)


def in_expression(expr: ir.Expr, scope: Scope) -> Iterator[str]:
    """Strings in an expression, and in what its names stand for."""
    stack: list[object] = [expr]
    budget = _BUDGET
    while stack and budget:
        budget -= 1
        node = stack.pop()
        if isinstance(node, ir.Const):
            if isinstance(node.value, str):
                yield node.value
            continue
        if isinstance(node, ir.Op) and node.op == "fstring":
            yield from _numbered(node, expr, scope)
        value = _value(node, scope)
        if value is not None:
            yield from _strings(value)
        stack.extend(children(node))


def _numbered(text: ir.Op, whole: ir.Expr | ir.FunctionDef, scope: Scope) -> Iterator[str]:
    """What an f-string with one number in it may be, the number being one that stands around it:
    `any(f"layers.{i}." in name for i in (20, 21))`."""
    parts = [
        part.value if isinstance(part, ir.Const) and isinstance(part.value, str) else None for part in text.operands
    ]
    if parts.count(None) != 1:
        return
    for number in list(dict.fromkeys(_numbers(whole, scope)))[:3]:
        yield "".join(str(number) if part is None else part for part in parts)


def _numbers(expr: ir.Expr | ir.FunctionDef, scope: Scope) -> Iterator[int]:
    """Whole numbers in an expression or a function, and in the lists that its names stand for."""
    stack: list[object] = [expr]
    budget = _BUDGET
    while stack and budget:
        budget -= 1
        node = stack.pop()
        if isinstance(node, ir.Const) and type(node.value) is int:
            yield node.value
            continue
        value = _value(node, scope)
        for item in value.items if isinstance(value, SeqVal) else ():
            if isinstance(item, Const) and type(item.value) is int:
                yield item.value
        stack.extend(children(node))


def _value(node: object, scope: Scope) -> Value | None:
    """What a name or a plain attribute stands for, without running anything."""
    if isinstance(node, ir.Name):
        return scope.lookup(node.id)
    if isinstance(node, ir.Attr):
        owner = _value(node.value, scope)
        if isinstance(owner, Obj):
            found = owner.attrs.get(node.name)
            return found if found is not None or owner.user_class is None else owner.user_class.find(node.name)
    return None


def _strings(value: Value) -> Iterator[str]:
    if isinstance(value, Const):
        if isinstance(value.value, (str, re.Pattern)):
            yield value.value if isinstance(value.value, str) else value.value.pattern
    elif isinstance(value, SeqVal):
        yield from (i.value for i in value.items[:50] if isinstance(i, Const) and isinstance(i.value, str))
    elif isinstance(value, DictVal):
        yield from (k for k in list(value.items)[:50] if isinstance(k, str))
    elif isinstance(value, Partial):
        for each in (*value.args, *value.kwargs.values()):
            yield from _strings(each)
    elif isinstance(value, FuncVal):
        if isinstance(value.node, ir.Lambda):
            yield from in_expression(value.node.body, Scope({}, value.scope.module))
        else:
            yield from _plain(value.node, Scope({}, value.scope.module))


def _plain(function: ir.FunctionDef, scope: Scope) -> Iterator[str]:
    """Strings in the body of a function, also those that a number in there makes."""
    stack: list[object] = list(function.body)
    budget = _BUDGET
    while stack and budget:
        budget -= 1
        node = stack.pop()
        if isinstance(node, ir.Const) and isinstance(node.value, str):
            yield node.value
            continue
        if isinstance(node, ir.Op) and node.op == "fstring":
            yield from _numbered(node, function, scope)
        if not isinstance(node, ir.ExprStmt) or not isinstance(node.value, ir.Const):
            stack.extend(children(node))  # but not of a docstring, which tells nothing apart
