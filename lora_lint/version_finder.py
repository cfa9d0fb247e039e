"""Finding the target versions of a file: settings, its own pip lines, and the files of the folders around it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from lora_lint.errors import InputError
from lora_lint.library_copies import checked_out, imported
from lora_lint.requirement_files import Source, Wanted, install_line, is_package, read_folder
from lora_lint.versions import Target, TargetVersions, exact_version, is_empty, relation

_SETTINGS = "target-versions"
_REPOSITORY = (".git", ".hg")


class VersionFinder:
    """Target versions by file. Every folder is read once.

    settings: `[tool.lora-lint.target-versions]`. root: where to stop looking upwards when no repository is found
    (the folder of the configuration file, or the current one). libraries: names under which code imports what it may carry a
    copy of. Raises InputError for a setting that is no version.
    """

    def __init__(
        self, settings: Mapping[str, str] | None = None, root: Path | None = None, libraries: Iterable[str] = ()
    ) -> None:
        self._settings = {
            str(canonicalize_name(name)): Target((_setting(name, value),), _SETTINGS)
            for name, value in (settings or {}).items()
        }
        self._root = root.absolute() if root is not None else None
        self._libraries = tuple(sorted(libraries))
        self._sources: dict[Path, list[Source]] = {}
        self._targets: dict[Path, dict[str, Target]] = {}
        self._notes: list[str] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """Files that could not be read so far, one line each."""
        return tuple(self._notes)

    def for_file(self, path: str | Path, install_lines: Iterable[str] = ()) -> TargetVersions:
        """Versions that a file may run with.

        install_lines: shell lines of a notebook. A version named there binds that notebook more than any file does; a name
        alone means what the project says where that is installed, and the newest release on a fresh machine.
        """
        folder = Path(path).absolute().parent
        if folder not in self._targets:
            self._targets[folder] = self._around(folder)
        lines = Source("pip install", False, [one for line in install_lines for one in install_line(line)])
        targets = dict(self._targets[folder])
        for name, choices in _by_name(lines).items():
            known = targets.get(name)
            if known is None or _is_limited(choices):
                targets[name] = Target(choices, lines.label)
            else:
                targets[name] = Target(tuple(dict.fromkeys((*known.choices, *choices))), known.source)
        return TargetVersions({**targets, **self._settings}, notes=self.notes)

    def _around(self, folder: Path) -> dict[str, Target]:
        """What the files of a folder and those above it say, the nearest first."""
        result: dict[str, Target] = {}
        outer = apart = False
        for one in self._folders(folder):
            for source in self._read(one):
                commits = {wanted.name for wanted in source.wanted if wanted.commit}
                for name, choices in _by_name(source).items():
                    if name not in result or _says_more(choices, source.lock, result[name].choices):
                        inside = apart and not source.lock
                        result[name] = Target(choices, source.label, outer, inside, name in commits, source.copy)
            apart = apart or is_package(one)
            outer = outer or any(one.glob("[Rr][Ee][Aa][Dd][Mm][Ee]*"))
        return result

    def _read(self, folder: Path) -> list[Source]:
        """What the files of one folder say."""
        if folder not in self._sources:
            self._sources[folder] = [
                *imported(folder, self._libraries),
                *read_folder(folder, self._notes),
                *checked_out(folder, self._libraries),
            ]
        return self._sources[folder]

    def _folders(self, folder: Path) -> list[Path]:
        """The folder and those above it up to the repository's root; without a repository up to `root`, if inside."""
        chain = [folder, *folder.parents]
        for index, one in enumerate(chain):
            if any((one / name).exists() for name in _REPOSITORY):
                return chain[: index + 1]
        if self._root in chain:
            return chain[: chain.index(self._root) + 1]
        return [folder]


def _setting(name: str, value: str) -> SpecifierSet:
    """Range of a setting: a version, or a range."""
    try:
        return SpecifierSet(f"=={Version(value)}")
    except InvalidVersion:
        pass
    try:
        return SpecifierSet(value if value.strip()[:1] in "<>=!~" else f"=={value}")
    except InvalidSpecifier:
        raise InputError(f"{_SETTINGS}: {value!r} is no version or range for {name}") from None


def _by_name(source: Source) -> dict[str, tuple[SpecifierSet, ...]]:
    """Choices for each library that one source mentions."""
    groups: dict[str, list[Wanted]] = {}
    for one in source.wanted:
        groups.setdefault(one.name, []).append(one)
    return {name: _choices(wanted) for name, wanted in groups.items()}


def _choices(wanted: list[Wanted]) -> tuple[SpecifierSet, ...]:
    """Mentions of one library put together: all hold at once, unless markers or a contradiction make them choices."""
    together = reduce(lambda one, other: one & other, (one.specifier for one in wanted))
    if any(one.conditional for one in wanted) or is_empty(together):
        return tuple(dict.fromkeys(one.specifier for one in wanted))
    return (together,)


def _is_limited(choices: tuple[SpecifierSet, ...]) -> bool:
    """Whether a version is named for every choice."""
    return all(str(choice) for choice in choices)


def _says_more(found: tuple[SpecifierSet, ...], lock: bool, known: tuple[SpecifierSet, ...]) -> bool:
    """Whether a source adds to a nearer one: a range to a bare name, or a lock file's pin within the nearer range."""
    if not _is_limited(known):
        return _is_limited(found)
    if not lock or any(exact_version(choice) is not None for choice in known):
        return False
    return all(any(relation(pin, choice) for choice in known) for pin in found)
