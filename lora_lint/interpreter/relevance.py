"""Which code can matter to the lifecycle, judged by the names it calls: keeps the number of paths and the work bounded.

"Hot" code calls something that changes the state of an object with a lifecycle, directly or through functions of the
project. Only conditions over hot code are worth a decision; the arms of all others are joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from lora_lint.apis.spec import CallSpec
from lora_lint.apis.store import ApiStore
from lora_lint.interpreter.walk import last_name, named_by_string, nodes_in
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
        Ev.MASKED,
        Ev.OUTDATED,
        Ev.CONTRACT,
        Ev.OVERRIDE,
        Ev.FILTER,
    }
)
# Of these, what refutes what paths without them say: "the scaler is never updated".
_REFUTING_EVENTS = frozenset({Ev.SCALER_UPDATE})
# What most of what "never happens" waits for: an arm that does it is tried before others.
_AWAITED_EVENTS = frozenset({Ev.STEP, Ev.INJECT})
_HOT_KINDS = frozenset(
    {Kind.MODEL, Kind.ADAPTER_CONFIG, Kind.QUANT_CONFIG, Kind.OPTIMIZER, Kind.TRAINER, Kind.CONTEXT, Kind.PROCESS}
    | {Kind.SCALER}  # a loop without one scales nothing
)
_HOT_ENDINGS = ("Trainer", "ForCausalLM", "ForConditionalGeneration", "LMHeadModel")


# The nodes of which `called_at` tells anything.
_CALLING = (ir.Call, ir.Assign)


class Heat:
    """Which calls change state, by what specs say of them."""

    def __init__(self, store: ApiStore) -> None:
        self._store = store
        self.names = frozenset(
            name.rsplit(".", 2)[-2] if name.endswith((".__init__", ".__call__")) else name.rsplit(".", 1)[-1]
            for name, specs in store.specs.calls.items()
            if any(map(_is_hot, specs))
        )
        # last names of calls that refute, each with the last name of the type that has it
        self.refuting = frozenset(
            tuple(name.split(".")[-2:])
            for name, specs in store.specs.calls.items()
            if any(effect.event in _REFUTING_EVENTS for spec in specs for effect in spec.effects)
        )
        self.awaited = frozenset(
            name.rsplit(".", 1)[-1]
            for name, specs in store.specs.calls.items()
            if any(effect.event in _AWAITED_EVENTS for spec in specs for effect in spec.effects)
        )
        self._cold: dict[str, bool] = {}

    def mentions(self, name: str) -> bool:
        """Whether the last name of a call is one that changes state somewhere."""
        return name in self.names or name.endswith(_HOT_ENDINGS)

    def is_cold(self, qualified: str) -> bool:
        """Whether specs say what a call does, and it changes no state, whatever else is called like it."""
        found = self._cold.get(qualified)
        if found is None:
            specs = self._store.find_call(qualified)
            found = self._cold[qualified] = bool(specs) and not any(map(_is_hot, specs))
        return found


def _is_hot(spec: CallSpec) -> bool:
    return any(
        (effect.event is not None and effect.event not in _COLD_EVENTS)
        or (effect.verb == "new" and effect.fields.get("kind") in _HOT_KINDS)
        or effect.verb in ("havoc", "set", "protocol")
        for effect in spec.effects
    )


class Relevance:
    """Hotness of the code of one project. Computed once per node and remembered."""

    def __init__(self, heat: Heat, store: ApiStore, surveys: Iterable[Survey]) -> None:
        self._names = set(heat.names)
        self._frameworks = frozenset(
            name.rsplit(".", 1)[-1]
            for spec in store.specs.types.values()
            if store.protocol(spec.name)
            for name in (spec.name, *spec.match)
        )
        self._memo: dict[int, bool] = {}
        self._awaited, self._awaiting = heat.awaited, dict[int, bool]()
        self._keep: list[object] = []  # memo keys are identities: keep their objects alive
        surveys = list(surveys)
        self._cold = frozenset(call for survey in surveys for call in survey.cold)
        self._refuting = frozenset(
            method for kind, method in heat.refuting if any(kind in survey.mentioned for survey in surveys)
        )
        self._names.update(
            alias
            for survey in surveys
            for node in survey.imports
            for name, alias in node.names or ()
            if name != alias and heat.mentions(name)
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
                for name in self._called((call,)):  # calling what the class makes calls this
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

    def refutes(self, called: Iterable[str]) -> bool:
        """Whether what is called by these last names may be what other code is said never to do."""
        return not self._refuting.isdisjoint(called)

    def block(self, body: tuple[ir.Stmt, ...]) -> bool:
        """Whether statements are hot."""
        if not body:
            return False
        key = id(body)
        found = self._memo.get(key)
        if found is None:
            found = any(map(self.node, body))
            self._memo[key] = found
            self._keep.append(body)
        return found

    def awaited_in(self, body: tuple[ir.Stmt, ...]) -> bool:
        """Whether statements call what "never" findings wait for: a step, an injection."""
        key = id(body)
        found = self._awaiting.get(key)
        if found is None:
            found = self._awaiting[key] = not self._awaited.isdisjoint(self._called(body))
            self._keep.append(body)
        return found

    def node(self, node: ir.Node) -> bool:
        """Whether one node is hot."""
        key = id(node)
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = any(map(self._mentions, self._called((node,))))
            self._keep.append(node)
        return found

    def _mentions(self, name: str) -> bool:
        return name in self._names or name.endswith(_HOT_ENDINGS)

    def _called(self, body: tuple[ir.Node, ...]) -> Iterator[str]:
        """What is called in some nodes (see `called_at`)."""
        for node in nodes_in(body):
            if type(node) in _CALLING:
                yield from called_at(node, id(node) in self._cold)


def called_at(node: ir.Node, cold: bool = False) -> Iterator[str]:
    """Last names of what a node itself calls, and "requires_grad" where it is written. cold: a call that changes nothing:
    only functions handed over count."""
    if isinstance(node, ir.Call):
        func = node.func
        if cold:
            pass
        elif isinstance(func, ir.Attr):
            yield func.name
            if isinstance(func.value, ir.Name):
                yield func.value.id
        elif isinstance(func, ir.Name):
            yield func.id
        if by_string := named_by_string(node):
            yield by_string.rpartition(".")[2]
        for arg in node.args:  # functions handed over: partial(get_peft_model, …)
            if isinstance(arg.value, ir.Name):
                yield arg.value.id
            elif isinstance(arg.value, ir.Attr):
                yield arg.value.name
    elif isinstance(node, ir.Assign):
        for target in node.targets:
            if isinstance(target, ir.Attr) and target.name == "requires_grad":
                yield "requires_grad_"
        if isinstance(node.value, ir.Attr):  # a method to be called by another name: step = optimizer.step
            yield node.value.name


def called_names(body: Iterable[ir.Node]) -> Iterator[str]:
    """Last names of the functions and methods that statements call."""
    for node in nodes_in(tuple(body)):
        if isinstance(node, ir.Call):
            name = last_name(node.func)
            if name and name not in _TALK:
                yield name


# Calls that handlers make beside anything else.
_TALK = frozenset(
    {"print", "info", "warning", "error", "exception", "debug", "format", "str", "len", "warn", "join", "get"}
)
