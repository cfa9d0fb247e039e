"""Changes of models as a whole: modes, devices, wrappers, state dicts."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.vocabulary import Ev, Kind, Mode, Tri
from lora_lint.location import Location
from lora_lint.verify.models import Live
from lora_lint.verify.recorder import qualified

if TYPE_CHECKING:
    from lora_lint.verify.watch import Watch

Placement = tuple[tuple[str, str] | None, list[Any]]  # device and dtype of a model, and its parameters


class Structure:
    """in_mode: a train() or eval() call is running (it recurses). wrapping: depth of running wrapper constructors."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.recorder = watch.recorder
        self.in_mode = False
        self.wrapping = 0
        self._unloaded: dict[int, tuple[weakref.ref[Any], Location]] = {}
        self._wrappers: list[tuple[str, weakref.ref[Any], Live, Obj]] = []
        guard = self.recorder.guard
        self.mode_changed = guard(self._mode_changed)
        self.moved = guard(self._moved)
        self.wrapped = guard(self._wrapped)
        self.compiled = guard(self._compiled)
        self.sharded = guard(self._sharded)
        self.state_loaded = guard(self._state_loaded)

    def _mode_changed(self, module: Any) -> None:
        live = self.recorder.models.known(module)
        if live is None or self.recorder.quiet:
            return
        mode = Mode.TRAIN if module.training else Mode.EVAL
        if live.obj.model.mode is not mode:
            self.recorder.emit(Ev.MODE, {"model": live.obj}, {"mode": mode})

    def placement(self, module: Any) -> Placement | None:
        """Where a known model is before a move, None for what is not a known model."""
        if self.recorder.quiet or self.recorder.busy or self.recorder.models.known(module) is None:
            return None
        return _place(module), list(module.parameters())

    def _moved(self, module: Any, placement: Placement | None) -> None:
        live = self.recorder.models.known(module)
        if placement is None or live is None:
            return
        before, old = placement
        self._made_anew(live, module, old)
        after = _place(module)
        if before is None or after is None or after == before:
            return
        if after[0] != before[0]:
            self.recorder.emit(Ev.MOVE, {"model": live.obj}, {"device": after[0]})
        if after[1] != before[1]:
            self.recorder.emit(Ev.CAST, {"model": live.obj}, {"dtype": after[1]})

    def _made_anew(self, live: Live, module: Any, old: list[Any]) -> None:
        """Where a move replaced parameters instead of moving them, optimizers keep the old ones."""
        present = {id(parameter) for parameter in module.parameters()}
        lost = {id(parameter) for parameter in old} - present
        if not lost:
            return
        self.recorder.models.claim(live)
        self.watch.training.table.stale = True
        for watched in self.watch.training.meter.optimizers:
            optimizer = watched.reference()
            if optimizer is not None and any(
                id(p) in lost for group in optimizer.param_groups for p in group["params"]
            ):
                watched.record.left_at = self.recorder.frames.here()

    def _wrapped(self, wrapper: Any, module: Any, by: str) -> None:
        live = self.recorder.live(module)
        self.recorder.models.alias(wrapper, live)
        live.record.wrapped.append(by)
        view = Obj(Kind.MODEL, qualified(type(wrapper)), self.recorder.frames.here(), wraps=live.obj)
        self._wrappers.append((by, weakref.ref(wrapper), live, view))
        facts = {
            "by": by,
            "unused": Tri.of(getattr(wrapper, "find_unused_parameters", None)),
            "static": Tri.of(getattr(wrapper, "static_graph", None)),
            "original": Tri.of(getattr(wrapper, "_use_orig_params", None)),
        }
        view.event = self.recorder.emit(Ev.WRAP, {"model": live.obj}, facts, by=view.type)
        self.recorder.trace.objects.append(view)
        self.watch.ledger("wrapped in " + by.upper(), self.recorder.frames.here())

    def _compiled(self, wrapper: Any, module: Any) -> None:
        live = self.recorder.live(module)
        self.recorder.models.alias(wrapper, live)
        live.record.wrapped.append("compile")
        self.watch.forwards.only_roots(wrapper)
        self.recorder.emit(Ev.COMPILE, {"model": live.obj}, by="torch.compile")

    def _sharded(self, module: Any) -> None:
        live = self.recorder.models.known(module)
        if live is None:
            owners = {
                id(live): live
                for live in (self.recorder.models.owner(p) for p in module.parameters())
                if live is not None
            }
            if len(owners) == 1 and next(iter(owners.values())).module is not module:
                return  # a block of a known model: the root follows
            live = self.recorder.live(module)
        self.recorder.models.claim(live)
        live.record.wrapped.append("fsdp2")
        self.watch.training.table.stale = True
        self.recorder.emit(Ev.WRAP, {"model": live.obj}, {"by": "fsdp2"}, by="torch.distributed.fsdp.fully_shard")

    def _state_loaded(self, module: Any, result: Any, args: Any, kwargs: Any) -> None:
        if self.recorder.quiet:
            return
        strict = kwargs.get("strict", args[1] if len(args) > 1 else True)
        missing = len(getattr(result, "missing_keys", ()) or ())
        unexpected = len(getattr(result, "unexpected_keys", ()) or ())
        given = kwargs.get("state_dict", args[0] if args else ())
        nothing = 0 < len(given) == unexpected
        self._unloaded.pop(id(module), None)
        if nothing:
            self._unloaded[id(module)] = weakref.ref(module), self.recorder.frames.here(4)
        live = self.recorder.models.known(module)
        if live is not None:
            self.recorder.emit(
                Ev.LOAD_STATE, {"model": live.obj}, {"strict": strict, "missing": missing, "unexpected": unexpected}
            )

    def nothing_loaded(self) -> Iterator[tuple[Live, Location]]:
        """Models whose last load_state_dict had not one name of theirs, and where."""
        for reference, at in self._unloaded.values():
            module = reference()
            live = self.recorder.models.known(module) if module is not None else None
            if live is not None:
                yield live, at

    def view_of(self, module: Any) -> Obj | None:
        """The object of the wrapper that a module is, or that is a part of it; None when there is none."""
        for _, reference, _, view in reversed(self._wrappers):
            wrapper = reference()
            if wrapper is not None and (wrapper is module or any(child is wrapper for child in module.modules())):
                found: Obj = view
                return found
        return None


def _place(module: Any) -> tuple[str, str] | None:
    first = next(module.parameters(), None)
    return None if first is None else (first.device.type, str(first.dtype).removeprefix("torch."))
