"""Adapters in a part of a model that a loop freezes by its name: LL103."""

from __future__ import annotations

from collections.abc import Iterator

from lora_lint.apis.tables import architectures
from lora_lint.checks.base import Report, check
from lora_lint.checks.common import PART_LEARNS, TRAINING, changes_since_injection, freeze_first, had_a_stage, trained
from lora_lint.checks.values import strings
from lora_lint.findings import Severity
from lora_lint.lifecycle.heap import Adapter, Obj, TrainOp, adapters_of
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import Part


@check("LL103", on=TRAINING)
def freeze_of_a_named_part(event: Event, trace: Trace) -> Iterator[Report]:
    """A loop froze all parameters with the name of a part in theirs, and the config names layers that are nowhere else."""
    for model in trained(event):
        for member, adapter in adapters_of(model):
            op = _last(member, adapter)
            part, layers = _frozen_part(op, adapter, member.root) if op is not None else ("", [])
            if op is None or not layers or had_a_stage(trace, member, adapter.event, op.event):
                continue
            named = ", ".join(f'"{name}"' for name in layers)
            yield Report(
                op.event,
                f"freezes everything in `{part}`, and the adapters of {named}, injected before, are in there: they are never trained",
                help=f"freeze `{part}` before the adapter is injected, or leave {named} out of target_modules",
                story=((adapter.event, "adapter injected here"), (event, "trained here")),
                plan=freeze_first(op.event, adapter.event),
                severity=Severity.WARNING,
                unless=frozenset({(PART_LEARNS, op.event.location)}),
            )


def _last(member: Obj, adapter: Adapter) -> TrainOp | None:
    """What changed the adapter's trainability last, after it was injected."""
    changes = changes_since_injection(member, adapter)
    return changes[-1] if changes and not changes[-1].path else None


def _frozen_part(op: TrainOp, adapter: Adapter, root: Obj) -> tuple[str, list[str]]:
    """The name of the part, and the layers that the adapter has in there alone; no layers where that is not certain."""
    written = op.event.args.get("layers") or {}
    family = architectures().family(root.type, root.model.architecture)
    listed = strings(adapter.config.facts.get("target_modules")) if adapter.config is not None else None
    if family is None or not listed or op.parts.get(Part.ADAPTER) is None or op.parts[Part.ADAPTER].known:
        return "", []
    for part in [name for name, answer in (op.event.args.get("extras") or {}).items() if answer.no]:
        found = []
        for name in listed:
            existing = [path for path in family.modules if f".{path}".endswith(f".{name}")]
            answers = {answer for layer, answer in written.items() if f".{name}.lora_" in layer}
            if (
                existing
                and all(part in path for path in existing)
                and answers
                and all(a is not None and a.no for a in answers)
            ):
                found.append(name)
        if found:
            return part, found
    return "", []
