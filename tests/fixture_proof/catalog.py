"""The fixtures on disk: `fixtures/*/fixture.yaml`, read strictly, with the lines where a finding must stand."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
_KEYS = {
    "code", "title", "seed", "findings", "symptom", "cure", "entry", "versions", "stack",
    "gpu_only", "emulate", "emulates", "watch",
}  # fmt: skip
_EXPECT_KEYS = {"text", "error", "output", "loss", "graph", "steps", "dropout", "targets", "tensors", "files"}


@dataclass(frozen=True)
class Marker:
    """A finding that the analyzer owes on the buggy side: the line that carries the comment `# CODE`."""

    path: str
    line: int
    code: str
    optional: bool = False


@dataclass(frozen=True)
class Fixture:
    """One pair of programs and what running each must show."""

    folder: Path
    code: str
    title: str
    findings: tuple[Marker, ...]
    symptom: dict[str, Any]
    cure: dict[str, Any]
    entry: tuple[str, ...] = ("train.py",)
    seed: str = ""
    stack: str = ""
    gpu_only: bool = False
    emulate: str = ""
    watch: int = 0  # optimizer steps after which the fault has shown itself, if more than `verify` watches by itself
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The folder's name, which starts with the rule's code."""
        return self.folder.name


def _markers(folder: Path, entries: list[dict[str, Any]]) -> tuple[Marker, ...]:
    markers = []
    for entry in entries:
        unknown = set(entry) - {"path", "code", "optional"}
        if unknown:
            raise ValueError(f"{folder.name}: unknown keys in findings: {sorted(unknown)}")
        lines = (folder / "buggy" / entry["path"]).read_text(encoding="utf-8").splitlines()
        pattern = re.compile(rf"#.*\b{entry['code']}\b")
        found = [number for number, line in enumerate(lines, 1) if pattern.search(line)]
        if not found:
            raise ValueError(f"{folder.name}: no line of {entry['path']} is marked `# {entry['code']}`")
        optional = bool(entry.get("optional", False))
        markers += [Marker(entry["path"], number, entry["code"], optional) for number in found]
    return tuple(markers)


def load_fixture(folder: Path) -> Fixture:
    """The fixture in `folder`; raises ValueError for an unknown key or a missing marker."""
    data = yaml.safe_load((folder / "fixture.yaml").read_text(encoding="utf-8"))
    unknown = (set(data) - _KEYS) | {k for side in ("symptom", "cure") for k in set(data.get(side, {})) - _EXPECT_KEYS}
    if unknown:
        raise ValueError(f"{folder.name}/fixture.yaml: unknown keys {sorted(unknown)}")
    return Fixture(
        folder=folder,
        code=data["code"],
        title=data["title"],
        findings=_markers(folder, data["findings"]),
        symptom=data["symptom"],
        cure=data["cure"],
        entry=tuple(str(data.get("entry", "train.py")).split()),
        seed=data.get("seed", ""),
        stack=data.get("stack", ""),
        gpu_only=bool(data.get("gpu_only", False)),
        emulate=data.get("emulate", ""),
        watch=int(data.get("watch", 0)),
        versions=dict(data.get("versions", {})),
    )


def load_fixtures() -> list[Fixture]:
    """Every fixture, by name."""
    return [load_fixture(path.parent) for path in sorted(FIXTURES.glob("*/fixture.yaml"))]
