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


@lru_cache(maxsize=8)
def _table_of(own: tuple[Path, ...]) -> dict[str, tuple[KnownDataset, ...]]:
    """By name: what the user's files say comes before what is bundled."""
    found: dict[str, tuple[KnownDataset, ...]] = {}
    tables: tuple[str | Path, ...] = (*own, "datasets.yaml")
    for table in tables:
        for row in rows(read_table(table, frozenset({"datasets"})), "datasets", _KEYS):
            if not row.data.get("source"):
                raise row.error("a dataset needs a source")
            for key in ("name", "splits", "fields"):
                if not row.data.get(key):
                    raise row.error(f"a dataset needs {key}")
            for name in names(row.data.get("name")):
                found[name] = (*found.get(name, ()), _known(name, row))
    return found


class _Own:
    """The user's files of this run (`datasets = […]`)."""

    files: tuple[Path, ...] = ()


def use_files(files: tuple[Path, ...]) -> None:
    """Take the user's own tables into account from now on. KnowledgeError with file:line when one is broken."""
    _Own.files = files
    _table_of(files)


def _table() -> dict[str, tuple[KnownDataset, ...]]:
    return _table_of(_Own.files)


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
    return next((one for one in _table().get(name, ()) if not one.config or one.config == config), None)


def is_known(name: object) -> bool:
    """Whether something is known of a dataset of this name."""
    return isinstance(name, str) and name in _table()
