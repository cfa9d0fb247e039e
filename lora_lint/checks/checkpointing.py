"""Gradient checkpointing over a frozen base: LL204."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lora_lint.apis.tables import architectures
from lora_lint.checks.base import Report, check
from lora_lint.checks.common import TRAINING, name_of, part_trainable, trained
from lora_lint.checks.embeddings import adapts_embeddings, saves_embeddings
from lora_lint.checks.targets import all_outside
from lora_lint.checks.values import given, literal, strings
from lora_lint.findings import Applicability, FixPlan, SetKeyword, Severity
from lora_lint.lifecycle.heap import Adapter, Obj, adapters_of, trainable
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import BASE_PARTS, Ev, Kind, Part, Tri
from lora_lint.location import Location

_REENTRANT = ("reentrant", "default")


@check("LL204", on=TRAINING)
def checkpointing_without_input_grads(event: Event, trace: Trace) -> Iterator[Report]:
    """Reentrant checkpointing records a block only if an input requires gradients; a frozen embedding gives none."""
    for model in trained(event):
        if not _blocks_only(model, trace):
            continue
        cause = _switched_on(model, trace)
        if cause is None:
            continue
        adapter = model.model.adapters[-1]
        arguments = cause.role("arguments")
        where = arguments.event if arguments is not None and arguments.event is not None else cause
        yield Report(
            where,
            f"checkpoints {name_of(cause, 'model')} reentrantly, but no input of the frozen base requires gradients: "
            "the adapters inside get none",
            help='pass gradient_checkpointing_kwargs={"use_reentrant": False}, or call enable_input_require_grads() '
            "after the injection",
            story=((adapter.event, "adapter injected here"), (event, "trained here")),
            plan=_not_reentrant(where.location, arguments),
            maybe=cause.versions if cause.maybe else "",
            severity=Severity.INFO if cause.maybe else None,
        )


@check("LL204", on=(Ev.BACKWARD,))
def recomputed_without_input_grads(event: Event, trace: Trace) -> Iterator[Report]:
    """torch's own reentrant checkpoint() around a model with adapters, given nothing that requires gradients."""
    for call in trace.of(Ev.RECOMPUTE):
        if call.args.get("blind") is not Tri.YES and not _given_frozen_embeddings(call, trace):
            continue
        inside = (*call.chain, call.location)
        for forward in trace.of(Ev.FORWARD):
            within = forward.seq < call.seq and (*forward.chain, forward.location)[: len(inside)] == inside
            if not within or forward.model is None or forward.args.get("grad") is Tri.NO:
                continue
            if not any(trainable(member.model, adapter)[0].yes for member, adapter in _adapters(forward.model, trace)):
                continue
            intent = SetKeyword(call.location, "use_reentrant", "False")
            shown = name_of(forward, "model") if forward.location != call.location else "modules"
            yield Report(
                call,
                f"checkpoints {shown} reentrantly, and nothing it is given requires gradients: the "
                "adapters inside get none",
                help="pass use_reentrant=False",
                story=((forward, "forward through the adapters"), (event, "backward here")),
                plan=FixPlan(Applicability.SAFE, "use non-reentrant checkpointing", (intent,)),
            )
            break


def _adapters(module: Obj, trace: Trace) -> Iterator[tuple[Obj, Adapter]]:
    """The adapters in a module, each with the model that has it; also in a layer of a module of the user's, which one was
    injected into, by the name that it has there."""
    yield from adapters_of(module)
    for holder, adapter, name in _held_by(module, trace):
        targets = strings(adapter.config.facts.get("target_modules")) if adapter.config is not None else None
        if name in (targets or ()):
            yield holder, adapter


def _held_by(module: Obj, trace: Trace) -> Iterator[tuple[Obj, Adapter, str]]:
    """The adapted models that hold a module in their attributes, with their adapters and the name of the module."""
    for holder in {id(e.model.root): e.model for e in trace.of(Ev.INJECT) if e.model is not None}.values():
        for child, path in holder.inside():
            if child.root is module.root:
                yield from ((holder, adapter, path.split(".")[-1]) for adapter in holder.model.adapters)


def _frozen_beside_adapters(module: Obj, trace: Trace) -> bool:
    """Whether a module of the user's own is frozen, and the adapters of the model that it is in are in others."""
    held = list(_held_by(module, trace))
    state = module.model
    if not held or module.root.user_class is not None or state.escaped or state.adapters or not state.input_grads.no:
        return False
    if not all(part_trainable(state, part).no for part in BASE_PARTS):
        return False
    for holder, adapter, name in held:
        if not holder.model.input_grads.no:
            return False
        facts = adapter.config.facts if adapter.config is not None else {}
        if _trains_biases(facts):
            return False
        named = [strings(facts[key]) for key in ("target_modules", "modules_to_save") if given(facts, key)]
        if not named or any(names is None or name in names for names in named):
            return False
    return True


def _given_frozen_embeddings(call: Event, trace: Trace) -> bool:
    """Whether all that could require gradients in what is given comes straight from the frozen embedding of a model, and
    no hook makes its output require them."""
    outputs = call.args.get("outputs") or ()
    return bool(outputs) and all(
        forward.model is not None
        and (_frozen_embedding(forward.model, trace) or _frozen_beside_adapters(forward.model, trace))
        for forward in outputs
    )


def _frozen_embedding(part: Obj, trace: Trace) -> bool:
    """Whether a part of a library's model is its embedding, without adapters and frozen."""
    step, root, state = part.full_path.split(".")[-1], part.root, part.model
    if step not in architectures().embeddings or root.user_class is not None or state.escaped or _foreign(root):
        return False
    if not state.adapters or not state.input_grads.no or not part_trainable(state, Part.EMBED).no:
        return False
    return all(map(_as_loaded, _views(root, trace))) and all(
        _inside(adapter) and all_outside(adapter, root, step) for adapter in state.adapters
    )


def _views(root: Obj, trace: Trace) -> Iterator[Obj]:
    """A model and what wraps it."""
    yield root
    yield from (each for each in trace.objects if each.kind is Kind.MODEL and each.root is root)


def _own_embedding(module: Obj) -> bool:
    """Whether the user put another embedding into a module or, as far as its parts were looked at, into these: it may learn."""
    if any(name in architectures().embeddings for name in module.attrs):
        return True
    return any(map(_own_embedding, module.parts()))


def _as_loaded(module: Obj) -> bool:
    """Whether the user put nothing of their own into a module or, as far as its parts were looked at, into these."""
    own = (value for value in module.attrs.values() if getattr(value, "kind", None) is not Kind.MODEL_CONFIG)
    return next(own, None) is None and all(map(_as_loaded, module.parts()))


def _switched_on(model: Obj, trace: Trace) -> Event | None:
    """The event that switched reentrant checkpointing on while the inputs require no gradients: for certain, or (an
    event that is `maybe`) for some of the versions the project may use."""
    state = model.model
    if state.checkpointing in _REENTRANT and state.input_grads.no:
        return state.checkpointing_event
    hook = state.input_grads_event
    if hook is None or hook.kind is not Ev.CHECKPOINTING:
        return None
    for event in trace.of(Ev.CHECKPOINTING):
        same = event.model is not None and event.model.root is model.root
        if same and event.maybe and event.location == hook.location and event.args.get("value") in _REENTRANT:
            return event
    return None


def _blocks_only(model: Obj, trace: Trace) -> bool:
    """Whether all that trains in a model sits inside its blocks: adapters of known configs, embeddings frozen, and no
    inputs_embeds that other modules computed."""
    state = model.model
    if not state.adapters or state.escaped or model.root.user_class is not None or _foreign(model.root):
        return False
    if not part_trainable(state, Part.EMBED).no or any(map(_own_embedding, _views(model.root, trace))):
        return False
    if not all(trainable(state, adapter)[0].yes and _inside(adapter) for adapter in state.adapters):
        return False
    return not any(
        _given_embeddings(e) for e in trace.of(Ev.FORWARD) if e.model is not None and e.model.root is model.root
    )


def _foreign(root: Obj) -> bool:
    """Whether the model may be code that comes with the checkpoint, which checkpoints in a way of its own. Many scripts
    pass trust_remote_code for models that are part of the library by now: those have a name we know."""
    if root.event is None or root.event.kind is not Ev.LOAD or root.event.args.get("remote") in (None, False):
        return False
    name = root.model.architecture.lower()
    return not any(known in name for known in architectures().native)


def _inside(adapter: Adapter) -> bool:
    """Whether an adapter leaves the inputs of the blocks without gradients. Targets that cannot be read are taken for
    layers."""
    config = adapter.config
    if config is None or any(given(config.facts, key) for key in ("prompt", "loaded")) or _trains_biases(config.facts):
        return False
    return saves_embeddings(config).no and not adapts_embeddings(config).yes


def _trains_biases(facts: dict[str, Any]) -> bool:
    """Whether an adapter's config may make all biases learn, those in front of the blocks too."""
    return given(facts, "bias") and literal(facts["bias"]) not in ("none", "lora_only")


def _given_embeddings(forward: Event) -> bool:
    named = getattr(forward.args.get("named"), "items", None)
    return isinstance(named, dict) and "inputs_embeds" in named


def _may_be_zero3(arguments: Obj) -> bool:
    """Whether DeepSpeed may shard the parameters: its configuration says so, or cannot be read."""
    kwargs = getattr(arguments.facts.get("kwargs"), "items", {})
    if "deepspeed" not in kwargs:
        return False
    given_as, read = kwargs["deepspeed"], arguments.facts.get("deepspeed")
    config = getattr(given_as, "items", None) or getattr(read, "items", None)
    zero = getattr(config.get("zero_optimization"), "items", None) if isinstance(config, dict) else None
    return not (isinstance(zero, dict) and literal(zero.get("stage")) in (0, 1, 2))


def _not_reentrant(call: Location, arguments: Obj | None) -> FixPlan | None:
    """Ask for the other kind of checkpointing. DeepSpeed ZeRO-3 needs the reentrant one."""
    if arguments is not None and _may_be_zero3(arguments):
        return None
    intent = SetKeyword(call, "gradient_checkpointing_kwargs", '{"use_reentrant": False}')
    return FixPlan(Applicability.SAFE, "use non-reentrant checkpointing", (intent,))
