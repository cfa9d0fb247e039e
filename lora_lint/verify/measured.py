"""Causes that a measurement proves by itself: what the shared checks conclude from the order of events, seen in the
gradients. Each is reported under the code of its rule, unless the shared check has already reported it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from lora_lint.checks.base import Report
from lora_lint.checks.runtime_facts import active, adapters, place, stepped
from lora_lint.findings import Severity
from lora_lint.lifecycle.record import OptimizerRecord, RankRecord, RunRecord
from lora_lint.location import Location
from lora_lint.verify.measured_model import model_causes

Cause = tuple[str, Report]


def measured_causes(record: RunRecord) -> Iterator[Cause]:
    """Every proven cause of the run, as code and report."""
    for rank in record.ranks[:1]:
        yield from _wiped(rank)
        yield from _never_cleared(rank)
        yield from _never_stepped(rank)
        yield from _clipped(rank)
        yield from _underflown(rank)
        yield from _name_filter(rank)
        yield from _sharded_later(rank)
        yield from _left_behind(rank)
        yield from _ends(rank)
        yield from _padding(rank)
        yield from _twice(rank)
        yield from _past_accelerator(rank)
        yield from _columns(rank)
        yield from model_causes(rank)


def _wiped(rank: RankRecord) -> Iterator[Cause]:
    for number, optimizer in enumerate(rank.optimizers):
        if not optimizer.wiped or optimizer.wiped_at is None or optimizer.wiped < optimizer.steps:
            continue
        if not _had_gradients(rank, number):
            yield (
                "LL302",
                Report(
                    optimizer.wiped_at,
                    "zero_grad() wipes the gradients between backward() and step(): the step changes nothing",
                    help="call zero_grad() before backward() or after step()",
                    story=_step_story(optimizer, "stepped here without gradients"),
                ),
            )
        elif optimizer.steps > 1:
            yield (
                "LL303",
                Report(
                    optimizer.wiped_at,
                    "accumulated gradients are wiped before the step uses them: only the last micro-batch counts",
                    help="clear the gradients once per optimizer step, after step(), through the prepared optimizer",
                    story=_step_story(optimizer, "stepped here with what was left"),
                ),
            )


def _had_gradients(rank: RankRecord, number: int) -> bool:
    return any(s.stepped and s.grad for t in rank.tensors if number in t.optimizers for s in t.samples)


def _step_story(optimizer: OptimizerRecord, text: str) -> tuple[tuple[Location, str], ...]:
    return ((optimizer.stepped_at, text),) if optimizer.stepped_at is not None else ()


def _never_cleared(rank: RankRecord) -> Iterator[Cause]:
    later = [[s for s in t.samples[1:] if s.stepped] for t in active(rank) if t.optimizers]
    judged = [samples for samples in later if samples]
    stale = [samples for samples in judged if all(s.stale for s in samples)]
    if stale and len(stale) * 2 >= len(judged):
        first = stepped(rank)[0]
        yield (
            "LL307",
            Report(
                first.stepped_at or first.made_at,
                "the loop steps and never clears the gradients: every step uses the sum of all steps so far",
                help="call optimizer.zero_grad() once for each step",
            ),
        )


def _never_stepped(rank: RankRecord) -> Iterator[Cause]:
    if rank.steps or rank.scaler_attempts or rank.backwards < 2 or not rank.optimizers:
        return
    if any(len(t.sums) == 2 and t.sums[0] != t.sums[1] for t in rank.tensors):
        return  # updated by hand
    yield (
        "LL304",
        Report(
            place(rank),
            f"{rank.backwards} backward calls and not one optimizer step: nothing is ever updated",
            help="call optimizer.step() after backward()",
            story=((rank.optimizers[0].made_at, "optimizer made here"),),
        ),
    )


def _clipped(rank: RankRecord) -> Iterator[Cause]:
    if rank.clipped_scaled_at is not None:
        yield (
            "LL503",
            Report(
                rank.clipped_scaled_at,
                "clips gradients that are still multiplied by the scaler's factor: almost nothing of them is left",
                help="call scaler.unscale_(optimizer) before clipping",
            ),
        )


def _underflown(rank: RankRecord) -> Iterator[Cause]:
    """Gradients of adapters that are zero altogether, after a backward in fp16 of a loss that was not scaled."""
    mine = [t for t in adapters(rank) if t.trainable and t.gradients]
    if (
        rank.half_backward_at is not None
        and not rank.scaler_attempts
        and mine
        and not any(any(t.gradients) for t in mine)
    ):
        yield (
            "LL502",
            Report(
                rank.half_backward_at,
                f"the gradients of all {len(mine)} adapter tensors are zero: too small for fp16, and the loss is not scaled",
                help="scale the loss with torch.amp.GradScaler, or use bfloat16",
                severity=Severity.ERROR,
            ),
        )


def _name_filter(rank: RankRecord) -> Iterator[Cause]:
    """Adapters that no optimizer holds, in a model that was wrapped before an optimizer chose parameters by name."""
    mine = [t for t in adapters(rank) if t.trainable and t.ran is not False]
    outside = [t for t in mine if not t.optimizers and t.gradients]
    if not outside or not rank.steps:
        return
    model = rank.models[outside[0].model]
    prefix = _PREFIX.get(next((w for w in model.wrapped if w in _PREFIX), ""), "")
    made = stepped(rank)[0].made_at
    if prefix and _filters_by_start(made.path):
        yield (
            "LL605",
            Report(
                made,
                f"chooses parameters by the start of their names; those of the wrapped model begin with `{prefix}`: "
                f"{len(outside)} adapter tensors are left out of the optimizer",
                help="choose the parameters before wrapping, or look for the name inside the string",
                story=((model.wrapped_at, "wrapped here"),) if model.wrapped_at is not None else (),
            ),
        )


_PREFIX = {"ddp": "module.", "dp": "module.", "compile": "_orig_mod."}


def _filters_by_start(path: str) -> bool:
    """Whether a file compares starts of strings."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return bool(re.search(r"startswith\(|re\.(match|fullmatch)\(|\"\^|'\^", text))


def _sharded_later(rank: RankRecord) -> Iterator[Cause]:
    """An optimizer that was made before fully_shard replaced the parameters."""
    for model in rank.models:
        if "fsdp2" not in model.wrapped or model.wrapped_at is None:
            continue
        for optimizer in stepped(rank):
            if optimizer.in_models == 0 and optimizer.order < model.wrapped_order:
                yield (
                    "LL301",
                    Report(
                        optimizer.made_at,
                        "the optimizer collects the parameters before the model is sharded, which replaces every one of "
                        "them: it never updates the model",
                        help="build the optimizer after fully_shard()",
                        story=((model.wrapped_at, "sharded here"),),
                    ),
                )


def _left_behind(rank: RankRecord) -> Iterator[Cause]:
    """An optimizer that was made before a move to another device replaced the parameters."""
    for optimizer in stepped(rank):
        if optimizer.left_at is not None and optimizer.in_models == 0:
            yield (
                "LL306",
                Report(
                    optimizer.left_at,
                    "moving the model makes its parameters anew, and the optimizer holds the old ones: "
                    "it never updates the model",
                    help="move the model first, then build the optimizer",
                    story=((optimizer.made_at, "optimizer built here"),),
                    severity=Severity.ERROR,
                ),
            )


def _ends(rank: RankRecord) -> Iterator[Cause]:
    """No end token is ever a target, though sequences end with one."""
    ends = sum(b.ends for b in rank.batches)
    if ends and all(b.ends == b.ends_masked for b in rank.batches):
        first = next(b for b in rank.batches if b.ends)
        yield (
            "LL404",
            Report(
                first.at,
                f"all {ends} end tokens after supervised text are masked in the labels: the model never learns to stop",
                help="give the tokenizer a padding token of its own, or pad the labels by position",
            ),
        )


def _padding(rank: RankRecord) -> Iterator[Cause]:
    """Padding is predicted like text."""
    padded = [b for b in rank.batches if b.padding]
    if len(padded) > 1 and all(b.padding == b.padding_supervised for b in padded):
        total, count = sum(b.supervised for b in padded), sum(b.padding for b in padded)
        yield (
            "LL405",
            Report(
                padded[0].at,
                f"{count} of the {total} labels are padding: the model learns to predict it, and the loss counts it",
                help="set labels to -100 where attention_mask is 0",
            ),
        )


def _twice(rank: RankRecord) -> Iterator[Cause]:
    if rank.stepped_in_trainer is not None:
        yield (
            "LL308",
            Report(
                rank.stepped_in_trainer,
                "training_step steps the trainer's optimizer, and the trainer steps it again for the same batch",
                help="return the loss and leave the step to the trainer",
            ),
        )


def _past_accelerator(rank: RankRecord) -> Iterator[Cause]:
    if rank.plain_backward is not None:
        yield (
            "LL704",
            Report(
                rank.plain_backward,
                "backward() goes past the accelerator that accumulates: the loss is neither scaled nor divided",
                help="accelerator.backward(loss)",
                severity=None if rank.plain_divided else Severity.ERROR,
            ),
        )


def _columns(rank: RankRecord) -> Iterator[Cause]:
    if rank.dropped_columns:
        names = ", ".join(f"`{name}`" for name, _ in rank.dropped_columns)
        yield (
            "LL407",
            Report(
                rank.dropped_columns[0][1],
                f"the collator reads {names}, which the trainer drops from the data set before: it never sees it",
                help="TrainingArguments(remove_unused_columns=False)",
            ),
        )
