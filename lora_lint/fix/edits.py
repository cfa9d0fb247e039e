"""Edits of a text: places to offsets and back, conflicts, and applying them without touching anything else."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lora_lint.findings import Edit
from lora_lint.location import Location

# Only these end a line for Python; `str.splitlines` would also split at form feeds and U+2028.
_NEWLINE = re.compile(r"\r\n|\n|\r")


class EditConflictError(ValueError):
    """Two edits change the same text, or one lies outside of the text."""


class Lines:
    """Line table of one text: offsets for line and column (both from 1, columns in code points) and back."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts: list[int] = [0]
        self.starts.extend(match.end() for match in _NEWLINE.finditer(text))

    def offset(self, line: int, column: int) -> int:
        """Offset of a place. Raises EditConflictError when the text has no such place."""
        if not 1 <= line <= len(self.starts) or column < 1:
            raise EditConflictError(f"no line {line}, column {column} in this text")
        offset = self.starts[line - 1] + column - 1
        if offset > self.line_end(line):
            raise EditConflictError(f"line {line} has no column {column}")
        return offset

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset."""
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1

    def line_of(self, offset: int) -> int:
        """Number of the line that an offset lies on."""
        return bisect_right(self.starts, offset)

    def line_start(self, line: int) -> int:
        """Offset of the first character of a line."""
        return self.starts[line - 1]

    def line_end(self, line: int) -> int:
        """Offset behind the last character of a line, before its newline."""
        stop = self.next_line(line)
        if self.text.endswith("\r\n", self.starts[line - 1], stop):
            return stop - 2
        if stop > self.starts[line - 1] and self.text[stop - 1] in "\r\n":
            return stop - 1
        return stop

    def next_line(self, line: int) -> int:
        """Offset of the start of the following line, or the end of the text."""
        return self.starts[line] if line < len(self.starts) else len(self.text)

    def line(self, number: int) -> str:
        """Text of a line without its newline."""
        return self.text[self.starts[number - 1] : self.line_end(number)]

    def indent(self, line: int) -> str:
        """White space at the start of a line."""
        text = self.line(line)
        return text[: len(text) - len(text.lstrip())]

    def newline(self, line: int) -> str:
        """Newline that ends a line, or the one the neighbouring lines use."""
        for number in (line, line - 1, line + 1, 1):
            if 1 <= number <= len(self.starts):
                found = self.text[self.line_end(number) : self.next_line(number)]
                if found:
                    return found
        return "\n"

    def span(self, location: Location) -> tuple[int, int]:
        """Start and end offset of a location. Raises EditConflictError when the text has no such place."""
        start = self.offset(location.line, location.column)
        end = self.offset(location.end_line, location.end_column)
        if end < start:
            raise EditConflictError(f"{location} ends before it starts")
        return start, end


@dataclass(frozen=True, slots=True)
class Change:
    """Replace the text between two offsets; an empty range inserts."""

    start: int
    end: int
    text: str


def to_edit(change: Change, lines: Lines, path: str) -> Edit:
    """The same change, told by line and column."""
    return Edit(Location(path, *lines.place(change.start), *lines.place(change.end)), change.text)


def to_change(edit: Edit, lines: Lines) -> Change:
    """The same edit, told by offsets. Raises EditConflictError when it does not fit the text."""
    start, end = lines.span(edit.location)
    return Change(start, end, edit.text)


def overlap(one: Change, other: Change) -> bool:
    """Whether two changes touch the same text. Insertions at the ends of a replaced range do not."""
    if one.start == one.end or other.start == other.end:
        point, span = (one, other) if one.start == one.end else (other, one)
        return span.start < point.start < span.end
    return one.start < other.end and other.start < one.end


def ordered(changes: Iterable[Change]) -> list[Change]:
    """Changes in the order of the text; insertions at one place keep their order and come before a replacement there.

    Raises EditConflictError when two of them overlap.
    """
    result = sorted(changes, key=lambda change: (change.start, change.end > change.start))
    reach = 0
    for change in result:
        if change.start < reach:
            raise EditConflictError(f"two edits change the text at offset {change.start}")
        reach = max(reach, change.end)
    return result


def apply_changes(text: str, changes: Iterable[Change]) -> str:
    """The text with all changes applied. Raises EditConflictError when two overlap or one lies outside."""
    parts: list[str] = []
    position = 0
    for change in ordered(changes):
        if change.end > len(text):
            raise EditConflictError(f"offset {change.end} lies outside of the text")
        parts.append(text[position : change.start])
        parts.append(change.text)
        position = change.end
    parts.append(text[position:])
    return "".join(parts)


def apply_edits(text: str, edits: Sequence[Edit]) -> str:
    """The text with all edits of one file applied. Raises EditConflictError when two overlap or one does not fit."""
    lines = Lines(text)
    return apply_changes(text, [to_change(edit, lines) for edit in edits])


def with_newlines(text: str, newline: str) -> str:
    """The text with every line end written as `newline`."""
    return _NEWLINE.sub(lambda _: newline, text)
