"""Statements: IR in, changes of scope, heap and trace out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lora_lint.interpreter.attributes as attributes
import lora_lint.interpreter.branches as branches
import lora_lint.interpreter.conditions as conditions
import lora_lint.interpreter.definitions as definitions
import lora_lint.interpreter.elements as elements
import lora_lint.interpreter.evaluate as evaluation
import lora_lint.interpreter.item_writes as item_writes
import lora_lint.interpreter.items as items
import lora_lint.interpreter.iteration as iteration
import lora_lint.interpreter.managers as managers
import lora_lint.interpreter.param_loops as param_loops
import lora_lint.interpreter.params as params
from lora_lint.interpreter import gathering, generators, looks, probes, tensors, varying
from lora_lint.interpreter.keys import joined
from lora_lint.interpreter.parameter_values import PARAMETERS, Element, ParamIter, ParamSet
from lora_lint.interpreter.relevance import called_names
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import (
    Choice,
    Const,
    DictVal,
    Generator,
    Jump,
    LibMethod,
    Returned,
    Scope,
    SeqVal,
    Sym,
    Value,
    choices,
)
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import BROKEN_OFF, Tensor
from lora_lint.lifecycle.vocabulary import Kind
from lora_lint.syntax import ir


def block(run: Run, body: Iterable[ir.Stmt], scope: Scope) -> None:
    """Run statements in order. A decision whose other arm leaves the block guards what follows it."""
    for statement in body:
        run.step()
        run.statement = run.loc(statement)
        try:
            _HANDLERS[type(statement)](run, statement, scope)
        except RecursionError:
            run.too_deep()


def _expression(run: Run, node: ir.ExprStmt, scope: Scope) -> None:
    value = evaluation.evaluate(run, node.value, scope)
    if isinstance(value, Obj) and value.kind is Kind.CONTEXT and value.facts.get("statement"):
        run.grad[-1].on = managers.grad_answer(value)
        run.grad[-1].at = run.loc(node)
    if isinstance(node.value, ir.Call) and run.trace.events:
        place = run.loc(node.value)
        for event in reversed(run.trace.events[-8:]):
            if event.location == place:
                event.args["discarded"] = True
                break


def _assign(run: Run, node: ir.Assign, scope: Scope) -> None:
    if node.value is None:
        return
    value = evaluation.evaluate(run, node.value, scope)
    if run.loops and any(evaluation.counts(target, node.value, value) for target in node.targets):
        value = run.fresh(node)  # a counter: its value after two turns is not its value
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
        item_writes.bind(run, target, value, scope)
    elif isinstance(target, ir.Seq):
        _bind_sequence(run, target, value, scope)
    elif isinstance(target, ir.Star):
        bind_target(run, target.value, value, scope)


def _bind_sequence(run: Run, target: ir.Seq, value: Value, scope: Scope) -> None:
    star = next((i for i, t in enumerate(target.items) if isinstance(t, ir.Star)), None)
    value = iteration.unpacked(run, value, target)
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
        gathering.note_growth(run, before)
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
        elif isinstance(target, ir.Item):
            held = evaluation.evaluate(run, target.value, scope)
            if isinstance(held, SeqVal):
                held.open, held.whole, held.spliced = True, None, ()
            elif isinstance(held, DictVal):
                held.forget(evaluation.evaluate(run, target.index, scope))


def _assert(run: Run, node: ir.Assert, scope: Scope) -> None:
    answer = conditions.test(run, node.test, scope, node)
    if not answer.known:
        value = run.last_condition[1] if run.last_condition is not None else None
        if isinstance(value, Sym):
            run.oracle.assume(value.key, True)


# --- loops ------------------------------------------------------------------------------------------------------------


def _for(run: Run, node: ir.For, scope: Scope) -> None:
    counted = params.counted(run, node.iter, scope)
    if counted is not None:
        param_loops.loop(run, node, counted, scope, by="place")
        return
    with run.looking(looks.only_measures(run, node.target, node.iter, node.body)):
        iterable = iteration.given_by(run, evaluation.evaluate(run, node.iter, scope), node.iter)
    one_of = run.one_of(choices(iterable))
    if isinstance(iterable, Choice):
        iterable = next((v for v in iterable.values if not isinstance(v, Const)), iterable)
    if not run.param_loops:
        iterable = params.of_list(run, iterable) or iterable
    if isinstance(iterable, (ParamIter, ParamSet)):
        param_loops.loop(run, node, iterable, scope)
        return
    held = iterable.items.get(PARAMETERS) if isinstance(iterable, DictVal) else None
    if isinstance(held, (ParamIter, ParamSet)):
        param_loops.loop(run, node, held, scope, by="name")
        return
    hot = run.program.hot_block(node.body)
    limit = 8 if hot or iteration.holds_callables(iterable) else 2
    if iteration.every(run, iterable, node.body, hot):
        limit = iteration.MAX_STORED
    items: list[Value] = []
    more = True
    if not isinstance(iterable, Generator):
        with one_of:
            items, more = iteration.items_for_loop(run, iterable, node.iter, limit, 2 if hot else 1)
        iteration.each_of(iterable, items, node.body, run.loc(node), scope)
    outer, run.loop = run.loop, run.loc(node)
    around, run.alone = run.alone, node.body[0] if len(node.body) == 1 else None
    run.loops.append(run.loop)
    varying.note(run, node)
    try:
        if isinstance(iterable, Generator):
            turns = generators.loop(run, node, iterable, scope, generators.turns(iterable, node, limit))
            items = [] if turns > 1 else [run.fresh(node.iter)]
            hot = hot and not turns
        for item in items:
            bind_target(run, node.target, item, scope)
            if not _turn(run, node.body, scope, more):
                return
            if _told(run, item):
                break
        if len(items) == 1 and hot and not isinstance(iterable, (SeqVal, DictVal)) and not _told(run, items[0]):
            bind_target(run, node.target, iteration.item_of(run, iterable, node.iter), scope)
            if not _turn(run, node.body, scope):
                return
    finally:
        run.loops.pop()
        run.loop, run.alone = outer, around
    block(run, node.orelse, scope)


def _told(run: Run, item: Value) -> bool:
    """Whether a path took an unknown item of a collection to be one certain value: which items come behind that one, the
    user alone knows (`for stage in stages: if stage == 2: ...`)."""
    if isinstance(item, SeqVal) and item.kind == "tuple":
        return any(_told(run, part) for part in item.items)
    return isinstance(item, Sym) and item.turn is None and run.oracle.value(item.key) is not None


def _turn(run: Run, body: tuple[ir.Stmt, ...], scope: Scope, more: bool = True) -> bool:
    """One turn of a loop; False when it broke out. more: whether there may be more turns than are run."""
    guards, passed, outer = len(run.guards), len(run.passed), run.turn
    if more:
        run.turns += 1
        run.turn = run.turns
    try:
        block(run, body, scope)
    except Jump as jump:
        if jump.kind == "break":
            run.witnesses.add((BROKEN_OFF, run.loop))
            return False
        if jump.kind != "continue":
            raise
    except Returned:
        run.witnesses.add((BROKEN_OFF, run.loop))
        raise
    finally:
        run.turn = outer
        del run.guards[guards:]
        del run.passed[passed:]
    return True


def _while(run: Run, node: ir.While, scope: Scope) -> None:
    outer, run.loop = run.loop, run.loc(node)
    run.loops.append(run.loop)
    varying.note(run, node)
    run.witnesses.add((BROKEN_OFF, run.loop))
    try:
        for _ in range(iteration.LOOP_TURNS if run.program.hot_block(node.body) else 1):
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
        hot = [h for h in node.handlers if run.program.hot_block(h.body) and branches.leaves(h.body) != "gives-up"]
        if hot and not run.param_loops:
            value = run.fresh(node, "an exception is raised")
            run.last_condition = (node, value)
            guard = conditions.choose(run, ir.Name(node.loc, "an exception is raised"), node, False)
            with run.guarded(guard):
                if guard.arm:
                    block(run, hot[0].body, scope)
                    return
        flags = probes.flags(node, scope)
        try:
            with _trying(run, node):
                block(run, node.body, scope)
            probes.went_well(run, node, flags, scope)
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
    ir.If: branches.if_,
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
