"""Which arm an unknown condition takes. One run follows one path; the explorer runs an entry again for the others.

A condition that was decided once keeps its arm for the rest of the path (same key, same arm), also negated. New paths
flip one decision of a path that was run; paths with few flips come first, so a bounded number of runs sees every single
deviation from the user's defaults before any combination. Among those, conditions over code that changes objects come
before early returns.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from lora_lint.interpreter.journal import Chosen, Conditions, Decision, Journal, Table
from lora_lint.lifecycle.vocabulary import Ev

# What the keys of values begin with that have no better identity than that of the object that stands for them.
BY_IDENTITY = ("id", "choice")

# So many flips of a condition that changed nothing say that it decides nothing.
ENOUGH = 2


class Contradicted(Exception):  # noqa: N818 - it changes the control flow
    """A path turned out to be one on which an option is not its default: it has to be run again without."""


def _parts(key: Hashable) -> Iterator[Hashable]:
    """The key of a value, and those of what it was computed from."""
    yield key
    if isinstance(key, tuple):
        for part in key:
            yield from _parts(part)


class Oracle:
    """Decides conditions of one path: by the prescribed decisions first, then by defaults."""

    def __init__(self, prescribed: tuple[Decision, ...] = (), open_: frozenset[Hashable] = frozenset()) -> None:
        """open_: options that are not taken to be their defaults."""
        self._prescribed = {decision.key: decision.arm for decision in prescribed}
        self.open = set(open_)
        self._settled: set[Hashable] = set()  # options that were taken to be their defaults
        self.taken: list[Decision] = []
        self.guards: dict[Hashable, Any] = {}  # the condition behind each key that was decided or follows from one
        self.trail: Hashable = None  # a digest of all that happened on this path; None when that is not told
        self.journal: Journal | None = None  # of the part of the path that is being run, when somebody wants to know
        self._arms: dict[Hashable, bool] = {}
        self._values: dict[Hashable, object] = {}
        self._excluded: dict[Hashable, bool] = {}
        self._ordinals: dict[object, int] = {}

    def settles(self, key: Hashable) -> bool:
        """Whether an option is its default here: on the first path, on which all are that the path does not contradict."""
        if self._prescribed or key in self.open:
            return False
        self._settled.add(key)
        return True

    def contradict(self, key: Hashable) -> None:
        """Note that this path goes on where the default of a condition would end it: what it is about is not its default.
        Raises Contradicted when it was taken to be, before."""
        parts = set(_parts(key))
        self.open |= parts
        if parts & self._settled:
            raise Contradicted

    def known(self, key: Hashable) -> bool | None:
        """The arm this key takes on this path, None when it was not decided yet."""
        arm = self._arms.get(key)
        if self.journal is not None:
            self.journal.arms.read(key, arm)
        return arm

    def value(self, key: Hashable) -> object:
        """The key of the constant that a value equals on this path, None when that is not known."""
        value = self._values.get(key)
        if self.journal is not None:
            self.journal.values.read(key, value)
        return value

    def excludes(self, key: Hashable, constant: Hashable) -> bool:
        """Whether a value does not equal this constant on this path."""
        answer = self._excluded.get((key, constant))
        if self.journal is not None:
            self.journal.excluded.read((key, constant), answer)
        return bool(answer)

    def decide(self, key: Hashable, default: bool, rank: int = 0, place: int = 0, awaited: bool | None = None) -> bool:
        """The arm for this key, decided now unless it was before. rank, place: see Decision. awaited: the arm that is tried
        before those of other conditions where it is not taken."""
        known = self.known(key)
        if known is not None:
            return known
        stable = self._stable(key)
        if self.journal is not None and stable != key:  # what is imported is shared: no other path can name its values
            self._arms[key] = default
            return default
        arm = self._prescribed.get(stable, default)
        decision = Decision(stable, arm, -1 if awaited is not None and arm != awaited else rank, place)
        self._arms[key] = arm
        self.taken.append(decision)
        if self.journal is not None:
            self.journal.arms.made[key] = arm
            self.journal.chosen.append(Chosen(key, default, decision))
        return arm

    def assume(self, key: Hashable, arm: bool) -> None:
        """Note what follows from a decision."""
        self._note(self._arms, key, arm, self.journal.arms if self.journal is not None else None)

    def fix(self, key: Hashable, constant: object) -> None:
        """Note that a value equals a constant on this path."""
        self._note(self._values, key, constant, self.journal.values if self.journal is not None else None)

    def exclude(self, key: Hashable, constant: Hashable) -> None:
        """Note that a value does not equal a constant on this path."""
        self._note(self._excluded, (key, constant), True, self.journal.excluded if self.journal is not None else None)

    @staticmethod
    def _note(facts: dict[Hashable, Any], key: Hashable, value: object, table: Table | None) -> None:
        if table is not None:
            table.read(key, facts.get(key))
            if key not in facts:
                table.made[key] = value
        facts.setdefault(key, value)

    def guard(self, key: Hashable, guard: Any) -> None:
        """Note the condition behind a key."""
        self.guards.setdefault(key, guard)
        if self.journal is not None:
            self.journal.guards.setdefault(key, guard)

    def repeats(self, conditions: Conditions) -> bool:
        """Whether a part of another path would go on this path as it did there."""
        return conditions.hold((self._arms, self._values, self._excluded), self._prescribed)

    def repeat(self, journal: Journal) -> None:
        """Decide all that a part of another path decided."""
        self.taken.extend(choice.taken for choice in journal.chosen if choice.key not in self._arms)
        every: tuple[dict[Hashable, Any], ...] = (self._arms, self._values, self._excluded)
        for facts, table in zip(every, journal.tables, strict=True):
            facts.update((key, value) for key, value in table.made.items() if key not in facts)
        for key, guard in journal.guards.items():
            self.guards.setdefault(key, guard)

    def _stable(self, key: Hashable) -> Hashable:
        """The key as another run has it: values that are told apart by identity are numbered as they turn up."""
        if type(key) is object:
            return ("id", self._ordinals.setdefault(key, len(self._ordinals)))
        if not isinstance(key, tuple):
            return key
        if len(key) == 2 and key[0] in BY_IDENTITY:
            return (key[0], self._ordinals.setdefault(key[1], len(self._ordinals)))
        return tuple(self._stable(part) for part in key)

    def whole_trail(self) -> Hashable:
        """What happened on this path and which conditions it met; None when it is not told."""
        return None if self.trail is None else (self.trail, frozenset(decision.key for decision in self.taken))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a path. kinds: of events that rules report on, None when every combination of arms is wanted. failed: it
    ended in an error of the user's, after some model was made."""

    steps: int
    kinds: frozenset[Ev] | None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class _Parent:
    """The path that another one differs from."""

    trail: Hashable = None
    happened: Hashable = None  # the part of the trail that does not tell which conditions were met
    decided: frozenset[Decision] = frozenset()
    kinds: frozenset[Ev] = frozenset()


class Flips:
    """What came of flips so far, by the place of the condition: one that keeps changing nothing, for other values of it or
    for other callers, is not flipped any more."""

    def __init__(self) -> None:
        self._idle: Counter[int] = Counter()
        self._telling: set[int] = set()

    def note(self, place: int, told: bool) -> None:
        """A condition was flipped; told: something else happened on that path."""
        if told:
            self._telling.add(place)
        else:
            self._idle[place] += 1

    def is_idle(self, place: int) -> bool:
        """Whether flips of this condition have never told anything, and were tried often enough."""
        return place != 0 and self._idle[place] >= ENOUGH and place not in self._telling


def _follow(run: Callable[[Oracle], Outcome], prefix: tuple[Decision, ...]) -> tuple[Oracle, Outcome]:
    """Follow one path, again for each time that it is found to contradict what was taken for granted."""
    oracle = Oracle(prefix)
    while True:
        try:
            return oracle, run(oracle)
        except Contradicted:
            oracle = Oracle(prefix, frozenset(oracle.open))


def explore(
    run: Callable[[Oracle], Outcome],
    max_paths: int,
    max_steps: tuple[int, int],
    combine: Callable[[], bool] = lambda: False,
    tried: Flips | None = None,
) -> Iterator[Oracle]:
    """Run an entry once per path, breadth first by the number of flipped decisions.

    run: follows one path with the given oracle. When nothing of the lifecycle happened on it, its neighbours are not worth
    a run, unless it failed: its conditions may not go together. A path on which the same happened as before the flip
    (`Oracle.trail`), and which met the same conditions, has no neighbours of its own: they would repeat those of the other
    one. At most `max_paths` paths. No new path is begun once the first number of `max_steps` was taken, nor beyond the second
    one while `combine` says so: some finding may yet be refuted.

    Behind a flip come the conditions that only this path has, or all of them if something new happens on it. Flips of
    several conditions that have nothing to do with each other come last, and only as long as `combine` says so: what needs
    them is no finding (`Program._consider`), but it may refute one. tried: what came of flips in entries explored before.
    """
    tried = tried or Flips()
    queue: list[tuple[bool, int, int, int, tuple[Decision, ...], _Parent]] = [(False, 0, 0, 0, (), _Parent())]
    seen: set[frozenset[tuple[Hashable, bool]]] = set()
    steps = paths = pushed = 0
    while queue and paths < max_paths and (steps < max_steps[0] or (steps < max_steps[1] and combine())):
        independent, flips, _, _, prefix, parent = heapq.heappop(queue)
        if independent and not combine():
            return
        flipped = prefix[-1].place if prefix else 0
        if tried.is_idle(flipped):
            continue
        oracle, outcome = _follow(run, prefix)
        steps += outcome.steps
        paths += 1
        yield oracle
        trail = oracle.whole_trail()
        if prefix and oracle.trail is not None:
            tried.note(flipped, told=oracle.trail != parent.happened)
        nothing = outcome.kinds is not None and not outcome.kinds and not outcome.failed
        if nothing or (outcome.kinds is not None and trail is not None and trail == parent.trail):
            continue
        here = _Parent(trail, oracle.trail, frozenset(oracle.taken), outcome.kinds or frozenset())
        inherited = parent.decided if outcome.kinds is not None and outcome.kinds <= parent.kinds else frozenset()
        pinned = {decision.key for decision in prefix}
        free = [
            (decision in inherited, decision.rank, at)
            for at, decision in enumerate(oracle.taken)
            if decision.key not in pinned
        ]
        for also, rank, index in heapq.nsmallest(max_paths, free):
            decision = oracle.taken[index]
            other = (*oracle.taken[:index], Decision(decision.key, not decision.arm, rank, decision.place))
            signature = frozenset((d.key, d.arm) for d in other)
            if signature not in seen:
                seen.add(signature)
                pushed += 1
                heapq.heappush(queue, (independent or also, flips + 1, rank, pushed, other, here))
