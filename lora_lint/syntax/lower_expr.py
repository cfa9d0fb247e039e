"""LibCST names, literals, operators and calls to IR.

Every handler takes the cursor, directly before the node and behind its own parentheses, consumes exactly the node's
tokens in source order, and returns the IR node.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

import libcst as cst

from lora_lint.syntax import ir
from lora_lint.syntax.dispatch import UnknownNodeError, expression, link, lower
from lora_lint.syntax.literals import float_value, imaginary_value, integer_value, string_value
from lora_lint.syntax.positions import Cursor

_SINGLETONS: dict[str, object] = {"None": None, "True": True, "False": False}

BINARY: dict[type[cst.CSTNode], str] = {
    cst.Add: "+",
    cst.Subtract: "-",
    cst.Multiply: "*",
    cst.Divide: "/",
    cst.FloorDivide: "//",
    cst.Modulo: "%",
    cst.Power: "**",
    cst.LeftShift: "<<",
    cst.RightShift: ">>",
    cst.BitOr: "|",
    cst.BitAnd: "&",
    cst.BitXor: "^",
    cst.MatrixMultiply: "@",
}
_UNARY: dict[type[cst.CSTNode], tuple[str, int]] = {
    cst.Minus: ("u-", 1),
    cst.Plus: ("u+", 1),
    cst.BitInvert: ("u~", 1),
    cst.Not: ("not", 3),
}
_COMPARE: dict[type[cst.CSTNode], tuple[str, ...]] = {
    cst.Equal: ("==",),
    cst.NotEqual: ("!=",),
    cst.LessThan: ("<",),
    cst.LessThanEqual: ("<=",),
    cst.GreaterThan: (">",),
    cst.GreaterThanEqual: (">=",),
    cst.In: ("in",),
    cst.NotIn: ("not", "in"),
    cst.Is: ("is",),
    cst.IsNot: ("is", "not"),
}


# --- names and literals -----------------------------------------------------------------------------------------------


def identifier(at: Cursor, node: cst.Name) -> str:
    """Take a name token; its text, normalised as Python does."""
    value = node.value
    at.pos = at.skip() + len(value)
    return value if value.isascii() else unicodedata.normalize("NFKC", value)


@expression(cst.Name)
def _name(at: Cursor, node: cst.Name) -> ir.Expr:
    start = at.skip()
    value = identifier(at, node)
    loc = at.loc(start)
    return ir.Const(loc, _SINGLETONS[value]) if value in _SINGLETONS else ir.Name(loc, value)


def _literal(at: Cursor, token: str, value_of: Callable[[str], object]) -> ir.Expr:
    start = at.skip()
    at.pos = start + len(token)
    return ir.Const(at.loc(start), value_of(token))


@expression(cst.SimpleString)
def _string(at: Cursor, node: cst.SimpleString) -> ir.Expr:
    return _literal(at, node.value, string_value)


@expression(cst.Integer)
def _integer(at: Cursor, node: cst.Integer) -> ir.Expr:
    return _literal(at, node.value, integer_value)


@expression(cst.Float)
def _float(at: Cursor, node: cst.Float) -> ir.Expr:
    return _literal(at, node.value, float_value)


@expression(cst.Imaginary)
def _imaginary(at: Cursor, node: cst.Imaginary) -> ir.Expr:
    return _literal(at, node.value, imaginary_value)


@expression(cst.Ellipsis)
def _ellipsis(at: Cursor, node: cst.Ellipsis) -> ir.Expr:
    start = at.skip()
    at.pos = start + 3
    return ir.Const(at.loc(start), ...)


# --- links of left-nested chains --------------------------------------------------------------------------------------


@link(cst.Attribute)
def _attribute(at: Cursor, node: cst.Attribute, start: int, value: ir.Expr) -> ir.Expr:
    at.token(1)
    name = identifier(at, node.attr)
    return ir.Attr(at.loc(start), value, name)


@link(cst.Call)
def _call(at: Cursor, node: cst.Call, start: int, func: ir.Expr) -> ir.Expr:
    bracket = at.skip()
    at.pos = bracket + 1
    args = arguments(at, node.args)
    at.token(1)
    if len(args) == 1:
        only = node.args[0].value
        if type(only) is cst.GeneratorExp and not only.lpar:  # `f(x for x in y)`: the call's parentheses are its own
            args[0].value.loc = args[0].loc = at.loc(bracket)
    return ir.Call(at.loc(start), func, args)


def arguments(at: Cursor, nodes: Sequence[cst.Arg]) -> tuple[ir.Arg, ...]:
    """The arguments between the parentheses of a call or class statement."""
    args = []
    for node in nodes:
        start = at.skip()
        if node.star:
            at.pos = start + len(node.star)
            args.append(_arg(at, start, None, lower(at, node.value), len(node.star)))
        elif node.keyword is not None:
            name = identifier(at, node.keyword)
            at.token(1)
            args.append(_arg(at, start, name, lower(at, node.value), 0))
        else:
            value = lower(at, node.value)
            args.append(ir.Arg(value.loc, None, value))
        at.optional(",")
    return tuple(args)


def _arg(at: Cursor, start: int, name: str | None, value: ir.Expr, star: int) -> ir.Arg:
    return ir.Arg(at.loc(start), name, value, star)


@link(cst.Subscript)
def _subscript(at: Cursor, node: cst.Subscript, start: int, value: ir.Expr) -> ir.Expr:
    at.token(1)
    first = at.skip()
    items: list[ir.Expr] = []
    comma = False
    for element in node.slice:
        items.append(_slice_item(at, element.slice))
        comma = at.optional(",")
    if len(items) > 1 or comma or isinstance(items[0], ir.Star):
        index: ir.Expr = ir.Seq(at.loc(first), "tuple", tuple(items))
    else:
        index = items[0]
    at.token(1)
    return ir.Item(at.loc(start), value, index)


def _slice_item(at: Cursor, node: cst.BaseSlice) -> ir.Expr:
    start = at.skip()
    if isinstance(node, cst.Index):
        if not node.star:
            return lower(at, node.value)
        at.pos = start + 1
        value = lower(at, node.value)
        return ir.Star(at.loc(start), value)
    if not isinstance(node, cst.Slice):
        raise UnknownNodeError(type(node).__name__)
    lower_bound = None if node.lower is None else lower(at, node.lower)
    at.token(1)
    upper = None if node.upper is None else lower(at, node.upper)
    if isinstance(node.second_colon, cst.Colon):
        at.token(1)
    step = None if node.step is None else lower(at, node.step)
    return ir.Slice(at.loc(start), lower_bound, upper, step)


@link(cst.BinaryOperation)
def _binary(at: Cursor, node: cst.BinaryOperation, start: int, left: ir.Expr) -> ir.Expr:
    op = BINARY[type(node.operator)]
    at.token(len(op))
    right = lower(at, node.right)
    return ir.Op(at.loc(start), op, (left, right))


@link(cst.BooleanOperation)
def _boolean(at: Cursor, node: cst.BooleanOperation, start: int, left: ir.Expr) -> ir.Expr:
    op = "and" if type(node.operator) is cst.And else "or"
    at.token(len(op))
    right = lower(at, node.right)
    below = node.left
    if type(below) is cst.BooleanOperation and not below.lpar and isinstance(left, ir.Op) and left.op == op:
        left.operands += (right,)
        left.loc = at.loc(start)
        return left
    return ir.Op(at.loc(start), op, (left, right))


# --- other operators --------------------------------------------------------------------------------------------------


@expression(cst.Comparison)
def _comparison(at: Cursor, node: cst.Comparison) -> ir.Expr:
    start = at.skip()
    left = lower(at, node.left)
    tests: list[ir.Expr] = []
    for target in node.comparisons:
        words = _COMPARE[type(target.operator)]
        for word in words:
            at.token(len(word))
        right = lower(at, target.comparator)
        tests.append(ir.Op((*left.loc[:2], *right.loc[2:]), " ".join(words), (left, right)))
        left = right
    if len(tests) > 1:
        return ir.Op(at.loc(start), "and", tuple(tests))
    tests[0].loc = at.loc(start)
    return tests[0]


@expression(cst.UnaryOperation)
def _unary(at: Cursor, node: cst.UnaryOperation) -> ir.Expr:
    op, width = _UNARY[type(node.operator)]
    return _prefixed(at, width, op, node.expression)


def _prefixed(at: Cursor, width: int, op: str, value: cst.BaseExpression) -> ir.Expr:
    start = at.skip()
    at.pos = start + width
    operand = lower(at, value)
    return ir.Op(at.loc(start), op, (operand,))


@expression(cst.Await)
def _await(at: Cursor, node: cst.Await) -> ir.Expr:
    return _prefixed(at, 5, "await", node.expression)


@expression(cst.Yield)
def _yield(at: Cursor, node: cst.Yield) -> ir.Expr:
    start = at.skip()
    at.pos = start + 5
    at.yields = True
    if node.value is None:
        return ir.Op(at.loc(start), "yield", ())
    if isinstance(node.value, cst.From):
        at.token(4)
        operand, op = lower(at, node.value.item), "yield from"
    else:
        operand, op = lower(at, node.value), "yield"
    return ir.Op(at.loc(start), op, (operand,))


@expression(cst.IfExp)
def _conditional(at: Cursor, node: cst.IfExp) -> ir.Expr:
    start = at.skip()
    body = lower(at, node.body)
    at.token(2)
    test = lower(at, node.test)
    at.token(4)
    orelse = lower(at, node.orelse)
    return ir.Cond(at.loc(start), test, body, orelse)


@expression(cst.NamedExpr)
def _walrus(at: Cursor, node: cst.NamedExpr) -> ir.Expr:
    start = at.skip()
    target = lower(at, node.target)
    at.token(2)
    value = lower(at, node.value)
    return ir.Walrus(at.loc(start), target, value)


@expression(cst.Lambda)
def _lambda(at: Cursor, node: cst.Lambda) -> ir.Expr:
    start = at.skip()
    at.pos = start + 6
    params = parameters(at, node.params)
    at.token(1)
    outer, at.yields = at.yields, False
    body = lower(at, node.body)
    at.yields = outer
    return ir.Lambda(at.loc(start), params, body)


def parameters(at: Cursor, node: cst.Parameters) -> tuple[ir.Param, ...]:
    """The parameters of a function or lambda; the cursor stands before the first."""
    params = [_param(at, param, "positional") for param in node.posonly_params]
    if isinstance(node.posonly_ind, cst.ParamSlash):
        at.token(1)
        at.optional(",")
    params += [_param(at, param, "normal") for param in node.params]
    if isinstance(node.star_arg, cst.Param):
        params.append(_param(at, node.star_arg, "*"))
    elif isinstance(node.star_arg, cst.ParamStar):
        at.token(1)
        at.optional(",")
    params += [_param(at, param, "keyword") for param in node.kwonly_params]
    if node.star_kwarg is not None:
        params.append(_param(at, node.star_kwarg, "**"))
    return tuple(params)


def _param(at: Cursor, node: cst.Param, kind: str) -> ir.Param:
    if isinstance(node.star, str) and node.star:
        at.token(len(node.star))
    start = at.skip()
    name = identifier(at, node.name)
    annotation = default = None
    if node.annotation is not None:
        at.token(1)
        annotation = lower(at, node.annotation.annotation)
    loc = at.loc(start)
    if node.default is not None:
        at.token(1)
        default = lower(at, node.default)
    at.optional(",")
    return ir.Param(loc, name, kind, default, annotation)
