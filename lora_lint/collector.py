"""Python's garbage collector, kept from going over the files of a project again and again.

What is read lives until the run ends, and none of it is garbage. The collector cannot know that: in a large project it
took a third of the time. What the interpreter makes is mostly freed by itself at once: little is left to be collected.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# So many new objects are worth a look; Python's own 700 are made every few lines.
_YOUNG = 50_000


@contextmanager
def reading() -> Iterator[None]:
    """Nothing is collected inside, and what is there at the end is left alone until `release`."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


@contextmanager
def rarely() -> Iterator[None]:
    """Garbage is looked for less often inside, and what `reading` left alone may be collected afterwards."""
    before = gc.get_threshold()
    gc.set_threshold(_YOUNG, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def leave() -> None:
    """The process ends: what it frees anyway need not be gone over once more."""
    gc.freeze()
