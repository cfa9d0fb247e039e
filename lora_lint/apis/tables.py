"""Tables of library knowledge beside the API specs: architectures, renamed arguments, datasets. Strict like the specs: an
unknown key is a KnowledgeError at file:line."""

from __future__ import annotations

import re
from collections.abc import Mapping as PyMapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from lora_lint.apis.store import rules_directory
from lora_lint.apis.yaml_reader import Mapping, read_yaml
from lora_lint.errors import KnowledgeError


@dataclass(frozen=True, slots=True)
class Head:
    """The output head of a class of models. task: the task type of peft that trains it, "" when none does. layers: what it may
    consist of. published: checkpoints come with it."""

    pattern: str
    task: str
    modules: tuple[str, ...]
    layers: tuple[str, ...] = ()
    linear: re.Pattern[str] | None = None
    published: bool = False

    def inside(self, class_name: str, checkpoint: str) -> tuple[str, ...]:
        """Names of the layers that this model may have inside its head: none where that is one plain layer."""
        short = class_name.rsplit(".", 1)[-1]
        plain = self.linear is not None and (self.linear.search(short) or self.linear.search(checkpoint))
        return () if plain else self.layers


@dataclass(frozen=True, slots=True)
class Family:
    """Models that are built of the same modules. modules: their paths, layer 0 standing for all."""

    name: str
    classes: tuple[str, ...]
    checkpoints: re.Pattern[str]
    modules: tuple[str, ...]

    @property
    def leaves(self) -> frozenset[str]:
        """Last names of the modules."""
        return frozenset(path.rsplit(".", 1)[-1] for path in self.modules)


@dataclass(frozen=True, slots=True)
class Architectures:
    """rules/architectures.yaml."""

    task_types: PyMapping[str, tuple[str, ...]]
    heads: tuple[Head, ...]
    trained_heads: tuple[str, ...]
    embeddings: tuple[str, ...]
    block_counts: tuple[str, ...]
    stands_in: PyMapping[str, str]
    own_padding: tuple[str, ...]
    single_layers: tuple[str, ...]
    publishers: tuple[str, ...]
    native: tuple[str, ...]
    end_tokens: PyMapping[str, str]
    forward_arguments: frozenset[str]
    families: tuple[Family, ...]
    roles: PyMapping[str, tuple[str, ...]]
    connectors: PyMapping[str, tuple[str, ...]]
    seeing: PyMapping[str, tuple[str, ...]]
    refused: PyMapping[str, tuple[str, ...]]
    towers: PyMapping[str, frozenset[str]]
    _asked: dict[tuple[str, str], Family | None] = field(default_factory=dict, compare=False, repr=False)

    def head(self, class_name: str) -> Head | None:
        """The head that a model class has, None when it has none that we know."""
        head = next((head for head in self.heads if fnmatchcase(class_name, head.pattern)), None)
        return head if head is not None and head.modules else None

    def family(self, class_name: str, checkpoint: str) -> Family | None:
        """The family of a model, by its class, else (for classes that load anything) by its checkpoint's name."""
        key = (class_name, checkpoint)
        if key not in self._asked:
            self._asked[key] = self._family(class_name, checkpoint)
        return self._asked[key]

    def _family(self, class_name: str, checkpoint: str) -> Family | None:
        short = class_name.rsplit(".", 1)[-1]
        for family in self.families:
            if any(fnmatchcase(short, pattern) for pattern in family.classes):
                return family
        if not loads_anything(class_name):
            return None
        seeing = self.seeing["families"] if short in self.seeing["classes"] else None
        possible = (family for family in self.families if seeing is None or family.name in seeing)
        found = next((family for family in possible if family.checkpoints.search(checkpoint.lower())), None)
        return found if found is None or found.name not in self.refused.get(short, ()) else None

    def role(self, module: str) -> frozenset[str]:
        """What a module of this name may do in a layer; empty for names that we do not know."""
        return frozenset(role for role, names in self.roles.items() if module in names)


def loads_anything(class_name: str) -> bool:
    """Whether a class of transformers stands for whatever a checkpoint holds: an Auto class, or what a trainer loads by name."""
    short = class_name.rsplit(".", 1)[-1]
    return short.startswith("Auto") or short == "PreTrainedModel"


def read_table(name: str | Path, keys: frozenset[str]) -> Mapping:
    """The mapping in rules/NAME, or in a file of the user's. KnowledgeError when it cannot be read or has keys of its own."""
    path = rules_directory() / name
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KnowledgeError(f"{path}:1: cannot be read: {error}") from error
    document = read_yaml(text, str(path))
    if not isinstance(document, Mapping):
        raise KnowledgeError(f"{path}:1: this table is a mapping")
    document.only(keys, f"rules/{name}" if isinstance(name, str) else str(name))
    return document


def rows(table: Mapping, key: str, keys: frozenset[str]) -> list[Mapping]:
    """The list of mappings under a key of a table, each with known keys only."""
    found = table.data.get(key) or []
    if not isinstance(found, list) or not all(isinstance(row, Mapping) for row in found):
        raise table.error(f"{key} is a list of mappings", key)
    for row in found:
        row.only(keys, key)
    return found


def names(value: Any) -> tuple[str, ...]:
    """A string or a list of strings as a tuple."""
    return tuple(str(item) for item in value) if isinstance(value, list) else (str(value),) if value else ()


_ARCHITECTURE_KEYS = frozenset(
    [
        "task_types",
        "heads",
        "trained_heads",
        "embeddings",
        "block_counts",
        "stands_in",
        "own_padding",
        "single_layers",
        "publishers",
        "native",
        "end_tokens",
        "forward_arguments",
        "families",
        "roles",
        "connectors",
        "seeing",
        "refused",
        "towers",
    ]
)


@lru_cache(maxsize=1)
def architectures() -> Architectures:
    """The architecture table, read once."""
    table = read_table("architectures.yaml", _ARCHITECTURE_KEYS)
    tasks = table.data["task_types"]
    return Architectures(
        task_types={key: names(value) for key, value in tasks.data.items()},
        heads=tuple(
            Head(
                row.data["class"],
                row.data.get("task", ""),
                names(row.data["modules"]),
                names(row.data.get("layers")),
                re.compile(str(row.data["linear"])) if "linear" in row.data else None,
                row.data.get("published") is True,
            )
            for row in rows(table, "heads", frozenset({"class", "task", "modules", "layers", "linear", "published"}))
        ),
        trained_heads=names(table.data["trained_heads"]),
        embeddings=names(table.data["embeddings"]),
        block_counts=names(table.data["block_counts"]),
        stands_in={key: str(value) for key, value in table.data["stands_in"].data.items()},
        own_padding=names(table.data["own_padding"]),
        single_layers=names(table.data["single_layers"]),
        publishers=names(table.data["publishers"]),
        native=names(table.data["native"]),
        end_tokens={key: str(value) for key, value in table.data["end_tokens"].data.items()},
        forward_arguments=frozenset(names(table.data["forward_arguments"])),
        families=tuple(
            Family(
                str(row.data["family"]),
                names(row.data["classes"]),
                re.compile(str(row.data["checkpoints"]), re.IGNORECASE),
                names(row.data["modules"]),
            )
            for row in rows(table, "families", frozenset({"family", "classes", "checkpoints", "modules"}))
        ),
        roles={key: names(value) for key, value in table.data["roles"].data.items()},
        connectors={key: names(value) for key, value in table.data["connectors"].data.items()},
        seeing={key: names(value) for key, value in table.data["seeing"].data.items()},
        refused={key: names(value) for key, value in table.data["refused"].data.items()},
        towers={key: frozenset(names(value)) for key, value in table.data["towers"].data.items()},
    )
