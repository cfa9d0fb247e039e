"""Splits and fields of well-known datasets: rules/datasets.yaml."""

from __future__ import annotations

from collections.abc import Mapping as PyMapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lora_lint.apis.tables import names, read_table, rows
from lora_lint.apis.yaml_reader import Mapping

_KEYS = frozenset({"name", "config", "splits", "fields", "instead", "source"})


@dataclass(frozen=True, slots=True)
class KnownDataset:
    """One dataset. config: the configuration this is about, "" for its only one. instead: wrong names and what they mean."""

    name: str
    config: str
    splits: frozenset[str]
    fields: frozenset[str]
    instead: PyMapping[str, str]


@lru_cache(maxsize=1)
def _bundled() -> dict[str, tuple[KnownDataset, ...]]:
    return _read("datasets.yaml")


def _read(table: str | Path) -> dict[str, tuple[KnownDataset, ...]]:
    """The rows of a table by name."""
    found: dict[str, tuple[KnownDataset, ...]] = {}
    for row in rows(read_table(table, frozenset({"datasets"})), "datasets", _KEYS):
        for key in ("name", "splits", "fields", "source"):
            if not row.data.get(key):
                raise row.error(f"a dataset needs {key}")
        for name in names(row.data.get("name")):
            found[name] = (*found.get(name, ()), _known(name, row))
    return found


class _Own:
    """What the user's files of this run say (`datasets = […]`)."""

    rows: PyMapping[str, tuple[KnownDataset, ...]] = {}


def use_files(files: tuple[Path, ...]) -> None:
    """Take the user's own tables into account from now on. KnowledgeError with file:line when one is broken."""
    found: dict[str, tuple[KnownDataset, ...]] = {}
    for file in files:
        for name, known in _read(file).items():
            found[name] = (*found.get(name, ()), *known)
    _Own.rows = found


def _rows(name: str) -> tuple[KnownDataset, ...]:
    """The rows of a name: what the user's files say comes before what is bundled."""
    return (*_Own.rows.get(name, ()), *_bundled().get(name, ()))


def _known(name: str, row: Mapping) -> KnownDataset:
    instead = row.data.get("instead")
    return KnownDataset(
        name,
        str(row.data.get("config", "")),
        frozenset(names(row.data.get("splits"))),
        frozenset(names(row.data.get("fields"))),
        {key: str(value) for key, value in instead.data.items()} if isinstance(instead, Mapping) else {},
    )


def known_dataset(name: object, config: object) -> KnownDataset | None:
    """What is known of a dataset by its name and configuration; None for others, and where the configuration decides and
    is not known."""
    if not isinstance(name, str):
        return None
    return next((one for one in _rows(name) if not one.config or one.config == config), None)


def is_known(name: object) -> bool:
    """Whether something is known of a dataset of this name."""
    return isinstance(name, str) and bool(_rows(name))
