"""Figures of a run in the words of its reports: the chain that proves learning, curves, data, memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lora_lint.lifecycle.record import LedgerRow, RankRecord, TensorRecord
from lora_lint.lifecycle.vocabulary import Part
from lora_lint.verify.places import shown

_BARS = "▁▂▃▄▅▆▇█"
_MOVING = (Part.ADAPTER.value, Part.COPY.value)


@dataclass(frozen=True, slots=True)
class Chain:
    """requires_grad → gradient → optimizer → changed, counted in tensors. what: which tensors."""

    what: str
    total: int
    links: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        return f"{self.total} {self.what}: " + " → ".join(f"{count} {name}" for name, count in self.links)


def chain(rank: RankRecord) -> Chain | None:
    """The chain over the adapter tensors of the models that were trained; over all trainable ones without adapters."""
    mine = [t for t in rank.tensors if t.part in _MOVING and rank.trained(t)]
    what = "adapter tensors"
    if not mine:
        mine = [t for t in rank.tensors if t.trainable and rank.trained(t)]
        what = "trainable tensors"
    if not mine or not rank.steps:
        return None
    return Chain(
        what,
        len(mine),
        (
            ("trainable", sum(t.trainable for t in mine)),
            ("with gradient", sum(any(t.gradients) or len(t.gradients) == 1 for t in mine)),  # B is zero at first
            ("in an optimizer", sum(bool(t.optimizers) for t in mine)),
            ("changed", sum(t.learned for t in mine)),
        ),
    )


def total_norms(tensors: Sequence[TensorRecord]) -> list[float]:
    """The norm over all gradients, by step; NaN where it is not finite."""
    squares: dict[int, float] = {}
    for tensor in tensors:
        for sample in tensor.samples:
            if sample.grad is not None:
                squares[sample.step] = squares.get(sample.step, 0.0) + sample.grad**2
    return [math.sqrt(squares[step]) if math.isfinite(squares[step]) else math.nan for step in sorted(squares)]


def loss_values(rank: RankRecord) -> list[float]:
    """The losses that backward() was called on."""
    return [loss.value for loss in rank.losses if loss.value is not None]


def spark(values: Sequence[float]) -> str:
    """A line of bars; × for what is not finite."""
    finite = [v for v in values if math.isfinite(v)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    span = (high - low) or 1.0
    return "".join(_BARS[round((v - low) / span * (len(_BARS) - 1))] if math.isfinite(v) else "×" for v in values[-40:])


def from_to(values: Sequence[float]) -> str:
    """The first and the last value."""
    return f"{values[0]:.4g}" if len(values) == 1 else f"{values[0]:.4g} → {values[-1]:.4g}"


def count(number: int) -> str:
    """A number of parameters, short."""
    for unit, size in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return str(number)


def memory(rank: RankRecord) -> str:
    """The peak of memory and the time of a step, "" when nothing was measured."""
    if not rank.memory:
        return ""
    peak = max(rank.memory)
    text = f"{peak / 1024:.1f} GB" if peak >= 1024 else f"{peak:.0f} MB"
    gaps = [b - a for a, b in zip(rank.seconds, rank.seconds[1:], strict=False)]
    return f"peak {text}" + (f", {sorted(gaps)[len(gaps) // 2]:.2g} s a step" if gaps else "")


def data(rank: RankRecord) -> str:
    """What the model was fed, "" when nothing was seen."""
    if not rank.batches:
        return ""
    devices = ", ".join(dict.fromkeys(b.device for b in rank.batches))
    parts = [f"{len(rank.batches)} batch{'es' * (len(rank.batches) != 1)} on {devices}"]
    labels = sum(b.labels for b in rank.batches)
    if labels:
        parts.append(f"{100 * sum(b.supervised for b in rank.batches) / labels:.0f} % of {labels} labels count")
    loader = next((b.loader for b in rank.batches if b.loader), None)
    if loader:
        parts.append(f"loader of {loader} batch{'es' * (loader != 1)}")
    return ", ".join(parts)


def weights(rank: RankRecord) -> str:
    """Dtypes and devices of the trained model's frozen and trainable tensors."""
    kinds = {f"{t.dtype} on {t.device}" for t in rank.tensors if rank.trained(t)}
    if len(kinds) == 1:
        return kinds.pop()
    parts = []
    for name, wanted in (("trainable", True), ("frozen", False)):
        found = Counter(f"{t.dtype} on {t.device}" for t in rank.tensors if t.trainable is wanted and rank.trained(t))
        if found:
            parts.append(f"{name} {', '.join(kind for kind, _ in found.most_common(3))}")
    return "; ".join(parts)


def moment(row: LedgerRow) -> str:
    """When a line of the ledger was drawn up, with the place where the user's code was."""
    place = shown(row.at)
    short = place.replace("\\", "/").rsplit("/", 1)[-1]
    return f"{row.moment} at {short}" if row.moment in ("freeze", "thaw") else row.moment


def groups(row: LedgerRow) -> str:
    """What the trainable parameters of a line of the ledger belong to."""
    return ", ".join(f"{name} {count(number)}" for name, number in sorted(row.groups.items()))


def runs(rows: Iterable[LedgerRow]) -> list[tuple[LedgerRow, list[LedgerRow]]]:
    """Lines of the ledger in which something changed, each with the lines after it that say the same."""
    found: list[tuple[LedgerRow, list[LedgerRow]]] = []
    for row in rows:
        last = found[-1][0] if found else None
        if last is not None and (last.trainable, last.total, last.groups) == (row.trainable, row.total, row.groups):
            found[-1][1].append(row)
        else:
            found.append((row, []))
    return found
