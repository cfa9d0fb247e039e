"""What a function of the user does to its parameters, as an API spec: `lora-lint apis infer`.

The function is followed on every path with unknown arguments; each event becomes an `emit` of the spec, under the
conditions on parameters that it was nested in. What cannot be said that way makes the model unknown (`havoc`): a spec
that says too little costs a missed alarm, one that says too much a false one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.entry as entry
from lora_lint.apis.store import ApiStore
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.parameter_values import ParamIter
from lora_lint.interpreter.program import Program
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, DictVal, FuncVal, SeqVal, Sym, Value
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Event, Guard
from lora_lint.lifecycle.vocabulary import BASE_PARTS, Ev, Kind, Part, Tri

_PLAIN = (bool, int, float, str, type(None))
_NOTHING: Any = object()  # a value that a spec has no words for
# What says nothing about the arguments: notes for rules, and what the spec of a caller would emit anew.
_PRIVATE = frozenset(
    [
        Ev.CALL,
        Ev.FIELD,
        Ev.FORMATTED,
        Ev.LABELS,
        Ev.MASKED,
        Ev.OUTDATED,
        Ev.CONTRACT,
        Ev.IN_PLACE,
        Ev.LATE_IMPORT,
        Ev.NAMED,
        Ev.END,
    ]
)
_UNSAID = frozenset([Ev.BACKWARD, Ev.OVERRIDE, Ev.LOADER, Ev.WORKERS, Ev.SCHEDULE, Ev.CLIP, Ev.UNSCALE, Ev.TOUCH_CUDA])


@dataclass(slots=True)
class Summary:
    """A function as a spec. effects: mappings as in a spec file. notes: what the spec leaves out."""

    params: list[str]
    defaults: dict[str, Any]
    effects: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Step:
    """One effect on a path. key: equal keys are the same effect on several paths. conditions: those it is under, None
    when they are not all about parameters."""

    key: Hashable
    effect: dict[str, Any]
    conditions: list[Any] | None


@dataclass(slots=True)
class _Path:
    """One path: its effects, what it returns, and under which conditions."""

    steps: list[_Step]
    returned: Any
    conditions: list[Any] | None


def infer(program: Program, path: str, function: str) -> Summary | None:
    """The summary of a function of a module; None when the module defines no such function."""
    paths: list[_Path] = []
    found: list[Summary] = []
    notes: list[str] = []

    def body(run: Run) -> None:
        module = program.module(run, path)
        value = module.scope.names.get(function)
        if not isinstance(value, FuncVal):
            return
        found[:] = [_signature(value)]
        run.module, run.thorough = module, True
        start = len(run.trace.events)
        given = entry.unknown_arguments(run, value)
        returned = calls.call_function(run, value, list(given.items()), value.node, Args(unknown=True))
        paths.append(_Reader(run, given, program.store, notes).read(start, returned))

    program.explore(path, body)
    if not found:
        return None
    summary = found[0]
    summary.notes = list(dict.fromkeys(notes))
    summary.effects = _merged(paths)
    return summary


def _signature(function: FuncVal) -> Summary:
    params = [
        ("*" if param.kind == "*" else "**" if param.kind == "**" else "") + param.name
        for param in function.node.params
    ]
    defaults = {
        name: value.value
        for name, value in function.defaults.items()
        if isinstance(value, Const) and isinstance(value.value, _PLAIN) and value.value is not None
    }
    return Summary(params, defaults)


class _Reader:
    """Reads one finished path: objects as names, events as effects."""

    def __init__(self, run: Run, given: dict[str, Sym], store: ApiStore, notes: list[str]) -> None:
        self._run = run
        self._given = given
        self._words = _words(store)
        self._notes = notes
        self._names: dict[int, str] = {}
        self._keys: dict[Hashable, str] = {}
        self._out: list[_Step] = []
        for name, symbol in given.items():
            self._learn(symbol, name, 0)

    def _learn(self, symbol: Sym, name: str, depth: int) -> None:
        """Remember a parameter, what it turned out to be, and its attributes."""
        self._keys.setdefault(symbol.key, f"${name}")
        if symbol.obj is not None:
            self._names.setdefault(id(symbol.obj.root), f"${name}")
        for attr, child in symbol.attrs.items() if depth < 3 else ():
            if isinstance(child, Sym) and attr.isidentifier():
                self._learn(child, f"{name}.{attr}", depth + 1)

    def read(self, start: int, returned: Value) -> _Path:
        """The effects of the events since `start`, and the returned value."""
        for event in self._run.trace.events[start:]:
            self._event(event)
        for name, symbol in self._given.items():
            lost = ("escaped", symbol.key) in self._run.witnesses or (symbol.obj is not None and _lost(symbol.obj))
            if lost:
                self._notes.append(f"`{name}` goes where it cannot be followed")
                self._add(("lost", name), {"havoc": [f"${name}"]}, ())
        taken = tuple(dict.fromkeys(self._run.oracle.guards.values()))
        return _Path(self._out, self.value(returned), self._conditions(taken))

    def _add(self, key: Hashable, effect: dict[str, Any], guards: tuple[Guard, ...]) -> None:
        self._out.append(_Step(key, effect, self._conditions(guards)))

    def _conditions(self, guards: tuple[Guard, ...]) -> list[Any] | None:
        """The conditions of guards, None when one is not about parameters."""
        shown = [self._condition_of(guard) for guard in guards]
        return None if None in shown else shown

    # --- events ---

    def _event(self, event: Event) -> None:
        if event.kind in _PRIVATE or (event.kind is Ev.FORWARD and event.model is None):
            return
        place = (event.location, event.kind)
        if event.kind in _UNSAID:
            self._notes.append(
                f"line {event.location.line}: {event.kind.value} has no words in a spec of this function"
            )
            return
        for obj in event.roles.values():
            self._introduce(obj, event)
        roles = {role: self._names[id(obj.root)] for role, obj in event.roles.items() if id(obj.root) in self._names}
        for key, value in event.args.items():
            role = key.removesuffix("_value")
            if role != key and role not in roles and (name := self._of_symbol(value)):
                roles[role] = name
        flags = event.kind in (Ev.FREEZE, Ev.THAW)
        partial = not _whole(event) if flags else event.loop is not None
        inner = any(obj.full_path for obj in event.roles.values() if obj.kind is Kind.MODEL)
        if partial or inner:
            models = [self._names[id(obj.root)] for obj in event.roles.values() if obj.kind is Kind.MODEL]
            if models:
                self._notes.append(f"line {event.location.line}: a {event.kind.value} of a part, or in a loop")
                self._add((*place, "part"), {"havoc": sorted(set(models))}, event.guards)
            return
        effect: dict[str, Any] = {"emit": event.kind.value}
        effect.update(sorted(roles.items(), key=lambda item: (item[0] != "model", item[0])))
        args = self._arguments(event)
        if args:
            effect["args"] = args
        if event.maybe and event.versions:
            effect["versions"] = dict(part.split(" ", 1) for part in event.versions.split(", "))
        if roles or event.kind is Ev.DISTRIBUTED:
            self._add(place, effect, event.guards)

    def _arguments(self, event: Event) -> dict[str, Any]:
        """The arguments that specs give events of this kind, as far as they are known."""
        args: dict[str, Any] = {}
        for key in sorted(self._words.get(event.kind, ())):
            value = event.args.get(key)
            if value is None:
                continue
            shown = self.value(value)
            if shown is not _NOTHING:
                args[key] = shown
        return args

    def _introduce(self, obj: Obj, event: Event) -> None:
        """Name an object that the function makes, where it is first met."""
        root = obj.root
        if id(root) in self._names:
            return
        taken = set(self._names.values())
        stem = root.name if root.name.isidentifier() else root.kind.value.replace("-", "_")
        name = next(n for n in (stem, *(f"{stem}{i}" for i in range(2, 99))) if f"${n}" not in taken)
        self._names[id(root)] = f"${name}"
        effect: dict[str, Any] = {"new": name, "kind": root.kind.value, "type": root.type}
        facts = {key: self._fact(value) for key, value in root.facts.items()}
        facts = {key: value for key, value in facts.items() if value is not _NOTHING}
        if facts:
            effect["facts"] = facts
        self._add(("new", root.site, root.kind), effect, event.guards)

    def _fact(self, value: Value) -> Any:
        """A fact of an object: an answer is a truth value there."""
        if isinstance(value, Tri):
            return value.yes if value.known else {"unknown": "fact"}
        return self.value(value)

    # --- values ---

    def _of_symbol(self, value: Value) -> str | None:
        return self._keys.get(value.key) if isinstance(value, Sym) else None

    def value(self, value: Any) -> Any:
        """A value in the words of a spec."""
        if isinstance(value, Const):
            value = value.value
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, _PLAIN):
            return _NOTHING if isinstance(value, str) and value.startswith("$") else value
        if isinstance(value, Sym):
            name = self._of_symbol(value)
            return _NOTHING if name is None else name
        if isinstance(value, Obj):
            return self._object(value)
        if isinstance(value, ParamIter) and value.parts is None and value.keep is None:
            inner = self._object(value.model)
            return _NOTHING if inner is _NOTHING else {"parameters": inner}
        if isinstance(value, SeqVal) and not value.open:
            items = [self.value(item) for item in value.items]
            return _NOTHING if any(item is _NOTHING for item in items) else items
        if isinstance(value, DictVal) and not value.open:
            pairs = {key: self.value(item) for key, item in value.items.items()}
            known = all(isinstance(key, str) and item is not _NOTHING for key, item in pairs.items())
            return {"dict": pairs} if known else _NOTHING
        return _NOTHING

    def _object(self, obj: Obj) -> Any:
        name = self._names.get(id(obj.root))
        if name is None or obj.full_path:
            return _NOTHING
        return name if obj.wraps is None else {"view": name, "type": obj.type}

    def _condition_of(self, guard: Guard) -> Any:
        """A guard as a condition of a spec, None when it is not one on parameters."""
        shown = self._condition(guard.key)
        return None if shown is None else shown if guard.arm else _negated(shown)

    def _condition(self, key: Any) -> Any:
        if key in self._keys:
            return self._keys[key]
        if not isinstance(key, tuple) or not key:
            return None
        if key[0] == "not":
            inner = self._condition(key[1])
            return None if inner is None else _negated(inner)
        if key[0] == "==" and len(key) == 3 and key[1] in self._keys and key[2][:1] == ("const",):
            value = key[2][-1]
            return {"unset": self._keys[key[1]]} if value is None else {"equals": [self._keys[key[1]], value]}
        if key[0] in ("and", "or"):
            parts = [self._condition(part) for part in key[1]]
            return None if None in parts else {"all" if key[0] == "and" else "any": parts}
        return None


def _negated(condition: Any) -> Any:
    if isinstance(condition, dict) and "not" in condition:
        return condition["not"]
    return {"not": condition}


def _words(store: ApiStore) -> dict[Ev, set[str]]:
    """For each kind of event the arguments that specs give it."""
    words: dict[Ev, set[str]] = {}
    for specs in store.specs.calls.values():
        for effect in (effect for spec in specs for effect in spec.effects):
            if effect.event is not None:
                words.setdefault(effect.event, set()).update(effect.args)
    return words


def _whole(event: Event) -> bool:
    """Whether a freeze or thaw is one of all parameters."""
    parts, extras = event.args.get("parts"), event.args.get("extras") or {}
    if not parts:
        return True
    answers = {*parts.values(), *extras.values()}
    return parts.keys() >= BASE_PARTS | {Part.ADAPTER} and len(answers) == 1 and Tri.UNKNOWN not in answers


def _lost(obj: Obj) -> bool:
    """Whether a model went somewhere that was not followed, after it turned out to be one."""
    if obj.kind is not Kind.MODEL:
        return False
    unknown = [op for op in obj.model.ops if op.event.kind is Ev.CALL]
    return len(unknown) > (1 if obj.root.facts.get("promoted") else 0)


# --- several paths ----------------------------------------------------------------------------------------------------


def _merged(paths: list[_Path]) -> list[dict[str, Any]]:
    """One list of effects for all paths, in an order that each path agrees with."""
    order: list[_Step] = []
    for path in paths:
        at = 0
        for step in path.steps:
            index = next((i for i, known in enumerate(order) if known.key == step.key), None)
            if index is None:
                order.insert(at, step)
                at += 1
            else:
                at = index + 1
    effects: list[dict[str, Any]] = []
    for step in order:
        conditions = _needed(step, paths)
        if conditions is not None:
            effects.append(_under(step.effect, conditions))
        elif "model" in step.effect:
            effects.append({"havoc": [step.effect["model"]]})
    return [*effects, *_returns(paths)]


def _needed(step: _Step, paths: list[_Path]) -> list[Any] | None:
    """The conditions under which an effect happens; None when they cannot be told. One that is nested in none and is on
    some paths only comes after an early return: it needs what these paths have in common and the others lack."""
    having = [path for path in paths if any(one.key == step.key for one in path.steps)]
    lacking = [path for path in paths if path not in having]
    if step.conditions is None or step.conditions or not lacking:
        return step.conditions
    common = [one for one in having[0].conditions or () if all(one in (path.conditions or ()) for path in having)]
    telling = [one for one in common if all(one not in (path.conditions or ()) for path in lacking)]
    return telling or None


def _under(effect: dict[str, Any], conditions: list[Any]) -> dict[str, Any]:
    distinct = [one for index, one in enumerate(conditions) if one not in conditions[:index]]
    if not distinct:
        return effect
    return {**effect, "when": distinct[0] if len(distinct) == 1 else {"all": distinct}}


def _returns(paths: list[_Path]) -> Iterator[dict[str, Any]]:
    """What is returned: the same on every path, or each under the conditions of its path."""
    values: list[Any] = []
    for path in paths:
        if path.returned not in values:
            values.append(path.returned)
    if len(values) == 1:
        yield {"return": {"unknown": "result"} if values[0] is _NOTHING else values[0]}
        return
    yield {"return": {"unknown": "result"}}
    for path in paths:
        if path.returned is not _NOTHING and path.conditions:
            yield {**_under({"return": path.returned}, path.conditions), "unknown": "skip"}
