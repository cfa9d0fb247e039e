"""The last look at the run before the report is written."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from lora_lint.lifecycle.vocabulary import Ev, Part
from lora_lint.verify.models import Live
from lora_lint.verify.tensors import changes, checksums, sample

if TYPE_CHECKING:
    from lora_lint.verify.table import Entry
    from lora_lint.verify.watch import Watch


# Classes whose output head is not part of the pretrained network, and the names of such heads.
_TASK_MODEL = re.compile(r"For(Sequence|Token|Image|Audio|Video)Classification|ForQuestionAnswering|ForMultipleChoice")
_HEADS = frozenset({"score", "classifier", "classification_head", "qa_outputs"})


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
    _models(watch)
    rank.merged_in_run = any(event.kind.value == "merge" for event in watch.recorder.trace.events)
    rank.configured = [(type(config).__name__, at) for config, at in watch.configs]


def _models(watch: Watch) -> None:
    """Where models were injected into and wrapped, and which fresh heads stay frozen."""
    for live in watch.recorder.models.all:
        if live.module is None or live.record.role != "trained":
            continue
        for event in watch.recorder.trace.of(Ev.INJECT, Ev.WRAP):
            if event.model is not None and event.model.root is live.obj.root:
                if event.kind is Ev.INJECT:
                    live.record.injected_at = event.location
                elif live.record.wrapped_at is None:
                    live.record.wrapped_at, live.record.wrapped_order = event.location, event.seq
        if _TASK_MODEL.search(live.record.type):
            live.record.fresh_heads = _fresh_heads(live)


def _fresh_heads(live: Live) -> list[str]:
    rows = live.rows()
    adapted = {row.layer for row in rows if row.adapter}
    found = []
    for row in rows:
        steps = row.name.split(".")
        head = next((step for step in steps if step in _HEADS), None)
        if head is None or row.adapter or row.parameter.requires_grad or "original_module" in steps:
            continue
        if any(head in layer.split(".") for layer in adapted):
            continue
        if not live.loaded or any(row.name.endswith(name) for name in live.fresh):
            found.append(row.name)
    return found


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
