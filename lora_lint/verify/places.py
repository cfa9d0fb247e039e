"""Locations as they are shown: in a notebook, cell and line in the cell."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from lora_lint.errors import InputError
from lora_lint.location import Location
from lora_lint.syntax.source import SourceFile, read_source


@lru_cache(maxsize=16)
def _notebook(path: str) -> SourceFile | None:
    if not path.endswith(".ipynb"):
        return None
    try:
        return read_source(Path(path), path)
    except InputError:
        return None


def place_data(location: Location) -> dict[str, Any]:
    """A location as plain data: with `cell` in a notebook, where lines count within the cell."""
    found: dict[str, Any] = {"path": location.path.replace("\\", "/")}
    line, end_line = location.line, location.end_line
    source = _notebook(location.path)
    start = source.locate(line) if source is not None else None
    if source is not None and start is not None:
        found["cell"], line = start
        end = source.locate(end_line)
        end_line = end[1] if end is not None and end[0] == start[0] else line
    return {**found, "line": line, "column": location.column, "end_line": end_line, "end_column": location.end_column}


def shown(location: Location) -> str:
    """A location in one word for a person: "train.py:12", "book.ipynb cell 3:4"."""
    data = place_data(location)
    return f"{data['path']} cell {data['cell']}:{data['line']}" if "cell" in data else f"{data['path']}:{data['line']}"
