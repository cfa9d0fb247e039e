"""Strings that the user's code tells parameters apart by: in conditions, in the lists and functions these mention."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from lora_lint.interpreter.values import Choice, ClassVal, Const, DictVal, FuncVal, Partial, Scope, SeqVal, Value
from lora_lint.interpreter.walk import children
from lora_lint.lifecycle.heap import WHOLE_PATHS, Obj
from lora_lint.syntax import ir

_BUDGET = 400
_DEPTH = 3


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


def in_expression(expr: ir.Expr, scope: Scope, depth: int = _DEPTH) -> Iterator[str]:
    """Strings in an expression, and in what its names stand for: lists of names, predicates and what these call, so many
    functions deep."""
    yield from _in([expr], expr, scope, depth)


def _in(nodes: list[object], whole: ir.Expr | ir.FunctionDef, scope: Scope, depth: int) -> Iterator[str]:
    budget = _BUDGET
    while nodes and budget:
        budget -= 1
        node = nodes.pop()
        if isinstance(node, ir.Const):
            if isinstance(node.value, str):
                yield node.value
            continue
        if isinstance(node, ir.ExprStmt) and isinstance(node.value, ir.Const):
            continue  # a docstring tells nothing apart
        if isinstance(node, ir.Op) and node.op == "fstring":
            yield from _numbered(node, whole, scope)
        value = _value(node, scope)
        if value is not None:
            receiver = _value(node.value, scope) if isinstance(node, ir.Attr) else None
            yield from _strings(value, depth, receiver)
        nodes.extend(children(node))


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
            if found is None and owner.wraps is not None and node.name in WHOLE_PATHS:
                return owner.wraps
            return found if found is not None or owner.user_class is None else owner.user_class.find(node.name)
        if isinstance(owner, ClassVal):
            return owner.find(node.name)
    return None


def _strings(value: Value, depth: int, receiver: Value | None = None) -> Iterator[str]:
    """Strings that a value holds; of a function, those in its body. receiver: what it is a method of."""
    if isinstance(value, Const):
        if isinstance(value.value, (str, re.Pattern)):
            yield value.value if isinstance(value.value, str) else value.value.pattern
    elif isinstance(value, Choice):
        for each in value.values:
            yield from _strings(each, 0)
    elif isinstance(value, SeqVal):
        yield from (i.value for i in value.items[:50] if isinstance(i, Const) and isinstance(i.value, str))
    elif isinstance(value, DictVal):
        for key, held in list(value.items.items())[:50]:
            if isinstance(key, str):
                yield key
            elif isinstance(held, (Const, SeqVal)):
                yield from _strings(held, depth)
    elif isinstance(value, Partial):
        for each in (*value.args, *value.kwargs.values()):
            yield from _strings(each, depth)
    elif isinstance(value, FuncVal) and depth:
        scope = Scope({}, value.scope.module, value.scope)
        if isinstance(value.node, ir.Lambda):
            yield from in_expression(value.node.body, scope, depth - 1)
            return
        if receiver is not None and value.node.params:
            scope.names[value.node.params[0].name] = receiver
        for default in value.defaults.values():
            yield from _strings(default, 0)
        yield from _in(list(value.node.body), value.node, scope, depth - 1)
