"""Which library versions each file of a project may run with: what the project says, and what the code itself shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from lora_lint.apis.renames import renames
from lora_lint.apis.store import ApiStore
from lora_lint.interpreter.evidence import forks, imported, shown
from lora_lint.interpreter.linking import Linker
from lora_lint.interpreter.survey import Survey
from lora_lint.syntax import ir

_NEWEST = ">=9999"
_VERSION = re.compile(r"\d+(\.\d+)*(\.?(dev|a|b|rc|post)\d*)?")


class Versions(Protocol):
    """What is asked of a project's target versions."""

    def affected(self, library: str, specifier: str) -> bool | None:
        """True when every version the project may use lies in the range, False when none does, else None."""

    def outer(self, library: str) -> bool:
        """Whether they may be meant for another project, around that of the file."""

    def apart(self, library: str) -> bool:
        """Whether they are said outside of the package that the file belongs to."""

    def newest_likely(self, library: str) -> bool:
        """Whether a fresh installation takes the newest release."""

    def some_commit(self, library: str) -> bool:
        """Whether the project takes some commit of a library, and nothing tells its version."""

    def before_release(self, library: str) -> bool:
        """Whether the project runs with a state of a library before a release."""

    def copied(self, library: str) -> str:
        """How the project carries a copy that gives a library its version: "beside", "checkout", or "" when it does not."""

    def doubted(self, library: str, wholly: bool) -> Versions:
        """The same where a library may as well be of any version, or (wholly) where nothing is said of it."""

    def describe(self, library: str) -> str | None:
        """The target as text, None when nothing is known."""

    def with_evidence(self, library: str, specifier: str, why: str) -> Versions:
        """The same with a range that the code shows."""


class Targets:
    """Target versions by file.

    `declared` is what the project says; `holds` also counts what the code of the file, and of the files it is linked with
    by imports, shows: code that needs an argument gone in 0.20 runs on <0.20 only.
    """

    def __init__(
        self, surveys: Mapping[str, Survey], store: ApiStore, linker: Linker, versions_for: Callable[[str], Versions]
    ) -> None:
        self._surveys = surveys
        self._store = store
        self._linker = linker
        self._versions_for = versions_for
        self._declared: dict[str, Versions] = {}
        self._dated: dict[str, Versions] = {}
        self._shown: dict[str, list[tuple[str, str, str]]] = {}
        self._patched: dict[str, frozenset[str]] = {}
        self._forks: dict[str, frozenset[str]] = {}
        # By file and identity of the ranges, which belong to specs: the answer, and the ranges to keep them alive.
        self._holds: dict[str, dict[int, tuple[bool | None, Mapping[str, str]]]] = {}

    def declared(self, path: str) -> Versions:
        """What the project of a file says."""
        if path not in self._declared:
            versions = self._versions_for(path)
            for library, wholly in list(self._in_doubt(path, versions)):
                versions = versions.doubted(library, wholly)
            self._declared[path] = versions
        return self._declared[path]

    def _in_doubt(self, path: str, versions: Versions) -> Iterator[tuple[str, bool]]:
        """Libraries of which a file may not use the copy in the project, as it only appends to `sys.path` where a checkout may
        lie, or certainly does not (True): it imports what that version lacks."""
        survey = self._surveys[path]
        rows = [row for node in survey.shows if isinstance(node, ir.Import) for row in imported(node)]
        for library in self._store.libraries:
            if copy := versions.copied(library):
                lacks = any(row.library == library and versions.affected(library, row.gone) for row in rows)
                if lacks or (copy == "checkout" and survey.appends):
                    yield library, lacks

    def holds(self, path: str, versions: Mapping[str, str]) -> bool | None:
        """Whether a range holds for the versions the file runs with. An unknown version is taken to be a new one: a range
        open above holds, one that ended is None (maybe). Of what a release brought, nothing is taken to be in a state before
        that release, nor to be missing there."""
        known = self._holds.setdefault(path, {})
        key = id(versions)
        if key not in known:
            answers = {self._one(path, library, specifier) for library, specifier in versions.items()}
            known[key] = (False if False in answers else None if None in answers else True, versions)
        return known[key][0]

    def _one(self, path: str, library: str, specifier: str) -> bool | None:
        ended = "<" in specifier or "==" in specifier
        if library in self._forked(path):
            return not ended  # no release: what one did once, or does no more, is not assumed
        dated = self._with_evidence(path)
        answer = dated.affected(library, specifier)
        if answer is None and (dated.before_release(library) or (ended and dated.newest_likely(library))):
            return False
        if answer is None and not ended and dated.affected(library, _NEWEST) is not False:
            return True
        return answer

    def undecided(self, path: str, versions: Mapping[str, str]) -> bool:
        """Whether a file runs with a state before a release, which may be as in a range or not."""
        dated = self._with_evidence(path)
        return any(
            dated.before_release(library) and dated.affected(library, specifier) is None
            for library, specifier in versions.items()
        )

    def may_predate(self, path: str, versions: Mapping[str, str]) -> bool:
        """Whether what a file runs with may be older than the first version of a range: some commit, of nobody knows when."""
        began = [library for library, specifier in versions.items() if ">" in specifier]
        return any(self._with_evidence(path).some_commit(library) for library in began)

    def _forked(self, path: str) -> frozenset[str]:
        """Libraries of which a file, or one linked with it, uses what only a fork has."""
        if path not in self._forks:
            linked = (path, *self._linker.neighbours(path))
            self._forks[path] = frozenset().union(*(forks(self._surveys[one].imports) for one in linked))
        return self._forks[path]

    def _with_evidence(self, path: str) -> Versions:
        if path not in self._dated:
            versions = self.declared(path)
            patched = self.patched(path)
            for one in (path, *self._linker.neighbours(path)):
                for library, specifier, why in self._shown_by(one):
                    if library not in patched:
                        versions = versions.with_evidence(library, specifier, why)
            for library in sorted(self._store.libraries):
                version = _version_of(self._linker.copy_of(path, library))
                if version is not None:
                    versions = versions.with_evidence(library, f"=={version}", "the copy in the project")
            self._dated[path] = versions
        return self._dated[path]

    def _shown_by(self, path: str) -> list[tuple[str, str, str]]:
        if path not in self._shown:
            self._shown[path] = [] if self.asks(path) else shown(self._surveys[path].shows, self._store)
        return self._shown[path]

    def asks(self, path: str) -> bool:
        """Whether a file decides by version what it uses."""
        return self._surveys[path].asks

    def patched(self, path: str) -> frozenset[str]:
        """Libraries whose calls another library changes, by being imported in a file or one linked with it: they may take
        arguments that their own releases do not."""
        if path not in self._patched:
            libraries = {name for one in (path, *self._linker.neighbours(path)) for name in self._linker.libraries(one)}
            patched = frozenset().union(*(renames().patched_by(name) for name in libraries))
            self._patched[path] = patched | self._forked(path)
        return self._patched[path]


def _version_of(copy: ir.Module | None) -> str | None:
    """The `__version__` that a library's copy gives itself."""
    for node in copy.body if copy is not None else ():
        if isinstance(node, ir.Assign) and isinstance(node.value, ir.Const) and isinstance(node.value.value, str):
            if any(isinstance(target, ir.Name) and target.id == "__version__" for target in node.targets):
                return node.value.value if _VERSION.fullmatch(node.value.value) else None
    return None
