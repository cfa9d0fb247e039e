"""Which names a statement reads and binds: enough to tell whether two statements may change places."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import libcst as cst


@dataclass(slots=True)
class Uses:
    """Names of one or several statements; an attribute of a name counts as the dotted name (`self.model`).

    reads: with every prefix (`self.model.lm` reads `self` and `self.model` too). binds: assigned, imported, defined or
    deleted. later: read only when a function defined here is called. called_on: names whose methods are called or
    that are passed to a call, so that their attributes may change. jumps: holds a return, or a break or continue that
    leaves it.
    """

    reads: set[str] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)
    called_on: set[str] = field(default_factory=set)
    jumps: bool = False

    def merge(self, other: Uses) -> None:
        """Add what another statement reads and binds."""
        self.reads |= other.reads
        self.binds |= other.binds
        self.later |= other.later
        self.called_on |= other.called_on
        self.jumps = self.jumps or other.jumps


def dotted(node: cst.CSTNode) -> str | None:
    """`a.b.c` of a chain of attributes on a name, None for anything else."""
    parts: list[str] = []
    while isinstance(node, cst.Attribute):
        parts.append(node.attr.value)
        node = node.value
    if not isinstance(node, cst.Name):
        return None
    return ".".join((node.value, *reversed(parts)))


def prefixes(name: str) -> list[str]:
    """`a`, `a.b` and `a.b.c` for `a.b.c`."""
    parts = name.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def uses(nodes: Iterable[cst.CSTNode]) -> Uses:
    """What some statements read and bind, taken together."""
    collector = _Collector()
    for node in nodes:
        collector.walk(node)
    return collector.uses


class _Collector:
    """Walks statements once; the bodies of functions only count as read later."""

    def __init__(self) -> None:
        self.uses = Uses()
        self._loops = 0

    def walk(self, node: cst.CSTNode | None) -> None:
        """Note what a node reads and binds."""
        if node is None:
            return
        handler = _HANDLERS.get(type(node))
        if handler is not None:
            handler(self, node)
        else:
            self.children(node)

    def children(self, node: cst.CSTNode) -> None:
        """Note what the parts of a node read and bind."""
        for child in node.children:
            self.walk(child)

    def bind(self, target: cst.CSTNode) -> None:
        """Note what a target binds; indexes and receivers inside it are read."""
        if isinstance(target, cst.Name):
            self.uses.binds.add(target.value)
        elif isinstance(target, cst.Attribute):
            self.walk(target.value)
            if name := dotted(target):
                self.uses.binds.add(name)
        elif isinstance(target, (cst.Tuple, cst.List)):
            for element in target.elements:
                self.bind(element.value)
        else:
            self.walk(target)

    # --- expressions -------------------------------------------------------------------------------------------------

    def name(self, node: cst.Name) -> None:
        self.uses.reads.add(node.value)

    def attribute(self, node: cst.Attribute) -> None:
        name = dotted(node)
        if name is None:
            self.walk(node.value)
        else:
            self.uses.reads.update(prefixes(name))

    def argument(self, node: cst.Arg) -> None:
        self.walk(node.value)  # not the keyword, which is no variable

    def call(self, node: cst.Call) -> None:
        if isinstance(node.func, cst.Attribute) and (receiver := dotted(node.func.value)):
            self.uses.called_on.add(receiver)
        for argument in node.args:
            if name := dotted(argument.value):
                self.uses.called_on.add(name)
        self.children(node)

    def walrus(self, node: cst.NamedExpr) -> None:
        self.walk(node.value)
        self.bind(node.target)

    def comprehension(self, node: cst.CompFor) -> None:
        # The targets of a comprehension are its own; reads of them are counted, which errs on the careful side.
        self.walk(node.iter)
        for condition in node.ifs:
            self.walk(condition)
        self.walk(node.inner_for_in)

    def lambda_(self, node: cst.Lambda) -> None:
        self._function(node.params, node.body)

    # --- statements --------------------------------------------------------------------------------------------------

    def assign_target(self, node: cst.AssignTarget) -> None:
        self.bind(node.target)

    def annotated(self, node: cst.AnnAssign) -> None:
        if node.value is not None:
            self.walk(node.value)
            self.bind(node.target)

    def augmented(self, node: cst.AugAssign) -> None:
        self.walk(node.target)
        self.walk(node.value)
        self.bind(node.target)

    def for_(self, node: cst.For) -> None:
        self.walk(node.iter)
        self.bind(node.target)
        self._loop(node.body)
        self.walk(node.orelse)

    def while_(self, node: cst.While) -> None:
        self.walk(node.test)
        self._loop(node.body)
        self.walk(node.orelse)

    def _loop(self, body: cst.CSTNode) -> None:
        """Body of a loop, in which break and continue stay."""
        self._loops += 1
        self.walk(body)
        self._loops -= 1

    def as_name(self, node: cst.AsName) -> None:
        self.bind(node.name)

    def match_as(self, node: cst.MatchAs) -> None:
        self.walk(node.pattern)
        if node.name is not None:
            self.bind(node.name)

    def delete(self, node: cst.Del) -> None:
        self.children(node)
        targets = node.target.elements if isinstance(node.target, cst.Tuple) else [node.target]
        for target in targets:
            if name := dotted(target.value if isinstance(target, cst.Element) else target):
                self.uses.binds.add(name)

    def import_(self, node: cst.Import) -> None:
        for alias in node.names:
            name = alias.asname.name if alias.asname is not None else alias.name
            if bound := dotted(name):
                self.uses.binds.add(bound.split(".")[0])

    def import_from(self, node: cst.ImportFrom) -> None:
        self.uses.binds.update(name for _, name in imported_names(node))

    def function(self, node: cst.FunctionDef) -> None:
        self.uses.binds.add(node.name.value)
        for decorator in node.decorators:
            self.walk(decorator.decorator)
        self._function(node.params, node.body)

    def _function(self, params: cst.Parameters, body: cst.CSTNode) -> None:
        """Defaults are evaluated now, the body later."""
        for param in (*params.posonly_params, *params.params, *params.kwonly_params):
            self.walk(param.default)
        inner = _Collector()
        inner.walk(body)
        self.uses.later |= inner.uses.reads | inner.uses.later

    def class_(self, node: cst.ClassDef) -> None:
        self.uses.binds.add(node.name.value)
        for part in (*node.decorators, *node.bases, *node.keywords):
            self.walk(part)
        inner = _Collector()
        inner.walk(node.body)
        self.uses.reads |= inner.uses.reads
        self.uses.later |= inner.uses.later

    def return_(self, node: cst.Return) -> None:
        self.uses.jumps = True
        self.walk(node.value)

    def jump(self, node: cst.Break | cst.Continue) -> None:
        self.uses.jumps = self.uses.jumps or self._loops == 0


_HANDLERS: dict[type[cst.CSTNode], Callable[[_Collector, Any], None]] = {
    cst.Name: _Collector.name,
    cst.Attribute: _Collector.attribute,
    cst.Arg: _Collector.argument,
    cst.Call: _Collector.call,
    cst.NamedExpr: _Collector.walrus,
    cst.CompFor: _Collector.comprehension,
    cst.Lambda: _Collector.lambda_,
    cst.AssignTarget: _Collector.assign_target,
    cst.AnnAssign: _Collector.annotated,
    cst.AugAssign: _Collector.augmented,
    cst.For: _Collector.for_,
    cst.While: _Collector.while_,
    cst.AsName: _Collector.as_name,
    cst.MatchAs: _Collector.match_as,
    cst.Del: _Collector.delete,
    cst.Import: _Collector.import_,
    cst.ImportFrom: _Collector.import_from,
    cst.FunctionDef: _Collector.function,
    cst.ClassDef: _Collector.class_,
    cst.Return: _Collector.return_,
    cst.Break: _Collector.jump,
    cst.Continue: _Collector.jump,
}


def _defaults(params: cst.Parameters) -> list[cst.BaseExpression]:
    """Default values of parameters, which are evaluated where the function is defined."""
    every = (*params.posonly_params, *params.params, *params.kwonly_params)
    return [param.default for param in every if param.default is not None]


def imported_names(node: cst.ImportFrom) -> list[tuple[str, str]]:
    """Pairs of name and bound name of `from … import`, empty for a star."""
    if isinstance(node.names, cst.ImportStar):
        return []
    pairs: list[tuple[str, str]] = []
    for alias in node.names:
        name = alias.name.value if isinstance(alias.name, cst.Name) else ""
        bound = alias.asname.name.value if alias.asname and isinstance(alias.asname.name, cst.Name) else name
        pairs.append((name, bound))
    return pairs


def local_names(function: cst.FunctionDef) -> set[str]:
    """Names that are local to a function: parameters and everything it binds, less its globals and nonlocals."""
    params = function.params
    every = [*params.posonly_params, *params.params, *params.kwonly_params]
    every += [star for star in (params.star_arg, params.star_kwarg) if isinstance(star, cst.Param)]
    collected = uses([function.body])
    bound = {name for name in collected.binds if "." not in name}
    return ({param.name.value for param in every} | bound) - outer_names(function.body)


def outer_names(node: cst.CSTNode) -> set[str]:
    """Names that a function body declares global or nonlocal."""
    if isinstance(node, (cst.Global, cst.Nonlocal)):
        return {declared.name.value for declared in node.names}
    if isinstance(node, (cst.FunctionDef, cst.ClassDef, cst.BaseExpression, cst.BaseSmallStatement)):
        return set()
    return {name for child in node.children for name in outer_names(child)}
