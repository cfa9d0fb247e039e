"""Unified diffs of what fixes change."""

from __future__ import annotations

import difflib

from lora_lint.fix.edits import Lines

_NO_NEWLINE = "\n\\ No newline at end of file\n"


def unified_diff(path: str, before: str, after: str) -> str:
    """Diff of one file as `patch -p0` takes it, empty when nothing changed; notebooks show their code cells."""
    if before == after:
        return ""
    rows = difflib.unified_diff(_rows(before), _rows(after), path, path)
    return "".join(row if row.endswith(("\n", "\r")) else row + _NO_NEWLINE for row in rows)


def _rows(text: str) -> list[str]:
    """Lines with their newlines; only what ends a line for Python counts."""
    lines = Lines(text)
    rows = [text[lines.line_start(number) : lines.next_line(number)] for number in range(1, len(lines.starts) + 1)]
    return rows if rows[-1] else rows[:-1]
