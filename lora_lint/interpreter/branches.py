"""Branches: one arm is followed, or both when they decide nothing about the lifecycle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import lora_lint.interpreter.conditions as conditions
import lora_lint.interpreter.elements as elements
import lora_lint.interpreter.execute as execution
import lora_lint.interpreter.sharing as sharing
import lora_lint.interpreter.varying as varying
from lora_lint.interpreter import walk
from lora_lint.interpreter.describe import describe
from lora_lint.interpreter.parameter_values import ParamIter, ParamSet
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, Jump, Returned, Scope, SeqVal, Sym, Value, join
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import BROKEN_OFF, Guard, Tensor
from lora_lint.lifecycle.vocabulary import Ev, Graph, Kind, Mode
from lora_lint.syntax import ir

# Kinds of objects of which any will do: what is done with them later matters, not what they were made from.
_ALIKE = frozenset({Kind.TOKENIZER, Kind.MODEL_CONFIG})
_OF_A_TURN = frozenset({Ev.FORWARD, Ev.BACKWARD, Ev.STEP})
_RECENT = 40  # events that are looked at for a change of mode


def if_(run: Run, node: ir.If, scope: Scope) -> None:
    """Follow an `if`: the arm that is known, the one that this path takes, or both."""
    answer = conditions.test(run, node.test, scope, node)
    if answer.known:
        guard, varies = conditions.behind(run, node), varying.known(run, node, answer.yes)
        with run.guarded(guard), varying.passed(run, varies):
            _arm(run, node.body if answer.yes else node.orelse, scope, guard is not None)
        if guard is not None and _skips(node.orelse if answer.yes else node.body):
            run.guards.append(guard)
        varying.rest_of_turn(run, varies, node.orelse if answer.yes else node.body)
        return
    remembered = run.last_condition
    if run.param_loops:
        _weakly(run, node, scope)
        return
    leaves_then, leaves_else = leaves(node.body), leaves(node.orelse)
    hot_then, hot_else = run.program.hot_block(node.body), run.program.hot_block(node.orelse)
    if leaves_then == "gives-up" and not hot_then and not run.thorough and not _in_eval(run, node.body):
        _go_on(run, node, remembered, False, scope)
        return
    if leaves_else == "gives-up" and not hot_else and not run.thorough and not _in_eval(run, node.orelse):
        _go_on(run, node, remembered, True, scope)
        return
    if not (hot_then or hot_else) and run.importing and sharing.only_computes(run):
        raise Returned(run.fresh(node))
    if hot_then or hot_else or leaves_then or leaves_else or _touches_objects(run, node, scope):
        run.last_condition = remembered
        default = False if leaves_then and not leaves_else else True if leaves_else and not leaves_then else None
        rank = 0 if hot_then or hot_else else 1
        guard = conditions.choose(run, node.test, node, default, rank, _awaited(run, node))
        taken, other_leaves = (node.body, leaves_else) if guard.arm else (node.orelse, leaves_then)
        if hot_else if guard.arm else hot_then:
            run.trace.skipped.append(guard)
        with run.guarded(guard):
            _arm(run, taken, scope, True)
        if other_leaves == "returns":
            rest = Guard(guard.key, guard.text, guard.arm, True, varies=guard.varies)
            run.guards.append(rest)  # the rest of this function
        varying.rest_of_turn(run, guard, node.orelse if guard.arm else node.body)
        return
    _join_arms(run, node, scope)


def _awaited(run: Run, node: ir.If) -> bool | None:
    """The arm that alone does what other code may be said never to do."""
    then, otherwise = map(run.program.relevance.awaited_in, (node.body, node.orelse))
    return then if then != otherwise else None


def _arm(run: Run, body: tuple[ir.Stmt, ...], scope: Scope, open_: bool) -> None:
    """Follow an arm. One that ends the turn of a loop before its step (a loss that is not finite) is left out of the other
    turns: that it clears gradients tells nothing of those. open_: which arm is taken was not known."""
    if not (open_ and run.loop is not None and isinstance(body[-1] if body else None, ir.Jump)):
        execution.block(run, body, scope)
        return
    before = next((e.kind for e in reversed(run.trace.events) if e.kind in _OF_A_TURN), None)
    start = len(run.trace.events)
    run.cleared.append([])
    try:
        execution.block(run, body, scope)
    finally:
        places = run.cleared.pop()
        happened = run.trace.events[start:]
        if before is Ev.STEP or any(event.kind is Ev.STEP for event in happened):
            for place in places:
                run.witness(Ev.ZERO_GRAD, place)
        else:
            for event in happened:
                event.args["skips"] = True


def _go_on(run: Run, node: ir.If, remembered: tuple[ir.Node, Value] | None, arm: bool, scope: Scope) -> None:
    """Follow the arm that does not leave. What comes behind an arm that skips the rest (of a turn, of the function) happens
    only under the condition."""
    value = remembered[1] if remembered is not None else None
    other = node.orelse if arm else node.body
    if isinstance(value, Sym):
        if value.default is not None and bool(value.default.value) != arm:
            run.oracle.contradict(value.key)
        run.oracle.assume(value.key, arm)
    if run.loop is not None and isinstance(other[-1], (ir.Jump, ir.Return)):
        run.witnesses.add((BROKEN_OFF, run.loop))
    key = value.key if isinstance(value, Sym) else None
    guard = Guard(key, describe(node.test), arm, True, varies=varying.loop_of(run, node.test, key))
    with varying.passed(run, guard):
        execution.block(run, node.body if arm else node.orelse, scope)
    varying.rest_of_turn(run, guard, other)
    if isinstance(value, Sym) and _skips(other):
        conditions.remember(run, value.key, guard)
        run.guards.append(guard)


def _in_eval(run: Run, body: tuple[ir.Stmt, ...]) -> bool:
    """Whether a block returns from the function that switched a model to eval mode and did not switch it back yet."""
    depth = len(run.chain)
    if not depth or not isinstance(body[-1], ir.Return):
        return False
    for event in reversed(run.trace.events[-_RECENT:]):
        if len(event.chain) < depth:
            return False
        if event.kind is Ev.MODE and len(event.chain) == depth:
            return event.args.get("mode") is Mode.EVAL
    return False


def _skips(body: tuple[ir.Stmt, ...]) -> bool:
    """Whether a block ends the turn of a loop, or the function, without an error."""
    last = body[-1] if body else None
    return isinstance(last, ir.Return) or (isinstance(last, ir.Jump) and last.kind == "continue")


def leaves(body: tuple[ir.Stmt, ...]) -> str:
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
    body = (*node.body, *node.orelse)
    places: list[tuple[dict[str, Value], str]] = [(scope.names, name) for name in assigned(body)]
    for owner, name in _attributes(body, scope):
        run.keep(owner.attrs, name)
        places.append((owner.attrs, name))
    before = [values.get(name) for values, name in places]
    filled = _lists_of_constants(run, node, scope)
    inserted = [(held, list(held.items)) for held in _inserted_into(run, node, scope)]
    results: list[list[Value | None]] = []
    for arm in (node.body, node.orelse):
        for (values, name), value in zip(places, before, strict=True):
            values.pop(name, None)
            if value is not None:
                values[name] = value
        try:
            execution.block(run, arm, scope)
        except Jump as jump:
            if jump.kind not in ("break", "continue"):
                raise
            if jump.kind == "break":
                run.witnesses.add((BROKEN_OFF, run.loop))
        results.append([values.get(name) for values, name in places])
    for (values, name), one, other in zip(places, *results, strict=True):
        found = [value for value in (one, other) if value is not None]
        if found:
            values[name] = _either(*found) if len(found) == 2 else found[0]
    for held, length in filled:
        held.open = held.open or len(held.items) != length  # what an arm adds may not be there
    for held, items in inserted:
        held.items, held.open = items, True  # nobody knows whether it is in there, and where the others are


def _lists_of_constants(run: Run, node: ir.If, scope: Scope) -> list[tuple[SeqVal, int]]:
    """The lists of constants that the arms of a condition mention, each with its length; not where it has a default, which
    is what the rest of the list is written for."""
    value = run.last_condition[1] if run.last_condition is not None and run.last_condition[0] is node else None
    if isinstance(value, Sym) and value.default is not None:
        return []
    lists = {id(held): held for held in map(scope.lookup, _names(run, node)[0]) if isinstance(held, SeqVal)}
    return [(held, len(held.items)) for held in lists.values() if all(isinstance(item, Const) for item in held.items)]


def _inserted_into(run: Run, node: ir.If, scope: Scope) -> Iterator[SeqVal]:
    """Lists into which an arm puts something by its place: `models.insert(1, encoder)`."""
    return (held for held in map(scope.lookup, _names(run, node)[1]) if isinstance(held, SeqVal))


def _names(run: Run, node: ir.If) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names that the arms of a condition mention, and those of what they call `insert` of; read once for all paths."""
    found = run.program.arms.get(node)
    if found is None:
        body = (*node.body, *node.orelse)
        mentioned = dict.fromkeys(name for statement in body for name in walk.names_in(statement))
        called = (inner.func for inner in walk.nodes_in(body) if isinstance(inner, ir.Call))
        owners = (func.value for func in called if isinstance(func, ir.Attr) and func.name == "insert")
        inserted = tuple(owner.id for owner in owners if isinstance(owner, ir.Name))
        found = run.program.arms[node] = (tuple(mentioned), inserted)
    return found


def _attributes(body: Iterable[ir.Stmt], scope: Scope) -> list[tuple[Obj, str]]:
    """Attributes of known objects that statements assign: `self.loss = …`."""
    found: dict[tuple[int, str], tuple[Obj, str]] = {}
    for target in _targets(body):
        if isinstance(target, ir.Attr) and isinstance(target.value, ir.Name) and target.name != "requires_grad":
            owner = scope.lookup(target.value.id)
            if isinstance(owner, Obj) and owner.kind is Kind.OBJECT:
                found[id(owner), target.name] = owner, target.name
    return list(found.values())


def _either(a: Value, b: Value) -> Value:
    """One value for what two arms assign. Of two tokenizers, or two configs, the first: which one it is decides nothing."""
    if isinstance(a, Obj) and isinstance(b, Obj) and a.kind is b.kind and a.kind in _ALIKE:
        return a
    return join(a, b)


def assigned(body: Iterable[ir.Stmt]) -> list[str]:
    """Names that statements bind, nested blocks included."""
    return list(dict.fromkeys(target.id for target in _targets(body) if isinstance(target, ir.Name)))


def _targets(body: Iterable[ir.Stmt]) -> Iterator[ir.Expr]:
    """What statements assign to, nested blocks included."""
    stack: list[Any] = list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, ir.Assign):
            stack.extend(node.targets)
        elif isinstance(node, ir.AugAssign):
            stack.append(node.target)
        elif isinstance(node, (ir.Name, ir.Attr)):
            yield node
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


def _weakly(run: Run, node: ir.If, scope: Scope) -> None:
    """A condition on a parameter that cannot be read: both arms, what they write becomes unknown."""
    state = run.param_loops[-1]
    remembered = run.last_condition
    there = elements.asks_for_gradient(remembered[1]) if remembered is not None else None
    trains = elements.asks_whether_trains(remembered[1]) if remembered is not None else None
    before, (depth, ended), asked = state.doubt, state.lacking, state.asked
    state.weak += 1
    try:
        for taken, arm in ((True, node.body), (False, node.orelse)):
            state.lacking = (depth + (there is taken), state.lacking[1])
            state.asked = (state.weak, trains[0], trains[1] is taken) if trains is not None else asked
            try:
                execution.block(run, arm, scope)
            except Jump as jump:
                state.broke = state.broke or jump.kind == "break"
                state.doubt = True  # of what follows in this turn
                ended = there is (not taken) and (ended or not before)
                before, state.lacking = True, (state.lacking[0], ended)
    finally:
        state.weak -= 1
        state.lacking, state.asked = (depth, state.lacking[1]), asked
