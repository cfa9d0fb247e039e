"""Generator functions of the user: what they yield, and loops over it."""

from __future__ import annotations

import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.execute as execution
import lora_lint.interpreter.iteration as iteration
import lora_lint.interpreter.param_loops as param_loops
from lora_lint.interpreter import mentions
from lora_lint.interpreter.parameter_values import ParamIter, ParamSet
from lora_lint.interpreter.relevance import called_names
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Generator, Jump, Returned, Scope, Value
from lora_lint.interpreter.walk import names_in, nodes_in
from lora_lint.syntax import ir

MAX_YIELDS = 8


def yielded(run: Run, value: Value, node: ir.Node, each: bool = False) -> Value:
    """A value that a running generator yields. each: `yield from`, its items one by one."""
    if not run.yields:
        return run.fresh(node)
    take = run.yields[-1]
    if not each:
        take(value)
    elif isinstance(value, Generator):
        calls.call_function(run, value.func, value.args, node, eager=True)  # its own yields go to the same taker
    elif isinstance(value, (ParamIter, ParamSet)):
        param_loops.over(run, value, node, take)
    else:
        for item in iteration.items_for_loop(run, value, node, iteration.LOOP_TURNS)[0]:
            take(item)
    return run.fresh(node)


def collect(run: Run, generator: Generator, node: ir.Node, limit: int = 4) -> list[Value]:
    """The first values of a generator: its body is run through and what it yields is collected."""
    produced: list[Value] = []
    run.yields.append(produced.append)
    try:
        calls.call_function(run, generator.func, generator.args, node, eager=True)
        return produced[:limit]
    finally:
        run.yields.pop()


def turns(generator: Generator, node: ir.For, limit: int) -> int:
    """How many values of a generator a loop takes that goes at most `limit` times over other things. Functions that it
    yields and the loop calls are steps of the program, all of them matter; one with a loop of its own yields the same again."""
    called = not set(names_in(node.target)).isdisjoint(called_names(node.body))
    repeats = any(isinstance(each, (ir.For, ir.While)) for each in nodes_in(generator.func.node))
    most = MAX_YIELDS if called else limit
    return min(most, 4) if repeats else most


def loop(run: Run, node: ir.For, generator: Generator, scope: Scope, limit: int) -> int:
    """`for item in generator():` the generator's body is run, and at each `yield` the body of the loop, as in Python: a
    filter in there holds for it, and so does a context. How many turns it made; a jump that leaves the loop is raised."""
    back = run.place()
    turns, unknown, outer = 0, 0, len(run.param_loops)
    leaving: Jump | Returned | None = None

    def at_yield(value: Value) -> None:
        nonlocal turns, unknown, leaving
        turns += 1
        unknown += not iteration.is_known(value)
        with run.back_in(back):
            guards = len(run.guards)
            execution.bind_target(run, node.target, value, scope)
            try:
                execution.block(run, node.body, scope)
            except (Jump, Returned) as jump:
                leaving = jump if not isinstance(jump, Jump) or jump.kind != "continue" else None
            finally:
                del run.guards[guards:]
        over_parameters = len(run.param_loops) > outer
        if leaving is not None and over_parameters:
            run.param_loops[-1].broke = True
        if leaving is not None or (ended() and not over_parameters):
            raise Jump("close")  # what follows the yield is not run, but its `finally` is

    def ended() -> bool:
        return unknown >= limit or turns >= iteration.MAX_STORED

    named = tuple(mentions.in_body(node.body, scope))
    run.yields.append(at_yield)
    run.awaited.append(named)
    try:
        calls.call_function(run, generator.func, generator.args, node, eager=True)
    except Jump:
        if leaving is None and not ended():
            raise
    finally:
        run.awaited.pop()
        run.yields.pop()
    if leaving is not None:
        raise leaving
    return turns
