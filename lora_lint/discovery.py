"""Which files to check: the walk over folders, excludes and .gitignore files, and the byte prefilter."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pathspec

from lora_lint.config import Configuration, Settings
from lora_lint.selection import relative_to_root

SUFFIXES = (".py", ".ipynb")

# A file that mentions none of these cannot load, adapt, train or feed a model. It is only read when a file that
# does imports it.
LIFECYCLE_TOKENS = (
    b"lora",
    b"peft",
    b"adapter",
    b"from_pretrained",
    b"trainer",
    b"accelerat",
    b"lightning",
    b".backward(",
    b"dataloader",
    b"optim",
    b"requires_grad",
    b"no_grad",
    b"gradscaler",
    b"collat",
    b"state_dict",
    b"load_dataset",
)


def mentions_lifecycle(data: bytes) -> bool:
    """Whether the bytes of a file mention anything that we model. UTF-16 files count as mentioning it."""
    lowered = data.lower()
    return any(token in lowered for token in LIFECYCLE_TOKENS) or data[:2] in (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Discovered:
    """Files to check, as they are reported (relative to the current folder where possible), and what went wrong."""

    files: tuple[str, ...]
    errors: tuple[str, ...]


# --- .gitignore -------------------------------------------------------------------------------------------------------


class _Ignore:
    """The ignore files that apply in one folder: a chain from the repository's root, the innermost decides first."""

    __slots__ = ("_links",)

    def __init__(self, links: tuple[tuple[str, pathspec.GitIgnoreSpec], ...] = ()):
        self._links = links

    def within(self, folder: str) -> _Ignore:
        """The chain with the folder's own .gitignore added."""
        spec = _read_patterns(os.path.join(folder, ".gitignore"))
        return self if spec is None else _Ignore((*self._links, (folder, spec)))

    def ignores(self, path: str, is_folder: bool) -> bool:
        """Whether the absolute path is ignored."""
        for folder, spec in reversed(self._links):
            relative = path[len(folder) :].lstrip(os.sep).replace(os.sep, "/")
            verdict = spec.check_file(relative + "/" if is_folder else relative).include
            if verdict is not None:
                return verdict
        return False


def _read_patterns(path: str) -> pathspec.GitIgnoreSpec | None:
    """The patterns of one ignore file; None without one. A line that is no pattern is skipped, as git does."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            lines = stream.read().splitlines()
    except OSError:
        return None
    try:
        return pathspec.GitIgnoreSpec.from_lines(lines)
    except ValueError:
        return pathspec.GitIgnoreSpec.from_lines(line for line in lines if _is_pattern(line))


def _is_pattern(line: str) -> bool:
    try:
        pathspec.GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True


def _git_info_exclude(root: str) -> str:
    """The path of `.git/info/exclude`, also where `.git` is a file that points elsewhere (worktrees, submodules)."""
    git = os.path.join(root, ".git")
    if os.path.isfile(git):
        with open(git, encoding="utf-8", errors="replace") as stream:
            target = stream.read().partition("gitdir:")[2].strip()
        git = os.path.join(root, target)
        common = os.path.join(git, "commondir")
        if os.path.isfile(common):
            with open(common, encoding="utf-8", errors="replace") as stream:
                git = os.path.join(git, stream.read().strip())
    return os.path.join(git, "info", "exclude")


def _ignore_above(folder: str) -> _Ignore:
    """The chain that applies to a folder from the repository above it; empty outside a repository.

    A folder that the chain itself ignores was named by the user on purpose: then nothing above it counts.
    """
    above: list[str] = []
    current = folder
    while not os.path.exists(os.path.join(current, ".git")):
        parent = os.path.dirname(current)
        if parent == current:
            return _Ignore()
        current = parent
        above.append(current)
    exclude = _read_patterns(_git_info_exclude(current))
    chain = _Ignore(((current, exclude),)) if exclude else _Ignore()
    for outer in reversed(above):
        chain = chain.within(outer)
    inner = [folder, *above[:-1]] if above else []
    return _Ignore() if any(chain.ignores(path, is_folder=True) for path in inner) else chain


# --- excludes ---------------------------------------------------------------------------------------------------------


class _Exclude:
    """The `exclude` and `extend-exclude` patterns of one settings object.

    Plain names ("build") are looked up in a set, since they are asked about every entry of every folder.
    """

    __slots__ = ("_names", "_root", "_spec")

    def __init__(self, settings: Settings):
        patterns = (*settings.exclude, *settings.extend_exclude)
        plain = {pattern for pattern in patterns if not set(pattern) & set("/*?[!\\")}
        rest = [pattern for pattern in patterns if pattern not in plain]
        self._root = str(settings.root)
        self._names = frozenset(plain)
        self._spec = pathspec.GitIgnoreSpec.from_lines(rest) if rest else None

    def excludes(self, path: str, is_folder: bool) -> bool:
        """Whether the last part of the absolute path, or a pattern with slashes or wildcards, excludes it."""
        if os.path.basename(path) in self._names:
            return True
        if self._spec is None:
            return False
        relative = relative_to_root(path, self._root, self._root)
        return self._spec.match_file(relative + "/" if is_folder else relative)

    def excludes_any_part(self, path: str) -> bool:
        """Whether the file or any folder above it (below the settings' root) is excluded."""
        parts = relative_to_root(path, self._root, self._root).split("/")
        folders = [os.path.join(self._root, *parts[:count]) for count in range(1, len(parts))]
        return self.excludes(path, is_folder=False) or any(self.excludes(folder, is_folder=True) for folder in folders)


# --- the walk ---------------------------------------------------------------------------------------------------------


class _Walk:
    """One discovery run. Each real folder and each real file is visited once, whatever links lead to it."""

    def __init__(self, configuration: Configuration, cwd: str):
        self._configuration = configuration
        self._cwd = cwd
        self._seen_folders: set[tuple[int, int]] = set()
        self._seen_files: set[str] = set()
        self._excludes: dict[int, _Exclude] = {}
        self.files: list[str] = []
        self.errors: list[str] = []

    def argument(self, name: str) -> None:
        """Visit one path from the command line."""
        path = os.path.normpath(os.path.join(self._cwd, name))
        if os.path.isdir(path):
            ignore = _ignore_above(path) if self._settings(path).respect_gitignore else None
            self._tree(path, ignore)
        elif os.path.isfile(path):
            settings = self._settings(os.path.dirname(path))
            if not (settings.force_exclude and _Exclude(settings).excludes_any_part(path)):
                self._file(path)
        elif os.path.exists(path):
            self.errors.append(f"{name}: not a regular file")
        elif os.path.islink(path):
            self.errors.append(f"{name}: broken symbolic link")
        else:
            self.errors.append(f"{name}: no such file or directory")

    def _settings(self, folder: str) -> Settings:
        return self._configuration.for_folder(Path(folder))

    def _exclude(self, settings: Settings) -> _Exclude:
        exclude = self._excludes.get(id(settings))
        if exclude is None:
            exclude = self._excludes[id(settings)] = _Exclude(settings)
        return exclude

    def _tree(self, top: str, ignore: _Ignore | None) -> None:
        """Walk a folder. Links wait until everything real was seen, so that real paths are the ones reported."""
        stack = [(top, ignore)]
        links: list[tuple[str, _Ignore | None]] = []
        while stack or links:
            folder, chain = stack.pop() if stack else links.pop(0)
            if not self._enter(folder):
                continue
            inner = chain.within(folder) if chain is not None else None
            subfolders = []
            for entry in self._entries(folder):
                if not self._wanted(entry, inner):
                    continue
                if entry.is_symlink():
                    links.append((entry.path, inner))
                elif entry.is_dir(follow_symlinks=False):
                    subfolders.append((entry.path, inner))
                elif entry.is_file(follow_symlinks=False):
                    self._file(entry.path)
            stack.extend(reversed(subfolders))

    def _enter(self, path: str) -> bool:
        """Whether to list the folder: not seen before. What a link leads to is sorted out here."""
        if os.path.isfile(path):
            self._file(path)
        if not os.path.isdir(path):
            return False
        status = os.stat(path)
        identity = (status.st_dev, status.st_ino)
        if identity in self._seen_folders:
            return False
        self._seen_folders.add(identity)
        return True

    def _entries(self, folder: str) -> Sequence[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.errors.append(f"{self._shown(folder)}: cannot be listed: {error.strerror or error}")
            return ()

    def _wanted(self, entry: os.DirEntry[str], ignore: _Ignore | None) -> bool:
        # os.path.isdir, unlike entry.is_dir, says no for a link that leads nowhere or to itself.
        is_folder = os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()
        if not is_folder and not entry.name.endswith(SUFFIXES):
            return False
        settings = self._settings(os.path.dirname(entry.path))
        if self._exclude(settings).excludes(entry.path, is_folder):
            return False
        return ignore is None or not ignore.ignores(entry.path, is_folder)

    def _file(self, path: str) -> None:
        real = os.path.realpath(path)
        if real not in self._seen_files:
            self._seen_files.add(real)
            self.files.append(self._shown(path))

    def _shown(self, path: str) -> str:
        return shown_path(path, self._cwd)


def shown_path(path: str, cwd: str) -> str:
    """The path relative to the current folder when it lies below it, else the absolute path."""
    prefix = cwd.rstrip(os.sep) + os.sep
    return path[len(prefix) :] if path.startswith(prefix) else path


def discover(paths: Iterable[str], configuration: Configuration, cwd: str) -> Discovered:
    """Files to check below the given files and folders, in the order of the arguments, folders sorted by name.

    A file named explicitly is always taken (unless `force-exclude` is set), whatever its suffix. Paths that do not
    exist and folders that cannot be listed become errors; the rest is found all the same.
    """
    walk = _Walk(configuration, cwd)
    for path in paths:
        walk.argument(path)
    return Discovered(tuple(walk.files), tuple(walk.errors))


def is_excluded(path: str, configuration: Configuration, cwd: str) -> bool:
    """Whether the settings exclude a file (by its path as reported), itself or a folder above it."""
    absolute = os.path.join(cwd, path)
    return _Exclude(configuration.for_file(Path(path))).excludes_any_part(absolute)
