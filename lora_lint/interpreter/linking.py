"""Which file an import means, and which names other files mention."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from lora_lint.apis.store import ApiStore
from lora_lint.interpreter.survey import Survey
from lora_lint.interpreter.text_ends import may_end
from lora_lint.modules import ModuleIndex, top_without_repository
from lora_lint.syntax import ir


def _top(paths: Mapping[str, str]) -> str:
    """The folder of the run; that of all files together when they lie elsewhere."""
    here = os.getcwd()
    if not paths or any(path.startswith(here.rstrip(os.sep) + os.sep) for path in paths):
        return here
    return top_without_repository(os.path.commonpath([os.path.dirname(path) for path in paths]))


def _provided(body: Iterable[ir.Stmt]) -> Iterator[str]:
    """Names that a module defines or passes on; many a library imports lazily, and for type checkers says what."""
    for node in body:
        if isinstance(node, ir.Import) and node.names is not None:
            yield from (bound for _, bound in node.names)
        elif isinstance(node, (ir.FunctionDef, ir.ClassDef)):
            yield node.name
        elif isinstance(node, (ir.If, ir.Try)):
            yield from _provided((*node.body, *node.orelse))


# What reaches methods whose names stand nowhere but in strings, or on a command line.
_BY_STRING = (
    "getattr",
    "methodcaller",
    "attrgetter",
    "__getattribute__",
    "__dict__",
    "vars",
    "getmembers",
    "dir",
    "Fire",
)


class Linker:
    """Resolves imports among the files of a project, and knows what each of them mentions."""

    def __init__(self, units: Mapping[str, ir.Module], surveys: Mapping[str, Survey], store: ApiStore) -> None:
        # Absolute, because the files of one project may be reported partly by relative, partly by absolute paths.
        self._absolute = {path: os.path.abspath(path) for path in units}
        self._paths = {absolute: path for path, absolute in self._absolute.items()}
        self._index = ModuleIndex(_top(self._paths), exists=self._paths.__contains__)
        self._units = units
        self._surveys = surveys
        self._mentioning: Counter[str] | None = None  # how many files mention a name
        self._linked: dict[str, set[str]] | None = None
        self._found: dict[tuple[str, str, int], str | None] = {}
        self._store = store
        self._copies: dict[str, bool] = {}
        self._ends: dict[str, bool] = {}

    def find(self, importer: str, module: str, level: int) -> str | None:
        """Path of the module that `importer` imports, None when it is not a file of the project."""
        key = (importer, module, level)
        if key not in self._found:
            copied = not level and self.copy_of(importer, module.split(".")[0]) is not None
            self._found[key] = None if copied else self._resolve(importer, module, level)
        return self._found[key]

    def _resolve(self, importer: str, module: str, level: int) -> str | None:
        found = self._index.resolve(self._absolute[importer], module, level)
        return self._paths[found] if found is not None else None

    def copy_of(self, importer: str, library: str) -> ir.Module | None:
        """The project's own copy of a library that specs describe, as `importer` would import it (or the library itself,
        in its own repository): what its calls do is known, so it is not interpreted."""
        if library not in self._store.libraries:
            return None
        path = self._resolve(importer, library, 0)
        if path is None:
            return None
        if path not in self._copies:
            self._copies[path] = any(
                self._store.find_call(f"{library}.{name}") or self._store.type_of(f"{library}.{name}") is not None
                for name in _provided(self._units[path].body)
            )
        return self._units[path] if self._copies[path] else None

    def submodule(self, package: str, name: str) -> str | None:
        """Path of `name` inside the package whose `__init__.py` is `package`."""
        return self.find(package, name, 1) if os.path.basename(package) == "__init__.py" else None

    def referenced_elsewhere(self, path: str, name: str) -> bool:
        """Whether another file of the project mentions a name (so it may well call it)."""
        return self._mentions()[name] > (name in self._surveys[path].mentioned)

    def unnamed(self, name: str) -> bool:
        """Whether no file mentions a name, nor takes attributes by names that are strings."""
        mentions = self._mentions()
        return not mentions[name] and not any(mentions[one] for one in _BY_STRING)

    def _mentions(self) -> Counter[str]:
        if self._mentioning is None:
            self._mentioning = Counter(one for survey in self._surveys.values() for one in survey.mentioned)
        return self._mentioning

    def neighbours(self, path: str) -> frozenset[str]:
        """The files that a file imports or is imported by, at any depth of nesting."""
        if self._linked is None:
            self._linked = {one: set() for one in self._units}
            for one in self._units:
                for other in self._imports(one):
                    self._linked[one].add(other)
                    self._linked[other].add(one)
        return frozenset(self._linked[path])

    def may_end_texts(self, path: str) -> bool:
        """Whether a file, or what it imports at any remove, may put an end token behind texts."""
        seen, stack = {path}, [path]
        while stack:
            one = stack.pop()
            if one not in self._ends:
                self._ends[one] = may_end(self._units[one].body)
            if self._ends[one]:
                return True
            fresh = set(self._imports(one)) - seen
            seen |= fresh
            stack += fresh
        return False

    def libraries(self, path: str) -> frozenset[str]:
        """Top-level names of what a file imports, wherever in it."""
        return frozenset(node.module.split(".")[0] for node in self._surveys[path].imports if not node.level)

    def imported_before(self, path: str, library: str) -> bool:
        """Whether some file of the project imports a library, and behind that this file."""
        for one, survey in self._surveys.items():
            there = False
            for node in survey.imports if one != path else ():
                there = there or (not node.level and node.module.split(".")[0] == library)
                if there and self.find(one, node.module, node.level) == path:
                    return True
        return False

    def _imports(self, path: str) -> Iterator[str]:
        for node in self._surveys[path].imports:
            found = self.find(path, node.module, node.level)
            if found is not None and found != path:
                yield found
