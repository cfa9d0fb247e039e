"""Notebooks (nbformat 3 and 4) as one module text, and edits of that text back into the file.

The code cells are joined in order, each after a marker comment. Lines that are no Python (magics, shell lines) and
cells that do not parse stand there as numbered placeholders, one line for one line, so that positions hold and the
originals can be put back wherever a fix has moved them. The JSON is never dumped again: an edit replaces the `source`
value of a changed cell in the raw text, everything else stays byte for byte.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from lora_lint.errors import InputError
from lora_lint.syntax.magics import Blanking, blank_cell, restore, without_indentation

_MARKER = re.compile(r"^# %% lora-lint cell (\d+)\n", re.MULTILINE)
# Kernels of other languages, by the names under which they install themselves; for notebooks that name no language.
_FOREIGN_KERNEL = re.compile(
    r"(?:ir|xr|julia.*|bash|calysto.*|javascript|ijavascript|jslab|tslab|deno|scala.*|almond|spark|rust|evcxr|octave|matlab|xcpp.*"
    r"|gophernotes|kotlin|java|ijava|haskell|ihaskell|ruby|iruby|stata|sas|sql|\.net.*)$",
    re.IGNORECASE,
)
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Cell:
    """One code cell.

    index: from 1, over all cells. start, end: where the value of its `source` lies in the raw JSON text. marker: the
    line of its marker in the module text. body: its part of the module text, after the marker. added: the newline that
    `body` has and the cell's source has not.
    """

    index: int
    start: int
    end: int
    marker: int
    body: str
    added: str


@dataclass(frozen=True, slots=True)
class Notebook:
    """The code cells of a notebook as one module text, with what it takes to go back."""

    raw: str
    text: str
    cells: tuple[Cell, ...]
    blanking: Blanking
    problems: tuple[tuple[int, str], ...]

    @property
    def shell_lines(self) -> tuple[tuple[int, str], ...]:
        """Blanked magics and shell lines: the line in the module text and the text without indentation."""
        return tuple(self.blanking.shell_lines)

    def locate(self, line: int) -> tuple[int, int]:
        """The cell (from 1, all cells counted) and the line in it that a line of the module text came from."""
        position = bisect_right([cell.marker for cell in self.cells], line) - 1
        if position < 0:
            return (1, 1)
        cell = self.cells[position]
        return (cell.index, max(line - cell.marker, 1))

    def with_text(self, new_text: str, path: str) -> str:
        """The JSON text with the cells of `new_text`. InputError: its markers are not those of this notebook."""
        first, *rest = _MARKER.split(new_text)
        if [str(cell.index) for cell in self.cells] != rest[0::2]:
            raise InputError(f"{path}: the edited text does not have the cells of this notebook")
        bodies = rest[1::2]
        if first and not bodies:
            raise InputError(f"{path}: the notebook has no code cell to put text into")
        if first:  # an import put at the very top belongs to the first cell
            bodies[0] = first + bodies[0]
        parts = []
        done = 0
        for cell, body in zip(self.cells, bodies, strict=True):
            if body == cell.body:
                continue
            source = restore(body, self.blanking)
            parts += [self.raw[done : cell.start], _rewrite(self.raw, cell, source.removesuffix(cell.added))]
            done = cell.end
        return "".join([*parts, self.raw[done:]])


def read_notebook(raw: str, path: str) -> Notebook:
    """The notebook whose JSON text is `raw`. InputError: it is no notebook of format 3 or 4."""
    try:
        content = json.loads(raw)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not a notebook: {error}") from None
    except RecursionError:
        raise InputError(f"{path}: not a notebook: nested too deeply") from None
    if not isinstance(content, dict) or content.get("nbformat") not in (3, 4):
        raise InputError(f"{path}: not a notebook of format 3 or 4")
    blanking = Blanking()
    cells: list[Cell] = []
    problems: list[tuple[int, str]] = []
    chunks: list[str] = []
    line = 1
    for index, start, end in _code_cells(raw, content, path):
        source = _source(json.loads(raw[start:end]), path, index)
        body, problem = blank_cell(without_indentation(source), line + 1, blanking)
        if problem is not None:
            problems.append(problem)
        added = "" if body.endswith("\n") or not body else "\n"
        cells.append(Cell(index, start, end, line, body + added, added))
        chunks.append(f"# %% lora-lint cell {index}\n{body}{added}")
        line += chunks[-1].count("\n")
    return Notebook(raw, "".join(chunks), tuple(cells), blanking, tuple(problems))


def _source(value: Any, path: str, index: int) -> str:
    lines = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in lines):
        raise InputError(f"{path}: not a notebook: the source of cell {index} is no text")
    # A lone carriage return would be a line for Python and none for us.
    return re.sub(r"\r(?!\n)", "\n", "".join(lines))


# --- where things lie in the raw JSON ---------------------------------------------------------------------------------


def _code_cells(raw: str, content: dict[str, Any], path: str) -> list[tuple[int, int, int]]:
    """Index and source range of each Python code cell; raises InputError where the structure is not a notebook's."""
    if not _is_python(content):
        return []
    try:
        top = _members(raw, _skip(raw, 0))
        if content["nbformat"] == 4:
            arrays = [top["cells"][0]]
        else:
            arrays = [_members(raw, start)["cells"][0] for start, _ in _items(raw, top["worksheets"][0])]
        cells = [_members(raw, start) for array in arrays for start, _ in _items(raw, array)]
        found = []
        for index, cell in enumerate(cells, 1):
            if json.loads(raw[slice(*cell["cell_type"])]) == "code" and not _is_foreign(raw, cell):
                span = cell["source"] if "source" in cell else cell["input"]
                found.append((index, *span))
        return found
    except (KeyError, IndexError, ValueError):
        raise InputError(f"{path}: not a notebook: its cells cannot be found") from None


def _is_foreign(raw: str, cell: dict[str, tuple[int, int]]) -> bool:
    """Whether an editor marked a cell as written in another language than the notebook's."""
    metadata = json.loads(raw[slice(*cell["metadata"])]) if "metadata" in cell else None
    editor = metadata.get("vscode") if isinstance(metadata, dict) else None
    language = editor.get("languageId") if isinstance(editor, dict) else None
    return isinstance(language, str) and "python" not in language.lower()


def _is_python(content: dict[str, Any]) -> bool:
    """Whether the notebook's language is Python, which it is when nothing is said."""
    metadata = content.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    for key, name in (("language_info", "name"), ("kernelspec", "language")):
        section = metadata.get(key)
        if isinstance(section, dict) and isinstance(section.get(name), str):
            language: str = section[name]
            return "python" in language.lower()
    kernel = metadata.get("kernelspec")
    called = kernel.get("name") if isinstance(kernel, dict) else None
    return not (isinstance(called, str) and _FOREIGN_KERNEL.match(called))


def _skip(raw: str, pos: int) -> int:
    found = _SPACE.match(raw, pos)
    return pos if found is None else found.end()


def _end_of_value(raw: str, pos: int) -> int:
    return json.JSONDecoder().raw_decode(raw, pos)[1]


def _members(raw: str, pos: int) -> dict[str, tuple[int, int]]:
    """Keys of the object at `pos`, each with the range of its value. ValueError: there is no object."""
    if raw[pos] != "{":
        raise ValueError("no object")
    found = {}
    pos = _skip(raw, pos + 1)
    while raw[pos] != "}":
        key, pos = json.JSONDecoder().raw_decode(raw, pos)
        start = _skip(raw, _skip(raw, pos) + 1)
        end = _end_of_value(raw, start)
        found[key] = (start, end)
        pos = _after_comma(raw, end)
    return found


def _items(raw: str, pos: int) -> list[tuple[int, int]]:
    """Ranges of the items of the array at `pos`. ValueError: there is no array."""
    if raw[pos] != "[":
        raise ValueError("no array")
    found = []
    pos = _skip(raw, pos + 1)
    while raw[pos] != "]":
        end = _end_of_value(raw, pos)
        found.append((pos, end))
        pos = _after_comma(raw, end)
    return found


def _after_comma(raw: str, pos: int) -> int:
    pos = _skip(raw, pos)
    return _skip(raw, pos + 1) if raw[pos] == "," else pos


# --- writing a source back --------------------------------------------------------------------------------------------


def _rewrite(raw: str, cell: Cell, source: str) -> str:
    """The JSON value for a new source, in the form (array or string, layout, escapes) that the old one has."""
    old = raw[cell.start : cell.end]
    ascii_only = raw.isascii() and "\\u" in raw
    if not old.startswith("["):
        return json.dumps(source, ensure_ascii=ascii_only)
    spans = _items(raw, cell.start)
    kept = {json.loads(raw[start:end]): raw[start:end] for start, end in spans}
    lines = [kept.get(line) or json.dumps(line, ensure_ascii=ascii_only) for line in _split_lines(source)]
    if not lines:
        return "[]"
    if not spans:
        return "[" + ", ".join(lines) + "]"
    opening = raw[cell.start : spans[0][0]]
    closing = raw[spans[-1][1] : cell.end]
    between = raw[spans[0][1] : spans[1][0]] if len(spans) > 1 else "," + (opening[1:] or " ")
    return opening + between.join(lines) + closing


def _split_lines(source: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", source)
