"""Files as text and back: encodings, byte-order marks, newlines, notebooks. What is read can be written losslessly."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lora_lint.errors import InputError
from lora_lint.syntax.shell_calls import shell_calls

if TYPE_CHECKING:
    from lora_lint.syntax.magics import Blanking
    from lora_lint.syntax.notebook import Notebook

NOTEBOOK_SUFFIX = ".ipynb"
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_BLANK = re.compile(rb"^[ \t\f]*(?:#.*)?$")
_PERCENT = re.compile(r"^# ?%%", re.MULTILINE)
_COMMENTED = re.compile(r"^# ?([%!](?!%).*)$", re.MULTILINE)  # as jupytext writes magics and shell lines
_MAGIC_LINE = re.compile(r"^[ \t]*[%!]", re.MULTILINE)
_LINE_END = re.compile(r"\r\n|\r|\n")
# Encodings in which different bytes never decode to the same text, so that writing back needs no check.
_FAITHFUL = frozenset({"utf-8", "ascii", "iso8859-1"})


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file, read.

    path: as it is reported. text: the module text without byte-order mark, newlines as in the file; for a notebook its
    code cells joined, which `notebook` maps back. raw: the file's bytes. newline: the kind used first, "\\n" if none.
    """

    path: str
    text: str
    raw: bytes
    encoding: str
    bom: bool
    newline: str
    notebook: Notebook | None = None
    blanking: Blanking | None = None  # of a notebook that was exported as a script with its magics as they are

    @property
    def shell_lines(self) -> tuple[tuple[int, str], ...]:
        """Lines of a notebook that are no Python (`%pip install …`, `!ls`), each with its line in the module text. In a script
        with cells (`# %%`) they are comments, in any script they may be calls that install something."""
        if self.notebook is not None:
            return self.notebook.shell_lines
        if self.blanking is not None:
            return tuple(self.blanking.shell_lines)
        commented = _COMMENTED.finditer(self.text) if _PERCENT.search(self.text) is not None else ()
        lines = [(self.text.count("\n", 0, m.start()) + 1, m[1].strip()) for m in commented]
        return (*lines, *shell_calls(self.text))

    @property
    def problems(self) -> tuple[tuple[int, str], ...]:
        """Cells that do not parse: the line in the module text and the message. The rest of the notebook is usable."""
        return () if self.notebook is None else self.notebook.problems

    def locate(self, line: int) -> tuple[int, int] | None:
        """The cell (from 1, all counted) and the line in it for a line of the module text; None for a .py file."""
        return None if self.notebook is None else self.notebook.locate(line)

    def written(self, line: str) -> str:
        """A line of the module text as the file has it: where it only stands for one that is no Python, that one."""
        blanking = self.blanking if self.notebook is None else self.notebook.blanking
        return line if blanking is None or not blanking.originals else _restore(line, blanking)

    def encode(self, text: str) -> bytes:
        """This file's bytes with `text` as its module text. InputError: its encoding or notebook cannot hold that."""
        if self.notebook is not None:
            return self.with_cell_edits(text)
        return self._to_bytes(text if self.blanking is None else _restore(text, self.blanking))

    def with_cell_edits(self, new_text: str) -> bytes:
        """The notebook's bytes with the cells of `new_text`; only sources of changed cells differ from `raw`.

        InputError: this is no notebook, or the lines that mark the cells are not all there.
        """
        if self.notebook is None:
            raise InputError(f"{self.path}: not a notebook")
        return self._to_bytes(self.notebook.with_text(new_text, self.path))

    def _to_bytes(self, text: str) -> bytes:
        try:
            data = text.encode(self.encoding)
        except UnicodeError as error:
            raise InputError(f"{self.path}: the text cannot be written in {self.encoding}: {error}") from None
        return codecs.BOM_UTF8 + data if self.bom else data


def read_source(path: Path, display: str) -> SourceFile:
    """The file at `path`, reported as `display`. InputError: it cannot be read or is no Python text or notebook."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{display}: {error.strerror or error}") from None
    return source_from_bytes(raw, display, is_notebook=path.suffix == NOTEBOOK_SUFFIX)


def source_from_bytes(raw: bytes, display: str, *, is_notebook: bool = False) -> SourceFile:
    """A file given by its bytes. InputError: they are no Python text, or no notebook if it should be one."""
    bom = raw.startswith(codecs.BOM_UTF8)
    body = raw[len(codecs.BOM_UTF8) :] if bom else raw
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(f"{display}: UTF-16 text; Python source must be UTF-8 or name its encoding in a comment")
    if b"\0" in body:
        raise InputError(f"{display}: contains null bytes, so it is not Python text")
    encoding = "utf-8" if is_notebook else _declared_encoding(body, bom, display)
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise InputError(f"{display}: not valid {encoding} (line {line}, byte {error.start})") from None
    except UnicodeError as error:
        raise InputError(f"{display}: not valid {encoding}: {error}") from None
    if encoding not in _FAITHFUL and text.encode(encoding, "replace") != body:
        raise InputError(f"{display}: its {encoding} text cannot be written back unchanged")
    notebook, blanking = None, None
    if is_notebook:
        from lora_lint.syntax.notebook import read_notebook  # JSON and more: not for every start

        notebook = read_notebook(text, display)
        text = notebook.text
    else:
        text, blanking = _without_magics(text)
    return SourceFile(display, text, raw, encoding, bom, _newline(text), notebook, blanking)


def source_from_text(text: str, display: str) -> SourceFile:
    """A file given by its text, as from an editor; a byte-order mark is taken off. InputError: it has null bytes."""
    try:
        raw = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{display}: not valid text: {error.reason}") from None
    if "\0" in text:
        raise InputError(f"{display}: contains null bytes, so it is not Python text")
    bom = text.startswith("\ufeff")
    text = text[1:] if bom else text
    text, blanking = _without_magics(text)
    return SourceFile(display, text, raw, "utf-8", bom, _newline(text), None, blanking)


def _without_magics(text: str) -> tuple[str, Blanking | None]:
    """The text of a script; of one that is no Python for the magics and shell lines of a notebook alone (Colab exports such),
    without them, and what was taken out."""
    if _MAGIC_LINE.search(text) is None:
        return text, None
    from lora_lint.syntax.magics import Blanking, blank_cell

    blanking = Blanking()
    blanked, problem = blank_cell(text, 1, blanking)
    return (text, None) if problem is not None or not blanking.originals else (blanked, blanking)


def _restore(text: str, blanking: Blanking) -> str:
    from lora_lint.syntax.magics import restore

    return restore(text, blanking)


def _declared_encoding(body: bytes, bom: bool, display: str) -> str:
    """The encoding that a PEP 263 comment on line one or two names, as a normalised codec name; else UTF-8."""
    lines = re.split(rb"\r\n|\r|\n", body, maxsplit=2)[:2]
    for line in lines:
        found = _COOKIE.match(line)
        if found is not None:
            return _codec(found.group(1).decode("ascii", "replace"), bom, display)
        if not _BLANK.match(line):
            break
    return "utf-8"


def _codec(name: str, bom: bool, display: str) -> str:
    try:
        encoding = codecs.lookup(name).name
        b" ".decode(encoding)  # codecs such as hex or utf-16 are known too, but cannot encode source
    except (LookupError, UnicodeError):
        raise InputError(f"{display}: unknown encoding {name!r}") from None
    if encoding == "utf-8-sig":
        encoding = "utf-8"
    if bom and encoding != "utf-8":
        raise InputError(f"{display}: starts with a UTF-8 mark but declares the encoding {name!r}")
    return encoding


def _newline(text: str) -> Literal["\n", "\r\n", "\r"]:
    found = _LINE_END.search(text)
    if found is None or found.group() == "\n":
        return "\n"
    return "\r\n" if found.group() == "\r\n" else "\r"
