"""LibCST displays, comprehensions, f-strings and adjacent strings to IR: expressions that hold many others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import libcst as cst

from lora_lint.syntax import ir
from lora_lint.syntax.dispatch import UnknownNodeError, expression, lower, newer
from lora_lint.syntax.literals import string_value
from lora_lint.syntax.positions import Cursor

# --- displays and comprehensions --------------------------------------------------------------------------------------


def elements(at: Cursor, nodes: Sequence[cst.BaseElement]) -> tuple[ir.Expr, ...]:
    """The elements of a tuple, list or set display with their commas."""
    items = []
    for node in nodes:
        items.append(lower(at, node) if isinstance(node, cst.StarredElement) else lower(at, node.value))
        at.optional(",")
    return tuple(items)


@expression(cst.StarredElement)
def _starred(at: Cursor, node: cst.StarredElement) -> ir.Expr:
    start = at.skip()
    at.pos = start + 1
    value = lower(at, node.value)
    return ir.Star(at.loc(start), value)


@expression(cst.Tuple)
def _tuple(at: Cursor, node: cst.Tuple) -> ir.Expr:
    start = at.skip()
    items = elements(at, node.elements)
    return ir.Seq(at.loc(start), "tuple", items)


@expression(cst.List)
def _list(at: Cursor, node: cst.List) -> ir.Expr:
    start = at.skip()
    at.pos = start + 1
    items = elements(at, node.elements)
    at.token(1)
    return ir.Seq(at.loc(start), "list", items)


@expression(cst.Set)
def _set(at: Cursor, node: cst.Set) -> ir.Expr:
    start = at.skip()
    at.pos = start + 1
    items = elements(at, node.elements)
    at.token(1)
    return ir.Seq(at.loc(start), "set", items)


@expression(cst.Dict)
def _dict(at: Cursor, node: cst.Dict) -> ir.Expr:
    start = at.skip()
    at.pos = start + 1
    pairs: list[tuple[ir.Expr | None, ir.Expr]] = []
    for element in node.elements:
        key = None
        if isinstance(element, cst.DictElement):
            key = lower(at, element.key)
            at.token(1)
        else:
            at.token(2)
        pairs.append((key, lower(at, element.value)))
        at.optional(",")
    at.token(1)
    return ir.Mapping(at.loc(start), tuple(pairs))


@expression(cst.GeneratorExp)
def _generator(at: Cursor, node: cst.GeneratorExp) -> ir.Expr:
    start = at.skip()
    element = lower(at, node.elt)
    clauses = _clauses(at, node.for_in)
    return ir.Comp(at.loc(start), "generator", None, element, clauses)


@expression(cst.ListComp)
def _list_comp(at: Cursor, node: cst.ListComp) -> ir.Expr:
    return _bracketed_comp(at, node, "list")


@expression(cst.SetComp)
def _set_comp(at: Cursor, node: cst.SetComp) -> ir.Expr:
    return _bracketed_comp(at, node, "set")


def _bracketed_comp(at: Cursor, node: cst.ListComp | cst.SetComp, kind: str) -> ir.Expr:
    start = at.skip()
    at.pos = start + 1
    element = lower(at, node.elt)
    clauses = _clauses(at, node.for_in)
    at.token(1)
    return ir.Comp(at.loc(start), kind, None, element, clauses)


@expression(cst.DictComp, *newer("StarredDictComp"))
def _dict_comp(at: Cursor, node: Any) -> ir.Expr:
    start = at.skip()
    at.pos = start + 1
    key = None
    if isinstance(node, cst.DictComp):
        key = lower(at, node.key)
        at.token(1)
    else:
        at.token(2)
    element = lower(at, node.value)
    clauses = _clauses(at, node.for_in)
    at.token(1)
    return ir.Comp(at.loc(start), "dict", key, element, clauses)


def _clauses(at: Cursor, node: cst.CompFor) -> tuple[ir.Clause, ...]:
    clauses = []
    rest: cst.CompFor | None = node
    while rest is not None:
        if rest.asynchronous is not None:
            at.token(5)
        at.token(3)
        target = lower(at, rest.target)
        at.token(2)
        iterated = lower(at, rest.iter)
        conditions = []
        for condition in rest.ifs:
            at.token(2)
            conditions.append(lower(at, condition.test))
        last = conditions[-1] if conditions else iterated
        clauses.append(ir.Clause((*target.loc[:2], *last.loc[2:]), target, iterated, tuple(conditions)))
        rest = rest.inner_for_in
    return tuple(clauses)


# --- f-strings and adjacent strings --------------------------------------------------------------------------------


_TEMPLATE = newer("TemplatedString")  # Python 3.14
_FORMATTED: tuple[type[Any], ...] = (cst.FormattedString, *_TEMPLATE)
_TEXT: tuple[type[Any], ...] = (cst.FormattedStringText, *newer("TemplatedStringText"))


@expression(*_FORMATTED)
def _fstring(at: Cursor, node: cst.FormattedString) -> ir.Expr:
    start = at.skip()
    operands: list[ir.Expr] = []
    _interpolations(at, node, operands)
    op = "fstring" if type(node) is cst.FormattedString else "format"
    return ir.Op(at.loc(start), op, tuple(operands))


def _interpolations(at: Cursor, node: cst.FormattedString, out: list[ir.Expr]) -> None:
    at.token(len(node.start))
    _string_parts(at, node.parts, out)
    at.pos += len(node.end)


def _string_parts(at: Cursor, parts: Sequence[Any], out: list[ir.Expr], in_spec: bool = False) -> None:
    # Inside a string nothing is trivia, so text moves the cursor by its length; only around expressions we skip.
    for part in parts:
        if isinstance(part, _TEXT):
            start = at.pos
            at.pos += len(part.value)
            if not in_spec:
                out.append(ir.Const(at.loc(start), part.value.replace("{{", "{").replace("}}", "}")))
            continue
        at.pos += 1
        out.append(lower(at, part.expression))
        if part.equal is not None:
            at.token(1)
        if part.conversion is not None:
            at.token(1)
            at.token(len(part.conversion))
        if part.format_spec is not None:
            at.token(1)
            _string_parts(at, part.format_spec, out, in_spec=True)
            at.pos += 1
        else:
            at.token(1)


@expression(cst.ConcatenatedString)
def _concatenated(at: Cursor, node: cst.ConcatenatedString) -> ir.Expr:
    start = at.skip()
    values: list[str | bytes] = []
    operands: list[ir.Expr] = []
    formatted = ""
    rest: cst.BaseString | None = node
    while rest is not None:
        part, rest = (rest.left, rest.right) if isinstance(rest, cst.ConcatenatedString) else (rest, None)
        if isinstance(part, cst.SimpleString):
            at.token(len(part.value))
            values.append(string_value(part.value))
            operands.append(ir.Const(at.loc(at.pos - len(part.value)), values[-1]))
        elif isinstance(part, _FORMATTED):
            formatted = "fstring" if isinstance(part, cst.FormattedString) and formatted != "format" else "format"
            _interpolations(at, part, operands)
        else:
            raise UnknownNodeError(type(part).__name__)
    loc = at.loc(start)
    if formatted:
        return ir.Op(loc, formatted, tuple(operands))
    texts = [value for value in values if isinstance(value, str)]
    if texts and len(texts) < len(values):
        raise ValueError("cannot mix bytes and nonbytes literals")
    return ir.Const(loc, "".join(texts) if texts else b"".join(value for value in values if isinstance(value, bytes)))
