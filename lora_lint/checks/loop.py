"""The training loop: LL301, LL302."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from lora_lint.checks.base import Report, check
from lora_lint.checks.common import (
    changes_since_injection,
    clears,
    feeds,
    held_models,
    may_hold,
    name_of,
    on_condition,
    only_used,
    optimizers,
    order_sites,
)
from lora_lint.findings import Applicability, FixPlan, MoveStatement, RemoveStatement
from lora_lint.lifecycle.captures import Capture
from lora_lint.lifecycle.heap import Adapter, Obj, adapters_of, trainable
from lora_lint.lifecycle.trace import GRADIENT_WRITTEN, ONE_OF, Event, Trace
from lora_lint.lifecycle.vocabulary import Ev, Kind, Part
from lora_lint.location import Location


@check("LL301", on=(Ev.STEP, Ev.TRAIN))
def optimizer_before_adapter(event: Event, trace: Trace) -> Iterator[Report]:
    """The optimizer holds parameters of the model, but they were collected before the adapter existed (or was active)."""
    for optimizer in _stepped(event):
        captures = optimizer.facts.get("captures")
        made = next((e for e in trace.of(Ev.OPTIMIZER) if e.role("optimizer") is optimizer), None)
        if not captures or made is None or optimizer.facts.get("escaped"):
            continue
        for model in held_models(optimizer):
            for member, adapter in adapters_of(model):
                if not trainable(member.model, adapter)[0].yes or any(may_hold(o, adapter) for o in optimizers(trace)):
                    continue
                if only_used(adapter) and any(c.holds(a).yes for c in captures for a in member.model.adapters):
                    continue
                changed = _change(adapter, member, trace)
                capture = next(
                    (
                        c
                        for c in captures
                        if c.model.root is member.root and _around(c, adapter) and c.seq <= changed.seq
                    ),
                    None,
                )
                if capture is None:
                    continue
                where = made.location if made.seq <= changed.seq else capture.location
                yield Report(
                    where,
                    f"the optimizer collects the parameters of {name_of(adapter.event, 'model')} before the adapter is "
                    f"{_MADE.get(changed.kind, 'injected')}: it never updates the adapter",
                    help="build the optimizer (and its scheduler) after the adapter"
                    + (" is thawed, a second one for a second stage" if changed.kind is Ev.THAW else ""),
                    story=(
                        (changed, f"adapter {_COMES.get(changed.kind, 'comes')} here"),
                        (event, "optimizer steps here"),
                    ),
                    plan=_move(made, changed, optimizer, capture.statement, trace)
                    if not any(made.seq < e.seq < changed.seq for e in trace.of(Ev.STEP, Ev.TRAIN))
                    else None,
                    guards=made.guards,
                )


def _around(capture: Capture, adapter: Adapter) -> bool:
    """Whether what was collected is the whole model, or the part of it that the adapter was injected into later."""
    part = adapter.event.model.full_path if adapter.event.model is not None else ""
    return not capture.path or part == capture.path or part.startswith(f"{capture.path}.")


def _stepped(event: Event) -> list[Obj]:
    optimizer = event.role("optimizer")
    if optimizer is not None:
        return [optimizer]
    given = event.args.get("optimizers")
    items = getattr(given, "items", None)
    first = items[0] if isinstance(items, list) and items else event.args.get("optimizer_value")
    return [first] if isinstance(first, Obj) else []


_MADE = {Ev.ACTIVATE: "activated", Ev.THAW: "thawed"}
_COMES = {Ev.THAW: "is thawed"}


def _change(adapter: Adapter, member: Obj, trace: Trace) -> Event:
    """The event that made the adapter trainable: its activation, or what thawed it after it was frozen, else its injection."""
    activations = [
        e for e in trace.of(Ev.ACTIVATE) if e.seq > adapter.event.seq and e.args.get("adapter") == adapter.name
    ]
    if activations:
        return activations[0]
    since = [op for op in changes_since_injection(member, adapter) if op.adapter in (None, adapter)]
    thaws = [
        op.event
        for before, op in pairwise(since)
        if before.parts[Part.ADAPTER].no and op.parts[Part.ADAPTER].yes and op.event.kind is Ev.THAW and not op.path
    ]
    return thaws[-1] if thaws else adapter.event


def _move(made: Event, injection: Event, optimizer: Obj, collected: Location | None, trace: Trace) -> FixPlan | None:
    """Move the collection of parameters, the optimizer and what is built on it below the injection."""
    if made.chain != injection.chain:
        return _move_call(made, injection, optimizer, collected, trace)
    if made.statement is None or injection.statement is None:
        return None
    places: list[Location] = [collected] if collected is not None else []
    if made.seq < injection.seq:
        places.append(made.statement)
    for schedule in trace.of(Ev.SCHEDULE):
        if schedule.role("optimizer") is optimizer and schedule.seq < injection.seq and schedule.statement is not None:
            if schedule.chain != made.chain:
                return None
            places.append(schedule.statement)
    moves = tuple(MoveStatement(place, injection.statement, after=True) for place in dict.fromkeys(places))
    return FixPlan(Applicability.UNSAFE, "build the optimizer after the adapter", moves) if moves else None


def _move_call(
    made: Event, injection: Event, optimizer: Obj, collected: Location | None, trace: Trace
) -> FixPlan | None:
    """Swap the calls of the helpers that build the optimizer and inject the adapter."""
    sites = order_sites(made, injection)
    if sites is None or collected not in (None, made.statement) or made.seq >= injection.seq:
        return None
    places = [sites[0]]
    for schedule in trace.of(Ev.SCHEDULE):
        if schedule.role("optimizer") is not optimizer or schedule.seq > injection.seq or schedule.statement is None:
            continue
        if schedule.chain == made.chain and sites[0] == made.statement:
            places.append(schedule.statement)
        elif sites[0] not in schedule.chain:
            return None
    moves = tuple(MoveStatement(place, sites[1], after=True) for place in places)
    return FixPlan(Applicability.UNSAFE, "build the optimizer after the adapter", moves)


@check("LL302", on=Ev.STEP)
def gradients_wiped_before_step(event: Event, trace: Trace) -> Iterator[Report]:
    """zero_grad() came between the backward and the step that should use its gradients."""
    optimizer = event.role("optimizer")
    if optimizer is None:
        return
    wipe: Event | None = None
    for other in trace.before(event, Ev.BACKWARD, Ev.ZERO_GRAD, Ev.STEP):
        if other.kind is Ev.STEP and other.role("optimizer") is optimizer:
            return
        if other.kind is Ev.BACKWARD and feeds(other, optimizer):
            if wipe is not None and not on_condition(wipe, event, other) and not _of_an_earlier_stage(other, event):
                yield Report(
                    wipe,
                    "zero_grad() wipes the gradients between backward() and step(): the step changes nothing",
                    help="call zero_grad() before backward() or after step()",
                    story=((other, "gradients computed here"), (event, "step without gradients here")),
                    plan=_after_step(wipe, event),
                    unless=frozenset({(GRADIENT_WRITTEN, wipe.location.path)}),
                )
            return
        if other.kind is Ev.ZERO_GRAD and wipe is None and _wipes(other, optimizer):
            wipe = other


def _of_an_earlier_stage(backward: Event, step: Event) -> bool:
    """Whether a backward came before a trainer, which makes each step with a backward of its own: its gradients were for
    something else (scores of layers, say)."""
    of_trainer = backward.args.get("implicit") or any(holder.kind is Kind.TRAINER for holder in backward.within)
    return bool(step.args.get("implicit")) and not of_trainer


def _wipes(zero: Event, optimizer: Obj) -> bool:
    if ONE_OF in zero.contexts:  # opts[other].zero_grad()
        return False
    return clears(zero, optimizer) and not (zero.model is not None and zero.model.full_path)


def _after_step(wipe: Event, step: Event) -> FixPlan | None:
    if step.args.get("implicit") and wipe.statement is not None:
        return FixPlan(Applicability.SAFE, "leave that to the trainer", (RemoveStatement(wipe.statement),))
    if wipe.chain != step.chain or wipe.statement is None or step.statement is None:
        return None
    return FixPlan(
        Applicability.SAFE,
        "clear the gradients after the step",
        (MoveStatement(wipe.statement, step.statement, after=True),),
    )
