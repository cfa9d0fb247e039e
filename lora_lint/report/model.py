"""What every report format is given: the findings of one run and what is needed to show them. Data only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from lora_lint.findings import Applicability, Finding
from lora_lint.location import Location

_LINE_END = re.compile(r"\r\n|\r|\n")


class SourceView(Protocol):
    """The part of a source file that reports read."""

    @property
    def text(self) -> str:
        """The module text."""

    def locate(self, line: int) -> tuple[int, int] | None:
        """The cell of a notebook (from 1) and the line in it of a line of the text; None in a plain file."""

    def written(self, line: str) -> str:
        """A line of the text as the file has it (a notebook's magics are no Python)."""


@lru_cache(maxsize=32)
def lines_of(text: str) -> tuple[str, ...]:
    """The lines of a text as Python counts them: form feeds and the like end none."""
    return tuple(_LINE_END.split(text))


class RuleView(Protocol):
    """The part of a rule card that reports read."""

    @property
    def code(self) -> str:
        """For instance "LL103"."""

    @property
    def name(self) -> str:
        """For instance "freeze-after-injection"."""

    @property
    def summary(self) -> str:
        """One line."""

    @property
    def why(self) -> str:
        """The consequence and the mechanism."""


@dataclass(frozen=True, slots=True)
class Place:
    """A location as it is shown: `line` and `end_line` count inside `cell` for notebooks."""

    path: str
    cell: int | None
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        if self.cell is None:
            return f"{self.path}:{self.line}:{self.column}"
        return f"{self.path}: cell {self.cell}, line {self.line}, column {self.column}"


@dataclass(frozen=True, slots=True)
class RunReport:
    """The result of one run.

    findings: in order of place. fingerprints: one for each finding, stable when lines move.
    sources: the files in which findings and related events stand. rules: cards by code.
    checked: number of files checked. fixed: number of findings fixed and written in this run.
    baselined, outside_diff: findings left out because the baseline knows them, or because no line of them changed.
    errors: paths that could not be read, one line each.
    """

    findings: tuple[Finding, ...] = ()
    fingerprints: tuple[str, ...] = ()
    sources: Mapping[str, SourceView] = field(default_factory=dict)
    rules: Mapping[str, RuleView] = field(default_factory=dict)
    checked: int = 0
    fixed: int = 0
    baselined: int = 0
    outside_diff: int = 0
    errors: tuple[str, ...] = ()
    statistics: Mapping[str, int] = field(default_factory=dict)
    version: str = ""

    def place(self, location: Location) -> Place:
        """The location as it is shown: cell and line for notebooks."""
        source = self.sources.get(location.path)
        start = None if source is None else source.locate(location.line)
        end = None if source is None else source.locate(location.end_line)
        cell, line, end_line = None, location.line, location.end_line
        if start is not None:
            cell, line = start
            end_line = end[1] if end is not None and end[0] == cell else line
        return Place(location.path, cell, line, location.column, end_line, location.end_column)


def fixable_by(finding: Finding, applicability: Applicability) -> bool:
    """Whether the finding has a fix of this class that was not refused."""
    return finding.fix is not None and finding.fix.applicability is applicability and bool(finding.fix.edits)
