"""Questions that several runtime checks ask of a recorded run. Data in, answers out; nothing is reported here."""

from __future__ import annotations

from collections.abc import Iterator

from lora_lint.lifecycle.record import OptimizerRecord, RankRecord, RunRecord, TensorRecord
from lora_lint.lifecycle.trace import Event
from lora_lint.lifecycle.vocabulary import Part
from lora_lint.location import Location

ADAPTER = Part.ADAPTER.value
COPY = Part.COPY.value


def ranks(event: Event) -> Iterator[RankRecord]:
    """The recorded processes behind an END event; none for a program that was only read."""
    record = event.args.get("record")
    if isinstance(record, RunRecord):
        yield from record.ranks


def is_adapter(tensor: TensorRecord) -> bool:
    """Whether the tensor is an adapter's, or a trained copy that travels with it."""
    return tensor.part in (ADAPTER, COPY)


def active(rank: RankRecord) -> list[TensorRecord]:
    """Tensors of the models that ran with gradients, and that have elements in this process."""
    return [t for t in rank.tensors if t.model >= 0 and t.here and rank.trained(t)]


def adapters(rank: RankRecord) -> list[TensorRecord]:
    """Adapter tensors of the models that ran with gradients."""
    return [t for t in active(rank) if is_adapter(t)]


def expected(rank: RankRecord) -> list[TensorRecord]:
    """The tensors that ought to learn: the trainable adapters, or, in a run without any, all trainable tensors that an
    optimizer holds."""
    mine = [t for t in adapters(rank) if t.trainable]
    if mine or adapters(rank):
        return mine
    return [t for t in active(rank) if t.trainable and t.optimizers]


def place(rank: RankRecord) -> Location:
    """Where the run trains: the line of the training forward, of `train()`, of the first backward or step."""
    if rank.losses:
        return rank.losses[0].at
    if rank.trained_at is not None:
        return rank.trained_at
    stepping = stepped(rank)
    if stepping and stepping[0].stepped_at is not None:
        return stepping[0].stepped_at
    for model in rank.models:
        if model.forward_at is not None:
            return model.forward_at
    return rank.main if rank.main is not None else Location("<unknown>", 1, 1, 1, 1)


def stepped(rank: RankRecord) -> list[OptimizerRecord]:
    """Optimizers that stepped, or that a scaler kept from it."""
    return [o for o in rank.optimizers if o.steps or o.skipped]


def backward_place(rank: RankRecord) -> Location:
    """The line of the first backward call."""
    return rank.losses[0].at if rank.losses else place(rank)


def some(names: list[str], limit: int = 2) -> str:
    """A few names for a message."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def kind_of(tensors: list[TensorRecord]) -> str:
    """What the tensors are, in a word: "adapter tensors" or "trainable tensors"."""
    return "adapter tensors" if tensors and all(is_adapter(t) for t in tensors) else "trainable tensors"


def excused(tensor: TensorRecord, siblings: list[TensorRecord]) -> bool:
    """Whether gradients that were exactly zero are no news: the other factor of the product was exactly zero in those
    steps while this one was not (a fresh LoRA pair). Two zero factors are a dead start and not excused."""
    for position, sample in enumerate(tensor.samples):
        if sample.grad is None or sample.grad != 0.0:
            return False
        if sample.zero:
            return False
        partner_zero = any(
            position < len(other.samples) and other.samples[position].zero for other in siblings if other is not tensor
        )
        if not partner_zero:
            return False
    return bool(tensor.samples)


def by_layer(tensors: list[TensorRecord]) -> dict[tuple[int, str, str], list[TensorRecord]]:
    """Adapter tensors by model, adapted module and adapter."""
    found: dict[tuple[int, str, str], list[TensorRecord]] = {}
    for tensor in tensors:
        found.setdefault((tensor.model, tensor.layer, tensor.adapter), []).append(tensor)
    return found
