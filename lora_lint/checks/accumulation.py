"""Gradients over the turns of a loop: LL303, LL304, LL307."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator
from typing import Any

from lora_lint.checks.base import Report, check
from lora_lint.checks.common import (
    argument,
    clears,
    feeds,
    held_models,
    loss_of,
    name_of,
    on_condition,
    only_when_set,
    trained,
    variable_of,
)
from lora_lint.checks.values import MISSING, given, is_option, literal
from lora_lint.findings import Applicability, FixPlan, InsertStatement, Intent, MoveStatement, RemoveStatement, Severity
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import BROKEN_OFF, GRADIENT_HOOKED, GRADIENT_TAKEN, Event, Guard, Trace
from lora_lint.lifecycle.vocabulary import Ev, Kind
from lora_lint.location import Location

TRAINING_STEP = "training-step"  # the context in which API specs run the user's override of a trainer's step


@check("LL303", on=Ev.STEP)
def wiped_in_accumulate_block(event: Event, trace: Trace) -> Iterator[Report]:
    """Gradients are cleared between the micro-batches of an `accumulate` block: at its start, before the backward, or
    through the model, whose zero_grad is never held back."""
    optimizer = event.role("optimizer")
    backward = next((e for e in trace.before(event, Ev.BACKWARD, Ev.STEP)), None)
    block = _accumulating(backward) if backward is not None and backward.kind is Ev.BACKWARD else None
    if optimizer is None or backward is None or block is None or not feeds(backward, optimizer):
        return
    for zero in trace.before(backward, Ev.ZERO_GRAD, Ev.BACKWARD):
        if zero.kind is Ev.BACKWARD:
            return
        held_back = zero.role("optimizer") is not None and block not in zero.within
        early = block in zero.within or _each_turn(zero, backward, trace)
        if early and not held_back and _surely(zero, backward) and _reaches(zero, backward):
            yield Report(
                zero,
                "zero_grad() wipes the gradients of the earlier micro-batches: only the last one of each step counts",
                help="call the optimizer's zero_grad() at the end of the block, after optimizer.step()",
                story=((backward, "gradients of each micro-batch are added here"),),
                plan=_clear_last(zero, event),
                severity=_gathers(block),
            )


def _accumulating(event: Event) -> Obj | None:
    """The `accumulate` block around an event, when it may gather more than one micro-batch."""
    block = next((c for c in reversed(event.within) if literal(c.facts.get("context")) == "accumulate"), None)
    return block if block is not None and _gathers(block) is not None else None


def _gathers(block: Obj) -> Severity | None:
    """How bad a wipe is in an `accumulate` block; None where it gathers one micro-batch, or its engine counts them."""
    accelerator = block.facts.get("accelerator")
    if not isinstance(accelerator, Obj) or given(accelerator.facts, "deepspeed_plugin"):
        return None
    if accelerator.facts.get("promoted"):
        return Severity.WARNING
    return _several(accelerator.facts.get("gradient_accumulation_steps"))


def _several(steps: Any) -> Severity | None:
    """How bad a wipe is for a number of accumulation steps: not at all for one, a warning when it is one unless it is set."""
    steps = steps.symbol if is_option(steps) else steps
    known = literal(steps)
    if known is not MISSING:
        return Severity.ERROR if isinstance(known, int) and known > 1 else None
    if getattr(steps, "key", None) is None:
        return None
    unset = getattr(steps, "default", None) or getattr(steps, "fallback", None)
    return Severity.WARNING if literal(unset) == 1 else Severity.ERROR


def _surely(zero: Event, other: Event) -> bool:
    """Whether the gradients are cleared under no condition of their own."""
    return set(zero.guards) <= set(other.guards)


def _reaches(zero: Event, backward: Event) -> bool:
    """Whether what is cleared is what the backward fills, as far as is known."""
    optimizer = zero.role("optimizer")
    if optimizer is not None:
        return feeds(backward, optimizer)
    models = trained(backward)
    return zero.model is None or not models or any(m.root is zero.model.root for m in models)


def _clear_last(zero: Event, step: Event) -> FixPlan | None:
    """Clear the optimizer's gradients after the step instead."""
    if step.statement is None or zero.statement is None or step.chain != zero.chain:
        return None
    title = "call the optimizer's zero_grad() after step()"
    if zero.role("optimizer") is not None:
        return FixPlan(Applicability.SAFE, title, (MoveStatement(zero.statement, step.statement, after=True),))
    name = variable_of(step, "optimizer")
    if not name:
        return None
    line = InsertStatement(step.statement, f"{name}.zero_grad()", after=True)
    return FixPlan(Applicability.SAFE, title, (line, RemoveStatement(zero.statement)))


@check("LL303", on=Ev.ZERO_GRAD)
def wiped_in_training_step(event: Event, trace: Trace) -> Iterator[Report]:
    """Gradients are cleared inside an override of a trainer's training_step, before its backward, whatever the batch."""
    trainer = next((o for o in reversed(event.within) if o.kind is Kind.TRAINER), None)
    if TRAINING_STEP not in event.contexts or trainer is None:
        return
    arguments = trainer.attrs.get("args")
    steps = argument(arguments, "gradient_accumulation_steps") if isinstance(arguments, Obj) else None
    severity = _several(steps)
    inside = any(TRAINING_STEP in e.contexts and trainer in e.within for e in trace.before(event, Ev.BACKWARD))
    train = next((e for e in trace.before(event, Ev.TRAIN) if e.role("trainer") is trainer), None)
    if severity is None or inside or (train is not None and on_condition(event, train)):
        return
    plan = None
    if event.statement is not None:
        intents: tuple[Intent, ...] = (RemoveStatement(event.statement),)
        plan = FixPlan(Applicability.SAFE, "leave clearing to the Trainer", intents)
    yield Report(
        event,
        "zero_grad() in training_step wipes the gradients of the earlier micro-batches: only the last one of each step counts",
        help="remove it: the Trainer clears the gradients after each optimizer step",
        plan=plan,
        severity=severity,
    )


@check("LL303", on=Ev.STEP)
def wiped_before_rare_step(event: Event, trace: Trace) -> Iterator[Report]:
    """The optimizer steps every n-th turn, but gradients are cleared in every turn."""
    optimizer = event.role("optimizer")
    rare = [guard for guard in event.guards if _every_nth(guard)]
    if optimizer is None or not rare:
        return
    backward = next((e for e in trace.before(event, Ev.BACKWARD) if feeds(e, optimizer)), None)
    if backward is None or set(rare) & set(backward.guards):
        return
    for zero in trace.before(backward, Ev.ZERO_GRAD, Ev.BACKWARD):
        if zero.kind is Ev.BACKWARD:
            return
        if clears(zero, optimizer) and _surely(zero, backward) and _each_turn(zero, backward, trace):
            yield Report(
                zero,
                "zero_grad() runs for every micro-batch, but the optimizer steps only every few: all but the last are wiped",
                help="clear the gradients after optimizer.step(), under the same condition",
                story=((backward, "gradients of each micro-batch are added here"), (event, "steps only now and then")),
                plan=_clear_last(zero, event),
                severity=Severity.WARNING if all(guard.unset for guard in rare) or only_when_set(event, zero) else None,
            )


@check("LL303", on=Ev.STEP)
def wiped_within_inner_loop(event: Event, trace: Trace) -> Iterator[Report]:
    """The optimizer steps behind a loop over micro-batches (or tasks), and each turn of that loop clears the gradients."""
    optimizer = event.role("optimizer")
    if optimizer is None:
        return
    turns: list[tuple[Event, Event]] = []  # a backward and what clears before it, newest first
    backward: Event | None = None
    for other in trace.before(event, Ev.BACKWARD, Ev.ZERO_GRAD, Ev.STEP):
        if other.kind is Ev.STEP:
            if other.role("optimizer") is optimizer:
                break
        elif other.kind is Ev.BACKWARD:
            backward = other if _feeds_surely(other, optimizer) else backward
        elif clears(other, optimizer):
            if backward is None or len(turns) == 2:
                break
            turns.append((backward, other))
            backward = None
    if len(turns) < 2:
        return
    (last, zero), (first, earlier) = turns[:2]
    loop = last.loop
    if loop is None or first.location != last.location or zero.location != earlier.location or inside(event, loop):
        return
    if not (inside(zero, loop) and _surely(zero, last)) or _on_the_same(first, last):
        return
    sites = {optimizer.root.site, *(m.root.site for model in held_models(optimizer) for m in model.models())}
    yield Report(
        zero,
        "zero_grad() runs in each turn of the loop, but the optimizer steps behind it: only the last turn counts",
        help="clear the gradients before the loop, or step in it",
        story=((last, "gradients of each turn are added here"), (event, "steps behind the loop")),
        unless=frozenset(
            {
                (BROKEN_OFF, loop),
                (GRADIENT_TAKEN,),
                (GRADIENT_HOOKED, zero.location.path),
                (Ev.STEP.value, optimizer.root.site, loop),
                *(("escaped", site) for site in sites),
            }
        ),
    )


def _on_the_same(first: Event, second: Event) -> bool:
    """Whether two losses come from forwards that were given some of the same data: the turns try something again (a
    perturbation of the inputs), they are no micro-batches."""
    return not _given_to(first).isdisjoint(_given_to(second))


def _given_to(backward: Event) -> set[Hashable]:
    """What tells apart the unknown values that the forwards behind a loss were given."""
    loss = loss_of(backward)
    found: set[Hashable] = set()
    for source in loss.sources if loss is not None else ():
        named, inputs = source.args.get("named"), source.args.get("inputs")
        values = [*getattr(named, "items", {}).values(), *getattr(inputs, "items", [])]
        values.extend(value for value, _ in getattr(named, "unpacked", ()))
        found.update(value.key for value in values if getattr(value, "key", None) is not None)
    return found


def _every_nth(guard: Guard) -> bool:
    """Whether a condition lets only every n-th turn through: `something % n == …`, `not something % n`, for an n that is
    not certainly 1."""
    key, arm = guard.key, guard.arm
    while isinstance(key, tuple) and len(key) == 2 and key[0] in ("and", "or", "not"):
        if key[0] == "not":
            key, arm = key[1], not arm
        elif key[0] == "and" and not arm:
            return False
        else:
            key = key[1][0]
    if isinstance(key, tuple) and len(key) == 3 and key[0] == "==":
        return arm and _remainder(key[1])
    return not arm and _remainder(key)


def _remainder(key: Hashable) -> bool:
    if not (isinstance(key, tuple) and len(key) == 3 and key[:2] == ("op", "%")):
        return False
    return bool(key[2][-1] != ("const", "int", 1))


def _each_turn(zero: Event, backward: Event, trace: Trace) -> bool:
    """Whether the gradients are cleared between any two turns of the loop that calls backward, not only at its start."""
    turns = [e.seq for e in trace.of(Ev.BACKWARD) if e.location == backward.location]
    cleared = [e.seq for e in trace.of(Ev.ZERO_GRAD) if e.location == zero.location]
    pairs = list(itertools.pairwise(turns))
    return bool(pairs) and all(any(one < seq < other for seq in cleared) for one, other in pairs)


def _repeats(event: Event, trace: Trace) -> bool:
    """Whether the same place was passed before: the event stands in a loop."""
    return any(e.location == event.location for e in trace.before(event, event.kind))


@check("LL304", on=Ev.END)
def optimizer_never_steps(event: Event, trace: Trace) -> Iterator[Report]:
    """An optimizer over the model was made, backward runs again and again, and nothing ever steps; or other optimizers do,
    and this one only clears its gradients."""
    stepped = {id(o.root) if (o := e.role("optimizer")) is not None else None for e in trace.of(Ev.STEP, Ev.TRAIN)}
    if None in stepped:
        return
    for made in trace.of(Ev.OPTIMIZER):
        optimizer = made.role("optimizer")
        if optimizer is None or optimizer.root.site is None or not held_models(optimizer):
            continue
        if id(optimizer.root) in stepped or (stepped and not _cleared_by_itself(optimizer, trace)):
            continue
        again = (b for b in trace.of(Ev.BACKWARD) if b.args.get("manual") or _repeats(b, trace))
        backward = next((b for b in again if _feeds_surely(b, optimizer)), None)
        if backward is not None:
            site = optimizer.root.site
            yield Report(
                backward,
                "backward runs, but no optimizer step ever follows: no parameter changes"
                if not stepped
                else f"backward runs, but {name_of(made, 'optimizer', 'this optimizer')} never steps: what it holds never changes",
                help="call optimizer.step() after backward()",
                story=((made, "this optimizer is never stepped"),),
                unless=frozenset(
                    {
                        (Ev.STEP.value, site),
                        (Ev.STEP.value, backward.location.path),
                        ("escaped", site),
                        (GRADIENT_HOOKED, backward.location.path),
                    }
                ),
            )
            return


def _cleared_by_itself(optimizer: Obj, trace: Trace) -> bool:
    """Whether an optimizer clears its gradients in a loop, as one does that is to step in it."""
    return any(z.role("optimizer") is optimizer and z.loop is not None for z in trace.of(Ev.ZERO_GRAD))


def _feeds_surely(backward: Event, optimizer: Obj) -> bool:
    by_library = backward.args.get("implicit") or "trainer" in backward.roles
    return not by_library and bool(trained(backward)) and feeds(backward, optimizer)


@check("LL307", on=Ev.END)
def gradients_never_zeroed(event: Event, trace: Trace) -> Iterator[Report]:
    """An optimizer steps in a loop and nothing in it ever clears the gradients of what it holds."""
    for optimizer in {id(o): o for o in (e.role("optimizer") for e in trace.of(Ev.STEP)) if o is not None}.values():
        steps = [e for e in trace.of(Ev.STEP) if e.role("optimizer") is optimizer]
        if optimizer.root.site is None or not held_models(optimizer):
            continue
        last = next((e for e in steps if _repeats(e, trace) and _fed_between(e, optimizer, trace) is not None), None)
        if last is None or last.args.get("closure") or TRAINING_STEP in last.contexts:
            continue
        zeros = [z for z in trace.of(Ev.ZERO_GRAD) if not z.args.get("skips")]
        cleared = [z for z in zeros if z.seq > steps[0].seq and clears(z, optimizer)]
        fed = _fed_between(last, optimizer, trace)
        loop = fed.loop if fed is not None else None
        if cleared and (loop is None or not inside(last, loop) or any(inside(z, loop) for z in cleared)):
            continue
        models = [m.root.site or last.location.path for model in held_models(optimizer) for m in model.models()]
        places = [optimizer.root.site, last.location.path, *models]
        where = loop if cleared else "again"
        unless: set[object] = {(Ev.ZERO_GRAD.value, place, where) for place in places}
        unless |= {("escaped", optimizer.root.site), (GRADIENT_HOOKED, last.location.path)}
        yield Report(
            last,
            "the gradients are never cleared: every step uses the sum of all batches so far"
            if not cleared
            else "the gradients are cleared outside of the loop only: every step in it uses the sum of all batches so far",
            help="call optimizer.zero_grad() after each optimizer.step()",
            story=((cleared[0], "cleared here"),) if cleared else (),
            plan=_clear(last),
            unless=frozenset(unless),
        )


def inside(event: Event, loop: Location) -> bool:
    """Whether an event happens in a loop, or in a function that the loop calls."""
    places = (event.location, *event.chain)
    return any(p.path == loop.path and loop.line <= p.line <= loop.end_line for p in places)


def _fed_between(step: Event, optimizer: Obj, trace: Trace) -> Event | None:
    """The known backward that fills the optimizer's gradients between two steps of it."""
    for other in trace.before(step, Ev.STEP, Ev.BACKWARD):
        if other.kind is Ev.STEP and other.role("optimizer") is optimizer:
            return None
        if other.kind is Ev.BACKWARD and _feeds_surely(other, optimizer):
            return other
    return None


def _clear(step: Event) -> FixPlan | None:
    name = variable_of(step, "optimizer")
    if not name or step.statement is None:
        return None
    line = InsertStatement(step.statement, f"{name}.zero_grad()", after=True)
    return FixPlan(Applicability.SAFE, "call zero_grad() after step()", (line,))
