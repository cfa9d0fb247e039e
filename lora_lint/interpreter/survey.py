"""What one walk through a file tells: large projects are mostly code that is never run."""

from __future__ import annotations

from dataclasses import dataclass, field

from lora_lint.interpreter.relevance import called_at, children
from lora_lint.syntax import ir


@dataclass(slots=True, eq=False)
class Definition:
    """A function or class, wherever it stands. called: last names of what is called in it (see `called_at`). names: names
    and attributes in it."""

    node: ir.FunctionDef | ir.ClassDef
    called: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class Survey:
    """A file. mentioned: names and attributes in it, and names that it imports. made: by the last name of what is called,
    the names and attributes that are bound to what comes back."""

    mentioned: set[str] = field(default_factory=set)
    made: dict[str, set[str]] = field(default_factory=dict)
    imports: list[ir.Import] = field(default_factory=list)
    definitions: dict[int, Definition] = field(default_factory=dict)  # by identity of their nodes


def survey(unit: ir.Module) -> Survey:
    """Walk through a file."""
    found = Survey()
    stack: list[tuple[ir.Node, tuple[Definition, ...]]] = [(node, ()) for node in unit.body]
    while stack:
        node, around = stack.pop()
        kind = type(node)
        name = node.id if kind is ir.Name else node.name if kind is ir.Attr else None  # type: ignore[attr-defined]
        if name is not None:
            found.mentioned.add(name)
            for one in around:
                one.names.add(name)
        elif kind is ir.Call or kind is ir.Assign:
            if isinstance(node, ir.Assign) and isinstance(node.value, ir.Call):
                found.made.setdefault(_last_name(node.value.func), set()).update(map(_last_name, node.targets))
            if around:
                called = tuple(called_at(node))
                for one in around:
                    one.called.update(called)
        elif isinstance(node, ir.Import):
            found.imports.append(node)
            found.mentioned.update(name for name, _ in node.names or ())
        elif isinstance(node, (ir.FunctionDef, ir.ClassDef)):
            here = found.definitions[id(node)] = Definition(node)
            around = (*around, here)
        stack.extend([(child, around) for child in children(node)])
    return found


def _last_name(node: ir.Expr) -> str:
    """The name that an expression ends with, "" when it is no name and no attribute."""
    return node.id if isinstance(node, ir.Name) else node.name if isinstance(node, ir.Attr) else ""
