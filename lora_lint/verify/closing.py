"""The last look at the run before the report is written."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from lora_lint.lifecycle.vocabulary import Part
from lora_lint.verify.tensors import changes, checksums, sample

if TYPE_CHECKING:
    from lora_lint.verify.table import Entry
    from lora_lint.verify.watch import Watch


def complete(watch: Watch) -> None:
    """Fill in what is known only at the end."""
    rank = watch.recorder.rank
    _distributed(watch)
    entries = list(watch.training.table.entries.values())
    seen = {id(entry.live) for entry in entries if _ran(watch, entry)}
    for entry in entries:
        # Nothing of a compiled model is seen to run: then nothing is known of its modules.
        entry.record.ran = _ran(watch, entry) if id(entry.live) in seen else None
        entry.record.device = str(entry.row.parameter.device)
        entry.record.trainable = entry.record.trainable or bool(entry.row.parameter.requires_grad)
    if rank.backwards or rank.steps:
        _last_values(entries)
        rank.losses_alive = watch.training.count_losses_alive()
    rank.merged_in_run = any(event.kind.value == "merge" for event in watch.recorder.trace.events)
    rank.configured = [(type(config).__name__, at) for config, at in watch.configs]


def _distributed(watch: Watch) -> None:
    module = sys.modules.get("torch.distributed")
    if module is not None and module.is_available() and module.is_initialized():
        watch.recorder.rank.distributed = module.get_world_size() > 1
        watch.recorder.rank.rank = module.get_rank()
        watch.recorder.rank.world = module.get_world_size()


def _ran(watch: Watch, entry: Entry) -> bool | None:
    module = entry.row.module
    if module is None or not watch.forwards.ran:
        return None
    return id(module) in watch.forwards.ran


def _last_values(entries: list[Entry]) -> None:
    moving = [e for e in entries if e.record.sums and e.row.parameter.device.type != "meta"]
    for entry, total in zip(moving, checksums([e.row.parameter for e in moving]), strict=True):
        entry.record.sums.append(total)
    frozen = [
        e
        for e in entries
        if e.start is not None
        and e.record.part not in (Part.ADAPTER.value, Part.COPY.value)
        and sample(e.row.parameter).shape == e.start.shape
    ]
    differences = changes([e.row.parameter for e in frozen], [e.start for e in frozen])
    for entry, difference in zip(frozen, differences, strict=True):
        if difference:
            size = float(entry.start.float().norm()) or 1.0
            entry.record.changed_base = difference / size
