"""From import statements to files: where a module of the project lies, seen from the file that imports it.

No sys.path is known, so the project's layout stands for it: folders above the importing file, closest first, and a
`src` folder beside each of them. Works for packages, src layouts, namespace packages and scripts beside modules.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator

_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+(?P<module>[.\w]+)[ \t]+import[ \t]*(?:\((?P<block>[^)]*)\)|(?P<names>[^\n#;(]*))"
    rb"|import[ \t]+(?P<modules>[^\n#;]+))",
    re.MULTILINE,
)


def imported_modules(data: bytes) -> Iterator[tuple[str, int]]:
    """Modules that a file's bytes may import: dotted names with the number of leading dots.

    `from a import b` gives `a` and `a.b`, since either may be a file. Read with a regular expression, before parsing:
    too much is harmless, it only makes one more file be looked at.
    """
    for match in _IMPORT.finditer(data):
        if match["modules"]:
            for part in match["modules"].split(b","):
                name = _word(part)
                if name:
                    yield name, 0
            continue
        dotted = match["module"].decode("utf-8", "replace")
        level = len(dotted) - len(dotted.lstrip("."))
        module = dotted[level:]
        if module:
            yield module, level
        for part in (match["block"] or match["names"] or b"").replace(b"\\", b" ").split(b","):
            name = _word(re.sub(rb"#[^\n]*", b"", part))
            if name and name != "*":
                yield (f"{module}.{name}" if module else name), level


def _word(part: bytes) -> str:
    """The imported name of `name as alias`, "" for an empty part."""
    words = part.split()
    return words[0].decode("utf-8", "replace") if words else ""


class ModuleIndex:
    """Resolves imports to paths of files. Asks the disk, once for each candidate.

    cwd: the absolute folder of the run: the project's top folder for files in no repository.
    libraries: top-level names that API specs describe. A checkout of one of them above the script must not be dragged
    into the analysis of the script.
    exists: whether an absolute path is a file (for tests and for text that is not on disk).
    """

    def __init__(
        self, cwd: str, libraries: frozenset[str] = frozenset(), exists: Callable[[str], bool] = os.path.isfile
    ):
        self._cwd = cwd
        self._libraries = libraries
        self._exists = exists
        self._known: dict[str, bool] = {}
        self._bases: dict[str, tuple[str, ...]] = {}
        self._hits: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {}

    def resolve(self, importer: str, module: str, level: int) -> str | None:
        """The absolute path of a module's file, seen from the absolute path of the importing file; None if unknown.

        module: dotted name without the leading dots, "" for `from . import x`. level: number of leading dots.
        """
        folder = os.path.dirname(importer)
        parts = module.split(".") if module else []
        if level:
            for _ in range(level - 1):
                folder = os.path.dirname(folder)
            return self._file(folder, parts)
        if not parts or (parts[0] in self._libraries and not self._inside_library(importer, parts[0])):
            return None
        for base, found in self._above(folder, module):
            if _is_installed(base) and not importer.startswith(os.path.join(base, parts[0], "")):
                continue  # what is installed beside a library is no part of it
            # A script that is called like what it imports (peft.py) does not mean itself.
            if found != importer:
                return found
        return None

    def _above(self, folder: str, module: str) -> tuple[tuple[str, str], ...]:
        """Where a module lies seen from a folder, closest first: the base folder and the file."""
        key = (folder, module)
        hits = self._hits.get(key)
        if hits is None:
            parts = module.split(".")
            files = ((base, self._file(base, parts)) for base in self._search_path(folder))
            hits = self._hits[key] = tuple((base, found) for base, found in files if found is not None)
        return hits

    def _inside_library(self, importer: str, library: str) -> bool:
        """Whether the importing file is part of the library itself: then the name means its own files."""
        return f"{os.sep}{library}{os.sep}" in importer

    def _search_path(self, folder: str) -> tuple[str, ...]:
        bases = self._bases.get(folder)
        if bases is None:
            bases = self._bases[folder] = tuple(self._folders_up(folder))
        return bases

    def _folders_up(self, folder: str) -> Iterator[str]:
        top = project_top(folder, self._cwd)
        current = folder
        while True:
            yield current
            yield os.path.join(current, "src")
            parent = os.path.dirname(current)
            if current == top or parent == current:
                return
            current = parent

    def _file(self, base: str, parts: list[str]) -> str | None:
        stem = os.path.join(base, *parts)
        package = f"{stem}{os.sep}__init__.py"
        if self._is_file(package):
            return package
        return f"{stem}.py" if parts and self._is_file(f"{stem}.py") else None

    def _is_file(self, path: str) -> bool:
        known = self._known.get(path)
        if known is None:
            known = self._known[path] = self._exists(path)
        return known


# Files that stand in the top folder of a project, and how far above a file they are looked for.
_PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "environment.yml", "Pipfile")
_PROJECT_DEPTH = 4


def _is_installed(folder: str) -> bool:
    """Whether a folder is one into which packages of many projects are installed."""
    return os.path.basename(folder) in ("site-packages", "dist-packages")


def project_top(folder: str, cwd: str) -> str:
    """The folder above which nothing of the project lies: the repository's root or the folder of installed packages,
    else `cwd`, else the nearest folder with a project's files, else the folder that holds the package.
    """
    current = folder
    while not (_is_installed(current) or os.path.exists(os.path.join(current, ".git"))):
        parent = os.path.dirname(current)
        if parent == current:
            return cwd if (folder + os.sep).startswith(cwd.rstrip(os.sep) + os.sep) else top_without_repository(folder)
        current = parent
    return current


def top_without_repository(folder: str) -> str:
    """The nearest folder with a project's files, else the folder that holds the package a folder belongs to."""
    current = folder
    for _ in range(_PROJECT_DEPTH):
        if any(os.path.exists(os.path.join(current, name)) for name in _PROJECT_FILES):
            return current
        current = os.path.dirname(current)
    while os.path.exists(os.path.join(folder, "__init__.py")) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    return folder


def module_name(path: str, is_file: Callable[[str], bool] = os.path.isfile) -> str:
    """The dotted name of a file: that of its package chain; the bare stem for a script or a module in no package."""
    folder, base = os.path.split(path)
    stem = os.path.splitext(base)[0]
    parts = [] if stem == "__init__" else [stem]
    while is_file(os.path.join(folder, "__init__.py")):
        folder, name = os.path.split(folder)
        parts.append(name)
        if not name:
            break
    return ".".join(reversed(parts))


def linked_files(
    start: Iterable[str], read: Callable[[str], bytes | None], index: ModuleIndex, limit: int, most_bytes: int
) -> list[str]:
    """Absolute paths of project files that the start files import, directly or not, closest first; the start files
    excluded.

    read: the bytes of a file, None when it cannot be read. limit, most_bytes: how many files, and bytes of files, to
    follow at most.
    """
    queue = deque(start)
    starts = frozenset(queue)
    seen = set(starts)
    found: list[str] = []
    size = 0
    while queue:
        importer = queue.popleft()
        data = read(importer)
        if data is None:
            continue
        if importer not in starts:
            size += len(data)
            if len(found) == limit or size > most_bytes:
                break
            found.append(importer)
        for module, level in imported_modules(data):
            path = index.resolve(importer, module, level)
            if path is not None and path not in seen:
                seen.add(path)
                queue.append(path)
    return found
