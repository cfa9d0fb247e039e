"""The table of parameters under observation, from the first backward on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lora_lint.lifecycle.record import TensorRecord
from lora_lint.verify.models import Live
from lora_lint.verify.parts import Row, elements
from lora_lint.verify.tensors import checksums, local, sample, samples

if TYPE_CHECKING:
    from lora_lint.verify.recorder import Recorder


@dataclass(eq=False, slots=True)
class Entry:
    """One parameter under observation. before, earlier: samples before this and before the last step. start: the sample
    of a frozen base weight at the first backward. last_grad: weak reference to the last step's gradient; last_norm: its
    norm."""

    row: Row
    record: TensorRecord
    live: Live | None
    before: Any = None
    earlier: Any = None
    start: Any = None
    last_grad: Any = None
    last_norm: float = 0.0
    stale: bool = False
    owners: set[int] = field(default_factory=set)
    pointer: int = 0
    sampled_view: Any = None

    def view(self) -> Any:
        """The sample of the values now. A plain parameter keeps its view as long as it keeps its memory."""
        parameter = self.row.parameter
        if self.record.sharded or parameter.device.type == "meta":
            return sample(parameter)
        pointer = int(parameter.data_ptr())
        if pointer == 0 or pointer != self.pointer or parameter.dtype != self.sampled_view.dtype:
            self.pointer, self.sampled_view = pointer, sample(parameter)
        return self.sampled_view


class Table:
    """Parameters of the models that run, by identity of the parameter."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.entries: dict[int, Entry] = {}
        self.modules: list[Any] = []  # kept until the report: a program's main() may return before
        self.stale = True

    @property
    def started(self) -> bool:
        """Whether training has begun: the table was made."""
        return bool(self.entries)

    def refresh(self, extra: tuple[Any, ...] = ()) -> None:
        """Bring the table up to date with the models that ran; `extra` are parameters that an optimizer holds."""
        models = self._recorder.models
        wanted: dict[int, Live] = {}
        for live in models.all:
            if live.top.record.forwards or live.record.forwards:
                wanted[id(live.top)] = live.top
        for parameter in extra:
            owner = models.owner(parameter)
            if owner is not None:
                wanted[id(owner.top)] = owner.top
        added: list[Entry] = []
        for live in wanted.values():
            if live.named is not None and all(live.named is not module for module in self.modules):
                self.modules.append(live.named)
            rows = live.rows()
            self._drop_replaced(live, {id(row.parameter) for row in rows})
            for row in rows:
                entry = self.entries.get(id(row.parameter))
                if entry is None or entry.row.parameter is not row.parameter:
                    added.append(self._add(row, live))
                elif entry.live is None:
                    self._adopt(entry, row, live)
                elif entry.record.name != row.name:
                    entry.record.name, entry.record.layer = row.name, row.layer
        for parameter in extra:
            if id(parameter) not in self.entries:
                added.append(self._add(_orphan(parameter), None))
        self._start(added)
        self.stale = False

    def _drop_replaced(self, live: Live, present: set[int]) -> None:
        """Forget parameters that the model no longer has and that no step was measured on: FSDP swaps whole parameters
        for their shards and back."""
        gone = [
            key for key, e in self.entries.items() if e.live is live and key not in present and not e.record.samples
        ]
        for key in gone:
            entry = self.entries.pop(key)
            self._recorder.rank.tensors.remove(entry.record)

    def _add(self, row: Row, live: Live | None) -> Entry:
        parameter = row.parameter
        inner = local(parameter)
        record = TensorRecord(
            row.name,
            self.model_number(live),
            row.part.value,
            row.adapter,
            row.layer,
            tuple(parameter.shape),
            elements(parameter),
            str(parameter.dtype).removeprefix("torch."),
            str(parameter.device),
            bool(parameter.requires_grad),
            sharded=inner is not parameter or type(parameter).__name__ == "FlatParameter",
            here=int(inner.numel()),
        )
        self._recorder.rank.tensors.append(record)
        entry = Entry(row, record, live)
        self.entries[id(parameter)] = entry
        return entry

    def _adopt(self, entry: Entry, row: Row, live: Live) -> None:
        """An optimizer held the parameter before its model was known: a closure runs the model inside the first step."""
        entry.row, entry.live = row, live
        record = entry.record
        record.name, record.layer, record.part, record.adapter = row.name, row.layer, row.part.value, row.adapter
        record.model = self.model_number(live)

    def _start(self, added: list[Entry]) -> None:
        """First values: a sample of frozen weights, checksums of trainable ones."""
        frozen = [e for e in added if not e.record.trainable and e.row.parameter.device.type != "meta"]
        for entry, value in zip(frozen, samples([e.row.parameter for e in frozen]), strict=True):
            entry.start = value
        moving = [e for e in added if e.record.trainable and e.row.parameter.device.type != "meta"]
        for entry, total in zip(moving, checksums([e.row.parameter for e in moving]), strict=True):
            entry.record.sums = [total]

    def model_number(self, live: Live | None) -> int:
        """Index of a model in the record; -1 for parameters of no model."""
        if live is None:
            return -1
        models = self._recorder.rank.models
        if live.record not in models:
            models.append(live.record)
        return models.index(live.record)

    def of(self, parameter: Any) -> Entry | None:
        """The entry of a parameter."""
        entry = self.entries.get(id(parameter))
        return entry if entry is not None and entry.row.parameter is parameter else None


def _orphan(parameter: Any) -> Row:
    from lora_lint.lifecycle.vocabulary import Part

    return Row(
        f"<parameter {'x'.join(map(str, parameter.shape))} of no model that ran>", parameter, Part.BASE, "", "", None
    )
