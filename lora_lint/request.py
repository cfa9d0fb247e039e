"""What a run of the checker is asked for, and what it gives: data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lora_lint.config import Configuration
from lora_lint.report.model import RunReport


@dataclass(frozen=True, slots=True)
class Fixing:
    """What to do with fixes: write them (and keep backups), or show them as a diff."""

    write: bool = False
    show: bool = False
    backup: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What one run is asked for. stdin: the bytes of standard input when `paths` is `-`, named `stdin_name`."""

    paths: tuple[str, ...]
    configuration: Configuration
    stdin: bytes | None = None
    stdin_name: str = "<stdin>"
    fixing: Fixing = field(default_factory=Fixing)
    write_baseline: Path | None = None
    diff_base: str | None = None
    debug: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run gives: the report, text for standard output (a diff, or fixed standard input), and remarks."""

    report: RunReport
    output: str | bytes = ""
    notes: tuple[str, ...] = ()
