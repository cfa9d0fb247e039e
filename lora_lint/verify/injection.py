"""Calls that inject or activate adapters: what was before, what is true afterwards, and the event that tells of it."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.record import EffectRecord
from lora_lint.lifecycle.vocabulary import Ev, Kind, Mode, Part, Tri
from lora_lint.verify.models import Live
from lora_lint.verify.recorder import qualified

if TYPE_CHECKING:
    from lora_lint.verify.slot import Slot


class Injection:
    """An injection that is under way: the model and its adapters before it."""

    def __init__(self, watch: Slot, model: Any, inputs: dict[str, Any]) -> None:
        self.watch = watch
        self.inputs = inputs
        self.recorder = watch.recorder
        self.live: Live = self.recorder.live(model)
        self.names = _adapter_names(self.live)

    def done(self, by: str, result: Any, config: Any, adapter: Any, **args: Any) -> None:
        """Tell of it, with what is true now."""
        live = self.live
        view: Obj | None = None
        if result is not None and _is_peft_model(result):
            self.recorder.models.alias(result, live)
            if live.shell is None or live.shell() is not result:
                live.shell = weakref.ref(result)
                view = Obj(Kind.MODEL, qualified(type(result)), wraps=live.obj)
        self.recorder.models.claim(live)
        self.watch.training.table.stale = True
        name = adapter if isinstance(adapter, str) else _new_name(self.names, _adapter_names(live))
        mine = [row for row in live.rows() if row.part in (Part.ADAPTER, Part.COPY) and row.adapter == name]
        flags = [row.parameter.requires_grad for row in mine]
        trainable = Tri.NO if not any(flags) else Tri.YES if all(flags) else Tri.UNKNOWN
        roles: dict[str, Obj] = {"model": live.obj}
        found = self.recorder.obj(config) if config is not None else None
        if found is not None:
            roles["config"] = found
        trainer = self.watch.trainer_in_stack()
        if trainer is not None:
            roles["trainer"] = trainer
        active = _active(live.named)
        if active is not None:
            args["active"] = Tri.of(name in active)
        args["without_layer"] = _without_layer(config, {row.layer for row in mine})
        if args.get("loaded") and live.named is not None and not live.named.training:
            args["mode"] = Mode.EVAL
        event = self.recorder.emit(Ev.INJECT, roles, {"adapter": name, "trainable": trainable, **args}, by)
        if view is not None:
            view.event, view.site = event, event.location
            self.recorder.trace.objects.append(view)
            self.watch.views.append((live.shell, view))
        note_effect(self.recorder, by, trainable, self.inputs, config)
        self.recorder.reconcile(live)
        self.watch.ledger(f"after {by.rsplit('.', 1)[-1]}", self.recorder.frames.here(), live)


def note_effect(recorder: Any, by: str, trainable: Tri, inputs: dict[str, Any], config: Any = None) -> None:
    """Keep what a call did, to be compared with what its API spec says."""
    if trainable.known:
        if config is not None:
            inputs = {**inputs, "inference": bool(getattr(config, "inference_mode", False))}
        recorder.rank.effects.append(EffectRecord(by, trainable.value, recorder.frames.here(), inputs))


def plain_inputs(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call that are plain values, by name."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        return {}
    return {name: value for name, value in bound.items() if value is None or isinstance(value, (bool, int, str))}


def _adapter_names(live: Live) -> set[str]:
    return {row.adapter for row in live.rows() if row.adapter}


def _new_name(before: set[str], after: set[str]) -> str:
    fresh = sorted(after - before)
    return fresh[0] if fresh else "default"


def _active(module: Any) -> set[str] | None:
    """The names of the active adapters, None when the model does not tell."""
    if not _is_peft_model(module):
        return None
    found = getattr(module, "active_adapters", None)
    return set(found) if isinstance(found, (list, tuple)) else None


def _without_layer(config: Any, layers: set[str]) -> frozenset[str] | None:
    """The names in a config's list of targets that no adapted layer has; None for targets that are no list."""
    targets = getattr(config, "target_modules", None)
    if not isinstance(targets, (list, tuple, set, frozenset)):
        return None
    return frozenset(name for name in targets if not any(f".{layer}".endswith(f".{name}") for layer in layers))


def _is_peft_model(thing: Any) -> bool:
    return any(kind.__name__ in ("PeftModel", "PeftMixedModel") for kind in type(thing).__mro__)


def injecting(
    watch: Slot, by: str, model_of: Callable[..., Any], pick: Callable[..., tuple[Any, Any]], **facts: Any
) -> Callable[..., Any]:
    """A wrapper for a call that injects: `model_of` gives the model, `pick` the config and the adapter's name, both
    from the call's arguments."""
    begin = watch.guard(lambda model, inputs: Injection(watch, model, inputs))
    end = watch.guard(lambda injection, *a, **k: injection.done(*a, **k))

    def around(original: Any, *args: Any, **kwargs: Any) -> Any:
        if watch.recorder.quiet:
            return original(*args, **kwargs)
        injection = begin(model_of(*args, **kwargs), plain_inputs(original, args, kwargs))
        with watch.recorder.silently():
            result = original(*args, **kwargs)
        if injection is not None:
            config, adapter = pick(*args, **kwargs)
            shell = result if result is not None else args[0]
            end(injection, by, shell, config, adapter, **facts)
        return result

    return around


def activating(watch: Slot, by: str) -> Callable[..., Any]:
    """A wrapper for a call that makes an adapter the active one."""
    recorder = watch.recorder

    def note(model: Any, adapter: Any, inputs: dict[str, Any]) -> None:
        live = recorder.live(model)
        names = adapter if isinstance(adapter, (list, tuple)) else [adapter]
        flags = [r.parameter.requires_grad for r in live.rows() if r.adapter in names]
        trainable = Tri.NO if not any(flags) else Tri.YES if all(flags) else Tri.UNKNOWN
        watch.training.table.stale = True
        recorder.emit(Ev.ACTIVATE, {"model": live.obj}, {"adapter": adapter, "trainable": trainable}, by)
        note_effect(recorder, by, trainable, inputs)
        recorder.reconcile(live)

    guarded = watch.guard(note)

    def around(original: Any, self: Any, adapter_name: Any, *args: Any, **kwargs: Any) -> Any:
        if recorder.quiet:
            return original(self, adapter_name, *args, **kwargs)
        with recorder.silently():
            result = original(self, adapter_name, *args, **kwargs)
        guarded(self, adapter_name, plain_inputs(original, (self, adapter_name, *args), kwargs))
        return result

    return around
