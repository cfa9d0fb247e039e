"""What the methods that a statement calls on its own object do to the object's attributes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import libcst as cst

from lora_lint.fix.names import Uses, dotted, uses
from lora_lint.fix.tree import Tree


@dataclass(slots=True)
class MethodUses:
    """Attributes of an object, as dotted names on the caller's `self`.

    reads: what the called methods read. makes: what they bind to something new, not made of what it was before.
    unknown: a method of a parent that this file does not show is called, which may bind anything.
    """

    receiver: str = ""
    reads: set[str] = field(default_factory=set)
    makes: set[str] = field(default_factory=set)
    unknown: bool = False

    def touches(self, direct: Uses) -> bool:
        """Whether these methods, or a statement itself, use attributes of the object."""
        prefix = f"{self.receiver}."
        return bool(self.receiver) and any(
            name.startswith(prefix) for name in (*self.reads, *self.makes, *direct.reads, *direct.binds)
        )


def method_uses(tree: Tree, statement: cst.CSTNode) -> MethodUses:
    """What the methods of this file do that a statement calls on `self` or `super()`, methods that they call included."""
    function = tree.function(statement)
    owner = tree.enclosing(function, cst.ClassDef) if function is not None else None
    found = MethodUses()
    if function is None or not isinstance(owner, cst.ClassDef) or not function.params.params:
        return found
    found.receiver = function.params.params[0].name.value
    classes = {node.name.value: node for node in tree.nodes(cst.ClassDef)}
    seen: set[cst.CSTNode] = {function}
    pending = [(statement, found.receiver, owner)]
    while pending:
        node, receiver, owner = pending.pop()
        for name, parent in _called(node, receiver):
            method = _find(owner, name, classes, parent)
            if method is None:
                found.unknown = found.unknown or parent
                continue
            if method in seen or not method.params.params:
                continue
            seen.add(method)
            inner = method.params.params[0].name.value
            _note(found, method, inner)
            holder = tree.enclosing(method, cst.ClassDef)
            pending.append((method.body, inner, holder if parent and isinstance(holder, cst.ClassDef) else owner))
    return found


def _called(node: cst.CSTNode, receiver: str) -> Iterator[tuple[str, bool]]:
    """Names of the methods called on the object, and whether the parent's is called."""
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute):
        target = node.func.value
        if isinstance(target, cst.Name) and target.value == receiver:
            yield node.func.attr.value, False
        elif isinstance(target, cst.Call) and dotted(target.func) == "super":
            yield node.func.attr.value, True
    for child in node.children:
        yield from _called(child, receiver)


def _find(
    owner: cst.ClassDef, name: str, classes: dict[str, cst.ClassDef], parent: bool, depth: int = 0
) -> cst.FunctionDef | None:
    """A method of a class or its parents, as far as this file defines them."""
    if not parent:
        for node in owner.body.body:
            if isinstance(node, cst.FunctionDef) and node.name.value == name:
                return node
    for base in owner.bases:
        above = classes.get(dotted(base.value) or "")
        if above is not None and above is not owner and depth < len(classes):
            if (method := _find(above, name, classes, False, depth + 1)) is not None:
                return method
    return None


def _note(found: MethodUses, method: cst.FunctionDef, receiver: str) -> None:
    """Add what the statements of a method read and make."""
    for small in _simple(method.body):
        one = uses([small])
        found.reads |= _renamed(one.reads, receiver, found.receiver)
        found.makes |= _renamed(one.binds - one.reads, receiver, found.receiver)


def _simple(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """Simple statements and the headers of compound ones, without the bodies of inner functions and classes."""
    for child in node.children:
        if isinstance(child, (cst.BaseSmallStatement, cst.BaseExpression)):
            yield child
        elif not isinstance(child, (cst.FunctionDef, cst.ClassDef)):
            yield from _simple(child)


def _renamed(names: Sequence[str] | set[str], receiver: str, wanted: str) -> set[str]:
    """Attributes of the object, by the caller's name for it."""
    prefix = f"{receiver}."
    return {f"{wanted}.{name.removeprefix(prefix)}" for name in names if name.startswith(prefix)}
