"""What a run left behind, seen from outside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Observed:
    """What a run left behind. reports: one per process that saw a training, rank 0 first. status: exit status of the
    command, None when we ended it. output: its last lines. over_memory: the memory limit that it was ended for."""

    reports: list[dict[str, Any]] = field(default_factory=list)
    status: int | None = None
    timed_out: bool = False
    interrupted: bool = False
    seconds: float = 0.0
    output: list[str] = field(default_factory=list)
    stacks: str = ""
    expected: int = 0
    over_memory: int = 0
