"""Helpers of the fix tests: places by the text that stands there, and plans built and applied in one go."""

from __future__ import annotations

from collections.abc import Sequence

from lora_lint.findings import Applicability, Fix, FixPlan, Intent
from lora_lint.fix.build import build
from lora_lint.fix.edits import Lines, apply_edits
from lora_lint.location import Location

PATH = "train.py"


def at(text: str, fragment: str, nth: int = 0, path: str = PATH) -> Location:
    """Location of the nth occurrence of a fragment."""
    start = -1
    for _ in range(nth + 1):
        start = text.index(fragment, start + 1)
    lines = Lines(text)
    return Location(path, *lines.place(start), *lines.place(start + len(fragment)))


def plan(*intents: Intent, imports: tuple[tuple[str, str], ...] = ()) -> FixPlan:
    """A safe plan."""
    return FixPlan(Applicability.SAFE, "a fix", intents, imports)


def built(text: str, *intents: Intent, imports: tuple[tuple[str, str], ...] = (), cells: Sequence[int] = ()) -> Fix:
    """Fix for some intents."""
    return build(plan(*intents, imports=imports), text, PATH, cells)


def fixed(text: str, *intents: Intent, imports: tuple[tuple[str, str], ...] = (), cells: Sequence[int] = ()) -> str:
    """Text after the fix for some intents, which must not be refused."""
    fix = built(text, *intents, imports=imports, cells=cells)
    assert not fix.refused, fix.refused
    return apply_edits(text, fix.edits)


def refusal(text: str, *intents: Intent, imports: tuple[tuple[str, str], ...] = (), cells: Sequence[int] = ()) -> str:
    """Reason why the fix for some intents is refused."""
    fix = built(text, *intents, imports=imports, cells=cells)
    assert fix.refused, apply_edits(text, fix.edits)
    assert fix.edits == ()
    return fix.refused
