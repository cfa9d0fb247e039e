"""What an event does to the heap: the transfer functions shared by the interpreter and the runtime recorder.

Each function takes the event (already placed in the trace's order) and changes the state of the objects in its roles.
They know the lifecycle ("injection freezes the base model and makes the adapter trainable"), never a library: which call
is an injection is said by the API specs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lora_lint.lifecycle.heap import SOME, WHOLE_PATHS, Adapter, ModelState, Obj, TrainOp, apart, trainable
from lora_lint.lifecycle.trace import Event
from lora_lint.lifecycle.vocabulary import ADAPTER_PARTS, ALL_PARTS, BASE_PARTS, Ev, Mode, Part, Quant, Tri


def apply(event: Event) -> None:
    """Change the state of the objects in the event's roles; unknown roles change nothing."""
    transfer = _TRANSFER.get(event.kind)
    if transfer is not None and event.model is not None:
        transfer(event, event.model)
    elif event.kind is Ev.STEP and (optimizer := event.role("optimizer")):
        optimizer.facts["stepped"] = event
    elif event.kind is Ev.ENABLE:
        return


def _load(event: Event, model: Obj) -> None:
    state = model.model
    state.quantization = event.args.get("quantization", Quant.NONE)
    state.mode = event.args.get("mode", Mode.LOADED)
    state.mode_event = event
    state.architecture = event.args.get("architecture", "")
    state.saved_adapter = Tri.UNKNOWN if event.args.get("bare") is Tri.UNKNOWN else Tri.NO
    state.dtype = event.args.get("dtype", "unknown")
    state.device = event.args.get("device", "unknown")
    state.ops.append(TrainOp(event, dict.fromkeys(ALL_PARTS, Tri.YES)))


def _inject(event: Event, model: Obj) -> None:
    """args: adapter (name or None), trainable (Tri), loaded (bool), stacks (bool: a full injection over what is there),
    base ("freeze" | "keep"), merges (bool: what was there is merged first)."""
    state = model.model
    before = tuple(state.adapters)
    event.adapters = before
    if event.args.get("loaded") and event.args.get("stacks") is False and _has(state, event.args.get("adapter")):
        return  # its weights are written into the one of this name
    state.saved_adapter = Tri.NO  # from here on it has one that we know of
    path = model.full_path
    if event.args.get("merges"):
        state.adapters.clear()
    adapter = Adapter(
        name=event.args.get("adapter"),
        config=event.role("config"),
        event=event,
        loaded=bool(event.args.get("loaded")),
        path=path,
        over=tuple(a for a in before if _meet(a.path, path)) if event.args.get("stacks", True) else (),
    )
    if event.args.get("active", Tri.YES) is not Tri.YES:
        adapter.active = event.args["active"]
    adapter.copy_dtype = state.dtype if state.quantization is Quant.NONE else "unknown"
    adapter.dtype = _adapter_dtype(adapter.copy_dtype, event.args.get("upcast"))
    adapter.dtype_event = event
    state.adapters.append(adapter)
    if event.args.get("base", "freeze") == "freeze":
        state.ops.append(TrainOp(event, dict.fromkeys(BASE_PARTS, Tri.NO), path))
        for child in () if path else model.children():
            child.model.ops.append(TrainOp(event, dict.fromkeys(BASE_PARTS, Tri.NO)))
    answer = event.args.get("trainable", Tri.YES)
    state.ops.append(TrainOp(event, dict.fromkeys(ADAPTER_PARTS, answer), path, adapter))
    if event.args.get("mode") is not None:
        state.mode, state.mode_event = event.args["mode"], event


def _meet(path: str, other: str) -> bool:
    """Whether two adapters in parts of a model have modules in common: one part lies in the other. Those of two turns of a
    loop over a list of modules have none."""
    return SOME not in path + other and not apart(path, other)


def _has(state: ModelState, name: object) -> bool:
    """Whether a model certainly has an adapter of a name."""
    return isinstance(name, str) and any(adapter.name == name for adapter in state.adapters)


def _adapter_dtype(base: str, upcast: Tri | None) -> str:
    """The dtype of a new adapter: that of the base, or fp32 where peft makes it so for a base in 16 bits."""
    if upcast is None or upcast.no or base not in ("fp16", "bf16"):
        return base
    return "fp32" if upcast.yes else "unknown"


def _prepare(event: Event, model: Obj) -> None:
    """prepare_model_for_kbit_training: everything frozen; input grads and checkpointing as the spec says."""
    state = model.model
    event.adapters = tuple(state.adapters)
    state.prepared = event
    for member in model.models():
        member.model.ops.append(TrainOp(event, dict.fromkeys(ALL_PARTS, Tri.NO), member.full_path))
    if state.quantization is Quant.NONE:
        return  # the other half is for quantized models only
    unknown = {"input_grads": Tri.UNKNOWN, "checkpointing": "unknown"}
    for key in ("input_grads", "checkpointing"):
        value = event.args.get(key)
        if value not in (None, Tri.NO, "off"):
            setattr(state, key, unknown[key] if state.quantization is Quant.UNKNOWN else value)
            setattr(state, f"{key}_event", event)


def _freeze_thaw(event: Event, model: Obj) -> None:
    """args: parts (Part -> Tri; default all parts, frozen or thawed by the event's kind), adapter (Adapter or None).
    A whole model of models (user modules) passes it on to each. apart: of those to which something else happens, the parts
    (by the identity of the root)."""
    answer = Tri.YES if event.kind is Ev.THAW else Tri.NO
    if "value" in event.args:
        answer = event.args["value"]
    given: dict[Part, Tri] | None = event.args.get("parts")  # none of them: it touched only what has a name of its own
    parts = given if given is not None else dict.fromkeys(ALL_PARTS, answer)
    members = list(model.models())
    event.adapters = tuple(a for m in members for a in m.model.adapters)
    apart: dict[int, dict[Part, Tri]] = event.args.get("apart") or {}
    for member in members:
        here = apart.get(id(member.root), parts)
        member.model.ops.append(TrainOp(event, dict(here), member.full_path, event.args.get("only")))


def _mode(event: Event, model: Obj) -> None:
    for member in model.models():
        if member is not model or WHOLE_PATHS.issuperset(member.full_path.split(".")):
            member.model.mode = event.args.get("mode", Mode.UNKNOWN)
            member.model.mode_event = event


def _move(event: Event, model: Obj) -> None:
    for member in model.models():
        member.model.device = event.args.get("device", "unknown")
    if event.args.get("dtype") not in (None, "unknown"):
        _cast(event, model)


def _cast(event: Event, model: Obj) -> None:
    """args: dtype; trained (bool: only what requires gradients is cast)."""
    dtype = event.args.get("dtype") or "unknown"
    for member in model.models():
        if not event.args.get("trained"):
            member.model.dtype = dtype
        for adapter in member.model.adapters:
            adapter.dtype = adapter.copy_dtype = dtype
            adapter.dtype_event = event


def _wrap(event: Event, model: Obj) -> None:
    for member in model.models():
        member.model.wraps.append(event)


def _input_grads(event: Event, model: Obj) -> None:
    if event.args.get("value", Tri.YES) is not Tri.NO:
        model.model.input_grads, model.model.input_grads_event = event.args.get("value", Tri.YES), event


def _checkpointing(event: Event, model: Obj) -> None:
    model.model.checkpointing = event.args.get("value", "unknown")
    model.model.checkpointing_event = event
    if event.args.get("input_grads", Tri.NO) is not Tri.NO and not model.model.input_grads.yes:
        model.model.input_grads, model.model.input_grads_event = event.args["input_grads"], event


def _resize(event: Event, model: Obj) -> None:
    model.model.resized = event


def _merge(event: Event, model: Obj) -> None:
    """merge_and_unload / unload: no adapter any more in the returned base; the wrapper keeps a shell."""
    state = model.model
    event.adapters = tuple(state.adapters)
    if not event.args.get("keeps_adapters"):
        state.adapters.clear()
        state.saved_adapter = Tri.NO
    state.merged = event


def _disable(event: Event, model: Obj) -> None:
    model.model.disabled = event


def _enable(event: Event, model: Obj) -> None:
    """args: thaws (bool: the active adapters require gradients from now on, whatever they did before)."""
    model.model.disabled = None
    if event.args.get("thaws"):
        thaw_active(event, model)
    if merged_in_place(model) is not None:
        model.model.merged = None


def thaw_active(event: Event, model: Obj, answer: Tri = Tri.YES) -> None:
    """Active adapters that were frozen require gradients now (or may)."""
    for adapter in model.model.adapters:
        if not adapter.active.no and not trainable(model.model, adapter)[0].yes:
            value = answer if adapter.active.yes else Tri.UNKNOWN
            model.model.ops.append(TrainOp(event, dict.fromkeys(ADAPTER_PARTS, value), "", adapter))


def merged_in_place(model: Obj) -> Event | None:
    """The event that merged the adapters into the weights and left them there, to be taken out again."""
    merged = model.model.merged
    return merged if merged is not None and merged.args.get("keeps_adapters") else None


def _activate(event: Event, model: Obj) -> None:
    """set_adapter: the named one active and trainable, the others inactive and frozen (unless inference_mode)."""
    wanted = event.args.get("adapter")
    names = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    answer: Tri = event.args.get("trainable", Tri.YES)
    for adapter in model.model.adapters:
        chosen = _is_among(adapter.name, names)
        adapter.active = chosen
        value = chosen if answer.yes else Tri.NO if answer.no else Tri.UNKNOWN
        model.model.ops.append(TrainOp(event, dict.fromkeys(ADAPTER_PARTS, value), "", adapter))


def _is_among(name: object, names: Sequence[object]) -> Tri:
    """Whether an adapter's name is one of these. Names that are not known are certain only of themselves."""
    if name is not None and name in names:
        return Tri.YES
    return Tri.NO if all(isinstance(each, str) for each in (name, *names)) else Tri.UNKNOWN


def _forward(event: Event, model: Obj) -> None:
    """A forward remembers the mode it ran in, and what kept the adapters out of it: by the time of the step both may have
    changed."""
    event.args.setdefault("off", model.model.disabled or merged_in_place(model))
    event.adapters = tuple(model.model.adapters)
    event.args.setdefault("mode", model.model.mode)
    event.args.setdefault("mode_event", model.model.mode_event)


def _train(event: Event, model: Obj) -> None:
    """A trainer's own train() puts the model in train mode."""
    if event.args.get("mode", Mode.TRAIN) is Mode.TRAIN and event.kind is Ev.TRAIN:
        for member in model.models():
            member.model.mode, member.model.mode_event = Mode.TRAIN, event


_TRANSFER: dict[Ev, Callable[[Event, Obj], Any]] = {
    Ev.LOAD: _load,
    Ev.INJECT: _inject,
    Ev.PREPARE: _prepare,
    Ev.FREEZE: _freeze_thaw,
    Ev.THAW: _freeze_thaw,
    Ev.MODE: _mode,
    Ev.MOVE: _move,
    Ev.CAST: _cast,
    Ev.WRAP: _wrap,
    Ev.INPUT_GRADS: _input_grads,
    Ev.CHECKPOINTING: _checkpointing,
    Ev.RESIZE: _resize,
    Ev.MERGE: _merge,
    Ev.UNLOAD: _merge,
    Ev.DISABLE: _disable,
    Ev.ENABLE: _enable,
    Ev.ACTIVATE: _activate,
    Ev.FORWARD: _forward,
    Ev.TRAIN: _train,
}


def frozen_by(model: Obj) -> list[tuple[Adapter, Event]]:
    """Adapters of the model that are certainly frozen now, with the event that froze each; empty when one adapter is
    trainable or unknown (then something may still be learned)."""
    out: list[tuple[Adapter, Event]] = []
    for member in model.models():
        for adapter in member.model.adapters:
            answer, cause = trainable(member.model, adapter)
            if not answer.no or cause is None:
                return []
            out.append((adapter, cause))
    return out
