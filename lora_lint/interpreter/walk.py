"""Walking through IR."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from lora_lint.syntax import ir

# How a field of a node, by its annotation, holds other nodes; fields with any other annotation hold none.
_ONE = frozenset({"Expr", "Expr | None"})
_PAIRS = "tuple[tuple[Expr | None, Expr], ...]"
_MANY = frozenset(f"tuple[{kind}, ...]" for kind in ("Expr", "Stmt", "Arg", "Param", "Clause", "WithItem", "Handler"))
_NAMES_AT = {"getattr": 1, "methodcaller": 0, "attrgetter": 0}  # the argument that names an attribute
_SHAPES: dict[type[object], tuple[tuple[str, str], ...]] = {}


def _shape(kind: type[object]) -> tuple[tuple[str, str], ...]:
    """Names of the fields of a node type that hold nodes, in order, and how: "one", "many" or "pairs"."""
    if not issubclass(kind, ir.Node):
        return ()
    found = []
    for field in fields(kind):
        if field.type in _ONE:
            found.append((field.name, "one"))
        elif field.type in _MANY:
            found.append((field.name, "many"))
        elif field.type == _PAIRS:
            found.append((field.name, "pairs"))
    return tuple(found)


def children(node: object) -> list[ir.Node]:
    """Nodes directly inside a node, in order."""
    kind = type(node)
    shape = _SHAPES.get(kind)
    if shape is None:
        shape = _SHAPES[kind] = _shape(kind)
    found: list[ir.Node] = []
    for name, how in shape:
        value = getattr(node, name)
        if how == "many":
            found += value
        elif how == "one":
            if value is not None:
                found.append(value)
        else:
            for key, item in value:
                if key is not None:
                    found.append(key)
                found.append(item)
    return found


def nodes_in(body: ir.Node | tuple[ir.Node, ...]) -> Iterator[ir.Node]:
    """All nodes in some statements or in an expression, themselves included, in no order."""
    stack = list(body) if isinstance(body, tuple) else [body]
    while stack:
        node = stack.pop()
        yield node
        stack += children(node)


def last_name(node: ir.Expr) -> str:
    """The name that an expression ends with, "" when it is no name and no attribute."""
    return node.id if isinstance(node, ir.Name) else node.name if isinstance(node, ir.Attr) else ""


def named_by_string(node: ir.Call) -> str:
    """The attribute that a call names by a literal: `getattr(x, "step")`, `methodcaller("step")`. "" for other calls."""
    place = _NAMES_AT.get(last_name(node.func))
    if place is None:
        return ""
    plain = [arg.value for arg in node.args if arg.name is None and not arg.star]
    name = plain[place] if place < len(plain) else None
    return name.value if isinstance(name, ir.Const) and isinstance(name.value, str) else ""


def names_in(node: ir.Node) -> Iterator[str]:
    """Plain names that stand anywhere in a node."""
    return (one.id for one in nodes_in(node) if isinstance(one, ir.Name))
