"""Models that are trained without an adapter that could learn: LL109, LL113, LL114."""

from __future__ import annotations

from collections.abc import Iterator

from lora_lint.checks.base import Report, check
from lora_lint.checks.common import (
    TRAINING,
    has_adapters,
    held_models,
    learns,
    may_hold,
    name_of,
    not_beside_a_learner,
    only_used,
    optimizers,
    trained,
    variable_of,
)
from lora_lint.findings import Applicability, FixPlan, InsertStatement, Severity
from lora_lint.lifecycle.effects import merged_in_place
from lora_lint.lifecycle.heap import Adapter, Obj, adapters_of, trainable
from lora_lint.lifecycle.trace import VALUES_HANDLED, Event, Tensor, Trace
from lora_lint.lifecycle.vocabulary import Ev, Kind, Part, Tri


@check("LL109", on=TRAINING)
def trained_after_merge(event: Event, trace: Trace) -> Iterator[Report]:
    """The adapter was merged, unloaded or disabled, and the model is trained all the same."""
    if event.kind is Ev.BACKWARD and next(trace.of(Ev.OPTIMIZER, Ev.STEP), None) is None:
        return  # gradients may be what is wanted: nothing is there that would train with them
    for model in not_beside_a_learner(trained(event)):
        for member in model.models():
            cause = _merged(member) or _switched_off(member, event)
            if cause is not None:
                done = {Ev.MERGE: "merges", Ev.UNLOAD: "unloads"}.get(cause.kind, "switches off")
                yield Report(
                    cause,
                    f"{done} the adapter of {name_of(cause, 'model')} before the training: nothing is left to train",
                    help="merge when the training is over; to go on from a merged model inject a new adapter"
                    if cause.kind is not Ev.DISABLE
                    else "enable the adapter layers again, or use `with model.disable_adapter():`",
                    story=((event, "trained here"),),
                )


def _merged(model: Obj) -> Event | None:
    """The merge that left nothing to train."""
    merged = model.model.merged
    if merged is None or merged.args.get("keeps_adapters") or not has_adapters(model).no:
        return None
    return merged if learns(model).no else None


def _switched_off(model: Obj, event: Event) -> Event | None:
    """What kept the adapters out of the forward that is trained; a forward with them in it, or anything else that
    learns, makes it healthy."""
    if not model.model.adapters or _base_learns(model):
        return None
    if event.kind is Ev.TRAIN:
        return model.model.disabled or merged_in_place(model)
    loss = event.args.get("loss")
    if not isinstance(loss, Tensor):
        return None
    forwards = [f for f in loss.sources if f.model is not None and f.args.get("grad") is not Tri.NO]
    offs = [f.args.get("off") for f in forwards if f.model is not None and f.model.root is model.root]
    first = offs[0] if offs and len(offs) == len(forwards) else None
    return first if isinstance(first, Event) and all(isinstance(o, Event) for o in offs) else None


def _base_learns(model: Obj) -> bool:
    """Whether a part of the base may learn."""
    for op in model.model.ops:
        if op.event.kind is Ev.THAW or op.event.kind is Ev.CALL:
            return True
    return any(
        adapter.config is not None and "modules_to_save" in adapter.config.facts for adapter in model.model.adapters
    )


# --- adapters that are not active -------------------------------------------------------------------------------------


@check("LL113", on=(Ev.TRAIN, Ev.STEP))
def inactive_adapter_trained(event: Event, trace: Trace) -> Iterator[Report]:
    """An adapter that is to be trained, by its loading or by the optimizer, is not the active one."""
    if _chosen_by_trainer(event):
        return
    for model in trained(event):
        for member, adapter in adapters_of(model):
            if not adapter.active.no or not isinstance(adapter.name, str):
                continue
            cause = _deactivation(adapter, member, trace)
            alone = _held_alone(event, adapter, member) and not _next_in_turn(event, cause, member, trace)
            meant = _loaded_to_train(adapter, member) or alone or _only_new(adapter, member)
            if not meant and not _starts_a_stage(event, adapter, member, trace):
                continue
            yield Report(
                cause or adapter.event,
                f'the adapter "{adapter.name}" is to be trained but is not active: it gets no gradient',
                help=f'call set_adapter("{adapter.name}") before the training',
                story=(*(((adapter.event, "it comes here"),) if cause is not None else ()), (event, "trained here")),
                plan=_activate(adapter) if cause is None else None,
                severity=None if meant else Severity.WARNING,
                unless=frozenset() if meant else frozenset((w, member.root.site) for w in _OTHER_USE),
            )


def _chosen_by_trainer(event: Event) -> bool:
    """Whether the trainer's arguments name the adapters: it switches them itself."""
    trainer = event.role("trainer")
    arguments = trainer.attrs.get("args") if trainer is not None else None
    kwargs = getattr(arguments.facts.get("kwargs"), "items", {}) if isinstance(arguments, Obj) else {}
    return "model_adapter_name" in kwargs or "ref_adapter_name" in kwargs


def _loaded_to_train(adapter: Adapter, model: Obj) -> bool:
    """Whether it was loaded with is_trainable=True and still is trainable."""
    asked = adapter.loaded and adapter.event.args.get("trainable") is Tri.YES
    return asked and trainable(model.model, adapter)[0].yes


def _held_alone(event: Event, adapter: Adapter, model: Obj) -> bool:
    """Whether the optimizer was given this adapter and none of the others, which existed by then."""
    optimizer = event.role("optimizer")
    captures = optimizer.facts.get("captures") if optimizer is not None else None
    own = [c for c in captures or () if c.model.root is model.root]
    others = [other for other in model.model.adapters if other is not adapter]
    if not own or not others or not any(c.holds(adapter).yes for c in own):
        return False
    return all(other in c.adapters and c.holds(other).no for c in own for other in others)


def _next_in_turn(step: Event, switch: Event | None, model: Obj, trace: Trace) -> bool:
    """Whether the adapter that was made active is the next to be trained: the optimizer stepped before, or was built before
    and no optimizer has that adapter, which is the mistake then (LL301)."""
    optimizer = step.role("optimizer")
    if switch is None or optimizer is None:
        return False
    earlier = [e for e in trace.of(Ev.STEP, Ev.OPTIMIZER) if e.role("optimizer") is optimizer and e.seq < switch.seq]
    if any(e.kind is Ev.STEP for e in earlier):
        return True
    active = [a for a in model.model.adapters if a.active.yes and not only_used(a)]
    return bool(earlier) and any(not any(may_hold(o, a) for o in optimizers(trace)) for a in active)


def _only_new(adapter: Adapter, model: Obj) -> bool:
    """Whether it was added, and nothing else in the model learns: then it must be the one that was meant."""
    return not adapter.loaded and learns(model).no


# What shows, at any time, that an adapter is there for something else than the training that follows.
_OTHER_USE = (Ev.ACTIVATE.value, VALUES_HANDLED)


def _starts_a_stage(event: Event, adapter: Adapter, model: Obj, trace: Trace) -> bool:
    """Whether it was added between two trainings, the second of which has an optimizer or a trainer of its own: the next
    stage is that of the new adapter, unless something fills it or makes it active at any time."""
    added = adapter.event
    if adapter.loaded or adapter.config is None or not _same_model(added.model, model):
        return False
    before = (e for e in trace.of(Ev.TRAIN, Ev.STEP) if e.seq < added.seq)
    if not any(m.root is model.root for e in before for m in trained(e)):
        return False
    filled = (e for e in trace.of(Ev.LOAD_STATE, Ev.CALL, Ev.ACTIVATE) if e.seq > added.seq)
    if any(_same_model(e.model, model) for e in filled):
        return False
    trainer = event.role("trainer")
    if trainer is not None:
        return trainer.event is not None and trainer.event.seq > added.seq
    optimizer = event.role("optimizer")
    return any(e.role("optimizer") is optimizer and e.seq > added.seq for e in trace.of(Ev.OPTIMIZER))


def _same_model(one: Obj | None, other: Obj) -> bool:
    return one is not None and one.root is other.root


def _deactivation(adapter: Adapter, model: Obj, trace: Trace) -> Event | None:
    """The event that made another adapter active, None when this one never was."""
    for event in reversed(list(trace.of(Ev.ACTIVATE))):
        if event.seq > adapter.event.seq and event.model is not None and event.model.root is model.root:
            return event
    return None


def _activate(adapter: Adapter) -> FixPlan | None:
    name = variable_of(adapter.event, "model")
    if not name or adapter.event.statement is None:
        return None
    line = InsertStatement(adapter.event.statement, f'{name}.set_adapter("{adapter.name}")', after=True)
    return FixPlan(Applicability.UNSAFE, "make the adapter active", (line,))


# --- no adapter at all ------------------------------------------------------------------------------------------------


@check("LL114", on=(Ev.TRAIN, Ev.STEP))
def quantized_without_adapter(event: Event, trace: Trace) -> Iterator[Report]:
    """A model quantized by bitsandbytes is trained, and it has no adapter."""
    optimizer = event.role("optimizer")
    models = held_models(optimizer) if event.kind is Ev.STEP and optimizer is not None else trained(event)
    if any(not _bare(model) for model in models):
        return
    for model in models:
        load = model.root.event
        if load is None or load.kind is not Ev.LOAD or (event.kind is Ev.STEP and not _whole(optimizer, model)):
            continue
        yield Report(
            load,
            f"{name_of(load, 'model', 'this model')} is quantized and trained without an adapter: its weights cannot learn",
            help="attach one with get_peft_model, or pass peft_config= to the trainer",
            story=((event, "trained here"),),
            guards=tuple(trace.skipped),
            # Where the user's settings can give this model an adapter, being without one is a matter of settings as well.
            unless=frozenset({(Ev.INJECT.value, model.root.site)}),
        )


def _bare(model: Obj) -> bool:
    """Whether a model is certainly quantized, without adapters, and nothing in it was thawed, added or merged."""
    root, state = model.root, model.model
    if (
        root.user_class is not None
        or not state.quantization.bnb
        or not has_adapters(model).no
        or state.merged is not None
    ):
        return False
    # `model.config` is an object as well, and holds no parameters.
    if any(isinstance(value, Obj) and value.kind is not Kind.MODEL_CONFIG for value in root.attrs.values()):
        return False
    return not state.escaped and all(op.event.kind not in (Ev.THAW, Ev.CALL) for op in state.ops)


def _whole(optimizer: Obj | None, model: Obj) -> bool:
    """Whether the optimizer holds the weights, not only norms or a head."""
    captures = optimizer.facts.get("captures") if optimizer is not None else None
    own = [c for c in captures or () if c.model.root is model.root]
    return bool(own) and any(not c.path and not c.parts.get(Part.BASE, Tri.NO).no for c in own)
