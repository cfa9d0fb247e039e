"""The programs that are put in disguise: the examples of all rule cards, and both sides of every fixture."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from lora_lint.findings import Severity
from tests.disguises.catalog import disguised
from tests.examples import analyse, examples
from tests.fixture_proof.catalog import load_fixtures


@dataclass(frozen=True)
class Program:
    """A program: its name, the rule that it is about, its files, the library versions that it is for."""

    name: str
    code: str
    files: Mapping[str, str]
    versions: Mapping[str, str]

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name


@lru_cache(maxsize=1)
def programs() -> tuple[Program, ...]:
    """All programs."""
    cards = [Program(str(e), e.card.code, e.files, e.versions) for e in examples() if e.card.group != "meta"]
    return (*cards, *_fixtures())


def _fixtures() -> Iterator[Program]:
    for fixture in load_fixtures():
        for side in ("buggy", "fixed"):
            root = fixture.folder / side
            paths = [p for p in sorted(root.rglob("*")) if p.is_file() and "__pycache__" not in p.parts]
            files = {p.relative_to(root).as_posix(): p.read_text(encoding="utf-8") for p in paths}
            yield Program(f"{fixture.folder.name}/{side}", fixture.code, files, {})


def sample(name: str, wanted: int) -> list[tuple[Program, dict[str, str]]]:
    """Programs in the disguise `name`, with their new files: up to `wanted`, from all over, the same ones each time.

    A new example of a card takes the place of one other in some samples; it does not make new ones of all of them.
    """
    found = []
    for program in sorted(programs(), key=lambda p: hashlib.sha256(f"{name} {p}".encode()).digest()):
        files = disguised(program.files, name)
        if files is not None:
            found.append((program, files))
        if len(found) == wanted:
            break
    return found


def codes(files: Mapping[str, str], versions: Mapping[str, str]) -> set[str]:
    """Codes of the errors and warnings in a program."""
    with tempfile.TemporaryDirectory() as root:
        found = analyse(files, versions, Path(root))
    return {f.code for f in found if f.severity in (Severity.ERROR, Severity.WARNING)}


@cache
def codes_undisguised(program: Program) -> frozenset[str]:
    """Codes of the errors and warnings in a program as it is."""
    return frozenset(codes(program.files, program.versions))
