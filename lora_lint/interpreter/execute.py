"""Statements: IR in, changes of scope, heap and trace out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lora_lint.interpreter.attributes as attributes
import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.conditions as conditions
import lora_lint.interpreter.definitions as definitions
import lora_lint.interpreter.elements as elements
import lora_lint.interpreter.evaluate as evaluation
import lora_lint.interpreter.items as items
import lora_lint.interpreter.managers as managers
import lora_lint.interpreter.params as params
from lora_lint.interpreter import containers, encodings, rows, tensors
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.describe import variable
from lora_lint.interpreter.keys import joined
from lora_lint.interpreter.relevance import called_names
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import (
    Bound,
    Choice,
    Const,
    DictVal,
    Element,
    FuncVal,
    Generator,
    Jump,
    LibMethod,
    ParamIter,
    ParamSet,
    Partial,
    Returned,
    Scope,
    SeqVal,
    Sym,
    Value,
    join,
    key_of,
)
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Guard, Tensor
from lora_lint.lifecycle.vocabulary import Graph, Kind
from lora_lint.location import Location
from lora_lint.syntax import ir

LOOP_TURNS = 2


def block(run: Run, body: Iterable[ir.Stmt], scope: Scope) -> None:
    """Run statements in order. A decision whose other arm leaves the block guards what follows it."""
    for statement in body:
        run.step()
        run.statement = Location(run.module.path, *statement.loc)
        try:
            _HANDLERS[type(statement)](run, statement, scope)
        except RecursionError:
            run.too_deep()


def _expression(run: Run, node: ir.ExprStmt, scope: Scope) -> None:
    value = evaluation.evaluate(run, node.value, scope)
    if isinstance(value, Obj) and value.kind is Kind.CONTEXT and value.facts.get("statement"):
        run.grad[-1].on = managers.grad_answer(value)
        run.grad[-1].at = run.loc(node)
    if isinstance(node.value, ir.Call):
        for event in reversed(run.trace.events[-8:]):
            if event.location == run.loc(node.value):
                event.args["discarded"] = True
                break


def _assign(run: Run, node: ir.Assign, scope: Scope) -> None:
    if node.value is None:
        return
    value = evaluation.evaluate(run, node.value, scope)
    for target in node.targets:
        bind_target(run, target, value, scope)


def bind_target(run: Run, target: ir.Expr, value: Value, scope: Scope) -> None:
    """Assign a value to a target: name, attribute, item, or a display of targets."""
    if isinstance(target, ir.Name):
        if isinstance(value, Obj) and not value.name:
            value.name = target.id
        elif isinstance(value, Sym) and not value.text:
            value.text = target.id
        elif isinstance(value, Tensor) and not value.name:
            value.name = target.id
        elif isinstance(value, LibMethod):
            value.kept = run.statement
        scope.bind(target.id, value)
    elif isinstance(target, ir.Attr):
        attributes.write(run, evaluation.evaluate(run, target.value, scope), target.name, value, target, scope)
    elif isinstance(target, ir.Item):
        _bind_item(run, target, value, scope)
    elif isinstance(target, ir.Seq):
        _bind_sequence(run, target, value, scope)
    elif isinstance(target, ir.Star):
        bind_target(run, target.value, value, scope)


def _bind_item(run: Run, target: ir.Item, value: Value, scope: Scope) -> None:
    container = evaluation.evaluate(run, target.value, scope)
    index = evaluation.evaluate(run, target.index, scope)
    if isinstance(container, Obj) and container.kind is Kind.ROW:
        rows.bind(container, index, value)
    elif isinstance(container, Obj) and container.kind is Kind.DATASET:
        rows.replaced(container)
    elif isinstance(container, Tensor):
        tensors.note_write(run, container, target)
        encodings.bind(run, container, index, value, target)
    elif isinstance(container, DictVal):
        if isinstance(index, Const) and index.value == "labels":
            encodings.note_labels(run, value, target, variable(target.value))
        key = index.value if isinstance(index, Const) else ("unknown", key_of(index))
        try:
            container.items[key] = value
        except TypeError:
            container.open = True
        container.open = container.open or not isinstance(index, Const)
    elif isinstance(container, SeqVal):
        if (
            isinstance(index, Const)
            and isinstance(index.value, int)
            and -len(container.items) <= index.value < len(container.items)
        ):
            container.items[index.value] = value
    elif isinstance(container, Sym) and (isinstance(index, Const) or container.loader is not None):
        container.loader = None  # not the batch that came out of the loader any more
        container.attrs[f"[{key_of(index)}]"] = value
    elif isinstance(value, Obj) and value.kind is Kind.ADAPTER_CONFIG:
        run.witnesses.add(("config-used", value.site))


def _bind_sequence(run: Run, target: ir.Seq, value: Value, scope: Scope) -> None:
    star = next((i for i, t in enumerate(target.items) if isinstance(t, ir.Star)), None)
    if isinstance(value, Const) and isinstance(value.value, tuple):
        value = SeqVal("tuple", [Const(v) for v in value.value])
    if isinstance(value, SeqVal) and star is None and len(value.items) >= len(target.items):
        for item, each in zip(target.items, value.items, strict=False):
            bind_target(run, item, each, scope)
        return
    if isinstance(value, SeqVal) and star is not None and len(value.items) >= len(target.items) - 1:
        after = len(target.items) - star - 1
        for item, each in zip(target.items[:star], value.items[:star], strict=False):
            bind_target(run, item, each, scope)
        for item, each in zip(target.items[star + 1 :], value.items[len(value.items) - after :], strict=False):
            bind_target(run, item, each, scope)
        bind_target(run, target.items[star], SeqVal("list", value.items[star : len(value.items) - after]), scope)
        return
    for i, item in enumerate(target.items):
        bind_target(run, item, items.read_item(run, value, Const(i), item), scope)


def _augment(run: Run, node: ir.AugAssign, scope: Scope) -> None:
    target = node.target
    before = evaluation.evaluate(run, target, scope)
    value = evaluation.evaluate(run, node.value, scope)
    if isinstance(before, SeqVal) and node.op == "+":
        more = value if isinstance(value, SeqVal) else SeqVal("list", [value], True)
        before.items, before.open = joined([before, more])
        return
    if isinstance(before, Element):
        elements.note_write(run, before, node)
        return
    tensors.note_write(run, before, node, augmented=True)
    result = evaluation.binary(run, node.op, [before, value], node)
    if isinstance(result, Const) and run.loops:
        result = run.fresh(node)  # a counter: its value after two turns is not its value
    bind_target(run, target, result, scope)


def _delete(run: Run, node: ir.Delete, scope: Scope) -> None:
    for target in node.targets:
        if isinstance(target, ir.Name):
            scope.names.pop(target.id, None)


def _assert(run: Run, node: ir.Assert, scope: Scope) -> None:
    answer = conditions.test(run, node.test, scope, node)
    if not answer.known:
        value = run.last_condition[1] if run.last_condition is not None else None
        if isinstance(value, Sym):
            run.oracle.assume(value.key, True)


# --- branches ---------------------------------------------------------------------------------------------------------


def _if(run: Run, node: ir.If, scope: Scope) -> None:
    answer = conditions.test(run, node.test, scope, node)
    if answer.known:
        with run.guarded(conditions.behind(run, node)):
            block(run, node.body if answer.yes else node.orelse, scope)
        return
    remembered = run.last_condition
    if run.param_loops:
        _weakly(run, node, scope)
        return
    leaves_then, leaves_else = _leaves(node.body), _leaves(node.orelse)
    hot_then, hot_else = run.program.hot_block(node.body), run.program.hot_block(node.orelse)
    if leaves_then == "gives-up" and not hot_then and not run.thorough:
        _assume(run, remembered, False)
        block(run, node.orelse, scope)
        return
    if leaves_else == "gives-up" and not hot_else and not run.thorough:
        _assume(run, remembered, True)
        block(run, node.body, scope)
        return
    if hot_then or hot_else or leaves_then or leaves_else or _touches_objects(run, node, scope):
        run.last_condition = remembered
        default = False if leaves_then and not leaves_else else True if leaves_else and not leaves_then else None
        guard = conditions.choose(run, node.test, node, default, rank=0 if hot_then or hot_else else 1)
        taken, other_leaves = (node.body, leaves_else) if guard.arm else (node.orelse, leaves_then)
        if hot_else if guard.arm else hot_then:
            run.trace.skipped.append(guard)
        with run.guarded(guard):
            block(run, taken, scope)
        if other_leaves == "returns":
            run.guards.append(Guard(guard.key, guard.text, guard.arm, True))  # the rest of this function
        return
    _join_arms(run, node, scope)


def _assume(run: Run, remembered: tuple[ir.Node, Value] | None, arm: bool) -> None:
    if remembered is not None and isinstance(remembered[1], Sym):
        run.oracle.assume(remembered[1].key, arm)


def _leaves(body: tuple[ir.Stmt, ...]) -> str:
    """How a block ends: "" falls through, "gives-up" raises or returns nothing of use, "returns" returns a value,
    "jumps" continues or breaks a loop."""
    if not body:
        return ""
    last = body[-1]
    if isinstance(last, ir.Raise):
        return "gives-up"
    if isinstance(last, ir.Return):
        return "gives-up" if last.value is None or isinstance(last.value, ir.Const) else "returns"
    if isinstance(last, ir.Jump) and last.kind in ("continue", "break"):
        return "gives-up"
    if isinstance(last, ir.ExprStmt) and isinstance(last.value, ir.Call):
        func = last.value.func
        if (isinstance(func, ir.Attr) and func.name in ("exit", "_exit", "abort", "error")) or (
            isinstance(func, ir.Name) and func.id in ("exit", "quit")
        ):
            return "gives-up"
    return ""


def _touches_objects(run: Run, node: ir.If, scope: Scope) -> bool:
    """Whether an arm rebinds something to (or away from) an object with a lifecycle."""
    for statement in (*node.body, *node.orelse):
        if isinstance(statement, ir.Assign) and statement.value is not None:
            sources: list[ir.Expr] = [statement.value]
            if isinstance(statement.value, (ir.Seq,)):
                sources = list(statement.value.items)
            elif isinstance(statement.value, ir.Call):
                sources = [a.value for a in statement.value.args]
            for expr in (*sources, *statement.targets):
                if isinstance(expr, ir.Name):
                    value = scope.lookup(expr.id)
                    if isinstance(value, (Obj, ParamIter, ParamSet)) or (
                        isinstance(value, Tensor) and value.graph is not Graph.PLAIN
                    ):
                        return True
        elif isinstance(statement, ir.If) and _touches_objects(run, statement, scope):
            return True
    return False


def _join_arms(run: Run, node: ir.If, scope: Scope) -> None:
    """Run both arms of a condition that decides nothing about the lifecycle, and join what they assign."""
    names = _assigned((*node.body, *node.orelse))
    before = {name: scope.names[name] for name in names if name in scope.names}
    results: list[dict[str, Value]] = []
    for arm in (node.body, node.orelse):
        for name in names:
            scope.names.pop(name, None)
        scope.names.update(before)
        try:
            block(run, arm, scope)
        except Jump as jump:
            if jump.kind not in ("break", "continue"):
                raise
        results.append({name: scope.names[name] for name in names if name in scope.names})
    for name in names:
        values = [r[name] for r in results if name in r]
        if len(values) == 2:
            scope.names[name] = join(values[0], values[1])
        elif values:
            scope.names[name] = values[0]


def _assigned(body: Iterable[ir.Stmt]) -> list[str]:
    """Names that statements bind, nested blocks included."""
    out: dict[str, None] = {}
    stack: list[Any] = list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, ir.Assign):
            stack.extend(node.targets)
        elif isinstance(node, ir.AugAssign):
            stack.append(node.target)
        elif isinstance(node, ir.Name):
            out[node.id] = None
        elif isinstance(node, ir.Seq):
            stack.extend(node.items)
        elif isinstance(node, (ir.If, ir.For, ir.While)):
            stack.extend([*node.body, *node.orelse])
            if isinstance(node, ir.For):
                stack.append(node.target)
        elif isinstance(node, ir.With):
            stack.extend(node.body)
            stack.extend(item.target for item in node.items if item.target is not None)
        elif isinstance(node, ir.Try):
            stack.extend([*node.body, *node.orelse, *node.final, *(s for h in node.handlers for s in h.body)])
    return list(out)


def _weakly(run: Run, node: ir.If, scope: Scope) -> None:
    """A condition on a parameter that cannot be read: both arms, what they write becomes unknown."""
    state = run.param_loops[-1]
    state.weak += 1
    try:
        for arm in (node.body, node.orelse):
            try:
                block(run, arm, scope)
            except Jump as jump:
                state.broke = state.broke or jump.kind == "break"
                state.doubt = True  # of what follows in this turn
    finally:
        state.weak -= 1


# --- loops ------------------------------------------------------------------------------------------------------------


def _for(run: Run, node: ir.For, scope: Scope) -> None:
    iterable = evaluation.evaluate(run, node.iter, scope)
    if isinstance(iterable, Choice):
        iterable = next((v for v in iterable.values if not isinstance(v, Const)), iterable)
    if isinstance(iterable, (ParamIter, ParamSet)):
        params.loop(run, node, iterable, scope)
        return
    hot = run.program.hot_block(node.body)
    items, _ = items_for_loop(run, iterable, node.iter, 8 if hot or _callables(iterable) else 2)
    outer, run.loop = run.loop, run.loc(node)
    run.loops.append(run.loop)
    try:
        for item in items:
            bind_target(run, node.target, item, scope)
            if not _turn(run, node.body, scope):
                return
        if len(items) == 1 and hot and not isinstance(iterable, (SeqVal, DictVal)):
            bind_target(run, node.target, item_of(run, iterable, node.iter), scope)
            if not _turn(run, node.body, scope):
                return
    finally:
        run.loops.pop()
        run.loop = outer
    block(run, node.orelse, scope)


def _callables(value: Value) -> bool:
    """Whether a value is a collection of the user's functions: `for step in (load, adapt, fit): step()`."""
    items = value.items if isinstance(value, SeqVal) else value.items.values() if isinstance(value, DictVal) else ()
    flat = [each for item in items for each in (item.items if isinstance(item, SeqVal) else (item,))]
    return any(isinstance(each, (FuncVal, Bound, Partial)) for each in flat)


def _turn(run: Run, body: tuple[ir.Stmt, ...], scope: Scope) -> bool:
    """One turn of a loop; False when it broke out."""
    try:
        block(run, body, scope)
    except Jump as jump:
        if jump.kind == "break":
            return False
        if jump.kind != "continue":
            raise
    return True


def items_for_loop(run: Run, iterable: Value, node: ir.Node, limit: int) -> tuple[list[Value], bool]:
    """The first items of an iterable, and whether there may be others."""
    if isinstance(iterable, SeqVal):
        if not iterable.items and not iterable.open:
            return [], False
        items = list(iterable.items[:limit])
        if not items or (iterable.open and len(items) < 2):
            items.extend(items or [run.fresh(node)])
        return items[: max(limit, 2)], iterable.open or len(iterable.items) > limit
    if isinstance(iterable, DictVal):
        keys: list[Value] = [containers.key_value(k) for k in list(iterable.items)[:limit]]
        return keys or [run.fresh(node)], iterable.open
    if isinstance(iterable, Generator):
        return calls.iterate_generator(run, iterable, node)[:limit] or [run.fresh(node)], True
    if isinstance(iterable, Const):
        if isinstance(iterable.value, (str, tuple)) and iterable.value:
            return [Const(c) for c in iterable.value[:limit]], len(iterable.value) > limit
        return [run.fresh(node)], True
    return [item_of(run, iterable, node) for _ in range(min(limit, LOOP_TURNS))], True


def item_of(run: Run, iterable: Value, node: ir.Node) -> Value:
    """One item of an iterable whose items are not known."""
    if isinstance(iterable, Obj):
        if iterable.user_class is not None:
            maker = iterable.user_class.find("__iter__")
            if isinstance(maker, FuncVal):
                inner = calls.call_value(run, Bound(maker, iterable), Args(), node, run.module.scope)
                if isinstance(inner, Generator):
                    produced = calls.iterate_generator(run, inner, node)
                    return produced[0] if produced else run.fresh(node)
        if rows.tells_fields(iterable):
            return rows.make(run, iterable, node)
        if iterable.kind in (Kind.LOADER, Kind.DATASET):
            batch = run.fresh(node, "batch", data=True)
            batch.loader = iterable if iterable.kind is Kind.LOADER else None
            return batch
        if iterable.kind is Kind.MODEL:
            return Obj(Kind.MODEL, "torch.nn.Module", iterable.site, parent=iterable, path="*")
    if isinstance(iterable, Tensor):
        return iterable
    if isinstance(iterable, Sym) and _is_data(iterable):
        return run.fresh(node, "batch", data=True)
    return run.fresh(node)


def _is_data(value: Sym) -> bool:
    """Whether iterating an unknown value gives batches of data, judged by what the user calls it."""
    text = value.text.lower()
    return (
        value.data
        or any(word in text for word in ("loader", "dataset", "batches", "_dl", "data"))
        or text in ("dl", "ds")
    )


def _while(run: Run, node: ir.While, scope: Scope) -> None:
    outer, run.loop = run.loop, run.loc(node)
    run.loops.append(run.loop)
    try:
        for _ in range(LOOP_TURNS):
            if conditions.test(run, node.test, scope, node).no:
                break
            if not _turn(run, node.body, scope):
                return
    finally:
        run.loops.pop()
        run.loop = outer
    block(run, node.orelse, scope)


# --- try -------------------------------------------------------------------------------------------------------------


def _try(run: Run, node: ir.Try, scope: Scope) -> None:
    try:
        hot = [h for h in node.handlers if run.program.hot_block(h.body) and _leaves(h.body) != "gives-up"]
        if hot and not run.param_loops:
            value = run.fresh(node, "an exception is raised")
            run.last_condition = (node, value)
            guard = conditions.choose(run, ir.Name(node.loc, "an exception is raised"), node, False)
            with run.guarded(guard):
                if guard.arm:
                    block(run, hot[0].body, scope)
                    return
        try:
            with _trying(run, node):
                block(run, node.body, scope)
            block(run, node.orelse, scope)
        except Jump as jump:
            if jump.kind != "raise" or not node.handlers:
                raise
            block(run, node.handlers[0].body, scope)
    finally:
        if node.final:
            block(run, node.final, scope)


def _trying(run: Run, node: ir.Try) -> AbstractContextManager[None]:
    """The context of a body whose exceptions are handled: "fallback" when a handler calls what the body calls."""
    if not node.handlers:
        return nullcontext()
    tried = set(called_names(node.body))
    again = any(not tried.isdisjoint(called_names(handler.body)) for handler in node.handlers)
    return run.context("fallback" if again else "try")


def _return(run: Run, node: ir.Return, scope: Scope) -> None:
    raise Returned(evaluation.evaluate(run, node.value, scope))


def _raise(run: Run, node: ir.Raise, scope: Scope) -> None:
    raise Jump("raise")


def _jump(run: Run, node: ir.Jump, scope: Scope) -> None:
    if node.kind != "pass":
        raise Jump(node.kind)


def _scope(run: Run, node: ir.Scope, scope: Scope) -> None:
    run.keep_globals(scope.module)
    (scope.globals_ if node.kind == "global" else scope.nonlocals).update(node.names)


_HANDLERS: dict[type, Callable[[Run, Any, Scope], None]] = {
    ir.ExprStmt: _expression,
    ir.Assign: _assign,
    ir.AugAssign: _augment,
    ir.Delete: _delete,
    ir.Assert: _assert,
    ir.If: _if,
    ir.For: _for,
    ir.While: _while,
    ir.With: managers.with_,
    ir.Try: _try,
    ir.FunctionDef: definitions.function,
    ir.ClassDef: definitions.class_,
    ir.Return: _return,
    ir.Raise: _raise,
    ir.Jump: _jump,
    ir.Import: definitions.import_,
    ir.Scope: _scope,
}
