"""The shared check functions, listening to the recorded events in the observed process."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import lora_lint.checks
from lora_lint.checks.base import Check, Report
from lora_lint.lifecycle.trace import SHARED_CONFIG, VALUES_HANDLED, Event, Trace
from lora_lint.lifecycle.vocabulary import Ev, Kind
from lora_lint.location import Location
from lora_lint.verify.faults import Faults


def all_checks(runtime_only: bool = False) -> Iterator[Check]:
    """The checks of the modules in `lora_lint.checks`; `runtime_only`: those of the modules named runtime_*."""
    seen: set[int] = set()
    for module in pkgutil.iter_modules(lora_lint.checks.__path__):
        if module.name.startswith("runtime_") is not runtime_only:
            continue
        loaded = importlib.import_module(f"lora_lint.checks.{module.name}")
        for value in vars(loaded).values():
            for check in getattr(value, "lora_lint_checks", ()):
                if id(value) not in seen:
                    yield check
            seen.add(id(value))


class Judge:
    """Collects what the checks report while the run goes on."""

    def __init__(self, trace: Trace, faults: Faults) -> None:
        self._trace = trace
        self._faults = faults
        self._reports: list[tuple[str, Report]] = []
        for check in all_checks():
            trace.subscribe(check.on, partial(self._see, check))

    def _see(self, check: Check, event: Event) -> None:
        found = self._faults.run(lambda: list(check.function(event, self._trace)))
        self._reports += [(check.code, report) for report in found or ()]

    def _witnesses(self) -> set[object]:
        """What this run refutes of the findings that another path through the program may refute: a config was used, a
        loop was ended before its scaler was updated."""
        found: set[object] = set()
        injected = any(True for _ in self._trace.of(Ev.INJECT))
        for event in self._trace.of(Ev.CONFIGURE):
            config = event.role("config")
            if injected and config is not None:
                found.add(("config-used", config.site))
            kinds = {e.model.root.type for e in self._trace.of(Ev.INJECT) if e.model and e.role("config") is config}
            if config is not None and len(kinds) > 1:
                found.add((SHARED_CONFIG, config.site))
        # A run sees no copying of values from one adapter to another, so it does not guess what an adapter is for.
        found |= {(VALUES_HANDLED, e.model.root.site) for e in self._trace.of(Ev.INJECT) if e.model is not None}
        for scaler in self._trace.made(Kind.SCALER):
            if sum(event.role("scaler") is scaler for event in self._trace.of(Ev.STEP)) < 2:
                found.add((Ev.SCALER_UPDATE.value, scaler.site))
        return found

    def collected(self) -> list[dict[str, Any]]:
        """The reports as plain data, without repetitions."""
        found: dict[tuple[str, Location, str], dict[str, Any]] = {}
        witnesses = self._witnesses()
        for code, report in self._reports:
            if not witnesses.isdisjoint(report.unless):
                continue
            found.setdefault((code, report.location, report.message), plain(code, report))
        return list(found.values())


def plain(code: str, report: Report) -> dict[str, Any]:
    """One report as plain data."""
    return {
        "code": code,
        "message": report.message,
        "help": report.help,
        "location": asdict(report.location),
        "story": [
            {"location": asdict(at.location if isinstance(at, Event) else at), "message": text}
            for at, text in report.story
        ],
        "severity": report.severity.value if report.severity is not None else None,
        "maybe": report.maybe,
    }
