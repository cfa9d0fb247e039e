"""Configuration files beside the analysed scripts (YAML, JSON, TOML), read as plain data.

Never executed, bounded in size. A file that is missing, broken, too large, outside the project, or not a mapping gives
None: nothing is known of it. The interpreter asks through `DataFiles.load` and has no other access to files.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import yaml

from lora_lint.launches import PLAIN_FOLDERS, Launch, find_launches
from lora_lint.modules import project_top

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 64 * 1024  # a configuration is small; what is larger is data
MAX_NODES = 2_000
MAX_DEPTH = 12
ANYWHERE = "**/"  # in front of a name: the files of that name that lie nearest
MAX_FOUND = 100
MAX_FOLDERS = 1_000

# The C loader where PyYAML has it: the same safe subset, ten times faster.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_PARSERS: dict[str, Callable[[str], Any]] = {
    "yaml": lambda text: yaml.load(text, Loader=_SafeLoader),
    "json": json.loads,
    "toml": tomllib.loads,
}


class DataFiles:
    """Reads configuration files of projects, each once.

    cwd: the absolute folder of the run, which reported paths are relative to.
    """

    def __init__(self, cwd: str) -> None:
        self._cwd = cwd
        self._read: dict[tuple[str, str], dict[str, Any] | None] = {}
        self._launches: dict[str, tuple[Launch, ...]] = {}

    def load(self, script: str, name: str, kind: str) -> dict[str, Any] | None:
        """The mapping in the file that a script calls `name`, None when it is not known.

        script: path of the script, as reported. name: path as the program writes it; a relative one may mean the
        script's folder or the project's top folder, depending on where the program is started. Behind `ANYWHERE` stands the
        name of files of which the user picks one: what all that lie nearest have in common. kind: yaml, json, toml.
        """
        folder = os.path.dirname(os.path.join(self._cwd, script))
        top = project_top(folder, self._cwd)
        if name.startswith(ANYWHERE):
            return self._common(folder, top, name.removeprefix(ANYWHERE), kind)
        found: list[dict[str, Any] | None] = []
        for base in dict.fromkeys((folder, top, self._cwd)):
            path = os.path.normpath(os.path.join(base, name))
            if os.path.isfile(path) and _lies_below(path, top):
                key = (path, kind)
                if key not in self._read:
                    self._read[key] = _mapping(path, kind)
                found.append(self._read[key])
        # Two files that say different things: which one is meant shows only when the program is started.
        return found[0] if found and all(one == found[0] for one in found) else None

    def _common(self, folder: str, top: str, name: str, kind: str) -> dict[str, Any] | None:
        """What the files of a name have in common: those below the folder, or below the nearest one above that has any."""
        while True:
            key = (os.path.join(folder, ANYWHERE, name), kind)
            if key not in self._read:
                found = [one for one in (_mapping(path, kind) for path in _named(folder, name)) if one is not None]
                self._read[key] = _shared(found) if found else None
            if self._read[key] is not None or folder == top or not _lies_below(folder, top):
                return self._read[key]
            folder = os.path.dirname(folder)

    def launches(self, script: str) -> list[Launch]:
        """The commands in the project's shell scripts that start a script."""
        absolute = os.path.realpath(os.path.join(self._cwd, script))
        top = project_top(os.path.dirname(absolute), self._cwd)
        if top not in self._launches:
            self._launches[top] = tuple(
                find_launches(top, self._shown, lambda shell, name: self.load(shell, name, "yaml"))
            )
        found = []
        for one in self._launches[top]:
            if os.path.basename(one.script) != os.path.basename(script):
                continue
            # A relative path may mean the shell script's folder or the top of the project.
            folder = os.path.dirname(os.path.join(self._cwd, one.where.rpartition(":")[0]))
            if any(os.path.realpath(os.path.join(base, one.script)) == absolute for base in (folder, top)):
                found.append(one)
        return found

    def _shown(self, path: str) -> str:
        prefix = self._cwd.rstrip(os.sep) + os.sep
        return path[len(prefix) :] if path.startswith(prefix) else path


def _shared(settings: list[dict[str, Any]]) -> dict[str, Any]:
    """What all of several settings say."""
    return {name: value for name, value in settings[0].items() if all(one.get(name, ...) == value for one in settings)}


def _named(folder: str, name: str) -> list[str]:
    """The files of a name below a folder, within bounds."""
    found: list[str] = []
    for visited, (here, folders, files) in enumerate(os.walk(folder)):
        if visited >= MAX_FOLDERS or len(found) >= MAX_FOUND:
            break
        folders[:] = sorted(one for one in folders if PLAIN_FOLDERS.match(one))
        if name in files:
            found.append(os.path.join(here, name))
    return found


def _lies_below(path: str, folder: str) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(folder).rstrip(os.sep) + os.sep)


def _mapping(path: str, kind: str) -> dict[str, Any] | None:
    """The mapping in a file, None for anything else."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            return None
        document = _PARSERS[kind](data.decode("utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None
    return document if isinstance(document, dict) and _is_small(document) else None


def _is_small(document: object) -> bool:
    """Whether a document is small also when every alias in it is written out."""
    stack: list[tuple[object, int]] = [(document, 0)]
    count = 0
    while stack:
        value, depth = stack.pop()
        count += 1
        if count > MAX_NODES or depth > MAX_DEPTH:
            return False
        if isinstance(value, dict):
            stack.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, list):
            stack.extend((item, depth + 1) for item in value)
    return True
