"""Where to start: functions and methods that nothing called, with unknown arguments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import lora_lint.interpreter.calls as calls
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.relevance import Relevance, children
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import ClassVal, FuncVal, LibRef, ModuleVal, Value

from lora_lint.syntax import ir


@dataclass(frozen=True, slots=True)
class Entry:
    """A function or method to start from."""

    name: str
    node: ir.FunctionDef
    owner: str = ""  # class, for methods


def entries(unit: ir.Module, relevance: Relevance) -> list[Entry]:
    """Functions and methods of a module that may matter, callers before what they call."""
    found: list[Entry] = []
    for statement in _top_level(unit.body):
        if isinstance(statement, ir.FunctionDef) and relevance.block(statement.body):
            found.append(Entry(statement.name, statement))
        elif isinstance(statement, ir.ClassDef):
            found.extend(
                Entry(method.name, method, statement.name)
                for method in statement.body
                if isinstance(method, ir.FunctionDef) and relevance.block(method.body)
            )
    mentions = {id(one.node): _names(one.node) for one in found}

    def callers(one: Entry) -> int:
        return sum(one.name in mentions[id(other.node)] for other in found if other.node is not one.node)

    return sorted(found, key=lambda one: (callers(one) > 0, one.name == "__init__"))


def _top_level(body: tuple[ir.Stmt, ...]) -> Iterator[ir.Stmt]:
    for statement in body:
        yield statement
        if isinstance(statement, ir.If):
            yield from _top_level(statement.body)
            yield from _top_level(statement.orelse)
        elif isinstance(statement, ir.Try):
            yield from _top_level(statement.body)


def _names(node: ir.Node) -> frozenset[str]:
    names: set[str] = set()
    stack: list[object] = [node]
    while stack:
        here = stack.pop()
        if isinstance(here, ir.Name):
            names.add(here.id)
        elif isinstance(here, ir.Attr):
            names.add(here.name)
        stack.extend(children(here))
    return frozenset(names)


def start(run: Run, module: ModuleVal, one: Entry) -> None:
    """Call an entry with unknown arguments; a method on an instance made with unknown arguments."""
    run.module = module
    if not one.owner:
        value = module.scope.names.get(one.name)
        if isinstance(value, FuncVal):
            _call(run, value, [], one.node)
        return
    cls = module.scope.names.get(one.owner)
    if not isinstance(cls, ClassVal):
        return
    method = cls.attrs.get(one.name)
    if not isinstance(method, FuncVal):
        return
    if method.static:
        _call(run, method, [], one.node)
        return
    receiver: Value = cls if method.of_class else calls.instantiate(run, cls, Args(), one.node)
    if one.name != "__init__":
        _call(run, method, [(None, receiver)], one.node)


def _call(run: Run, func: FuncVal, given: list[tuple[str | None, Value]], node: ir.FunctionDef) -> None:
    annotated = _annotated(run, func)
    for param in node.params[len(given) :]:
        if param.name in annotated and param.kind not in ("*", "**"):
            given.append((param.name, annotated[param.name]))
    calls.call_function(run, func, given, node, None)


def _annotated(run: Run, func: FuncVal) -> dict[str, Value]:
    """Objects for parameters whose annotation names a library type."""
    import lora_lint.interpreter.evaluate as evaluation
    import lora_lint.interpreter.methods as methods

    out: dict[str, Value] = {}
    for param in func.node.params:
        if param.annotation is None or param.default is not None:
            continue
        value = evaluation.evaluate(run, param.annotation, func.scope)
        if isinstance(value, LibRef):
            spec = run.store.type_of(value.name)
            if spec is not None and spec.kind is not None and spec.kind.value in ("model", "optimizer"):
                symbol = run.fresh(param, param.name)
                methods.promote(run, symbol, spec.kind, value.name, None)
                out[param.name] = symbol
    return out


