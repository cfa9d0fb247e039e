"""The files of one run: what is read, what is analysed, and what is only there because analysed files import it."""

from __future__ import annotations

import ast
import os
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from lora_lint.discovery import mentions_lifecycle, shown_path
from lora_lint.errors import InputError
from lora_lint.modules import ModuleIndex, linked_files
from lora_lint.syntax import ir
from lora_lint.syntax.problem import SyntaxProblem
from lora_lint.syntax.source import NOTEBOOK_SUFFIX, SourceFile, source_from_bytes

# Files that are read only because others import them: enough for any project, and a bound. Closest files come first.
MAX_LINKED = 300
MAX_LINKED_BYTES = 1_500_000

# Up to this many files that import analysed ones are analysed without looking whether they are scripts.
MAX_DRIVERS = 50
# In larger trees at most this many of them, scripts all.
MAX_DRIVER_SCRIPTS = 2000

_IMPORT = re.compile(rb"^[ \t]*(?:from|import)[ \t]+([^#\n]+)", re.MULTILINE)
_WORD = re.compile(rb"\w+")


@dataclass(slots=True)
class Project:
    """Sources and modules by path, as reported.

    sources: text of every file that is analysed. units: their modules, as far as they parse.
    targets: files to analyse, a part of units; the others are only looked into. asked: the files that were asked for,
    also those that mention nothing we model. checked: how many they are.
    broken: what is wrong with files that do not parse. errors: files that cannot be read, one line each.
    """

    sources: dict[str, SourceFile] = field(default_factory=dict)
    units: dict[str, ir.Module] = field(default_factory=dict)
    targets: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    broken: list[SyntaxProblem] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    checked: int = 0


# Gives None for a file that must be left out, after the reason was reported.
Parse = Callable[[SourceFile], "ir.Module | None"]


class Loader:
    """Reads the files of a project. Every file is read once.

    explicit: paths named by the user: the prefilter leaves them alone. parse: gives a source's module, or raises
    SyntaxProblem.
    """

    def __init__(self, cwd: str, explicit: Iterable[str], parse: Parse):
        self._cwd = cwd
        self._explicit = frozenset(self._absolute(path) for path in explicit)
        self._parse = parse
        self._bytes: dict[str, bytes] = {}
        self.project = Project()

    def add_text(self, name: str, data: bytes) -> None:
        """Take standard input as a file to check."""
        self._bytes[name] = data
        self._explicit |= {self._absolute(name)}

    def _absolute(self, path: str) -> str:
        """Files may be named by absolute paths, and are reported by relative ones."""
        return os.path.normpath(os.path.join(self._cwd, path))

    def load(self, files: Iterable[str], libraries: frozenset[str]) -> Project:
        """Read and parse the files, then what they import.

        libraries: top-level names that API specs describe, never looked for in the project.
        """
        project = self.project
        others: list[str] = []
        for path in dict.fromkeys((*self._bytes, *files)):
            data = self._read(path)
            if data is None:
                continue
            project.checked += 1
            project.asked.add(path)
            if self._is_wanted(path, data):
                self._take(path, is_target=True)
            else:
                others.append(path)
        for path in self._drivers(others):
            self._take(path, is_target=True)
        for path in self._imported(libraries):
            if path not in project.sources:
                self._take(path, is_target=False)
        return project

    def _drivers(self, others: list[str]) -> list[str]:
        """Files that mention nothing we model but import what does: the script that calls load, attach and fit.

        In large trees only those with a `__main__` guard.
        """
        targets = [os.fsencode(path) for path in self.project.targets]
        stems = {os.path.splitext(os.path.basename(path))[0] for path in targets} - {b"__init__"}
        stems |= {os.path.basename(os.path.dirname(path)) for path in targets} - {b""}
        found = [
            path for path in others if path.endswith(".py") and not stems.isdisjoint(_imported_words(self._bytes[path]))
        ]
        if len(found) > MAX_DRIVERS:
            found = [path for path in found if b"__main__" in self._bytes[path]]
        return found[:MAX_DRIVER_SCRIPTS]

    def _is_wanted(self, path: str, data: bytes) -> bool:
        """Whether to analyse a file: named, about training, or not parsing (which is worth a word)."""
        if self._absolute(path) in self._explicit or mentions_lifecycle(data):
            return True
        return not path.endswith(".ipynb") and not _parses(data)

    def _read(self, path: str) -> bytes | None:
        """The bytes of a file; None after noting the error."""
        data = self._bytes.get(path)
        if data is None:
            try:
                with open(os.path.join(self._cwd, path), "rb") as stream:
                    data = self._bytes[path] = stream.read()
            except OSError as error:
                self.project.errors.append(f"{path}: cannot be read: {error.strerror or error}")
        return data

    def _take(self, path: str, *, is_target: bool) -> None:
        """Parse a file into the project. Trouble with a file that is only imported is not the user's question."""
        project = self.project
        problems: list[SyntaxProblem] = []
        try:
            source = source_from_bytes(self._bytes[path], path, is_notebook=path.endswith(NOTEBOOK_SUFFIX))
            project.sources[path] = source
            problems += [SyntaxProblem(path, line, 1, message) for line, message in source.problems]
            module = self._parse(source)
        except SyntaxProblem as problem:
            problems.append(problem)
        except InputError as error:
            # Bytes that are no text: they do not parse either, and the message names the place itself.
            problems.append(SyntaxProblem(path, 1, 1, str(error).removeprefix(f"{path}: ")))
        else:
            if module is not None:
                project.units[path] = module
                project.targets += [path] * is_target
        if is_target:
            project.broken += problems

    def _imported(self, libraries: frozenset[str]) -> list[str]:
        """Files that the targets import, directly or not, as reported."""
        starts = [os.path.join(self._cwd, path) for path in self.project.targets]
        index = ModuleIndex(self._cwd, libraries)
        linked = linked_files(starts, self._bytes_of, index, MAX_LINKED, MAX_LINKED_BYTES)
        return [shown_path(path, self._cwd) for path in linked]

    def _bytes_of(self, path: str) -> bytes | None:
        """The bytes of a file by absolute path; a file that is only imported fails silently."""
        shown = shown_path(path, self._cwd)
        if shown not in self._bytes:
            try:
                with open(path, "rb") as stream:
                    self._bytes[shown] = stream.read()
            except OSError:
                return None
        return self._bytes[shown]


def _imported_words(data: bytes) -> frozenset[bytes]:
    """Every part of every dotted name that import statements mention."""
    return frozenset(word for line in _IMPORT.findall(data) for word in _WORD.findall(line))


def _parses(data: bytes) -> bool:
    """Whether the running Python can read the bytes as a module; twelve times faster than the reference parser."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
