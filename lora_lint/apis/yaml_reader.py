"""Strict YAML: YAML 1.2 booleans, string keys only, no duplicate keys, and the line of every node for error messages.

YAML 1.1 reads the key `on:` as True and `no` as False; knowledge files must not depend on that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from lora_lint.errors import KnowledgeError

try:
    from yaml import CSafeLoader as _Base
except ImportError:  # a PyYAML built without libyaml
    from yaml import SafeLoader as _Base  # type: ignore[assignment]


_TEXT = "tag:yaml.org,2002:str"


class _Loader(_Base):
    """SafeLoader with the YAML 1.2 core booleans."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp")
    ]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


@dataclass(frozen=True, slots=True)
class Mapping:
    """A YAML mapping with the line each key stands on. `data` holds plain values, Mappings and lists."""

    data: dict[str, Any]
    lines: dict[str, int]
    line: int
    path: str

    def error(self, message: str, key: str | None = None) -> KnowledgeError:
        """KnowledgeError that starts with file:line of this mapping or of one of its keys."""
        line = self.lines.get(key, self.line) if key else self.line
        return KnowledgeError(f"{self.path}:{line}: {message}")

    def only(self, allowed: frozenset[str] | set[str], what: str) -> None:
        """Raise KnowledgeError when a key is not in `allowed`."""
        from difflib import get_close_matches

        for key in self.data:
            if key not in allowed:
                near = get_close_matches(key, sorted(allowed), 1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; allowed: {', '.join(sorted(allowed))}"
                raise self.error(f"unknown key {key!r} in {what}{hint}", key)

    def plain(self) -> Any:
        """The same as ordinary dicts and lists."""
        return to_plain(self)


def to_plain(value: Any) -> Any:
    """A value of a Mapping as ordinary dicts, lists and scalars."""
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.data.items()}
    if isinstance(value, list):
        return [to_plain(item) for item in value]
    return value


def read_yaml(text: str, path: str) -> Any:
    """The document of a YAML file: Mapping, list or scalar. KnowledgeError with file:line when it is not strict YAML."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else _convert(loader, node, path)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise KnowledgeError(f"{path}:{line}: {error.problem or 'not valid YAML'}") from error
    except yaml.YAMLError as error:
        raise KnowledgeError(f"{path}:1: {error}") from error
    finally:
        loader.dispose()


def _convert(loader: Any, node: Any, path: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        data: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = key_node.value if key_node.tag == _TEXT else loader.construct_object(key_node)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise KnowledgeError(f"{path}:{line}: key {key!r} is not a string; quote it")
            if key in data:
                raise KnowledgeError(f"{path}:{line}: key {key!r} stands twice")
            data[key] = _convert(loader, value_node, path)
            lines[key] = line
        return Mapping(data, lines, node.start_mark.line + 1, path)
    if isinstance(node, yaml.SequenceNode):
        return [_convert(loader, item, path) for item in node.value]
    return node.value if node.tag == _TEXT else loader.construct_object(node)  # most are texts, and there are many
