"""Changes of requires_grad on parameters, in order, with the place of the user's code that made them."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

from lora_lint.verify.frames import Point
from lora_lint.verify.models import Live, Models


@dataclass(eq=False, slots=True)
class Group:
    """Changes made at one place. after: requires_grad of the parameters that changed, as it was after this group, by
    identity; parameters that are not in it had their present value. by_module: `module.requires_grad_()` made them
    all."""

    point: Point | None
    changed: dict[int, bool] = field(default_factory=dict)
    models: list[Live] = field(default_factory=list)
    by_module: bool = True
    after: dict[int, bool] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _Flip:
    parameter: weakref.ref[Any]
    identity: int
    value: bool
    point: Point | None
    by_module: bool


class Flips:
    """The changes that no event told of yet. Those of parameters of no known model wait until their model is known."""

    def __init__(self) -> None:
        self._waiting: list[_Flip] = []

    def add(self, parameter: Any, value: bool, point: Point | None, by_module: bool = False) -> None:
        """Note that a parameter's requires_grad was changed to `value`."""
        self._waiting.append(_Flip(weakref.ref(parameter), id(parameter), value, point, by_module))

    def take(self, models: Models) -> list[Group]:
        """The changes of known models by place, in order; they are not given again."""
        if not self._waiting:
            return []
        waiting, self._waiting = self._waiting, []
        groups: list[Group] = []
        latest: dict[int, int] = {}  # parameter -> number of the group that changed it last
        now: dict[int, bool] = {}
        for flip in waiting:
            parameter = flip.parameter()
            if parameter is None:
                continue
            owner = models.owner(parameter)
            if owner is None:
                self._waiting.append(flip)
                continue
            number = _place_in(groups, flip, latest.get(flip.identity, -1))
            group = groups[number]
            group.changed[flip.identity] = flip.value
            group.by_module = group.by_module and flip.by_module
            latest[flip.identity] = number
            now.setdefault(flip.identity, not flip.value)
            if owner not in group.models:
                group.models.append(owner)
        for group in groups:
            now.update(group.changed)
            group.after = dict(now)
        return groups


def _place_in(groups: list[Group], flip: _Flip, not_before: int) -> int:
    """The group of the flip's place: the newest one, or, in a loop that writes at several lines of one function, the
    one of the same line. A parameter that changed again later than that needs a new group."""
    for number in range(len(groups) - 1, max(not_before, len(groups) - 4) - 1, -1):
        if number < 0:
            break
        if _same_place(groups[number].point, flip.point):
            if groups[number].changed.get(flip.identity, flip.value) != flip.value:
                break  # a helper that was called twice: it froze all, then thawed some
            return number
        if not _same_function(groups[number].point, flip.point):
            break
    groups.append(Group(flip.point))
    return len(groups) - 1


def _same_place(a: Point | None, b: Point | None) -> bool:
    if a is None or b is None:
        return a is b
    return a[0] is b[0] and a[2] == b[2]


def _same_function(a: Point | None, b: Point | None) -> bool:
    return a is not None and b is not None and a[0] is b[0]
