"""Experiments after the last step, and comparisons between the processes of a run."""

from __future__ import annotations

from collections.abc import Iterator

from lora_lint.checks.base import Report, check
from lora_lint.checks.runtime_facts import place, ranks, some
from lora_lint.findings import Severity
from lora_lint.lifecycle.record import RankRecord, TensorRecord
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import Ev


@check("LL913", on=Ev.END)
def replicas_diverge(event: Event, trace: Trace) -> Iterator[Report]:
    """Parameters that are copies of each other differ between the processes."""
    found = [rank for rank in ranks(event) if rank.steps]
    if len(found) < 2 or not all(rank.distributed for rank in found):
        return
    if any(t.sharded for rank in found for t in rank.tensors) or any(
        w.startswith("fsdp") for m in found[0].models for w in m.wrapped
    ):
        return
    apart, copies = _apart(found)
    if not apart:
        return
    parallel = any("ddp" in model.wrapped for model in found[0].models)
    sure = parallel or len(apart) == copies
    yield Report(
        place(found[0]),
        f"{len(apart)} trainable tensors differ between the processes after {found[0].steps} steps "
        f"({some([t.name for t in apart])}): their gradients are not averaged, each process trains a model of its own",
        help="train through the DDP wrapper, and inject and thaw before wrapping",
        severity=None if sure else Severity.WARNING,
    )


def _apart(found: list[RankRecord]) -> tuple[list[TensorRecord], int]:
    """Trainable tensors that were equal on all ranks before the first step and are not after the last; and how many
    were equal before. Under DDP a trainable tensor that differs from the start counts as well."""
    first, others = found[0], found[1:]
    parallel = any("ddp" in model.wrapped for model in first.models)
    tables = [{(t.model, t.name): t for t in rank.tensors if t.trainable and len(t.sums) == 2} for rank in others]
    apart: list[TensorRecord] = []
    copies = 0
    for tensor in first.tensors:
        if not tensor.trainable or len(tensor.sums) != 2 or not first.trained(tensor):
            continue
        twins = [table.get((tensor.model, tensor.name)) for table in tables]
        if any(twin is None for twin in twins):
            continue
        sums = [tensor.sums, *[twin.sums for twin in twins if twin is not None]]
        started = _same([s[0] for s in sums])
        copies += started
        if (started or parallel) and not _same([s[1] for s in sums]):
            apart.append(tensor)
    return apart, copies


def _same(values: list[float]) -> bool:
    scale = max(abs(v) for v in values) or 1.0
    return max(values) - min(values) <= 1e-5 * scale


@check("LL915", on=Ev.END)
def adapter_not_saved(event: Event, trace: Trace) -> Iterator[Report]:
    """The saved adapter is empty, or a model that loads it does not compute the same."""
    for rank in ranks(event):
        for probe in rank.probes:
            if probe.name in ("saved-tensors", "save-and-load") and probe.ok is False:
                yield Report(
                    probe.at or place(rank),
                    probe.text,
                    help="save with model.save_pretrained() of the unwrapped PeftModel",
                )
                break


@check("LL917", on=Ev.END)
def eval_not_deterministic(event: Event, trace: Trace) -> Iterator[Report]:
    """Two forwards in eval mode on the same batch differ."""
    for rank in ranks(event):
        for probe in rank.probes:
            if probe.name == "eval-twice" and probe.ok is False:
                yield Report(
                    place(rank),
                    probe.text,
                    help="look for dropout that ignores eval(), or for random numbers in forward",
                )
