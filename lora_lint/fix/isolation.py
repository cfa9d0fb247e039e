"""Which fixes go into one pass: two sound fixes on one object can be wrong together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lora_lint.findings import Edit, Finding, Fix
from lora_lint.fix.build import Builder
from lora_lint.fix.edits import overlap, to_change
from lora_lint.location import Location

Region = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A fix that could be applied, with the regions (path, first line, last line) it must have alone.

    Those are the statements it edits and those of the events that its finding is about.
    """

    finding: Finding
    fix: Fix
    events: frozenset[Region]


def candidate(finding: Finding, fix: Fix, builders: Mapping[str, Builder]) -> Candidate:
    """Candidate for a fix that was built."""
    places = [finding.location, *(related.location for related in finding.related)]
    return Candidate(finding, fix, frozenset(_region(place, builders) for place in places))


def _region(place: Location, builders: Mapping[str, Builder]) -> Region:
    """Lines of the statement around a place."""
    builder = builders.get(place.path)
    first, last = builder.statement_lines(place) if builder is not None else (place.line, place.end_line)
    return place.path, first, last


def isolated(candidates: Iterable[Candidate], builders: Mapping[str, Builder]) -> list[Candidate]:
    """Candidates, first come first served, that have neither an event nor an edited statement in common.

    An edit that an accepted one makes anyway (the same import) is no obstacle.
    """
    chosen: list[Candidate] = []
    regions: set[Region] = set()
    edits: set[Edit] = set()
    for one in candidates:
        new = [edit for edit in one.fix.edits if edit not in edits]
        claimed = one.events | {_region(edit.location, builders) for edit in new}
        if any(_meet(region, other) for region in claimed for other in regions):
            continue
        if _conflicts(new, edits, builders):
            continue
        chosen.append(one)
        regions |= claimed
        edits.update(new)
    return chosen


def _meet(one: Region, other: Region) -> bool:
    """Whether two regions share a line."""
    return one[0] == other[0] and one[1] <= other[2] and other[1] <= one[2]


def _conflicts(new: Sequence[Edit], present: Iterable[Edit], builders: Mapping[str, Builder]) -> bool:
    """Whether an edit touches the text of another, or inserts something else at its place."""
    for edit in new:
        for other in present:
            if other.location.path != edit.location.path:
                continue
            lines = builders[edit.location.path].lines
            one, two = to_change(edit, lines), to_change(other, lines)
            if overlap(one, two) or one.start == two.start:
                return True
    return False


def merged_edits(candidates: Iterable[Candidate]) -> dict[str, list[Edit]]:
    """Edits of several candidates by path, each once."""
    result: dict[str, list[Edit]] = {}
    for one in candidates:
        for edit in one.fix.edits:
            edits = result.setdefault(edit.location.path, [])
            if edit not in edits:
                edits.append(edit)
    return result
