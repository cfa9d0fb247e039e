"""What one walk through a file tells: large projects are mostly code that is never run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lora_lint.interpreter.evidence import Names, appends_to_path, asks
from lora_lint.interpreter.relevance import Heat, called_at
from lora_lint.interpreter.walk import children, last_name, named_by_string
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
    the names and attributes that are bound to what comes back. cold: calls by whose names alone one would take them to
    change state. asks: whether it decides by version what it uses. appends: whether it appends to `sys.path`. shows: imports
    and calls with keywords that are not tried, in order: they show versions."""

    mentioned: set[str] = field(default_factory=set)
    made: dict[str, set[str]] = field(default_factory=dict)
    imports: list[ir.Import] = field(default_factory=list)
    definitions: dict[int, Definition] = field(default_factory=dict)  # by identity of their nodes
    cold: set[int] = field(default_factory=set)  # by identity
    asks: bool = False
    appends: bool = False
    shows: list[ir.Import | ir.Call] = field(default_factory=list)


def survey(unit: ir.Module, heat: Heat) -> Survey:
    """Walk through a file."""
    found = Survey()
    imported = Names()
    stack: list[tuple[ir.Node, tuple[Definition, ...], bool]] = [(node, (), False) for node in reversed(unit.body)]
    while stack:
        node, around, tried = stack.pop()
        kind = type(node)
        inside: Sequence[ir.Node] = children(node)
        name = node.id if kind is ir.Name else node.name if kind is ir.Attr else None  # type: ignore[attr-defined]
        if name is not None:
            _mention(found, around, name)
        elif isinstance(node, ir.Call):
            if by_string := named_by_string(node):  # as good as if it were written out
                inside = node.args
                for part in by_string.split("."):
                    _mention(found, around, part)
            cold = _is_cold(node, imported, heat)
            if cold:
                found.cold.add(id(node))
            if around:
                called = tuple(called_at(node, cold))
                for one in around:
                    one.called.update(called)
            if not tried and any(arg.name for arg in node.args):
                found.shows.append(node)
            found.asks = found.asks or asks(node)
            found.appends = found.appends or appends_to_path(node)
        elif isinstance(node, ir.Assign):
            if isinstance(node.value, ir.Call):
                found.made.setdefault(last_name(node.value.func), set()).update(map(last_name, node.targets))
            for one in around:
                one.called.update(called_at(node))
        elif kind is ir.Op:
            found.asks = found.asks or asks(node)
        elif isinstance(node, ir.Import):
            found.imports.append(node)
            found.mentioned.update(name for name, _ in node.names or ())
            imported.add(node)
            if not tried:
                found.shows.append(node)
        elif isinstance(node, (ir.FunctionDef, ir.ClassDef)):
            here = found.definitions[id(node)] = Definition(node)
            around = (*around, here)
        elif isinstance(node, ir.Try):
            tried = tried or bool(node.handlers)
        stack += [(child, around, tried) for child in reversed(inside)]
    return found


def _mention(found: Survey, around: tuple[Definition, ...], name: str) -> None:
    """Note a name or attribute, for the file and for all that it stands in."""
    found.mentioned.add(name)
    for one in around:
        one.names.add(name)


def _is_cold(node: ir.Call, imported: Names, heat: Heat) -> bool:
    """Whether a call of a library changes nothing although something else that is called like it does."""
    if not heat.mentions(last_name(node.func)):
        return False
    name = imported.meaning(node.func)
    return bool(name) and heat.is_cold(name)
