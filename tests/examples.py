"""Runs the examples of rule cards through the real analyzer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_lint.apis.store import ApiStore
from lora_lint.checks.registry import Card, load_checks
from lora_lint.datafiles import DataFiles
from lora_lint.findings import Finding
from lora_lint.interpreter.program import Program
from lora_lint.syntax.lowering import lower_module
from lora_lint.version_finder import VersionFinder

MARKER = re.compile(r"#\s*((?:LL\d{3})(?:\s*,\s*LL\d{3})*)\s*$")
STORE = ApiStore.bundled()


@dataclass(frozen=True)
class Example:
    """One example of a card: files, what is expected, and its place for test ids."""

    card: Card
    index: int
    kind: str
    files: Mapping[str, str]
    versions: Mapping[str, str]
    fixed: str | Mapping[str, str] | None
    title: str

    def __str__(self) -> str:
        return f"{self.card.code}-{self.index}-{self.kind}"

    def expected(self) -> set[tuple[str, int, str]]:
        """(path, line, code) of every marker."""
        return {
            (path, number, code.strip())
            for path, text in self.files.items()
            for number, line in enumerate(text.splitlines(), 1)
            if (match := MARKER.search(line))
            for code in match.group(1).split(",")
        }


def examples() -> Iterator[Example]:
    """All examples of all cards."""
    for card in load_checks().cards.values():
        for index, raw in enumerate(card.examples):
            yield _example(card, index, raw)


def _example(card: Card, index: int, raw: Mapping[str, Any]) -> Example:
    kind = next(k for k in ("bad", "good", "files", "missed", "false-alarm") if k in raw)
    files = raw["files"] if kind == "files" else {"train.py": raw[kind]}
    return Example(
        card,
        index,
        raw.get("expect", "bad") if kind == "files" else kind,
        files,
        raw.get("versions", {}),
        raw.get("fixed"),
        raw.get("title", ""),
    )


def analyse(files: Mapping[str, str], versions: Mapping[str, str], root: Path) -> list[Finding]:
    """Findings of a small project. `root` is a folder for its requirement files."""
    for path, text in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return analyse_texts({str(root / p): t for p, t in files.items() if p.endswith(".py")}, versions, root)


def analyse_texts(texts: Mapping[str, str], versions: Mapping[str, str], root: Path) -> list[Finding]:
    """Findings of modules by path; requirement files are looked for in `root`."""
    finder = VersionFinder({k: str(v) for k, v in versions.items()}, root, STORE.libraries)
    units = {path: lower_module(text, path) for path, text in texts.items()}
    data = DataFiles(str(root))
    program = Program(
        units,
        STORE,
        load_checks().checks,
        lambda path: finder.for_file(path, ()),
        read_data=data.load,
        launches=data.launches,
    )
    found: list[Finding] = []
    for path in units:
        found += program.run(path)
    return found + program.finish()
