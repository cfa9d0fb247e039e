"""What makes the config of an adapter: classes of configs, and functions of the user that give one whatever happens in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import FuncVal, LibRef, Partial, Value
from lora_lint.interpreter.walk import children
from lora_lint.lifecycle.vocabulary import Kind
from lora_lint.location import Location
from lora_lint.syntax import ir

_DEPTH = 3


def made_by(run: Run, values: Iterable[Value]) -> set[Location] | None:
    """Where calling one of these makes the config of an adapter, as far as that is not where it is called; None where one of
    them may give something else."""
    found: set[Location] = set()
    for value in values:
        places = _made_by(run, value, _DEPTH)
        if places is None:
            return None
        found |= places
    return found


def _made_by(run: Run, value: Value, depth: int) -> set[Location] | None:
    if isinstance(value, LibRef):
        spec = run.store.type_of(value.name)
        return set() if spec is not None and spec.kind is Kind.ADAPTER_CONFIG else None
    if isinstance(value, Partial):
        return _made_by(run, value.func, depth)
    if not isinstance(value, FuncVal) or not depth or getattr(value.node, "generator", False):
        return None
    if isinstance(value.node, ir.Lambda):
        return _made_in(run, value.node.body, value, depth)
    body = value.node.body
    if not body or not isinstance(body[-1], ir.Return):
        return None
    returned = [node.value or node for node in _inside(body) if isinstance(node, ir.Return)]
    return _all(_made_in(run, each, value, depth) for each in returned)


def _made_in(run: Run, expr: ir.Node, function: FuncVal, depth: int) -> set[Location] | None:
    """The same for an expression in a function: a call that gives a config, or a name that only such calls are bound to."""
    if isinstance(expr, ir.Name) and isinstance(function.node, ir.FunctionDef):
        bound = [
            node.value
            for node in _inside(function.node.body)
            if isinstance(node, ir.Assign) and any(isinstance(t, ir.Name) and t.id == expr.id for t in node.targets)
        ]
        calls = [value for value in bound if isinstance(value, ir.Call)]
        return _all(_made_in(run, each, function, depth) for each in calls) if calls and calls == bound else None
    made = _called(expr.func, function) if isinstance(expr, ir.Call) else None
    places = _made_by(run, made, depth - 1) if made is not None else None
    return places if places is None or places else {Location(function.scope.module.path, *expr.loc)}


def _all(found: Iterable[set[Location] | None]) -> set[Location] | None:
    places = list(found)
    return None if None in places else set().union(*(each for each in places if each is not None))


def _called(expr: ir.Expr, function: FuncVal) -> Value | None:
    """What an expression that is called stands for: a name, or `functools.partial(name, …)`."""
    if isinstance(expr, ir.Call) and expr.args:
        wrapper = _named(expr.func, function)
        partial = isinstance(wrapper, LibRef) and wrapper.name == "functools.partial"
        return _named(expr.args[0].value, function) if partial else None
    return _named(expr, function)


def _named(expr: ir.Expr, function: FuncVal) -> Value | None:
    """What a name, or a name in a module of a library, stands for in a function; None for its parameters."""
    if isinstance(expr, ir.Name):
        own = any(param.name == expr.id for param in function.node.params)
        return None if own else function.scope.lookup(expr.id)
    owner = _named(expr.value, function) if isinstance(expr, ir.Attr) else None
    return LibRef(f"{owner.name}.{expr.name}") if isinstance(expr, ir.Attr) and isinstance(owner, LibRef) else None


def _inside(body: tuple[ir.Stmt, ...]) -> Iterator[ir.Node]:
    """All that is in a body, without what is in functions and classes in there."""
    stack: list[ir.Node] = list(body)
    while stack:
        node = stack.pop()
        if not isinstance(node, (ir.FunctionDef, ir.ClassDef, ir.Lambda)):
            yield node
            stack.extend(children(node))
