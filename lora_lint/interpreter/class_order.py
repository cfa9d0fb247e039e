"""The order in which Python looks an attribute up in a class and its bases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Class = TypeVar("Class")
_DEEPEST = 30


def linear(cls: Class, bases: Callable[[Class], Sequence[Class]], depth: int = _DEEPEST) -> list[Class]:
    """A class and its bases as Python orders them (C3): every class before its bases, and bases in the order in which they
    are written. Where no such order exists, or classes are nested too deep, in the order in which they are met."""
    above = bases(cls)
    if len(above) == 1 and depth:
        return [cls, *linear(above[0], bases, depth - 1)]
    queues = [linear(base, bases, depth - 1) for base in above] if depth else []
    queues = [queue for queue in [*queues, list(above) if depth else []] if queue]
    order = [cls]
    while queues:
        heads = (queue[0] for queue in queues)
        following = next((head for head in heads if not any(head in queue[1:] for queue in queues)), queues[0][0])
        if following not in order:
            order.append(following)
        queues = [rest for rest in ([each for each in queue if each is not following] for queue in queues) if rest]
    return order
