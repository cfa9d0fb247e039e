"""Numbers that a device still computes: asked for in one step and read in a later one, so that the program never waits
for the device because of us."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lora_lint.verify.tensors import placed

Vectors = Sequence[tuple[Sequence[int], Any]]  # numbers of values, and a vector with one element for each


@dataclass(eq=False, slots=True)
class _Question:
    size: int
    vectors: Vectors
    then: Callable[[list[float | None]], None]


@dataclass(eq=False, slots=True)
class _Sent:
    """Questions whose values are on their way. host: all their values by device, in pinned memory; arrived: the event
    behind the copy."""

    questions: list[_Question]
    host: dict[Any, Any]
    arrived: list[Any]


class Later:
    """Questions are answered in the order in which they were asked; those of the CPU at once when none waits."""

    def __init__(self) -> None:
        self._asked: list[_Question] = []
        self._sent: list[_Sent] = []

    def ask(self, size: int, vectors: Vectors, then: Callable[[list[float | None]], None]) -> None:
        """Have `then` called with `size` values, None where no vector has one."""
        if all(vector.device.type != "cuda" for _, vector in vectors):
            then(placed(size, vectors))
            return
        self._asked.append(_Question(size, vectors, then))

    def count(self, masks: dict[str, Any], record: Any) -> None:
        """Have fields of `record` set to the numbers of true elements of boolean tensors."""

        def found(values: list[float | None]) -> None:
            for name, value in zip(masks, values, strict=True):
                setattr(record, name, int(value or 0))

        self.ask(len(masks), [([i], mask.sum().reshape(1)) for i, mask in enumerate(masks.values())], found)

    def send(self) -> None:
        """Start the transfer of everything asked for: one copy for each device, without waiting."""
        if not self._asked:
            return
        import torch

        questions, self._asked = self._asked, []
        parts: dict[Any, list[Any]] = {}
        for question in questions:
            for _, vector in question.vectors:
                parts.setdefault(vector.device, []).append(vector.double())
        host, arrived = {}, []
        for device, vectors in parts.items():
            whole = torch.cat(vectors)
            if device.type != "cuda":
                host[device] = whole
                continue
            host[device] = torch.empty(whole.shape, dtype=whole.dtype, pin_memory=True)
            host[device].copy_(whole, non_blocking=True)
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(device))
            arrived.append(event)
        self._sent.append(_Sent(questions, host, arrived))

    def read(self) -> None:
        """Answer the questions whose values have arrived."""
        while self._sent and all(event.query() for event in self._sent[0].arrived):
            _answer(self._sent.pop(0))

    def settle(self) -> None:
        """Answer everything now, waiting for the devices."""
        self.send()
        while self._sent:
            sent = self._sent.pop(0)
            for event in sent.arrived:
                event.synchronize()
            _answer(sent)


def _answer(sent: _Sent) -> None:
    lists = {device: values.tolist() for device, values in sent.host.items()}
    places = dict.fromkeys(lists, 0)
    for question in sent.questions:
        found = []
        for numbers, vector in question.vectors:
            start = places[vector.device]
            places[vector.device] = start + vector.numel()
            found.append((numbers, lists[vector.device][start : start + vector.numel()]))
        question.then(placed(question.size, found))
