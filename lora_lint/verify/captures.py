"""Which parameters an optimizer holds, in the terms of the checks: by model, part and adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lora_lint.lifecycle.captures import Capture
from lora_lint.lifecycle.vocabulary import Part, Tri
from lora_lint.location import Location
from lora_lint.verify.models import Live

if TYPE_CHECKING:
    from lora_lint.verify.recorder import Recorder


def owners(recorder: Recorder, optimizer: Any) -> list[Live]:
    """The models that an optimizer holds parameters of, each once."""
    models: list[Live] = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            live = recorder.models.owner(parameter)
            if live is not None and live not in models:
                models.append(live)
    return models


def captures_of(recorder: Recorder, optimizer: Any, at: Location, seq: int | None = None) -> list[Capture]:
    """One capture for each model that the optimizer holds parameters of. seq: when they were collected, if not now."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    found: list[Capture] = []
    for live in owners(recorder, optimizer):
        parts: dict[Part, list[bool]] = {}
        adapters: set[str] = set()
        for row in live.rows():
            inside = id(row.parameter) in held
            parts.setdefault(row.part, []).append(inside)
            if inside and row.adapter:
                adapters.add(row.adapter)
        answers = {
            part: Tri.YES if all(flags) else Tri.UNKNOWN if any(flags) else Tri.NO for part, flags in parts.items()
        }
        state = live.obj.model
        found.append(
            Capture(
                live.obj,
                "",
                answers,
                tuple(state.adapters),
                len(recorder.trace.events) if seq is None else seq,
                at,
                at,
                {id(one): Tri.of(str(one.name) in adapters) for one in state.adapters},
            )
        )
    return found
