"""A cursor over source text that gives every node its exact place.

LibCST keeps no positions; asking its metadata providers for them costs twice the parse. But the tree is lossless and we
walk it in source order, so a cursor that steps over each token, and over whatever whitespace, comments and line
continuations stand before it, always knows where it is.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from lora_lint.syntax.ir import Loc

_TRIVIA = " \t\f\r\n#\\"
_SKIP = re.compile(r"(?:[ \t\f\r\n]+|#[^\r\n]*|\\(?:\r\n|\r|\n))*").match
_NEWLINE = re.compile(r"\r\n|\r|\n")


def line_starts(text: str) -> list[int]:
    """Offsets at which the lines of `text` start, as Python counts lines (form feeds and the like do not count)."""
    return [0, *(match.end() for match in _NEWLINE.finditer(text))]


class Cursor:
    """A place in `text` that moves forward token by token.

    pos: offset directly after the last token taken. yields: whether a `yield` was met since it was last reset.
    """

    __slots__ = ("_starts", "pos", "text", "yields")

    def __init__(self, text: str) -> None:
        self.text = text + "\n\0"  # something that is no trivia, so that looking ahead never passes the end
        self.pos = 0
        self.yields = False
        self._starts = [*line_starts(text), len(text) + 3]

    def skip(self) -> int:
        """Move to the next token and return its offset."""
        pos = self.pos
        if self.text[pos] in _TRIVIA:
            found = _SKIP(self.text, pos)
            if found is not None:
                self.pos = pos = found.end()
        return pos

    def token(self, width: int) -> None:
        """Take the next token, which has `width` characters."""
        self.pos = self.skip() + width

    def optional(self, symbol: str) -> bool:
        """Take the next token if it is the one-character `symbol`; otherwise stay."""
        before = self.pos
        pos = self.skip()
        if self.text[pos] == symbol:
            self.pos = pos + 1
            return True
        self.pos = before
        return False

    def at_end(self) -> bool:
        """Whether nothing but trivia is left."""
        return self.skip() == len(self.text) - 1

    def offset(self, line: int, column: int) -> int:
        """The offset of a line and column, both from 1."""
        return self._starts[line - 1] + column - 1

    def place(self, offset: int) -> tuple[int, int]:
        """The line and column of an offset."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def loc(self, start: int) -> Loc:
        """The range from offset `start` to the cursor."""
        starts = self._starts
        end = self.pos
        line = bisect_right(starts, start)
        column = start - starts[line - 1] + 1
        if end < starts[line]:
            return (line, column, line, column + end - start)
        end_line = bisect_right(starts, end)
        return (line, column, end_line, end - starts[end_line - 1] + 1)
