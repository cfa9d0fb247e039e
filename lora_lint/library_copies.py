"""Copies of libraries that a project carries: code beside one runs with it, whatever is installed elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from lora_lint.requirement_files import Source, Wanted
from lora_lint.versions import BESIDE, CHECKOUT

_OWN_VERSION = re.compile(r"""^__version__\s*=\s*["']([^"'\n]+)["']""", re.MULTILINE)


def imported(folder: Path, libraries: Iterable[str]) -> Iterator[Source]:
    """The copies that an import finds from a folder before anything that is installed."""
    libraries = frozenset(libraries)
    for inside in (*_folders(folder), *_folders(folder / "src")):
        if (library := os.path.basename(inside)) in libraries:
            yield from _copy(folder, Path(inside), library, BESIDE)


def checked_out(folder: Path, libraries: Iterable[str]) -> Iterator[Source]:
    """The copies in checkouts of whole libraries (`peft-fork/src/peft`), which are there to be installed."""
    libraries = tuple(libraries)
    for inside in _folders(folder):
        sources = os.path.join(inside, "src")
        for library in libraries if os.path.isdir(sources) else ():
            yield from _copy(folder, Path(sources, library), library, CHECKOUT)


def _folders(folder: Path) -> list[str]:
    """The folders in a folder, in order."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.path for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []


def _copy(folder: Path, package: Path, library: str, kind: str) -> Iterator[Source]:
    """What a package says of itself, if it has the version of a release or of a state before one."""
    init = package / "__init__.py"
    try:
        found = _OWN_VERSION.search(init.read_text(encoding="utf-8")) if init.is_file() else None
        version = Version(found[1]) if found is not None else None
    except (OSError, ValueError, InvalidVersion):
        return
    if version is not None:
        name = str(canonicalize_name(library))
        label = init.relative_to(folder).as_posix()
        yield Source(label, False, [Wanted(name, SpecifierSet(f"=={version}"))], kind)
