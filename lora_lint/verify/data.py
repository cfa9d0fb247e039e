"""What the model is fed: data loaders, batches, targets of the loss."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from lora_lint.lifecycle.record import BatchRecord
from lora_lint.lifecycle.vocabulary import Ev, Kind, Tri

if TYPE_CHECKING:
    from lora_lint.verify.watch import Watch

MAX_TARGETS = 256


class Data:
    """loader_size: batches in the loader that the last batch came from, None when it came from none."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.recorder = watch.recorder
        self.loader_size: int | None = None
        self._turns: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._turn: tuple[bool, tuple[int, int] | None] = (False, None)
        self.loader_made = self.recorder.guard(self._loader_made)
        self.targets = self.recorder.guard(self._targets)
        self._drawn = self.recorder.guard(self._note_drawn)

    def _loader_made(self, loader: Any) -> None:
        at = self.recorder.frames.here()
        obj = self.recorder.make(loader, Kind.LOADER, at)
        if obj.event is not None:
            return
        context = getattr(loader, "multiprocessing_context", None)
        args = {
            "workers": loader.num_workers,
            "context": getattr(context, "_name", None),
            "pin": loader.pin_memory,
        }
        self.recorder.emit(Ev.LOADER, {"loader": obj}, args, by="torch.utils.data.DataLoader", at=at)

    def batch_drawn(self, batch: Any, iterator: Any) -> Any:
        """A loader gave a batch: pass it on."""
        self._drawn(iterator)
        return batch

    def _note_drawn(self, iterator: Any) -> None:
        number = self._turns.get(iterator, 0)
        self._turns[iterator] = number + 1
        workers = getattr(iterator, "_num_workers", 0)
        self._turn = (number == 0, (number, workers) if workers > 1 else None)
        sampler = getattr(iterator, "_index_sampler", None)
        try:
            self.loader_size = len(sampler) if sampler is not None else None
        except TypeError:
            self.loader_size = None

    def take_turn(self) -> tuple[bool, tuple[int, int] | None]:
        """Whether the batch that was drawn last was the first of its iterator, and which batch of how many workers it
        is; each batch is told of once."""
        turn, self._turn = self._turn, (False, None)
        return turn

    def _targets(self, target: Any, ignore: int) -> None:
        """The targets of a cross entropy with gradients: how many count."""
        import torch

        targets = self.recorder.rank.targets
        if len(targets) >= MAX_TARGETS or not torch.is_grad_enabled() or target.is_floating_point():
            return
        record = BatchRecord("", self.recorder.frames.here(), None, target.numel(), 0, str(target.device))
        targets.append(record)
        self.recorder.later.count({"supervised": target != ignore}, record)

    def mark(self, tensors: list[Any], batch: BatchRecord) -> None:
        """Give a batch a checksum of its tensors, the same for the same batch."""
        import torch

        sums = []
        for tensor in tensors[:6]:
            flat = tensor.detach().reshape(-1)
            stride = max(1, flat.numel() // 512)
            flat = flat[::stride].double()
            weights = torch.arange(1, flat.numel() + 1, device=flat.device, dtype=torch.float64)
            sums.append((flat * weights).sum().reshape(1))
        shapes = ["x".join(map(str, tensor.shape)) for tensor in tensors[:6]]

        def found(values: list[float | None]) -> None:
            batch.mark = " ".join(f"{shape}:{value:.6g}" for shape, value in zip(shapes, values, strict=True))

        self.recorder.later.ask(len(sums), [([i], value) for i, value in enumerate(sums)], found)


def workers_answer(count: int) -> Tri:
    """Whether a loader works in other processes."""
    return Tri.of(count > 0)
