"""What a run knows: rule cards and checks, API specs, target versions, and what the settings select, for each file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from lora_lint.apis.known_datasets import use_files
from lora_lint.apis.store import ApiStore
from lora_lint.checks.registry import Card, load_checks
from lora_lint.config import Configuration, Settings
from lora_lint.errors import InputError
from lora_lint.selection import RuleNames, Selection, make_selection
from lora_lint.version_finder import VersionFinder
from lora_lint.versions import TargetVersions


class Knowledge:
    """The knowledge of one run.

    Made after discovery: configuration files below the current folder are known only then, and theirs count as well.
    Raises InputError for unknown selectors, KnowledgeError for broken rule and API files.
    """

    def __init__(self, configuration: Configuration, cwd: str):
        self._configuration = configuration
        self._cwd = cwd
        settings = configuration.loaded
        self.registry = load_checks(_unique(path for one in settings for path in one.rules))
        self.cards: Mapping[str, Card] = self.registry.cards
        self.store = ApiStore.bundled(_unique(path for one in settings for path in one.apis))
        use_files(_unique(path for one in settings for path in one.datasets))
        self._names = RuleNames(self.cards)
        self._selections = {id(one): make_selection(one, self._names) for one in settings}
        self._finders = {id(one): _finder(one, self.store.libraries) for one in settings}

    def settings(self, path: str) -> Settings:
        """The settings that apply to a file."""
        return self._configuration.for_file(Path(path))

    def selection(self, path: str) -> Selection:
        """The rules that are switched on for a file."""
        settings = self.settings(path)
        selection = self._selections.get(id(settings))
        if selection is None:
            selection = self._selections[id(settings)] = make_selection(settings, self._names)
        return selection

    def versions(self, path: str, install_lines: Iterable[str]) -> TargetVersions:
        """The library versions that a file may run with. install_lines: the shell lines of a notebook."""
        settings = self.settings(path)
        finder = self._finders.get(id(settings))
        if finder is None:
            finder = self._finders[id(settings)] = _finder(settings, self.store.libraries)
        return finder.for_file(path, install_lines)

    @property
    def notes(self) -> tuple[str, ...]:
        """Requirement files that could not be read, one line each."""
        return tuple(dict.fromkeys(note for finder in self._finders.values() for note in finder.notes))

    def spoken_for(self, path: str) -> frozenset[str]:
        """Codes and names of the rules that ran for a file: only their suppressions can be called unused."""
        enabled = self.selection(path).enabled
        return enabled | {self.cards[code].name for code in enabled}


def _finder(settings: Settings, libraries: Iterable[str]) -> VersionFinder:
    try:
        return VersionFinder(settings.target_versions, settings.root, libraries)
    except InputError as error:
        raise InputError(f"{settings.source or 'command line'}: {error}") from error


def _unique(paths: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(paths))
