"""What a recorded run shows besides the chain: losses, gradients that stay, base weights, masks, batches, probes."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lora_lint.checks.base import Report, check
from lora_lint.checks.runtime_facts import active, adapters, backward_place, is_adapter, place, ranks, some, stepped
from lora_lint.findings import Severity
from lora_lint.lifecycle.record import RankRecord
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import Ev, Part


@check("LL906", on=Ev.END)
def loss_not_finite(event: Event, trace: Trace) -> Iterator[Report]:
    """NaN or Inf as loss, or in gradients that were stepped on."""
    for rank in ranks(event):
        bad = next(
            (
                loss
                for loss in rank.losses
                if loss.value is not None and (math.isnan(loss.value) or (math.isinf(loss.value) and not loss.scaled))
            ),
            None,
        )
        if bad is not None:
            kind = "NaN" if bad.value is not None and math.isnan(bad.value) else "infinite"
            yield Report(
                bad.at,
                f"the loss is {kind} at step {bad.step}: every parameter that it reaches is destroyed by the next step",
                help="look for labels that are all masked, logs of zero, or overflow in 16 bit",
            )
            continue
        broken = [
            t
            for t in active(rank)
            if any(s.stepped and s.grad is not None and not math.isfinite(s.grad) for s in t.samples)
        ]
        if broken:
            yield Report(
                backward_place(rank),
                f"the gradients of {len(broken)} tensors are not finite, and they are stepped on "
                f"({some([t.name for t in broken])})",
                help="clip does not repair NaN; find the operation with torch.autograd.set_detect_anomaly(True)",
            )


@check("LL907", on=Ev.END)
def loss_has_no_graph(event: Event, trace: Trace) -> Iterator[Report]:
    """backward() on a loss that hangs on nothing."""
    for rank in ranks(event):
        cut = [loss for loss in rank.losses if loss.graph != "full"]
        if cut and len(cut) * 2 > len(rank.losses):
            yield Report(
                cut[0].at,
                f"backward() runs on a loss without a graph ({len(cut)} of {len(rank.losses)} calls): "
                "no parameter gets a gradient from it",
                help="keep the tensor that the model's forward gave; do not detach it or rebuild it from its value",
            )


@check("LL908", on=Ev.END)
def stale_gradients(event: Event, trace: Trace) -> Iterator[Report]:
    """Gradients of earlier steps are never cleared and stepped on again."""
    for rank in ranks(event):
        later = [[s for s in t.samples[1:] if s.stepped] for t in active(rank) if t.optimizers]
        judged = [samples for samples in later if samples]
        stale = [samples for samples in judged if all(s.stale for s in samples)]
        if not stale or len(stale) * 2 < len(judged):
            continue
        first = stepped(rank)[0]
        yield Report(
            first.stepped_at or first.made_at,
            "gradients are never cleared: every step uses the sum of all steps so far",
            help="call optimizer.zero_grad() once for each step",
        )


@check("LL909", on=Ev.END)
def frozen_parameters_changed(event: Event, trace: Trace) -> Iterator[Report]:
    """Frozen base weights of a model with adapters changed while it trained."""
    for rank in ranks(event):
        if rank.merged_in_run or not adapters(rank):
            continue
        with_adapters = {t.model for t in adapters(rank)}
        changed = [
            t
            for t in active(rank)
            if t.model in with_adapters and not t.trainable and not is_adapter(t) and (t.changed_base or 0.0) > 1e-3
        ]
        if changed:
            yield Report(
                place(rank),
                f"{len(changed)} frozen base tensors changed during the training ({some([t.name for t in changed])}): "
                "the saved adapter does not hold these changes",
                help="find the code that writes base weights: merges, weight averaging, copies into the model",
            )


@check("LL910", on=Ev.END)
def optimizer_steps_skipped(event: Event, trace: Trace) -> Iterator[Report]:
    """The gradient scaler skipped every step."""
    for rank in ranks(event):
        if rank.scaler_attempts > 2 and rank.scaler_skips == rank.scaler_attempts:
            first = stepped(rank)[0] if stepped(rank) else None
            yield Report(
                (first.stepped_at if first is not None else None) or place(rank),
                f"the gradient scaler skipped all {rank.scaler_skips} steps: the scaled gradients are never finite",
                help="look for an infinite loss, a scale that never falls (update() missing), or train in bfloat16",
            )


@check("LL911", on=Ev.END)
def labels_all_masked(event: Event, trace: Trace) -> Iterator[Report]:
    """Every label of every batch is masked."""
    for rank in ranks(event):
        seen = [b for b in rank.batches if b.labels] or [b for b in rank.targets if b.labels]
        if not seen or any(b.supervised for b in seen) or (len(seen) < 2 and not _nan(rank)):
            continue
        yield Report(
            seen[0].at,
            f"every label of all {len(seen)} batches is -100: no token is learned from",
            help="check the response template, the truncation length and the masking in the collator",
        )


def _nan(rank: RankRecord) -> bool:
    return any(loss.value is not None and math.isnan(loss.value) for loss in rank.losses)


@check("LL912", on=Ev.END)
def same_batch_every_step(event: Event, trace: Trace) -> Iterator[Report]:
    """The same batch at every step though its loader has more, or on every rank."""
    found = list(ranks(event))
    for rank in found[:1]:
        drawn = [b for b in rank.batches if b.first and b.loader is not None and b.loader > 1]
        if len(drawn) >= 3 and len(drawn) == len(rank.batches) and len({b.mark for b in drawn}) == 1:
            yield Report(
                drawn[0].at,
                f"the same batch at every step, though the data loader has {drawn[0].loader}",
                help="make the iterator once and draw from it, instead of next(iter(loader)) in every step",
            )
        yield from _same_in_workers(rank)
    if len(found) > 1 and all(rank.distributed for rank in found) and not any(t.sharded for t in found[0].tensors):
        marks = [[b.mark for b in rank.batches] for rank in found]
        length = min(map(len, marks))
        if length >= 2 and len({tuple(m[:length]) for m in marks}) == 1 and len(set(marks[0][:length])) > 1:
            yield Report(
                found[0].batches[0].at,
                f"all {len(found)} processes train on the same batches: the work of all but one is wasted",
                help="give the loader a DistributedSampler, or let accelerate prepare it",
            )


def _same_in_workers(rank: RankRecord) -> Iterator[Report]:
    """All workers of a loader give the same batch in each turn, and another one in the next."""
    turns: dict[tuple[int, int], list[str]] = {}
    for batch in rank.batches:
        if batch.worker_turn is not None:
            number, workers = batch.worker_turn
            turns.setdefault((number // workers, workers), []).append(batch.mark)
    whole = [marks for (_, workers), marks in turns.items() if len(marks) == workers]
    if not whole or any(len(set(marks)) > 1 for marks in whole) or len({b.mark for b in rank.batches}) == 1:
        return
    yield Report(
        rank.batches[0].at,
        f"all {len(whole[0])} workers of the data loader give the same batch in each turn: they draw the same random numbers",
        help="seed each worker on its own in worker_init_fn (torch.initial_seed() differs between workers)",
    )


@check("LL914", on=Ev.END)
def adapters_never_ran(event: Event, trace: Trace) -> Iterator[Report]:
    """Adapters are there but switched off, merged, or in modules that the training forward does not run."""
    for rank in ranks(event):
        for number, model in enumerate(rank.models):
            if model.role != "trained" or not model.adapter_layers:
                continue
            mine = [t for t in adapters(rank) if t.model == number]
            idle = mine and all(t.ran is False for t in mine)
            if model.disabled or idle:
                how = "disabled or merged" if model.disabled else "in modules that the training forward does not run"
                yield Report(
                    model.forward_at or place(rank),
                    f"the adapters of {model.type.rsplit('.', 1)[-1]} are {how} in every training forward",
                    help="enable the adapters, and call the model that holds them",
                )


@check("LL920", on=Ev.END)
def base_trainable(event: Event, trace: Trace) -> Iterator[Report]:
    """The weights under the adapters are trained along with them."""
    for rank in ranks(event):
        adapted = {(t.model, t.layer) for t in adapters(rank) if t.part == Part.ADAPTER.value and t.layer}
        under = [
            t
            for t in active(rank)
            if t.trainable
            and t.optimizers
            and t.part == Part.BASE.value
            and len(t.shape) > 1
            and any((t.model, layer) in adapted for layer in (t.layer, t.layer.removesuffix(".base_layer")))
        ]
        if under:
            yield Report(
                place(rank),
                f"{len(under)} base weights under adapters are trainable too ({some([t.name for t in under])}): "
                "this is full fine-tuning, and the saved adapter does not hold them",
                help="freeze the base model before the training",
            )


@check("LL918", on=Ev.END)
def loss_graphs_kept(event: Event, trace: Trace) -> Iterator[Report]:
    """Old losses stay alive with their graphs."""
    for rank in ranks(event):
        if rank.losses_alive >= 2:
            yield Report(
                backward_place(rank),
                f"{rank.losses_alive} losses of earlier steps are alive with their graphs: memory grows with each step",
                help="keep loss.item() or loss.detach() for the log",
                severity=Severity.WARNING,
            )


@check("LL916", on=Ev.END)
def devices_mixed(event: Event, trace: Trace) -> Iterator[Report]:
    """Parameters of one model on the CPU and on another device."""
    for rank in ranks(event):
        tensors = [t for t in active(rank) if t.device and t.device != "meta"]
        moving = {t.device.split(":")[0] for t in tensors if is_adapter(t)}
        base = {t.device.split(":")[0] for t in tensors if not is_adapter(t)}
        if len(moving) == 1 and len(base) == 1 and moving != base:
            yield Report(
                place(rank),
                f"the adapters are on {moving.pop()} and the base model on {base.pop()}",
                help="move the model after the adapter was injected",
            )
