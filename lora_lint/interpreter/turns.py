"""The counter of a loop: which of the turns we follow it belongs to, and what that says about a comparison.

Of a loop over something unknown two turns are followed, the first and the last. Both have the same counter value (so that
`step % n == 0` takes one arm), but "is this the first?" and "is this the last?" are answered for each turn.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace

from lora_lint.location import Location


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of a loop. start: the counter's value in the first turn, None when it is not known; stop: identity of the
    number of turns; offset: what was added to the counter. alike: the place of a loop that treats all its turns alike."""

    first: bool
    start: int | None
    stop: Hashable
    offset: int = 0
    alike: Location | None = None

    def shifted(self, amount: object) -> Turn | None:
        """The turn of `counter + amount`."""
        return replace(self, offset=self.offset + amount) if type(amount) is int else None

    def numbers(self) -> range:
        """All the values that the counter takes, where start and stop are known; an empty range elsewhere."""
        stop = self.stop[2] if isinstance(self.stop, tuple) and len(self.stop) == 3 and self.stop[0] == "const" else 0
        if self.start is None or not isinstance(stop, int):
            return range(0)
        return range(self.start + self.offset, stop + self.offset)

    def compared(self, op: str, key: Hashable) -> bool | None:
        """The answer of `counter <op> other` by the key of the other side; None when the turn does not tell."""
        if isinstance(key, tuple) and len(key) == 3 and key[0] == "const" and isinstance(key[2], int):
            return self._with_number(op, key[2])
        behind = self._behind_stop(key)
        if behind is None:
            return None
        # In the last turn the counter is stop - 1; in the first one it is far from it.
        value = -1 + self.offset if not self.first else -1_000_000
        return _holds(op, value, behind)

    def among(self, keys: Iterable[object]) -> tuple[int, ...]:
        """The keys that the counter may be in this turn. Keys of later turns were written for turns that come. Only for a
        known start."""
        value = (self.start or 0) + self.offset
        numbers = [key for key in keys if type(key) is int]
        return tuple(number for number in numbers if (number == value if self.first else number > value))

    def _with_number(self, op: str, number: int) -> bool | None:
        if not self.first and isinstance(self.stop, tuple) and len(self.stop) == 3 and type(self.stop[2]) is int:
            last = self.stop[2] - 1 + self.offset
            if op == "==" and self.start is not None and self.start + self.offset < number < last:
                return None  # in a turn between the two that are followed
            return _holds(op, last, number)
        if self.start is None:
            return None
        value = self.start + self.offset
        if self.first:
            return _holds(op, value, number)
        # The last turn is some later one: only what holds for all later ones is known.
        soon, late = _holds(op, value + 1, number), _holds(op, value + 1_000_000, number)
        return soon if soon == late and (op != "==" or number <= value) else None

    def _behind_stop(self, key: Hashable) -> int | None:
        """How far a number lies from the number of turns: 0 for itself, -1 for `len(loader) - 1`."""
        if key == self.stop:
            return 0
        if (
            isinstance(key, tuple)
            and len(key) == 3
            and key[:2] == ("op", "-")
            and isinstance(key[2], tuple)
            and len(key[2]) == 2
        ):
            left, right = key[2]
            if left == self.stop and isinstance(right, tuple) and len(right) == 3 and type(right[2]) is int:
                return -right[2]
        return None


def _holds(op: str, left: int, right: int) -> bool | None:
    if op == "==":
        return left == right
    if op == "<":
        return left < right
    if op == "<=":
        return left <= right
    if op == ">":
        return left > right
    if op == ">=":
        return left >= right
    return None
