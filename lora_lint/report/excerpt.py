"""Code excerpts under a finding, the way rustc shows them: the line, carets, and the related lines with their notes."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lora_lint.location import Location
from lora_lint.report.model import RunReport, SourceView, lines_of

TAB = 4
# Lines longer than this are cut around the marked part: generated files have lines of thousands of columns.
MAX_WIDTH = 160
MAX_MARK = 120

Style = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class Mark:
    """One marked range: "^" for the finding itself, "-" for a related event, with the text beside it."""

    location: Location
    symbol: str
    note: str


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A code line as printed, and where the mark under it begins and how wide it is."""

    code: str
    indent: int
    width: int


def printable(text: str) -> str:
    """The text with control characters made visible, so that a checked file cannot steer the terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _width(text: str) -> int:
    """Columns that the text takes on a terminal."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _shown(text: str) -> str:
    return printable(text.replace("\t", " " * TAB))


def _draw(line: str, location: Location) -> _Drawn:
    """The line with tabs and wide characters accounted for, cut when it is very long."""
    start = min(location.column - 1, len(line))
    end = len(line.rstrip()) if location.end_line > location.line else min(location.end_column - 1, len(line))
    end = max(end, start)
    before, marked, after = _shown(line[:start]), _shown(line[start:end]), _shown(line[end:].rstrip())
    if _width(marked) > MAX_MARK:
        marked, after = marked[:MAX_MARK], " …"
    if _width(before) + _width(marked) > MAX_WIDTH:
        before = "… " + before[-20:]
    room = MAX_WIDTH - _width(before) - _width(marked)
    if _width(after) > room:
        after = after[: max(room, 0)] + " …"
    return _Drawn(before + marked + after, _width(before), max(_width(marked), 1))


def _gutter(numbers: Iterable[int]) -> int:
    return max((len(str(number)) for number in numbers), default=1)


def excerpt(report: RunReport, marks: Iterable[Mark], style: Style) -> list[str]:
    """Lines of an excerpt for marks that all lie in one file, in order of place.

    style: puts a colour name on a text; identity when colours are off. Empty when the file's text is not known.
    """
    ordered = sorted(marks, key=lambda mark: (mark.location.line, mark.location.column, mark.symbol))
    source = report.sources.get(ordered[0].location.path) if ordered else None
    if source is None:
        return []
    ordered = [mark for mark in ordered if 1 <= mark.location.line <= len(lines_of(source.text))]
    if not ordered:
        return []
    gutter = _gutter(_number(source, mark.location.line) for mark in ordered)
    bar = style("blue", " " * gutter + " |")
    lines = [bar]
    previous: Mark | None = None
    for mark in ordered:
        if previous is None or mark.location.line != previous.location.line:
            lines.extend(_between(source, previous, mark, gutter, style))
            number = str(_number(source, mark.location.line)).rjust(gutter)
            lines.append(f"{style('blue', number + ' |')} {_draw(_line(source, mark), mark.location).code}".rstrip())
        lines.append(f"{bar} {_underline(_draw(_line(source, mark), mark.location), mark, style)}")
        previous = mark
    return lines


def _line(source: SourceView, mark: Mark) -> str:
    return source.written(lines_of(source.text)[mark.location.line - 1])


def _number(source: SourceView, line: int) -> int:
    """The number to print beside a line: that in its cell for notebooks."""
    place = source.locate(line)
    return line if place is None else place[1]


def _between(source: SourceView, previous: Mark | None, mark: Mark, gutter: int, style: Style) -> list[str]:
    """What stands between two marked lines: nothing, the one line that is missing, or dots."""
    if previous is None or mark.location.line == previous.location.line + 1:
        return []
    if mark.location.line == previous.location.line + 2:
        middle = previous.location.line + 1
        number = str(_number(source, middle)).rjust(gutter)
        code = _shown(source.written(lines_of(source.text)[middle - 1]).rstrip())[:MAX_WIDTH]
        return [f"{style('blue', number + ' |')} {code}".rstrip()]
    return [style("blue", "." * max(3, gutter))]


def _underline(drawn: _Drawn, mark: Mark, style: Style) -> str:
    colour = "red" if mark.symbol == "^" else "blue"
    note = f" {printable(mark.note)}" if mark.note else ""
    return " " * drawn.indent + style(colour, mark.symbol * drawn.width + note)
