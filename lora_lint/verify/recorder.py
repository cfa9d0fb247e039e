"""The recorder: turns what the hooks see into the events of the lifecycle, on the same heap as the static
interpreter."""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any, TypeVar

from lora_lint.lifecycle import effects
from lora_lint.lifecycle.heap import Adapter, Obj, TrainOp, trainable
from lora_lint.lifecycle.record import RankRecord
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import Ev, Kind, Mode, Part, Quant, Tri
from lora_lint.location import Location
from lora_lint.verify.config import Observation
from lora_lint.verify.faults import Faults
from lora_lint.verify.flips import Flips, Group
from lora_lint.verify.frames import Frames
from lora_lint.verify.later import Later
from lora_lint.verify.models import Live, Models
from lora_lint.verify.parts import Row

F = TypeVar("F", bound=Callable[..., Any])


class Recorder:
    """State of the observation of this process.

    quiet: depth of library calls whose effect on requires_grad is described by their own event. busy: the recorder's
    own tensor operations are running and must not be recorded. callers: the trainer or accelerator that runs the loop,
    by role. faults: our own bugs, reported as LL000. later: numbers that a device still computes.
    """

    def __init__(self, observation: Observation) -> None:
        self.observation = observation
        self.frames = Frames(observation.cwd, observation.aliases)
        self.trace = Trace()
        self.rank = RankRecord()
        self.models = Models()
        self.flips = Flips()
        self.quiet = 0
        self.busy = False
        self.active = True
        self.faults = Faults()
        self.later = Later()
        self.contexts: list[str] = []
        self.on_new_model: Callable[[Live], None] = lambda live: None
        self.on_change: Callable[[Live, bool, Location], None] = lambda live, frozen, at: None
        self.callers: dict[str, Obj] = {}
        self.codes: set[CodeType] = set()  # the user's functions that ran when something happened
        self._objects: dict[int, tuple[Any, Obj]] = {}

    # --- objects ---

    def obj(self, thing: Any) -> Obj | None:
        """The heap object of a Python object, None when it has none."""
        found = self._objects.get(id(thing))
        if found is None:
            return None
        held = found[0]() if isinstance(found[0], weakref.ref) else found[0]
        return found[1] if held is thing else None

    def make(self, thing: Any, kind: Kind, at: Location | None = None) -> Obj:
        """The heap object of a Python object, made on first use."""
        known = self.obj(thing)
        if known is not None:
            return known
        made = Obj(kind, qualified(type(thing)), at or self.frames.here(2))
        try:
            self._objects[id(thing)] = (weakref.ref(thing), made)
        except TypeError:  # no weak references to it: keep it alive, it is small
            self._objects[id(thing)] = (thing, made)
        self.trace.objects.append(made)
        return made

    def live(self, module: Any, at: Location | None = None) -> Live:
        """The model of a module, registered on first use; changes that were seen before on its parameters follow."""
        known = self.models.known(module)
        if known is not None:
            return known
        place = at or self.frames.here(2)
        live = self.models.add(module, place)
        if live.obj.event is None and live.obj not in self.trace.objects:
            self.trace.objects.append(live.obj)
            self._emit(Ev.LOAD, {"model": live.obj}, load_facts(live), live.obj.type, place)
            self._adapters_found(live, place)
            self.on_new_model(live)
        return live

    def _adapters_found(self, live: Live, at: Location) -> None:
        """A model that comes with adapters that nobody saw being injected."""
        flags: dict[str, list[bool]] = {}
        for row in live.rows():
            if row.part is Part.ADAPTER and self.models.owner(row.parameter) is live:
                flags.setdefault(row.adapter, []).append(row.parameter.requires_grad)
        for name, values in flags.items():
            args = {"adapter": name, "trainable": _answer(values), "stacks": False, "base": "keep"}
            self._emit(Ev.INJECT, {"model": live.obj}, args, live.obj.type, at)

    # --- events ---

    def emit(
        self,
        kind: Ev,
        roles: dict[str, Obj] | None = None,
        args: dict[str, Any] | None = None,
        by: str = "",
        at: Location | None = None,
        within: tuple[Obj, ...] = (),
    ) -> Event:
        """Make an event happen: changes of requires_grad that came before it first, then its own effect."""
        self.flush()
        return self._emit(kind, roles, args, by, at or self.frames.here(2), within)

    def _emit(
        self,
        kind: Ev,
        roles: dict[str, Obj] | None,
        args: dict[str, Any] | None,
        by: str,
        at: Location,
        within: tuple[Obj, ...] = (),
    ) -> Event:
        event = Event(
            kind,
            len(self.trace.events),
            at,
            {**self.callers, **(roles or {})} if kind in (Ev.BACKWARD, Ev.STEP) else dict(roles or {}),
            dict(args or {}),
            by,
            contexts=tuple(self.contexts),
            statement=at,
            within=within,
        )
        for obj in event.roles.values():
            obj.last_use = event.seq
            if obj.event is None and kind in (Ev.LOAD, Ev.OPTIMIZER, Ev.TRAINER, Ev.CONFIGURE, Ev.LOADER, Ev.SCHEDULE):
                obj.event = event
        self.codes |= self.frames.functions(sys._getframe(1))
        effects.apply(event)
        return self.trace.emit(event)

    def flush(self) -> None:
        """Emit the changes of requires_grad that were seen since the last event, one event for each place."""
        for group in self.flips.take(self.models):
            location = self.frames.location_of(group.point) if group.point is not None else self.frames.here(2)
            for live in group.models:
                self._changed(live, group, location)

    def _changed(self, live: Live, group: Group, at: Location) -> None:
        rows = live.rows()
        touched = [row for row in rows if id(row.parameter) in group.changed]
        if not touched:
            return

        def value(row: Row) -> bool:
            return bool(group.after.get(id(row.parameter), row.parameter.requires_grad))

        path = _common_path([row.name for row in touched])
        inside = [row for row in rows if not path or row.name.startswith(path + ".")]
        parts: dict[Part, Tri] = {}
        for part in {row.part for row in touched}:
            parts[part] = _answer([value(row) for row in inside if row.part is part])
        whole = all(row.part not in parts or row in inside for row in rows)
        if not any(row.part is Part.COPY for row in rows):
            parts.setdefault(Part.COPY, parts.get(Part.ADAPTER, Tri.UNKNOWN))  # none is left that goes on
        target = live.obj if whole else Obj(Kind.MODEL, live.obj.type, live.obj.site, parent=live.obj, path=path)
        frozen = not all(group.changed.values())
        self._emit(
            Ev.FREEZE if frozen else Ev.THAW, {"model": target}, {"parts": parts, "by_module": group.by_module}, "", at
        )
        self.on_change(live, frozen, at)

    def reconcile(self, live: Live) -> list[str]:
        """Bring the heap's idea of which adapters are trainable in line with the truth. Returns where it was wrong."""
        state = live.obj.model
        wrong: list[str] = []
        if not state.adapters or not self.trace.events:
            return wrong
        by_adapter: dict[str, list[bool]] = {}
        for row in live.rows():
            if row.part in (Part.ADAPTER, Part.COPY):
                by_adapter.setdefault(row.adapter, []).append(row.parameter.requires_grad)
        for adapter in state.adapters:
            flags = by_adapter.get(str(adapter.name))
            if flags is None:
                continue
            truth = _answer(flags)
            assumed, cause = trainable(state, adapter)
            if truth.known and assumed is not truth:
                wrong.append(f"{adapter.name}: expected {assumed.value}, found {truth.value}")
                event = cause if cause is not None else self.trace.events[-1]
                state.ops.append(TrainOp(event, {Part.ADAPTER: truth, Part.COPY: truth}, "", adapter))
        return wrong

    def adapter(self, live: Live, name: str) -> Adapter | None:
        """The newest adapter of this name."""
        return next((a for a in reversed(live.obj.model.adapters) if a.name == name), None)

    # --- nesting ---

    @contextmanager
    def silently(self) -> Iterator[None]:
        """Inside, changes of requires_grad are not reported: the call's own event describes them."""
        self.flush()
        self.quiet += 1
        try:
            yield
        finally:
            self.quiet -= 1

    def guard(self, function: F) -> F:
        """The function with our own bugs kept from the user's program: they are written down and reported as LL000."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self.run(function, *args, **kwargs)

        return call  # type: ignore[return-value]

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function of ours, unless one is running already or nobody observes; its bugs are written down."""
        if self.busy or not self.active:
            return None
        self.busy = True
        try:
            return self.faults.run(function, *args, **kwargs)
        finally:
            self.busy = False


def load_facts(live: Live) -> dict[str, Any]:
    """What a LOAD event says of a model: quantization, mode, dtype and device as they are."""
    module = live.module
    names = {type(child).__name__ for child in module.modules()}
    quantization = Quant.NONE
    if any(name.endswith("Linear4bit") for name in names):
        quantization = Quant.BNB4
    elif any(name.endswith("Linear8bitLt") for name in names):
        quantization = Quant.BNB8
    first = next(module.parameters(), None)
    facts: dict[str, Any] = {
        "quantization": quantization,
        "mode": Mode.TRAIN if module.training else Mode.LOADED,
        "architecture": type(module).__name__,
    }
    if first is not None:
        facts["dtype"] = str(first.dtype).removeprefix("torch.")
        facts["device"] = first.device.type
    live.record.quantization = quantization.value
    return facts


def qualified(kind: type) -> str:
    """Public name of a library class, e.g. "trl.SFTTrainer"; module path and name for others."""
    top = kind.__module__.split(".")[0]
    if top in ("trl", "peft", "transformers", "accelerate"):
        return f"{top}.{kind.__name__}"
    if kind.__module__.startswith("torch.optim"):
        return f"torch.optim.{kind.__name__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def _answer(flags: list[bool]) -> Tri:
    if all(flags):
        return Tri.YES
    return Tri.UNKNOWN if any(flags) else Tri.NO


def _common_path(names: list[str]) -> str:
    """The longest module path that all parameter names share."""
    shared = names[0].split(".")[:-1]
    for name in names[1:]:
        steps = name.split(".")[:-1]
        length = 0
        for mine, other in zip(shared, steps, strict=False):
            if mine != other:
                break
            length += 1
        shared = shared[:length]
    return ".".join(shared)
