"""The last look at the run before the report is written."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from lora_lint.lifecycle.record import FrozenApart
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
    watch.recorder.later.settle()
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
    _beside(watch, entries)
    _models(watch)
    _without_gradients(watch, entries)
    rank.applies_adapters = bool(watch.configs) and _applies(watch)
    rank.merged_in_run = any(event.kind.value == "merge" for event in watch.recorder.trace.events)
    rank.configured = [(type(config).__name__, at) for config, at in watch.configs]


# What puts an adapter config to use, in the user's own files.
_APPLIES = re.compile(
    r"\b(get_peft_model|inject_adapter_in_model|add_adapter|peft_config\s*=|PeftModel\w*\(|PeftMixedModel\()"
)


def _applies(watch: Watch) -> bool:
    """Whether some file of the user's has a call that would apply a config: this run just did not come by."""
    frames = watch.recorder.frames
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    for file in files | {code.co_filename for code in watch.recorder.codes}:
        if file and file.endswith(".py") and frames.is_user(file) and _APPLIES.search(_text(file)):
            return True
    return False


def _text(file: str) -> str:
    """A file without its import statements."""
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            return "".join(line for line in stream if not line.lstrip().startswith(("import ", "from ")))
    except OSError:
        return ""


def _without_gradients(watch: Watch, entries: list[Entry]) -> None:
    """Adapted modules whose every forward ran without gradients, by path."""
    blind, sighted = watch.forwards.blind_layers, watch.forwards.sighted
    for entry in entries:
        at = blind.get(id(entry.row.module))
        if at is not None and id(entry.row.module) not in sighted:
            watch.recorder.rank.blind_layers[entry.record.layer] = at


def _beside(watch: Watch, entries: list[Entry]) -> None:
    """A model of which no optimizer holds anything, and that ran with gradients less often than another was stepped on,
    is not trained: something was measured with it beside the training."""
    held = {id(e.live): e.live for e in entries if e.owners and e.live is not None}
    if not any(live.record.role == "trained" for live in held.values()):
        return
    for live in watch.recorder.models.all:
        alone = live.outer is None and not live.inner and id(live) not in held
        if alone and live.record.role == "trained" and live.record.grad_forwards < watch.recorder.rank.cycles:
            live.record.role = "used"


def _models(watch: Watch) -> None:
    """Where models were injected into and wrapped, and which fresh heads stay frozen."""
    for live, at in watch.structure.nothing_loaded():
        live.record.nothing_loaded_at = at
    for live in watch.recorder.models.all:
        if live.module is None or live.record.role != "trained":
            continue
        for event in watch.recorder.trace.of(Ev.INJECT, Ev.WRAP):
            if event.model is not None and event.model.root is live.obj.root:
                if event.kind is Ev.INJECT:
                    live.record.injected_at, live.record.injected_order = event.location, event.seq
                elif live.record.wrapped_at is None:
                    live.record.wrapped_at, live.record.wrapped_order = event.location, event.seq
        if _TASK_MODEL.search(live.record.type):
            live.record.fresh_heads = _fresh_heads(live)
        if live.record.disabled and live.record.switched_off_at is None and watch.disabled_at is not None:
            live.record.switched_off_at = watch.recorder.frames.location_of(watch.disabled_at)
        live.record.new_rows_frozen = live.resized_from is not None and _embedding_frozen(live)
        watch.recorder.rank.frozen_apart += _frozen_apart(watch, live)


def _embedding_frozen(live: Live) -> bool:
    """Whether no parameter of the input embedding, and of adapters on it, is trained."""
    embedding = live.module.get_input_embeddings()
    return not any(p.requires_grad for p in embedding.parameters())


def _frozen_apart(watch: Watch, live: Live) -> list[FrozenApart]:
    """Freezes of one submodule as a whole that took the adapters inside it, while others learn."""
    rows = [row for row in live.rows() if row.part is Part.ADAPTER]
    if not any(row.parameter.requires_grad for row in rows):
        return []
    found: list[FrozenApart] = []
    for event in watch.recorder.trace.of(Ev.FREEZE):
        target = event.model
        if target is None or not target.path or target.root is not live.obj.root or live.record.injected_at is None:
            continue
        inside = [row for row in rows if row.name.startswith(target.path + ".")]
        if not inside or any(row.parameter.requires_grad for row in inside) or not event.args.get("by_module"):
            continue
        if event.seq > live.record.injected_order:
            found.append(FrozenApart(target.path, event.location, live.record.injected_at))
    return found


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
