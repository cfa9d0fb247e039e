"""Where something stands in a file. A leaf module: everything may import it, it imports nothing of ours."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A range of source text.

    Lines and columns count from 1, columns in code points; the end is exclusive. For a notebook the numbers are those
    of the module text that `lora_lint.syntax.source` made of its code cells; reports translate them to cell and line.
    """

    path: str
    line: int
    column: int
    end_line: int
    end_column: int

    def covers(self, other: Location) -> bool:
        """Whether `other` lies inside this range of the same file."""
        return (
            self.path == other.path
            and (self.line, self.column) <= (other.line, other.column)
            and (other.end_line, other.end_column) <= (self.end_line, self.end_column)
        )

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"
