"""The proof chain of a recorded run: trainable, then a gradient, then held by an optimizer, then changed."""

from __future__ import annotations

from collections.abc import Iterator

from lora_lint.checks.base import Report, check
from lora_lint.checks.runtime_facts import (
    ADAPTER,
    active,
    adapters,
    backward_place,
    by_layer,
    excused,
    expected,
    is_adapter,
    kind_of,
    place,
    ranks,
    some,
    stepped,
)
from lora_lint.findings import Severity
from lora_lint.lifecycle.record import OptimizerRecord, RankRecord, TensorRecord
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import Ev
from lora_lint.location import Location

# Below this share of the adapter tensors, missing gradients may be layers whose output the loss does not use.
MANY = 0.25


@check("LL901", on=Ev.END)
def no_trainable_parameters(event: Event, trace: Trace) -> Iterator[Report]:
    """Nothing is trainable in the models that ran."""
    for rank in ranks(event):
        tensors = [t for t in rank.tensors if t.model >= 0 and rank.trained(t)]  # empty shards count here
        if not tensors or not (rank.backwards or rank.steps):
            continue
        if any(t.trainable for t in tensors):
            mine = [t for t in tensors if t.part == ADAPTER]
            if mine and not any(t.trainable for t in mine):
                yield _only_frozen_adapters(rank, mine)
            continue
        many = [t for t in tensors if is_adapter(t)]
        what = f"all {len(many)} adapter tensors are frozen" if many else "no adapter was ever injected"
        yield Report(
            place(rank),
            f"no parameter is trainable in the model that ran: {what}, so the loss cannot fall",
            help="make the adapter trainable before the training, and check it with print_trainable_parameters()",
        )


def _only_frozen_adapters(rank: RankRecord, mine: list[TensorRecord]) -> Report:
    others = [t for t in active(rank) if t.trainable]
    return Report(
        place(rank),
        f"all {len(mine)} adapter tensors are frozen; only {some([t.name for t in others])} can learn",
        help="make the adapter trainable, or take it out if only the other parameters are to be trained",
        severity=Severity.WARNING,
    )


@check("LL902", on=Ev.END)
def trainable_without_gradient(event: Event, trace: Trace) -> Iterator[Report]:
    """Trainable, in a forward with gradients, and never a gradient, or only zeros that nothing excuses."""
    for rank in ranks(event):
        judged = [t for t in expected(rank) if t.samples and t.ran is not False]
        if not judged or not rank.backwards:
            continue
        missing = [t for t in judged if not t.gradients]
        dead = _dead(judged)
        lost = missing + dead
        if not lost:
            continue
        if any(is_adapter(t) for t in judged):
            if len(lost) / len(judged) < MANY:
                continue
        elif len(lost) < len(judged):
            continue
        yield Report(
            backward_place(rank),
            f"{len(lost)} of {len(judged)} {kind_of(judged)} never got a gradient "
            f"({some([t.name for t in lost])}): the loss does not reach them",
            help="look for detach(), .item(), no_grad or a disabled adapter between these layers and the loss",
        )


def _dead(judged: list[TensorRecord]) -> list[TensorRecord]:
    """Tensors whose gradients were exactly zero in every step without an excuse."""
    found: list[TensorRecord] = []
    for siblings in by_layer(judged).values():
        silent = [t for t in siblings if t.gradients and not any(t.gradients)]
        if len(silent) < len(siblings):
            # A partner that learns: zeros here are those of a fresh pair, or they end with the next steps.
            silent = [t for t in silent if not excused(t, siblings) and len(t.gradients) > 2 and not _sparse(t)]
            continue
        found += [t for t in silent if not _sparse(t)]
    return found


def _sparse(tensor: TensorRecord) -> bool:
    """Whether only some rows get gradients: embeddings and token adapters."""
    name = tensor.name.lower()
    return "embed" in name or "token" in name


@check("LL903", on=Ev.END)
def trainable_not_in_optimizer(event: Event, trace: Trace) -> Iterator[Report]:
    """Trainable adapter tensors with gradients that no optimizer holds."""
    for rank in ranks(event):
        if not rank.steps or not any(o.in_models for o in rank.optimizers if o.steps):
            continue  # an optimizer of nothing at all is the next check's
        mine = [t for t in adapters(rank) if t.trainable and t.ran is not False]
        outside = [t for t in mine if not t.optimizers and t.gradients]
        if not any(any(t.gradients) for t in outside):
            continue
        first = stepped(rank)[0]
        where = "none of" if len(outside) == len(mine) else f"{len(mine) - len(outside)} of"
        yield Report(
            first.made_at,
            f"{len(outside)} trainable adapter tensors are in no optimizer ({some([t.name for t in outside])}): "
            f"it holds {where} the {len(mine)}, so they get gradients and never change",
            help="build the optimizer from the model's trainable parameters after the adapter was injected and wrapped",
        )


@check("LL904", on=Ev.END)
def optimizer_of_other_parameters(event: Event, trace: Trace) -> Iterator[Report]:
    """The optimizers that stepped hold nothing of the model that ran, or only frozen parameters."""
    for rank in ranks(event):
        used = [o for o in rank.optimizers if o.steps]
        if not used or not any(t.trainable for t in active(rank)):
            continue
        if any(o.with_gradient and o.in_models for o in used):
            continue
        first = used[0]
        if first.in_models == 0:
            text = "none of its parameters belongs to the model that ran"
        elif first.trainable == 0:
            text = f"all {first.tensors} of its parameters are frozen"
        else:
            continue
        yield Report(
            first.made_at,
            f"the optimizer steps on parameters that do not learn: {text}",
            help="build the optimizer after the adapter was injected and the model was wrapped or sharded",
        )


@check("LL905", on=Ev.END)
def parameters_unchanged(event: Event, trace: Trace) -> Iterator[Report]:
    """Gradients and steps, but the values stay as they were."""
    for rank in ranks(event):
        judged = [t for t in expected(rank) if t.optimizers and any(s.stepped for s in t.samples)]
        if not judged:
            continue
        report = _restored(rank, judged) or _rate_zero(rank, judged) or _unchanged(rank, judged)
        if report is not None:
            yield report


def _restored(rank: RankRecord, judged: list[TensorRecord]) -> Report | None:
    moved = [t for t in judged if any(s.delta for s in t.samples)]
    back = [t for t in moved if t.restored]
    if not back or len(back) < len(moved):
        return None
    return Report(
        _step_place(rank, back),
        f"every step changes {len(back)} {kind_of(back)}, and before the next step they have their old values again: "
        "something restores them, so nothing is learned",
        help="look for load_state_dict, set_peft_model_state_dict or copy_ that runs after each step",
    )


def _rate_zero(rank: RankRecord, judged: list[TensorRecord]) -> Report | None:
    rates = [s.lr for t in judged for s in t.samples if s.stepped]
    if rank.cycles < 2 or not rates or any(rate is None or rate > 0.0 for rate in rates):
        return None
    warming = any(rank.optimizers[number].scheduled for t in judged for number in t.optimizers)
    return Report(
        _step_place(rank, judged),
        f"the learning rate is 0 in all {rank.cycles} observed steps, so no parameter changes",
        help="check lr, and that the scheduler's warm-up counts the steps you think it does",
        severity=Severity.WARNING if warming else None,
    )


def _unchanged(rank: RankRecord, judged: list[TensorRecord]) -> Report | None:
    due = [t for t in judged if any(s.sampled_grad and (s.lr is None or s.lr > 0.0) for s in t.samples)]
    still = [t for t in due if not any(s.delta for s in t.samples)]
    if not still or len(still) / len(due) < 0.5:
        return None
    half = all(t.dtype in ("float16", "bfloat16") for t in still)
    if half:
        text = f"updates of {len(still)} {kind_of(still)} are rounded away in {still[0].dtype}: no value changes"
        advice = "keep the trained parameters in float32 (autocast_adapter_dtype), or raise the learning rate"
    else:
        text = f"{len(still)} of {len(due)} {kind_of(due)} have gradients and a learning rate, yet no step changes them"
        advice = "check that step() is the one of the optimizer that holds them, and that nothing writes them back"
    scheduled = any(rank.optimizers[number].scheduled for t in still for number in t.optimizers)
    warn = half and (scheduled or len(still) < len(judged))
    return Report(_step_place(rank, still), text, help=advice, severity=Severity.WARNING if warn else None)


def _step_place(rank: RankRecord, tensors: list[TensorRecord]) -> Location:
    owner: OptimizerRecord = rank.optimizers[tensors[0].optimizers[0]]
    return owner.stepped_at if owner.stepped_at is not None else owner.made_at
