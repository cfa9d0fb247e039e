"""Conditions that other turns of a running loop may answer otherwise: they ask for what the loop sets."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import lora_lint.interpreter.branches as branches
from lora_lint.interpreter import walk
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Sym
from lora_lint.lifecycle.trace import Guard
from lora_lint.location import Location
from lora_lint.syntax import ir


def note(run: Run, loop: ir.For | ir.While) -> None:
    """Note the names that a loop sets; read once for all paths."""
    sets = run.program.sets
    place = run.loc(loop)
    if place not in sets:
        sets[place] = frozenset(branches.assigned((loop,)))


def loop_of(run: Run, test: ir.Expr, key: Hashable) -> Location | None:
    """The innermost running loop whose turns may answer a condition otherwise; None when there is none. In a function that
    the loop calls, what it is asked is told by the key alone."""
    if not run.loops:
        return None
    here, names = run.loc(test), set(walk.names_in(test))
    for loop in reversed(run.loops):
        if loop.covers(here) and not names.isdisjoint(run.program.sets.get(loop, ())):
            return loop
    return _made_in(run, key)


def counts(run: Run, key: Hashable) -> bool:
    """Whether the counter of a loop is part of a key."""
    return key in run.counters or (isinstance(key, tuple) and any(counts(run, part) for part in key))


def behind(run: Run, values: Iterable[object]) -> Iterator[Guard]:
    """The conditions that other turns answer otherwise, among the values that something is made of."""
    for value in values:
        loop = _made_in(run, value.key) if isinstance(value, Sym) else None
        if isinstance(value, Sym) and loop is not None:
            yield Guard(value.key, value.text, True, True, varies=loop)


def known(run: Run, node: ir.If, arm: bool) -> Guard | None:
    """The condition evaluated last, where this path knows it and other turns may answer otherwise."""
    remembered = run.last_condition
    value = remembered[1] if remembered is not None and remembered[0] is node else None
    loop = loop_of(run, node.test, value.key) if isinstance(value, Sym) else None
    return Guard(value.key, value.text, arm, True, varies=loop) if isinstance(value, Sym) and loop is not None else None


@contextmanager
def passed(run: Run, guard: Guard | None) -> Iterator[None]:
    """What is cut inside is cut under a condition that decides nothing else; None: under no such condition."""
    before = len(run.passed)
    if guard is not None and guard.varies is not None:
        run.passed.append(replace(guard, default=True))
    try:
        yield
    finally:
        del run.passed[before:]


def rest_of_turn(run: Run, guard: Guard | None, other: tuple[ir.Stmt, ...]) -> None:
    """What comes behind an arm that ends the turn, and does something of its own before, happens in other turns only."""
    if guard is not None and guard.varies is not None and len(other) > 1 and isinstance(other[-1], ir.Jump):
        run.passed.append(replace(guard, default=True))


def _made_in(run: Run, key: Hashable) -> Location | None:
    """The innermost running loop in which a part of a value was made."""
    made = [Location(place[0], *place[1]) for place in _places(key)] if run.loops else []
    return next((loop for loop in reversed(run.loops) if any(map(loop.covers, made))), None)


def _places(key: Hashable) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """Where the parts of a key were made (`Run.fresh`)."""
    if not isinstance(key, tuple):
        return
    if len(key) == 3 and key[0] == "at" and isinstance(key[1], tuple):
        yield key[1]
    else:
        for part in key:
            yield from _places(part)
