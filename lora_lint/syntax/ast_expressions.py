"""Expressions of CPython's `ast` to IR, in source order."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from lora_lint.syntax import ir
from lora_lint.syntax.ast_base import EXPRESSIONS, Lowering, NotForAstError, expression, optional
from lora_lint.syntax.fstrings import interpolated

OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.BitOr: "|",
    ast.BitAnd: "&",
    ast.BitXor: "^",
    ast.MatMult: "@",
    ast.UAdd: "u+",
    ast.USub: "u-",
    ast.Invert: "u~",
    ast.Not: "not",
    ast.And: "and",
    ast.Or: "or",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.Is: "is",
    ast.IsNot: "is not",
}


def _all(at: Lowering, nodes: Sequence[ast.expr]) -> tuple[ir.Expr, ...]:
    return tuple([expression(at, node) for node in nodes])


def _constant(at: Lowering, node: ast.Constant) -> ir.Expr:
    return ir.Const(at.loc(node), node.value)


def _name(at: Lowering, node: ast.Name) -> ir.Expr:
    return ir.Name(at.loc(node), node.id)


def _attribute(at: Lowering, node: ast.Attribute) -> ir.Expr:
    return ir.Attr(at.loc(node), expression(at, node.value), node.attr)


def _call(at: Lowering, node: ast.Call) -> ir.Expr:
    func = expression(at, node.func)
    return ir.Call(at.loc(node), func, arguments(at, node.args, node.keywords))


def arguments(at: Lowering, values: list[ast.expr], keywords: list[ast.keyword]) -> tuple[ir.Arg, ...]:
    """The arguments of a call or class statement in source order."""
    nodes: list[Any] = [*values, *keywords]
    if keywords and any(isinstance(value, ast.Starred) for value in values):  # `f(a=b, *c)`
        nodes.sort(key=lambda node: (node.lineno, node.col_offset))
    return tuple([_argument(at, node) for node in nodes])


def _argument(at: Lowering, node: Any) -> ir.Arg:
    if isinstance(node, ast.keyword):
        return ir.Arg(at.loc(node), node.arg, expression(at, node.value), 0 if node.arg is not None else 2)
    if isinstance(node, ast.Starred):
        return ir.Arg(at.loc(node), None, expression(at, node.value), 1)
    value = expression(at, node)
    return ir.Arg(value.loc, None, value)


def _subscript(at: Lowering, node: ast.Subscript) -> ir.Expr:
    value = expression(at, node.value)
    return ir.Item(at.loc(node), value, expression(at, node.slice))


def _slice(at: Lowering, node: ast.Slice) -> ir.Expr:
    return ir.Slice(at.loc(node), optional(at, node.lower), optional(at, node.upper), optional(at, node.step))


def _binary(at: Lowering, node: ast.BinOp) -> ir.Expr:
    # A loop: `a + b + …` is nested to the left, and may be longer than Python's stack is deep.
    links = [node]
    left: ast.expr = node.left
    while isinstance(left, ast.BinOp):
        links.append(left)
        left = left.left
    result = expression(at, left)
    for link in reversed(links):
        result = ir.Op(at.loc(link), OPERATORS[type(link.op)], (result, expression(at, link.right)))
    return result


def _boolean(at: Lowering, node: ast.BoolOp) -> ir.Expr:
    return ir.Op(at.loc(node), OPERATORS[type(node.op)], _all(at, node.values))


def _unary(at: Lowering, node: ast.UnaryOp) -> ir.Expr:
    return ir.Op(at.loc(node), OPERATORS[type(node.op)], (expression(at, node.operand),))


def _comparison(at: Lowering, node: ast.Compare) -> ir.Expr:
    left = expression(at, node.left)
    tests: list[ir.Expr] = []
    for op, comparator in zip(node.ops, node.comparators, strict=True):
        right = expression(at, comparator)
        tests.append(ir.Op((*left.loc[:2], *right.loc[2:]), OPERATORS[type(op)], (left, right)))
        left = right
    if len(tests) > 1:
        return ir.Op(at.loc(node), "and", tuple(tests))
    tests[0].loc = at.loc(node)
    return tests[0]


def _conditional(at: Lowering, node: ast.IfExp) -> ir.Expr:
    body = expression(at, node.body)
    return ir.Cond(at.loc(node), expression(at, node.test), body, expression(at, node.orelse))


def _lambda(at: Lowering, node: ast.Lambda) -> ir.Expr:
    params = parameters(at, node.args)
    outer, at.yields = at.yields, False
    body = expression(at, node.body)
    at.yields = outer
    return ir.Lambda(at.loc(node), params, body)


def parameters(at: Lowering, node: ast.arguments) -> tuple[ir.Param, ...]:
    """The parameters of a function or lambda, in source order."""
    plain = [*node.posonlyargs, *node.args]
    defaults = [None] * (len(plain) - len(node.defaults)) + node.defaults
    positional = len(node.posonlyargs)
    params = [
        _param(at, param, "positional" if index < positional else "normal", default)
        for index, (param, default) in enumerate(zip(plain, defaults, strict=True))
    ]
    if node.vararg is not None:
        params.append(_param(at, node.vararg, "*", None))
    for param, default in zip(node.kwonlyargs, node.kw_defaults, strict=True):
        params.append(_param(at, param, "keyword", default))
    if node.kwarg is not None:
        params.append(_param(at, node.kwarg, "**", None))
    return tuple(params)


def _param(at: Lowering, node: ast.arg, kind: str, default: ast.expr | None) -> ir.Param:
    annotation = optional(at, node.annotation)
    return ir.Param(at.loc(node), node.arg, kind, optional(at, default), annotation)


def _starred(at: Lowering, node: ast.Starred) -> ir.Expr:
    return ir.Star(at.loc(node), expression(at, node.value))


def _tuple(at: Lowering, node: ast.Tuple) -> ir.Expr:
    return ir.Seq(at.loc(node), "tuple", _all(at, node.elts))


def _list(at: Lowering, node: ast.List) -> ir.Expr:
    return ir.Seq(at.loc(node), "list", _all(at, node.elts))


def _set(at: Lowering, node: ast.Set) -> ir.Expr:
    return ir.Seq(at.loc(node), "set", _all(at, node.elts))


def _dict(at: Lowering, node: ast.Dict) -> ir.Expr:
    pairs = [(optional(at, key), expression(at, value)) for key, value in zip(node.keys, node.values, strict=True)]
    return ir.Mapping(at.loc(node), tuple(pairs))


def _comprehension(kind: str) -> Any:
    def handler(at: Lowering, node: Any) -> ir.Expr:
        element = expression(at, node.elt)
        return ir.Comp(at.loc(node), kind, None, element, _clauses(at, node.generators))

    return handler


def _dict_comprehension(at: Lowering, node: ast.DictComp) -> ir.Expr:
    key: Any = node.key
    if node.value is None:  # `{**a for b in c}`
        raise NotForAstError
    element = expression(at, key), expression(at, node.value)
    return ir.Comp(at.loc(node), "dict", *element, _clauses(at, node.generators))


def _clauses(at: Lowering, nodes: list[ast.comprehension]) -> tuple[ir.Clause, ...]:
    clauses = []
    for node in nodes:
        target, iterated = expression(at, node.target), expression(at, node.iter)
        conditions = _all(at, node.ifs)
        last = conditions[-1] if conditions else iterated
        clauses.append(ir.Clause((*target.loc[:2], *last.loc[2:]), target, iterated, conditions))
    return tuple(clauses)


def _walrus(at: Lowering, node: ast.NamedExpr) -> ir.Expr:
    target = expression(at, node.target)
    return ir.Walrus(at.loc(node), target, expression(at, node.value))


def _await(at: Lowering, node: ast.Await) -> ir.Expr:
    return ir.Op(at.loc(node), "await", (expression(at, node.value),))


def _yield(at: Lowering, node: ast.Yield) -> ir.Expr:
    at.yields = True
    return ir.Op(at.loc(node), "yield", () if node.value is None else (expression(at, node.value),))


def _yield_from(at: Lowering, node: ast.YieldFrom) -> ir.Expr:
    at.yields = True
    return ir.Op(at.loc(node), "yield from", (expression(at, node.value),))


def _fstring(at: Lowering, node: ast.JoinedStr) -> ir.Expr:
    cursor = at.cursor(node)
    end = at.end(cursor, node)

    def embedded(text: str, start: int) -> ir.Expr:
        line, column, *_ = at.shifted((*cursor.place(start), 1, 1))
        inner = Lowering(f"({text})", (line, column - 1))
        try:
            tree = ast.parse(f"({text})", mode="eval").body
        except SyntaxError:
            raise NotForAstError from None
        if tree.lineno == 1 and tree.col_offset == 0:  # a tuple that got its parentheses from us
            raise NotForAstError
        value = expression(inner, tree)
        at.yields = at.yields or inner.yields
        return value

    return ir.Op(at.loc(node), "fstring", tuple(interpolated(cursor, end, at.shifted, embedded)))


EXPRESSIONS.update(
    {
        ast.Constant: _constant,
        ast.Name: _name,
        ast.Attribute: _attribute,
        ast.Call: _call,
        ast.Subscript: _subscript,
        ast.Slice: _slice,
        ast.BinOp: _binary,
        ast.BoolOp: _boolean,
        ast.UnaryOp: _unary,
        ast.Compare: _comparison,
        ast.IfExp: _conditional,
        ast.Lambda: _lambda,
        ast.Starred: _starred,
        ast.Tuple: _tuple,
        ast.List: _list,
        ast.Set: _set,
        ast.Dict: _dict,
        ast.ListComp: _comprehension("list"),
        ast.SetComp: _comprehension("set"),
        ast.GeneratorExp: _comprehension("generator"),
        ast.DictComp: _dict_comprehension,
        ast.NamedExpr: _walrus,
        ast.Await: _await,
        ast.Yield: _yield,
        ast.YieldFrom: _yield_from,
        ast.JoinedStr: _fstring,
    }
)
