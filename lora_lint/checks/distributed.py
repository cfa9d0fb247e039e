"""Programs of several processes: LL601 to LL605, LL607."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lora_lint.checks.base import Report, check
from lora_lint.checks.common import TRAINING, argument, learns, loss_of, maker, name_of, order_sites, own_line, trained
from lora_lint.checks.frozen import head_goes_on
from lora_lint.checks.heads import trains_head
from lora_lint.checks.values import literal, option_of
from lora_lint.checks.wrappers import call_wrapper, decide_first, entered, is_wrapper, wrap_later, wrapper_of
from lora_lint.findings import Applicability, FixPlan, ReplaceText, SetKeyword
from lora_lint.lifecycle.heap import Obj, TrainOp, adapters_of, covers
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import ADAPTER_PARTS, BASE_PARTS, Ev, Part, Tri
from lora_lint.location import Location

_SPREAD = frozenset({"auto", "balanced", "balanced_low_0", "sequential"})
REPLICAS = frozenset({"ddp", "accelerate"})
_SHARDED = frozenset({"fsdp2"})
_SEVERAL = frozenset({"ddp", "fsdp", "fsdp2", "accelerate"})
_THIS_GPU = '{"": int(os.environ.get("LOCAL_RANK", 0))}'


def wraps_of(model: Obj, kinds: frozenset[str]) -> list[Event]:
    """The events that wrapped a model for several processes, oldest first."""
    return [event for event in model.model.wraps if event.args.get("by") in kinds]


def _through_wrapper(forward: Event) -> bool:
    """Whether a forward goes through a wrapper of the model, not past it."""
    return wrapper_of(forward.model) or any(is_wrapper(o) for o in forward.within)


def _sharded(model: Obj) -> list[Event]:
    """What made the whole model one of several processes in place, so that every forward of it goes through the wrapper."""
    return [e for e in wraps_of(model, _SHARDED) if e.model is not None and not e.model.full_path]


# --- LL601 ------------------------------------------------------------------------------------------------------------


@check("LL601", on=Ev.END)
def device_map_auto_in_distributed(event: Event, trace: Trace) -> Iterator[Report]:
    """A model that is trained by several processes was spread over all GPUs by each."""
    for load in trace.of(Ev.LOAD):
        model = load.model
        value = load.args.get("map")
        if model is None or literal(value) not in _SPREAD:
            continue
        use = next((e for e in trace.of(*TRAINING, Ev.TRAINER) if any(m.root is model.root for m in _used(e))), None)
        evidence = _launched(model, trace)
        if use is None or evidence is None:
            continue
        where, note = evidence
        option = option_of(value)
        default = f" (the default of {option})" if option else ""
        yield Report(
            load,
            f'loads {name_of(load, "model")} with device_map="{literal(value)}"{default} in a program of several processes: '
            "each of them takes all GPUs, and the training fails",
            help='load it on the GPU of the process: device_map={"": local_rank}',
            story=((where, note), (use, "trained here")),
            plan=_own_gpu(load) if _by_launcher(trace) else None,
        )


def _used(event: Event) -> list[Obj]:
    if event.kind is Ev.TRAINER:
        return [event.model] if event.model is not None else []
    return trained(event)


def _launched(model: Obj, trace: Trace) -> tuple[Event | Location, str] | None:
    """What shows that the program runs as several processes."""
    start = next(trace.of(Ev.DISTRIBUTED), None)
    if start is not None:
        how = start.args.get("how")
        return start, how if isinstance(how, str) else "one of several processes, as this shows"
    wrap = next(iter(wraps_of(model, frozenset({"ddp", "fsdp", "fsdp2"}))), None)
    if wrap is not None:
        return wrap, "wrapped for several processes here"
    for trainer in trace.of(Ev.TRAINER):
        arguments = trainer.role("arguments")
        if arguments is None or trainer.model is None or trainer.model.root is not model.root:
            continue
        for name in ("deepspeed", "fsdp"):
            if isinstance(literal(argument(arguments, name)), str) and literal(argument(arguments, name)):
                return arguments.site or trainer, f"trained with {name}, one process per GPU"
    return None


def _by_launcher(trace: Trace) -> bool:
    """Whether a launcher started the processes, which tells each its rank in LOCAL_RANK; a script that passes the rank to
    init_process_group started them itself."""
    return not any("rank" in event.args.get("written", ()) for event in trace.of(Ev.DISTRIBUTED))


def _own_gpu(load: Event) -> FixPlan | None:
    if "device_map" not in load.args.get("written", ()):
        return None
    intent = SetKeyword(load.location, "device_map", _THIS_GPU)
    return FixPlan(Applicability.UNSAFE, "load onto the GPU of this process", (intent,), (("os", ""),))


# --- LL602, LL603 -----------------------------------------------------------------------------------------------------


@check("LL602", on=(Ev.TRAIN, Ev.BACKWARD))
def injected_after_wrap(event: Event, trace: Trace) -> Iterator[Report]:
    """The adapter of a model came after the wrapper through which it is trained, and it was not wrapped again."""
    for model in trained_through_wrapper(event):
        for member, adapter in adapters_of(model):
            wraps = wraps_of(member, _SEVERAL - _SHARDED) or _sharded(member)
            injection = adapter.event
            if not wraps or wraps[-1].seq > injection.seq:
                continue
            yield Report(
                injection,
                f"injects the adapter into {name_of(injection, 'model')} after it was wrapped for several processes: "
                "the adapter's gradients are never reduced, every process trains its own",
                help="inject the adapter first, then wrap the model (and build the optimizer)",
                story=((wraps[-1], "wrapped here"), (event, "trained here")),
                plan=wrap_later(wraps[-1], injection, trace),
                shown=_in_order(wraps[-1], injection),
            )


def _in_order(first: Event, second: Event) -> Location:
    """The line of an event in the function in which another one comes before it: there the order is wrong."""
    sites = order_sites(first, second)
    return sites[1] if sites is not None and sites[1] in second.chain else second.location


def trained_through_wrapper(event: Event) -> list[Obj]:
    """The models that an event trains through their wrapper for several processes."""
    if event.kind is Ev.TRAIN:
        return [event.model] if event.model is not None and wrapper_of(event.model) else []
    loss = loss_of(event)
    sources = loss.sources if loss is not None else ()
    models = [(source.model, _through_wrapper(source)) for source in sources if source.model is not None]
    return [model for model, through in models if through or _sharded(model)]


def _goes_past(backward: Event, member: Obj) -> bool:
    """Whether a loss comes from forwards of what a wrapper holds, and from none of the wrapper itself."""
    loss = loss_of(backward)
    sources = [s for s in loss.sources if s.model is not None and s.model.root is member.root] if loss else []
    return bool(sources) and not any(_through_wrapper(source) for source in sources)


@check("LL603", on=Ev.END)
def requires_grad_changed_after_wrap(event: Event, trace: Trace) -> Iterator[Report]:
    """What trains was changed once after DDP had registered the parameters."""
    for wrap in trace.of(Ev.WRAP):
        if wrap.model is None or wrap.args.get("by") != "ddp":
            continue
        for member in wrap.model.models():
            if wraps_of(member, REPLICAS)[-1:] != [wrap]:
                continue
            after = [op for op in member.model.ops if op.event.seq > wrap.seq and op.event.kind in (Ev.FREEZE, Ev.THAW)]
            # Of changes that follow each other, one may be a stage that another ends; none ends a thaw where all are thaws.
            alone = len({_same_change(op) for op in after}) == 1 or all(op.event.kind is Ev.THAW for op in after)
            op = next((o for o in after if alone and _changes(member, o, wrap)), None)
            changed = _changes(member, op, wrap) if op is not None else set()
            if op is None or (Tri.YES not in changed and not wrap.args.get("unused", Tri.NO).no):
                continue  # DDP that looks for unused parameters finds those that were frozen, and waits for none
            after_it = (e for e in trace.of(*TRAINING) if e.seq > op.event.seq)
            later = [e for e in after_it if any(m.root is member.root for m in trained(e))]
            backwards = [e for e in later if e.kind is Ev.BACKWARD]
            if backwards and all(_goes_past(e, member) for e in backwards):
                continue  # DDP counts the gradients of a forward of its own only
            training = next(iter(later), None)
            if training is not None:
                yield _changed(op.event, Tri.YES in changed, wrap, training, trace)


def _same_change(op: TrainOp) -> tuple[object, ...]:
    """What is alike in changes that later turns of a loop make once more."""
    return op.event.location, op.event.chain, op.path, tuple(sorted((p.value, a.value) for p, a in op.parts.items()))


def _changed(change: Event, thaws: bool, wrap: Event, training: Event, trace: Trace) -> Report:
    consequence = (
        "their gradients are never reduced, the processes drift apart"
        if thaws
        else "the second step fails in the reduction"
    )
    return Report(
        change,
        f"{'unfreezes' if thaws else 'freezes'} parameters after the model was wrapped in DDP: {consequence}",
        help="decide what trains before wrapping the model",
        story=((wrap, "wrapped here"), (training, "trained here")),
        plan=decide_first(change, wrap, trace),
    )


def _changes(member: Obj, op: TrainOp, wrap: Event) -> set[Tri]:
    """What a freeze or thaw surely changes against the state in which the model was wrapped: YES for parts that it thaws,
    NO for parts that it freezes. A freeze of every adapter is another rule's, unless a head goes on beside them."""
    if op.parts.get(Part.ADAPTER, Tri.UNKNOWN).no and not op.path:
        if not all(head_goes_on(adapter, op.event) for adapter in member.model.adapters):
            return set()
    written = set(op.parts.items()) | set(op.event.args.get("wrote", ()))
    for name, answer in op.event.args.get("extras", {}).items():
        copied = any(
            trains_head(adapter.config, name) for adapter in member.model.adapters if adapter.config is not None
        )
        written.add((Part.COPY if copied else Part.BASE, answer))
    opposite = {Tri.YES: Tri.NO, Tri.NO: Tri.YES}
    return {answer for part, answer in written if answer.known and before(member, part, wrap) is opposite[answer]}


def before(member: Obj, part: Part, wrap: Event) -> Tri:
    """Whether a part of the model required gradients when it was wrapped."""
    state = member.model
    for op in reversed(state.ops):
        if op.event.seq > wrap.seq or part not in op.parts:
            continue
        if part in ADAPTER_PARTS and op.adapter is not None and not covers(op.path, op.adapter.path).yes:
            continue
        if part in BASE_PARTS and op.adapter is not None:
            continue
        return op.parts[part] if not op.path else Tri.UNKNOWN
    return Tri.UNKNOWN


# --- LL604, LL605 -----------------------------------------------------------------------------------------------------


@check("LL604", on=Ev.WRAP)
def reentrant_under_ddp(event: Event, trace: Trace) -> Iterator[Report]:
    """DDP that looks for unused parameters, over a model that checkpoints reentrantly."""
    model = event.model
    if model is None or not _looks_for_unused(event):
        return
    for member in model.models():
        cause = member.model.checkpointing_event
        if cause is None or not _reentrant(member) or (member is not model and learns(member).no):
            continue  # a teacher inside may checkpoint: no gradient comes to it
        call = cause.location if cause.kind is Ev.CHECKPOINTING and cause.role("arguments") is None else None
        yield _marked_twice(cause, _not_reentrant(call) if call is not None else None, event, "wrapped here")


def _looks_for_unused(wrap: Event) -> bool:
    """Whether DDP certainly looks for unused parameters: as its own arguments say, or those that an accelerator passes."""
    if wrap.args.get("by") in ("ddp", "lightning"):
        return wrap.args.get("unused") is Tri.YES and wrap.args.get("static") is Tri.NO
    accelerator = wrap.role("accelerator")
    handlers = accelerator.facts.get("kwargs_handlers") if accelerator is not None else None
    for handler in getattr(handlers, "items", ()):
        facts = handler.facts if isinstance(handler, Obj) else {}
        if literal(facts.get("find_unused_parameters")) is True and literal(facts.get("static_graph")) in (None, False):
            return True
    return False


def _reentrant(model: Obj) -> bool:
    """Whether a model surely checkpoints reentrantly: as asked, or by the default of the targeted version."""
    state, cause = model.model, model.model.checkpointing_event
    default = cause is not None and not cause.maybe and cause.args.get("default") == "reentrant"
    return state.checkpointing == "reentrant" or (state.checkpointing == "default" and default)


@check("LL604", on=Ev.TRAIN)
def reentrant_in_arguments(event: Event, trace: Trace) -> Iterator[Report]:
    """A trainer in whose arguments both are asked for, or that looks for unused parameters because a PeftModel is no
    PreTrainedModel, in a program of several processes."""
    trainer = event.role("trainer")
    arguments = trainer.attrs.get("args") if trainer is not None else None
    if not isinstance(arguments, Obj) or arguments.site is None:
        return
    if any(argument(arguments, name) is not None for name in ("deepspeed", "fsdp", "ddp_static_graph")):
        return
    if any(start.args.get("replicas") is False for start in trace.of(Ev.DISTRIBUTED)):
        return  # the launcher starts it under DeepSpeed or FSDP
    if not (_asked_reentrant(arguments) or (event.model is not None and _reentrant(event.model))):
        return
    unused = argument(arguments, "ddp_find_unused_parameters")
    several = event.model is not None and event.model.type.startswith("peft.") and _launched(event.model, trace)
    if literal(unused) is True or (unused is None and several and not getattr(_given(arguments), "open", True)):
        only = literal(argument(arguments, "gradient_checkpointing")) is True
        asked = argument(arguments, "gradient_checkpointing_kwargs") is not None
        call = maker(arguments)
        told = _not_reentrant if only and asked else _not_unused
        plan = told(call) if call is not None else None
        yield _marked_twice(arguments.site, plan, event, "trained here")


def _given(arguments: Obj) -> Any:
    return arguments.facts.get("kwargs")


def _asked_reentrant(arguments: Obj) -> bool:
    kwargs = getattr(argument(arguments, "gradient_checkpointing_kwargs"), "items", None)
    asked = isinstance(kwargs, dict) and literal(kwargs.get("use_reentrant")) is True
    return asked and literal(argument(arguments, "gradient_checkpointing")) is True


def _not_reentrant(call: Location) -> FixPlan:
    intent = SetKeyword(call, "gradient_checkpointing_kwargs", '{"use_reentrant": False}')
    return FixPlan(Applicability.SAFE, "use non-reentrant checkpointing", (intent,))


def _not_unused(call: Location) -> FixPlan:
    intent = SetKeyword(call, "ddp_find_unused_parameters", "False")
    return FixPlan(Applicability.SAFE, "do not look for unused parameters", (intent,))


def _marked_twice(where: Event | Location, plan: FixPlan | None, user: Event, note: str) -> Report:
    return Report(
        where,
        "reentrant checkpointing under DDP with find_unused_parameters: the backward marks a parameter ready twice and fails",
        help='pass gradient_checkpointing_kwargs={"use_reentrant": False}, or ddp_find_unused_parameters=False',
        story=((user, note),),
        plan=plan,
    )


@check("LL605", on=Ev.END)
def name_filter_misses_prefix(event: Event, trace: Trace) -> Iterator[Report]:
    """A filter at the start of parameter names matches nothing, and would without the prefix of a wrapper."""
    for found in trace.of(Ev.FILTER):
        model = found.model
        training = (
            next((e for e in trace.of(*TRAINING) if any(m.root is model.root for m in _trained_whole(e))), None)
            if model
            else None
        )
        if training is None:
            continue
        variable, start = found.args["variable"], found.args["start"]
        plan = None
        while start and start not in found.args["name"]:
            start = start.partition(".")[2]  # a prefix that stands there, but not right before the name
        if variable and start:
            text = ReplaceText(found.location, f"{json.dumps(start)} in {variable}")
            plan = FixPlan(Applicability.UNSAFE, "look for the name anywhere, not at the start", (text,))
        yield Report(
            found,
            f"the filter matches no parameter: the names of the wrapped model begin otherwise (`{found.args['name']}`)",
            help="look for the name inside, or take the wrapper's prefix off first",
            story=((training, "trained here"),),
            plan=plan,
        )


def _trained_whole(event: Event) -> list[Obj]:
    return [member for model in trained(event) for member in model.models()]


# --- LL607 ------------------------------------------------------------------------------------------------------------


@check("LL607", on=Ev.BACKWARD)
def wrapped_model_bypassed(event: Event, trace: Trace) -> Iterator[Report]:
    """The loss comes from a forward of what a wrapper holds, and from none of the wrapper itself."""
    loss = loss_of(event)
    if loss is None:
        return
    past: dict[int, tuple[Event, Event]] = {}
    through: set[int] = set()
    for source in loss.sources:
        wraps = wraps_of(source.model, _SEVERAL - _SHARDED) if source.model is not None else []
        wraps = [wrap for wrap in wraps if wrap.seq < source.seq]
        if event.args.get("implicit"):  # a trainer's own wrapper is what it hands to the user's compute_loss
            wraps = [wrap for wrap in wraps if wrap.role("trainer") is event.role("trainer")]
        if _through_wrapper(source):
            through.update(id(wrap) for wrap in wraps)
        elif wraps and source.args.get("grad") is not Tri.NO:
            past[id(wraps[-1])] = (source, wraps[-1])
    for key, (source, wrap) in past.items():
        if key not in through:
            call = entered(source, wrap)
            fine = (e for e in trace.of(Ev.FORWARD) if e.args.get("grad") is Tri.NO or _through_wrapper(e))
            yield Report(
                source if call is None else call.location,
                "the training forward goes past the wrapper of the model: gradients are not reduced, every process trains alone",
                help="call the wrapped model",
                story=((wrap, "wrapped here"), (event, "backward here")),
                plan=call_wrapper(source, wrap, trace) if not event.args.get("implicit") else None,
                shown=own_line(source, fine) if call is None else None,
            )
