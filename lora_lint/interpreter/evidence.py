"""What code shows of the library versions it runs with: versions it asks for, arguments and names that only some have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from lora_lint.apis.renames import Rename, renames
from lora_lint.apis.store import ApiStore
from lora_lint.interpreter.walk import last_name
from lora_lint.syntax import ir

# Calls by which a file finds out what a version takes, and calls that only print it.
_ASKS = frozenset({"signature", "getfullargspec", "parse_version", "is_transformers_version", "compare_versions"})
_LIMITS = re.compile(
    r"[\w.-]+\s*(?:[<>=!~]=?[^<]*)?<=?\s*\d[\w.]*\s*$|[\w.-]+\s*==\s*\d[\w.]*\s*$"
)  # "trl>=0.8,<=0.9.6"
_PRINTS = frozenset({"print", "info", "debug", "warning", "log", "format"})


def asks(node: ir.Node) -> bool:
    """Whether a node decides by version what is used: it compares a `__version__`, looks at signatures, or demands
    versions up to some release."""
    if isinstance(node, ir.Call):
        name = last_name(node.func)
        if name in _ASKS or any(_is_limit(arg.value) for arg in node.args):
            return True
        return name not in _PRINTS and (
            any(_is_version(arg.value) for arg in node.args)
            or (isinstance(node.func, ir.Attr) and _is_version(node.func.value))
        )
    return isinstance(node, ir.Op) and node.op != "fstring" and any(map(_is_version, node.operands))


def _is_limit(node: ir.Expr) -> bool:
    """Whether an argument is a requirement that ends: a text or number."""
    return isinstance(node, ir.Const) and _LIMITS.match(str(node.value)) is not None


def _is_version(node: ir.Expr) -> bool:
    return isinstance(node, ir.Attr) and node.name == "__version__"


class Names:
    """What the names mean that a file imports, as far as its imports were seen."""

    def __init__(self) -> None:
        self._bound: dict[str, str] = {}

    def add(self, node: ir.Import) -> None:
        """Take the names of an import."""
        if node.level:
            return
        if node.names is None:
            top = node.module.split(".")[0]
            self._bound[node.alias or top] = node.module if node.alias else top
        else:
            self._bound.update((alias, f"{node.module}.{name}") for name, alias in node.names)

    def meaning(self, func: ir.Expr) -> str:
        """The qualified name of a called expression, "" when it is none that was imported."""
        if isinstance(func, ir.Name):
            return self._bound.get(func.id, "")
        if isinstance(func, ir.Attr):
            owner = self.meaning(func.value)
            return f"{owner}.{func.name}" if owner else ""
        return ""


def shown(nodes: Iterable[ir.Import | ir.Call], store: ApiStore) -> list[tuple[str, str, str]]:
    """What imports and calls with keywords, in order, show of the versions they run with: (library, range, why)."""
    names = Names()
    found: list[tuple[str, str, str]] = []
    for node in nodes:
        if isinstance(node, ir.Import):
            names.add(node)
            found += [(row.library, row.held, f"it imports {row.name.rsplit('.', 1)[-1]}") for row in imported(node)]
            continue
        name = names.meaning(node.func)
        for argument in (arg.name for arg in node.args) if name else ():
            used = renames().argument(store, name, argument) if argument is not None else None
            if used is not None:
                found.append((used.library, used.held, f"it uses {argument}="))
    return found


def appends_to_path(node: ir.Call) -> bool:
    """Whether a call is `sys.path.append(…)`: what lies there is found only where nothing of the name is installed."""
    owner = node.func.value if isinstance(node.func, ir.Attr) and node.func.name == "append" else None
    return isinstance(owner, ir.Attr) and owner.name == "path" and last_name(owner.value) == "sys"


def forks(imports: Iterable[ir.Import]) -> frozenset[str]:
    """The libraries of which imports take what only a fork has."""
    foreign = renames().foreign
    taken = (f"{node.module}.{name}" for node in imports if not node.level for name, _ in node.names or ())
    return frozenset(foreign[name] for name in taken if name in foreign)


def imported(node: ir.Import) -> Iterator[Rename]:
    """The rows of the names that an import takes from libraries."""
    for name, _ in () if node.level else node.names or ():
        row = renames().name(f"{node.module}.{name}")
        if row is not None:
            yield row
