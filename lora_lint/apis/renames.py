"""Arguments and names that releases of the libraries removed, renamed or added: rules/renames.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from lora_lint.apis.store import ApiStore
from lora_lint.apis.tables import names, read_table, rows
from lora_lint.apis.yaml_reader import Mapping

_KEYS = frozenset({"call", "argument", "name", "library", "gone", "new", "added", "same", "to", "source"})


@dataclass(frozen=True, slots=True)
class Rename:
    """One argument of one call (or one name, then `argument` is ""), and the versions of a library that lack it.

    gone: those versions. new: what it is called there, in the versions `added`. same: the value means the same. to: what to
    do instead, in words. renamed: it is the newer of two names.
    """

    name: str
    argument: str
    library: str
    gone: str
    new: str = ""
    added: str = ""
    same: bool = False
    to: str = ""

    @property
    def held(self) -> str:
        """Versions that have it."""
        return complement(self.gone)


def complement(specifier: str) -> str:
    """The other side of a range with one bound: "<5" of ">=5"."""
    operator, bound = (">=", specifier[2:]) if specifier.startswith(">=") else ("<", specifier[1:])
    return f"<{bound}" if operator == ">=" else f">={bound}"


class Renames:
    """The table, by call and argument, and by name. foreign: names that no release of a library has, but a fork; with the
    library."""

    def __init__(self, found: list[Rename], patches: Mapping | None = None, forks: Mapping | None = None) -> None:
        self._arguments = {(row.name, row.argument): row for row in found if row.argument}
        self._names = {row.name: row for row in found if not row.argument}
        self._patches = {key: frozenset(names(value)) for key, value in patches.data.items()} if patches else {}
        self.foreign = (
            {f"{key}.{name}": key for key, value in forks.data.items() for name in names(value)} if forks else {}
        )
        self.words = frozenset(row.argument for row in found if row.argument)

    def patched_by(self, library: str) -> frozenset[str]:
        """The libraries that one patches when it is imported, so that it has to come first."""
        return self._patches.get(library, frozenset())

    def rows(self) -> list[Rename]:
        """All rows, those of arguments first."""
        return [*self._arguments.values(), *self._names.values()]

    def name(self, qualified: str) -> Rename | None:
        """The row of a name."""
        return self._names.get(qualified)

    def argument(self, store: ApiStore, call: str, argument: str) -> Rename | None:
        """The row of an argument of a call: of the class or method itself, else of the nearest base type."""
        if argument not in self.words:
            return None
        for name in _callables(store, call):
            row = self._arguments.get((name, argument))
            if row is not None:
                return row
        return None


def _callables(store: ApiStore, call: str) -> Iterator[str]:
    """Names under which a call may stand in the table, the nearest first."""
    yield store.canonical(call)
    yield call
    owner, _, method = call.rpartition(".")
    if store.type_of(call) is not None and call.rsplit(".", 1)[-1][:1].isupper():
        yield from (spec.name for spec in store.mro(call))
    elif owner and store.type_of(owner) is not None:
        yield from (f"{spec.name}.{method}" for spec in store.mro(owner))


@lru_cache(maxsize=1)
def renames() -> Renames:
    """The rename table, read once. KnowledgeError when it is broken."""
    table = read_table("renames.yaml", frozenset({"arguments", "names", "patches", "forks"}))
    found = [row for entry in rows(table, "arguments", _KEYS) for row in _arguments(entry)]
    found += [row for entry in rows(table, "names", _KEYS) for row in _names(entry)]
    patches, forks = (table.data.get(key) for key in ("patches", "forks"))
    return Renames(found, *(value if isinstance(value, Mapping) else None for value in (patches, forks)))


def _range(entry: Mapping, key: str) -> str:
    """A range with one bound under a key, "" when it is not there."""
    text = str(entry.data.get(key, ""))
    try:
        clauses = len(SpecifierSet(text))
    except InvalidSpecifier as error:
        raise entry.error(f"{text!r} is not a PEP 440 range", key) from error
    if text and (clauses != 1 or not text.startswith((">=", "<")) or text.startswith("<=")):
        raise entry.error(f"{key} is one bound, >=X or <X, not {text!r}", key)
    return text


def _fields(entry: Mapping) -> dict[str, Any]:
    if not entry.data.get("library") or not entry.data.get("gone") or not entry.data.get("source"):
        raise entry.error("a row needs library, gone and source")
    return {
        "library": str(entry.data["library"]),
        "gone": _range(entry, "gone"),
        "new": str(entry.data.get("new", "")),
        "added": _range(entry, "added"),
        "same": bool(entry.data.get("same", False)),
        "to": str(entry.data.get("to", "")),
    }


def _arguments(entry: Mapping) -> Iterator[Rename]:
    """The rows of an entry: the old argument, and the new one for the versions before it."""
    fields, old = _fields(entry), str(entry.data.get("argument", ""))
    for call in names(entry.data.get("call")):
        yield Rename(call, old, **fields)
        if fields["new"] and fields["added"]:
            back = {**fields, "gone": complement(fields["added"]), "new": old, "added": complement(fields["gone"])}
            yield Rename(call, fields["new"], **back)


def _names(entry: Mapping) -> Iterator[Rename]:
    yield Rename(str(entry.data.get("name", "")), "", **_fields(entry))
