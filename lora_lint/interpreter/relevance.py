"""Which code can matter to the lifecycle, judged by the names it calls: keeps the number of paths and the work bounded.

"Hot" code calls something that changes the state of an object with a lifecycle, directly or through functions of the
project. Only conditions over hot code are worth a decision; the arms of all others are joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from lora_lint.apis.store import ApiStore
from lora_lint.lifecycle.vocabulary import Ev, Kind
from lora_lint.syntax import ir

if TYPE_CHECKING:
    from lora_lint.interpreter.survey import Survey

# Events that decide nothing by themselves: both arms around them are simply run.
_COLD_EVENTS = frozenset(
    {
        Ev.SAVE,
        Ev.FORWARD,
        Ev.CLIP,
        Ev.SCHEDULE,
        Ev.SCHEDULER_STEP,
        Ev.ARGUMENTS,
        Ev.TOUCH_CUDA,
        Ev.LOADER,
        Ev.WORKERS,
        Ev.CAST,
        Ev.UNSCALE,
        Ev.SCALER_UPDATE,
        Ev.DISTRIBUTED,
        Ev.TOKENS,
        Ev.FIELD,
        Ev.FORMATTED,
        Ev.IN_PLACE,
        Ev.RECOMPUTE,
        Ev.LATE_IMPORT,
        Ev.NAMED,
        Ev.COUNTED,
        Ev.LABEL_NAMES,
        Ev.LABELS,
        Ev.OUTDATED,
        Ev.CONTRACT,
        Ev.OVERRIDE,
        Ev.FILTER,
    }
)
_HOT_KINDS = frozenset(
    {Kind.MODEL, Kind.ADAPTER_CONFIG, Kind.QUANT_CONFIG, Kind.OPTIMIZER, Kind.TRAINER, Kind.CONTEXT, Kind.PROCESS}
)
_HOT_ENDINGS = ("Trainer", "ForCausalLM", "ForConditionalGeneration", "LMHeadModel")


def hot_names(store: ApiStore) -> frozenset[str]:
    """Last names of the calls whose specs change state."""
    names: set[str] = set()
    for name, specs in store.specs.calls.items():
        last = name.rsplit(".", 1)[-1]
        if last in ("__init__", "__call__"):
            last = name.rsplit(".", 2)[-2]
        for effect in (e for spec in specs for e in spec.effects):
            if (
                (effect.event is not None and effect.event not in _COLD_EVENTS)
                or (effect.verb == "new" and effect.fields.get("kind") in _HOT_KINDS)
                or effect.verb in ("havoc", "set", "protocol")
            ):
                names.add(last)
    return frozenset(names)


class Relevance:
    """Hotness of the code of one project. Computed once per node and remembered."""

    def __init__(self, store: ApiStore, surveys: Iterable[Survey]) -> None:
        self._names = set(hot_names(store))
        self._frameworks = frozenset(
            name.rsplit(".", 1)[-1]
            for spec in store.specs.types.values()
            if store.protocol(spec.name)
            for name in (spec.name, *spec.match)
        )
        self._memo: dict[int, bool] = {}
        self._keep: list[object] = []  # memo keys are identities: keep their objects alive
        surveys = list(surveys)
        self._names.update(
            alias
            for survey in surveys
            for node in survey.imports
            for name, alias in node.names or ()
            if name != alias and (name in self._names or name.endswith(_HOT_ENDINGS))
        )
        callers: dict[str, list[str]] = {}
        for one in (definition for survey in surveys for definition in survey.definitions.values()):
            if isinstance(one.node, ir.FunctionDef):
                for name in one.called:
                    callers.setdefault(name, []).append(one.node.name)
            elif call := next(
                (m for m in one.node.body if isinstance(m, ir.FunctionDef) and m.name == "__call__"), None
            ):
                made = {name for survey in surveys for name in survey.made.get(one.node.name, ()) if name}
                for name in _called_names(call):  # calling what the class makes calls this
                    callers.setdefault(name, []).extend(made)
        fresh = [name for name in callers if name in self._names]
        while fresh:
            for caller in callers.get(fresh.pop(), ()):
                if caller not in self._names:
                    self._names.add(caller)
                    fresh.append(caller)

    def has_protocol(self, base: str) -> bool:
        """Whether the last name of a base class is that of a library type whose framework calls its methods."""
        return base in self._frameworks or any(fnmatchcase(base, glob) for glob in self._frameworks if "*" in glob)

    def block(self, body: tuple[ir.Stmt, ...]) -> bool:
        """Whether statements are hot."""
        if not body:
            return False
        key = id(body)
        found = self._memo.get(key)
        if found is None:
            found = any(self._mentions(name) for statement in body for name in _called_names(statement))
            self._memo[key] = found
            self._keep.append(body)
        return found

    def node(self, node: ir.Node) -> bool:
        """Whether one node is hot."""
        key = id(node)
        found = self._memo.get(key)
        if found is None:
            found = any(self._mentions(name) for name in _called_names(node))
            self._memo[key] = found
            self._keep.append(node)
        return found

    def _mentions(self, name: str) -> bool:
        return name in self._names or name.endswith(_HOT_ENDINGS)


def names_in(node: ir.Node) -> Iterator[str]:
    """Plain names that stand anywhere in a node."""
    stack: list[object] = [node]
    while stack:
        here = stack.pop()
        if isinstance(here, ir.Name):
            yield here.id
        stack.extend(children(here))


_PLAIN = frozenset({"loc", "id", "name", "op", "kind", "star", "is_async", "generator", "module", "level", "alias"})


def _fields_of(kind: type[object]) -> tuple[str, ...]:
    """Names of the fields of a node type that may hold nodes."""
    if not issubclass(kind, ir.Node) or issubclass(kind, (ir.Const, ir.Import, ir.Scope)):
        return ()
    return tuple(spec.name for spec in fields(kind) if spec.name not in _PLAIN)


_FIELDS: dict[type[object], tuple[str, ...]] = {}


def children(node: object) -> list[ir.Node]:
    """Nodes directly inside a node."""
    kind = type(node)
    names = _FIELDS.get(kind)
    if names is None:
        names = _FIELDS[kind] = _fields_of(kind)
    found: list[ir.Node] = []
    for name in names:
        value = getattr(node, name)
        if type(value) is not tuple:
            if value is not None and isinstance(value, ir.Node):
                found.append(value)
            continue
        for item in value:
            if isinstance(item, ir.Node):
                found.append(item)
            elif type(item) is tuple:
                found += [part for part in item if isinstance(part, ir.Node)]
    return found


def called_at(node: object) -> Iterator[str]:
    """Last names of what a node itself calls, and "requires_grad" where it is written."""
    if isinstance(node, ir.Call):
        func = node.func
        if isinstance(func, ir.Attr):
            yield func.name
            if isinstance(func.value, ir.Name):
                yield func.value.id
        elif isinstance(func, ir.Name):
            yield func.id
        for arg in node.args:  # functions handed over: partial(get_peft_model, …)
            if isinstance(arg.value, ir.Name):
                yield arg.value.id
            elif isinstance(arg.value, ir.Attr):
                yield arg.value.name
    elif isinstance(node, ir.Assign):
        for target in node.targets:
            if isinstance(target, ir.Attr) and target.name == "requires_grad":
                yield "requires_grad_"


def _called_names(root: ir.Node) -> Iterator[str]:
    """Last names of what is called in a node, and "requires_grad" where it is written."""
    stack: list[object] = [root]
    while stack:
        node = stack.pop()
        yield from called_at(node)
        stack.extend(children(node))


def called_names(body: Iterable[ir.Node]) -> Iterator[str]:
    """Last names of the functions and methods that statements call."""
    stack: list[object] = list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, ir.Call):
            name = node.func.name if isinstance(node.func, ir.Attr) else getattr(node.func, "id", "")
            if name and name not in _TALK:
                yield name
        stack.extend(children(node))


# Calls that handlers make beside anything else.
_TALK = frozenset(
    {"print", "info", "warning", "error", "exception", "debug", "format", "str", "len", "warn", "join", "get"}
)
