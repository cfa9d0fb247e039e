"""Measures what optimizer steps do: gradients before, changes after, for the parameters under observation."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lora_lint.lifecycle.record import OptimizerRecord, Sample
from lora_lint.lifecycle.vocabulary import Kind
from lora_lint.verify.table import Entry, Table
from lora_lint.verify.tensors import difference_vectors, equal, gathered, norm_vectors, norms, sample

if TYPE_CHECKING:
    from lora_lint.verify.recorder import Recorder

STEPS_IN_FULL = 3  # as many as a verdict needs by default


@dataclass(eq=False)
class Watched:
    """One optimizer. pending: a backward ran since its last step or clearing. wiped: gradients were cleared unused
    since its last step; at_wipe: the values at that moment. measured: the state before the running step was read
    (closures: after their first evaluation)."""

    reference: weakref.ref[Any]
    record: OptimizerRecord
    number: int
    pending: bool = False
    wiped: bool = False
    at_wipe: list[tuple[Any, Any]] = field(default_factory=list)
    measured: list[Entry] = field(default_factory=list)
    lrs: dict[int, float | None] = field(default_factory=dict)
    in_step: bool = False


class Meter:
    """Keeps one Watched per optimizer and fills the samples of the table."""

    def __init__(self, recorder: Recorder, table: Table) -> None:
        self._recorder = recorder
        self.table = table
        self.optimizers: list[Watched] = []
        self._by_id: dict[int, Watched] = {}
        self._orphans_at = -1
        self._checked_stale = True
        self._later = recorder.later

    # --- optimizers ---

    def watch(self, optimizer: Any) -> Watched:
        """The watched optimizer, registered on first sight."""
        known = self._by_id.get(id(optimizer))
        if known is not None and known.reference() is optimizer:
            return known
        obj = self._recorder.make(optimizer, Kind.OPTIMIZER)
        made = obj.site or self._recorder.frames.here(2)
        record = OptimizerRecord(obj.type, made, order=obj.event.seq if obj.event is not None else 0)
        watched = Watched(weakref.ref(optimizer), record, len(self.optimizers))
        self.optimizers.append(watched)
        self._recorder.rank.optimizers.append(record)
        self._by_id[id(optimizer)] = watched
        return watched

    # --- steps ---

    def before_step(self, optimizer: Any) -> None:
        """Read gradients and values of what the optimizer holds, and the gradients of trainable parameters that no
        optimizer holds."""
        watched = self.watch(optimizer)
        self._later.read()
        held = [p for group in optimizer.param_groups for p in group["params"]]
        if self.table.stale or any(self.table.of(p) is None for p in held):
            self.table.refresh(tuple(held))
        watched.lrs = {id(p): _rate(group) for group in optimizer.param_groups for p in group["params"]}
        entries = [e for e in (self.table.of(p) for p in held) if e is not None]
        for entry in entries:
            if watched.number not in entry.owners:
                entry.owners.add(watched.number)
                entry.record.optimizers = sorted(entry.owners)
            entry.record.trainable = entry.record.trainable or bool(entry.row.parameter.requires_grad)
        watched.measured = [e for e in entries if e.row.parameter.requires_grad or e.row.parameter.grad is not None]
        step = self._recorder.rank.steps + 1
        for entry in watched.measured:
            entry.record.samples.append(Sample(step, None, stepped=True, stale=entry.stale))
        self._gradients(watched.measured)
        self._values_before(watched.measured)
        if watched.wiped and _moved(watched.at_wipe):
            watched.wiped = False  # the gradients were used by hand: two-step methods move the weights there and back
        watched.at_wipe = []
        watched.in_step = True
        record = watched.record
        record.tensors = len(held)
        record.trainable = sum(bool(p.requires_grad) for p in held)
        record.in_models = sum(e.live is not None for e in entries)
        present = sum(e.row.parameter.grad is not None for e in watched.measured)
        record.with_gradient = max(record.with_gradient, present)
        rates = [r for r in watched.lrs.values() if r is not None]
        record.lrs.append(max(rates) if rates else None)
        self._orphans()

    def _gradients(self, entries: list[Entry]) -> None:
        """Fill in the gradients' norms in the entries' newest samples, and whether the sampled positions have some. The
        latter matters only for values that do not change: after a few steps nobody looks at those that do."""
        present = [e for e in entries if e.row.parameter.grad is not None]
        newest = [e.record.samples[-1] for e in present]
        tensors = [e.row.parameter.grad for e in present]
        sparse = [bool(tensor.is_sparse) for tensor in tensors]

        def found(values: list[float | None]) -> None:
            for entry, newer, whole, value in zip(present, newest, sparse, values, strict=True):
                newer.grad = entry.last_norm = value or 0.0
                newer.sampled_grad = bool(value) and whole

        self._later.ask(len(present), norm_vectors(tensors), found)
        doubtful = [i for i, e in enumerate(present) if (_early(e) or not _previous(e).delta) and not sparse[i]]

        def seen(values: list[float | None]) -> None:
            for index, value in zip(doubtful, values, strict=True):
                newest[index].sampled_grad = bool(newest[index].grad) and value != 0.0

        self._later.ask(len(doubtful), norm_vectors(gathered([sample(tensors[i]) for i in doubtful])), seen)

    def _values_before(self, entries: list[Entry]) -> None:
        """Keep the values. In the first steps, and as long as they are zero or put back after each step, see whether
        they are again."""
        values = gathered([e.view() for e in entries])
        asked = [i for i, e in enumerate(entries) if _early(e) or _previous(e).zero or _previous(e).restored]
        newest = [entries[i].record.samples[-1] for i in asked]
        earlier = [entries[i].earlier for i in asked]
        for entry, value in zip(entries, values, strict=True):
            entry.before = value

        def found(sizes: list[float | None]) -> None:
            for newer, size in zip(newest, sizes, strict=True):
                newer.zero = not size

        def compared(changes: list[float | None]) -> None:
            for newer, change in zip(newest, changes, strict=True):
                newer.restored = change == 0.0

        now = [values[i] for i in asked]
        self._later.ask(len(asked), norm_vectors(now), found)
        self._later.ask(len(asked), difference_vectors(now, earlier), compared)

    def _orphans(self) -> None:
        """Gradients of trainable parameters in no optimizer, once for each step of the run."""
        step = self._recorder.rank.steps + 1
        if self._orphans_at == self._recorder.rank.cycles:
            return
        self._orphans_at = self._recorder.rank.cycles
        entries = [e for e in self.table.entries.values() if not e.owners and e.row.parameter.requires_grad]
        for entry in entries:
            entry.record.trainable = True
            entry.record.samples.append(Sample(step, None))
        self._gradients(entries)

    def after_step(self, optimizer: Any, skipped: bool = False) -> None:
        """Read what the step changed."""
        watched = self.watch(optimizer)
        if not watched.in_step:
            return
        watched.in_step = False
        entries = watched.measured
        if skipped:
            for entry in entries:
                entry.record.samples.pop()
            watched.record.lrs.pop()
            watched.record.skipped += 1
            return
        self._values_after(entries, watched.lrs)
        watched.record.steps += 1
        watched.record.wiped += watched.wiped
        watched.wiped = False
        for other in self.optimizers:
            other.pending = False
        self._checked_stale = False
        self._later.send()

    def _values_after(self, entries: list[Entry], lrs: dict[int, float | None]) -> None:
        newest = [e.record.samples[-1] for e in entries]
        changes = difference_vectors([e.view() for e in entries], [e.before for e in entries])
        for entry, newer in zip(entries, newest, strict=True):
            parameter = entry.row.parameter
            newer.lr = lrs.get(id(parameter))
            entry.earlier, entry.before = entry.before, None
            entry.last_grad = weakref.ref(parameter.grad) if parameter.grad is not None else None
            entry.stale = False

        def found(values: list[float | None]) -> None:
            for newer, value in zip(newest, values, strict=True):
                newer.delta = value

        self._later.ask(len(entries), changes, found)

    def first_closure(self, optimizer: Any) -> None:
        """A closure was evaluated inside the step: read again what was read too early."""
        watched = self.watch(optimizer)
        if not watched.in_step:
            return
        for entry in watched.measured:
            entry.record.samples.pop()
        watched.record.lrs.pop()
        watched.in_step = False
        self._orphans_at = -1 if self._orphans_at == self._recorder.rank.cycles else self._orphans_at
        self.before_step(optimizer)

    # --- between steps ---

    def before_backward(self) -> None:
        """Find gradients that the last step used and nobody cleared."""
        for watched in self.optimizers:
            watched.pending = True
        if not self._checked_stale:
            self._checked_stale = True
            candidates = [
                e
                for e in self.table.entries.values()
                if e.last_grad is not None and e.last_grad() is e.row.parameter.grad
            ]
        else:
            candidates = [e for e in self.table.entries.values() if e.stale]
        present = [e for e in candidates if e.row.parameter.grad is not None]
        if present:
            self._later.settle()
        values = dict(zip(map(id, present), norms([e.row.parameter.grad for e in present]), strict=True))
        for entry in candidates:
            value = values.get(id(entry), 0.0)
            entry.stale = value != 0.0 and (entry.stale or value == entry.last_norm)

    def cleared(self, optimizer: Any | None, parameters: list[Any]) -> bool:
        """Gradients are about to be cleared. Returns whether some were there that a backward made since the last
        step."""
        if any(watched.in_step for watched in self.optimizers):
            return False  # a closure clears before each of its evaluations
        identities = {id(p) for p in parameters if p.grad is not None}
        found = False
        for watched in self.optimizers:
            held = watched.reference()
            if held is None or not watched.pending:
                continue
            mine = [p for group in held.param_groups for p in group["params"] if id(p) in identities]
            watched.pending = False
            if mine and any(value for value in norms([p.grad for p in mine])):
                watched.wiped = True
                watched.at_wipe = [
                    (p, value) for p, value in zip(mine, gathered([sample(p) for p in mine]), strict=True)
                ]
                watched.record.wiped_at = self._recorder.frames.here(2)
                found = True
        return found


def _early(entry: Entry) -> bool:
    """Whether few steps of an entry were measured, that of its newest sample included."""
    return len(entry.record.samples) <= STEPS_IN_FULL


def _previous(entry: Entry) -> Sample:
    return entry.record.samples[-2]


def _moved(kept: list[tuple[Any, Any]]) -> bool:
    """Whether some parameter has another value than the sample that was kept of it."""
    now = gathered([sample(parameter) for parameter, _ in kept])
    same = [i for i, (_, old) in enumerate(kept) if old.shape == now[i].shape]
    return not all(equal([now[i] for i in same], [kept[i][1] for i in same]))


def _rate(group: dict[str, Any]) -> float | None:
    rate = group.get("lr")
    try:
        return None if rate is None else float(rate)
    except (TypeError, ValueError):
        return None


def losses_alive(references: list[weakref.ref[Any]]) -> int:
    """How many of the losses still live with their graphs."""

    def count() -> int:
        return sum(1 for ref in references if (loss := ref()) is not None and loss.grad_fn is not None)

    if count() < 2:
        return 0
    gc.collect()  # half a second in a process with the usual libraries: only when there is something to find
    return count()
