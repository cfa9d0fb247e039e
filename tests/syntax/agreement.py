"""Compare the ranges in a lowered module with those of CPython's `ast`."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from lora_lint.syntax import ir
from lora_lint.syntax.ast_expressions import OPERATORS
from lora_lint.syntax.positions import line_starts

Found = Counter[tuple[str, object, ir.Loc]]  # kind, detail (a name, value or operator), range

_EXPRESSIONS = {
    ast.Name: "Name",
    ast.Constant: "Const",
    ast.Attribute: "Attr",
    ast.Call: "Call",
    ast.Subscript: "Item",
    ast.Slice: "Slice",
    ast.BinOp: "Op",
    ast.UnaryOp: "Op",
    ast.BoolOp: "Op",
    ast.Compare: "Op",
    ast.JoinedStr: "Op",
    ast.Await: "Op",
    ast.Yield: "Op",
    ast.YieldFrom: "Op",
    ast.Starred: "Star",
    ast.Tuple: "Seq",
    ast.List: "Seq",
    ast.Set: "Seq",
    ast.Dict: "Mapping",
    ast.IfExp: "Cond",
    ast.Lambda: "Lambda",
    ast.ListComp: "Comp",
    ast.SetComp: "Comp",
    ast.DictComp: "Comp",
    ast.GeneratorExp: "Comp",
    ast.NamedExpr: "Walrus",
}
_STATEMENTS = {
    ast.Expr: "ExprStmt",
    ast.Assign: "Assign",
    ast.AnnAssign: "Assign",
    ast.AugAssign: "AugAssign",
    ast.Delete: "Delete",
    ast.Assert: "Assert",
    ast.If: "If",
    ast.For: "For",
    ast.AsyncFor: "For",
    ast.While: "While",
    ast.With: "With",
    ast.AsyncWith: "With",
    ast.Try: "Try",
    ast.ExceptHandler: "Handler",
    ast.FunctionDef: "FunctionDef",
    ast.AsyncFunctionDef: "FunctionDef",
    ast.ClassDef: "ClassDef",
    ast.Return: "Return",
    ast.Raise: "Raise",
    ast.Pass: "Jump",
    ast.Break: "Jump",
    ast.Continue: "Jump",
    ast.ImportFrom: "Import",
    ast.Global: "Scope",
    ast.Nonlocal: "Scope",
    ast.arg: "Param",
    ast.keyword: "Arg",
}
_NEWER = {"TryStar": "Try", "TypeAlias": "Assign"}
_STATEMENTS.update((getattr(ast, name), kind) for name, kind in _NEWER.items() if hasattr(ast, name))
_KINDS: dict[type[ast.AST], str] = {**_EXPRESSIONS, **_STATEMENTS}

_OPS = {"JoinedStr": "fstring", "TemplateStr": "format", "Await": "await", "Yield": "yield", "YieldFrom": "yield from"}


def from_ast(text: str) -> Found:
    """Kinds and ranges (in code points) that `ast` gives, without what the IR leaves out by design."""
    lines = _lines(text)
    found: Found = Counter()
    kinds = dict(_KINDS)
    if hasattr(ast, "TemplateStr"):
        kinds[ast.TemplateStr] = "Op"

    def visit(node: ast.AST) -> None:
        kind = kinds.get(type(node))
        if kind is not None:
            found[kind, _ast_detail(node), _loc(node, lines)] += 1
        if isinstance(node, ast.Import):
            for alias in node.names:
                found["Import", (alias.name, 0, None, alias.asname), _loc(node, lines)] += 1
        if isinstance(node, ast.Compare) and len(node.ops) > 1:
            for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
                found["Op", OPERATORS[type(op)], (*_loc(left, lines)[:2], *_loc(right, lines)[2:])] += 1
        for child in _children(node):
            visit(child)

    visit(ast.parse(text))
    return found


def _ast_detail(node: Any) -> object:
    match type(node).__name__:
        case "Constant":
            return repr(node.value)
        case "Name":
            return node.id
        case "Attribute":
            return node.attr
        case "arg" | "keyword":
            return node.arg
        case "FunctionDef" | "AsyncFunctionDef" | "ClassDef" | "ExceptHandler":
            return node.name
        case "BinOp" | "UnaryOp" | "BoolOp" | "AugAssign":
            return OPERATORS[type(node.op)]
        case "Compare":
            return "and" if len(node.ops) > 1 else OPERATORS[type(node.ops[0])]
        case "JoinedStr" | "TemplateStr" | "Await" | "Yield" | "YieldFrom":
            return _OPS[type(node).__name__]
        case "ImportFrom":
            names = tuple((alias.name, alias.asname or alias.name) for alias in node.names)
            return (node.module or "", node.level, names, None)
        case "Pass" | "Break" | "Continue":
            return type(node).__name__.lower()
        case "Global" | "Nonlocal":
            return (type(node).__name__.lower(), tuple(node.names))
    return None


def _ir_detail(node: Any) -> object:
    match node:
        case ir.Const(value=value):
            return repr(value)
        case ir.Name(id=name) | ir.Attr(name=name) | ir.Param(name=name) | ir.Arg(name=name):
            return name
        case ir.FunctionDef(name=name) | ir.ClassDef(name=name) | ir.Handler(name=name):
            return name
        case ir.Op(op=op) | ir.AugAssign(op=op):
            return op
        case ir.Import():
            return (node.module, node.level, node.names, node.alias)
        case ir.Jump(kind=kind):
            return kind
        case ir.Scope():
            return (node.kind, node.names)
    return None


def _children(node: ast.AST) -> Iterator[ast.AST]:
    if type(node).__name__ in ("JoinedStr", "TemplateStr"):
        return  # before Python 3.12 ast places what is inside f-strings wrongly
    for name, value in ast.iter_fields(node):
        if (type(node).__name__, name) in (("Assert", "msg"), ("Raise", "cause")) or name == "type_params":
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield child


def _lines(text: str) -> list[str]:
    starts = line_starts(text)
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def _loc(node: Any, lines: list[str]) -> ir.Loc:
    def column(line: int, offset: int) -> int:
        return len(lines[line - 1].encode()[:offset].decode()) + 1

    return (
        node.lineno,
        column(node.lineno, node.col_offset),
        node.end_lineno,
        column(node.end_lineno, node.end_col_offset),
    )


def from_ir(module: ir.Module) -> Found:
    """Kinds and ranges of the lowered module, without those that `ast` has no range for."""
    found: Found = Counter()
    seen: set[int] = set()

    def visit(node: Any) -> None:
        if id(node) in seen:  # the middle operand of `a < b < c` is shared
            return
        seen.add(id(node))
        if isinstance(node, ir.Arg) and node.star == 1:
            found["Star", None, node.loc] += 1
        elif isinstance(node, ir.Arg) and node.name is None and node.star == 0:
            pass  # ast knows positional arguments only by their values
        elif isinstance(node, ir.Node) and not isinstance(node, (ir.WithItem, ir.Clause)):
            found[type(node).__name__, _ir_detail(node), node.loc] += 1
        if isinstance(node, ir.Op) and node.op in ("fstring", "format"):
            return
        for field in fields(node):
            for child in _flat(getattr(node, field.name)):
                visit(child)

    visit(module)
    return found


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for item in value:
            yield from _flat(item)
    elif isinstance(value, ir.Node):
        yield value


def plain(value: Any) -> Any:
    """A lowered value without ranges, for comparing: nodes become tuples that start with their kind."""
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, ir.Node):
        return (type(value).__name__, *(plain(getattr(value, field.name)) for field in fields(value)[1:]))
    return value


def nodes(value: Any) -> Iterator[ir.Node]:
    """All nodes under a lowered value."""
    for node in _flat(value.body if isinstance(value, ir.Module) else value):
        yield node
        for field in fields(node):
            yield from nodes(getattr(node, field.name))
