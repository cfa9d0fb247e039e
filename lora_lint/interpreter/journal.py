"""What a part of a path found decided and what it decided itself: whether another path can take its result as it is."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Decision:
    """An arm taken at a condition whose value is unknown. rank: how late its other arm is tried, 0 first. place: where the
    condition stands in the code."""

    key: Hashable
    arm: bool
    rank: int = field(default=0, compare=False)
    place: int = field(default=0, compare=False)


class Chosen(NamedTuple):
    """A condition that was decided: its key on that path, the arm it takes unless another is prescribed, what it took."""

    key: Hashable
    default: bool
    taken: Decision


class Table:
    """Reads and writes of one kind of facts. found: what the first read of each gave, None for nothing. made: what was
    written."""

    __slots__ = ("found", "made")

    def __init__(self) -> None:
        self.found: dict[Hashable, Any] = {}
        self.made: dict[Hashable, Any] = {}

    def read(self, key: Hashable, value: Any) -> None:
        """Note a read, unless it read what was written here."""
        if key not in self.made:
            self.found.setdefault(key, value)

    def absorb(self, inner: Table) -> None:
        """Note what happened meanwhile in a part of this part."""
        for key, value in inner.found.items():
            self.read(key, value)
        for key, value in inner.made.items():
            if self.found.get(key) is None:
                self.made.setdefault(key, value)

    def needs(self) -> tuple[dict[Hashable, Any], frozenset[Hashable]]:
        """The facts that must hold, and those of which nothing may be known."""
        given = {key: value for key, value in self.found.items() if value is not None}
        return given, frozenset(key for key, value in self.found.items() if value is None and key not in self.made)


class Journal:
    """A part of a path. Facts are `arms` of conditions, `values` that equal a constant, constants `excluded` for a value.

    modules: those it used that are shared, by path.
    """

    def __init__(self) -> None:
        self.arms = Table()
        self.values = Table()
        self.excluded = Table()
        self.chosen: list[Chosen] = []
        self.guards: dict[Hashable, Any] = {}
        self.skipped: list[Any] = []
        self.modules: dict[str, Any] = {}
        self.hypothetical = False
        self._absorbed: set[Journal] = set()

    @property
    def tables(self) -> tuple[Table, Table, Table]:
        """All facts."""
        return self.arms, self.values, self.excluded

    def is_empty(self) -> bool:
        """Whether nothing depended on the path."""
        return not any(table.found or table.made for table in self.tables) and not self.skipped

    def absorb(self, inner: Journal) -> None:
        """Note what happened in a part of this part, or what a result that is used here depends on."""
        if inner in self._absorbed:
            return
        self._absorbed.add(inner)
        for choice in inner.chosen:
            if choice.key not in self.arms.made and self.arms.found.get(choice.key) is None:
                self.chosen.append(choice)
        for mine, other in zip(self.tables, inner.tables, strict=True):
            mine.absorb(other)
        for key, guard in inner.guards.items():
            self.guards.setdefault(key, guard)
        self.skipped.extend(inner.skipped)
        self.modules.update(inner.modules)
        self.hypothetical |= inner.hypothetical


class Conditions:
    """On which paths a part would go just as it did, computed once from its journal."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._needs = [table.needs() for table in journal.tables]

    def hold(self, facts: tuple[dict[Hashable, Any], ...], prescribed: dict[Hashable, bool]) -> bool:
        """Whether they hold where these facts are known so far. facts: in the order of `Journal.tables`. prescribed: the
        arms that are to be taken, by the key that all paths share."""
        for state, table, (given, unknown) in zip(facts, self.journal.tables, self._needs, strict=True):
            if any(state.get(key) != value for key, value in given.items()):
                return False
            if any(state.get(key, value) != value for key, value in table.made.items()):
                return False
            small, large = (state, unknown) if len(state) < len(unknown) else (unknown, state)
            if any(key in large for key in small):
                return False
        arms = facts[0]
        return all(
            choice.key in arms or prescribed.get(choice.taken.key, choice.default) == choice.taken.arm
            for choice in self.journal.chosen
        )
