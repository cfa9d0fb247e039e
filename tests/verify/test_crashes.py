"""Programs that an exception ends: which of them prove a rule, and which leave the question open."""

from __future__ import annotations

from typing import Any

import pytest

from lora_lint.checks.base import Report
from lora_lint.checks.registry import load_checks
from lora_lint.findings import Finding, Severity
from lora_lint.lifecycle.record import LossRecord, OptimizerRecord, RankRecord, to_json
from lora_lint.location import Location
from lora_lint.verify.confirm import confirm
from lora_lint.verify.observed import Observed
from lora_lint.verify.verdict import Verdict, judge


def found(code: str, line: int, read_at: int = 0) -> Finding:
    """What the static check says at a line of train.py, with a line of its story."""
    story = ((Location("train.py", read_at, 5, read_at, 20), "read here"),) if read_at else ()
    return load_checks().render(code, Report(Location("train.py", line, 1, line, 20), "wrong", story=story))


def crashed(kind: str, text: str, line: int, read: list[Finding], rank: RankRecord | None = None) -> Verdict:
    """The verdict on a program that ends with an exception at a line of train.py."""
    report: dict[str, Any] = {
        "outcome": "ended",
        "error": {
            "type": kind,
            "text": text,
            "places": [
                {"path": "train.py", "line": 90, "function": "main"},
                {"path": "train.py", "line": line, "function": "collate"},
            ],
            "traceback": "",
        },
        "rank": to_json(rank or RankRecord()),
        "reports": [],
        "functions": [],
        "faults": [],
        "environment": {},
    }
    return judge(Observed(reports=[report], status=1), 3, read)


def told(verdict: Verdict) -> list[tuple[str, Severity]]:
    return [(finding.code, finding.severity) for finding in verdict.findings]


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        ("LL403", "KeyError", "'question'"),
        ("LL403", "ValueError", "Unknown split \"validation\". Should be one of ['train', 'val', 'test']."),
        ("LL409", "RuntimeError", "Expected all tensors to be on the same device, but found at least two devices"),
    ],
)
def test_a_crash_at_the_reported_line_proves_the_finding(code: str, kind: str, text: str) -> None:
    verdict = crashed(kind, text, 12, [found(code, 12)])
    assert verdict.verdict == "FAIL"
    assert told(verdict) == [(code, Severity.ERROR)]
    assert "ended at train.py:12" in verdict.reason


def test_a_line_of_the_story_counts() -> None:
    verdict = crashed("KeyError", "'premise'", 30, [found("LL407", 12, read_at=30)])
    assert told(verdict) == [("LL407", Severity.ERROR)]


@pytest.mark.parametrize(
    ("kind", "text", "line"),
    [
        ("KeyError", "'question'", 13),  # another line
        ("KeyError", "'question'", 90),  # the line of a caller only
        ("IndexError", "list index out of range", 12),  # another exception
    ],
)
def test_another_crash_proves_nothing(kind: str, text: str, line: int) -> None:
    verdict = crashed(kind, text, line, [found("LL403", 12)])
    assert verdict.verdict == "INCONCLUSIVE"
    assert told(verdict) == []


def test_a_crash_that_only_one_bug_makes_needs_no_finding() -> None:
    text = "Target modules {'query'} not found in the base model. Please check the target modules and try again."
    for kind in ("ValueError", "NoMatchingPeftModuleError"):
        verdict = crashed(kind, text, 12, [])
        assert verdict.verdict == "FAIL"
        assert told(verdict) == [("LL110", Severity.ERROR)]
        assert verdict.findings[0].location.line == 12


def test_steps_that_a_crash_prevented_are_not_missing() -> None:
    at = Location("train.py", 12, 1, 12, 20)
    rank = RankRecord(
        backwards=4,
        losses=[LossRecord(2.0, "full", at)],
        optimizers=[OptimizerRecord("torch.optim.AdamW", at)],
    )
    verdict = crashed("ZeroDivisionError", "division by zero", 40, [], rank)
    assert verdict.verdict == "INCONCLUSIVE"
    assert told(verdict) == []


def test_what_was_only_read_keeps_the_severity_of_its_card() -> None:
    rank = RankRecord(steps=3, cycles=3, backwards=3)
    verdict = crashed("ZeroDivisionError", "division by zero", 40, [found("LL206", 12), found("LL112", 13)], rank)
    assert set(told(verdict)) == {("LL206", Severity.WARNING), ("LL112", Severity.WARNING)}
    assert verdict.verdict == "INCONCLUSIVE"


def test_a_crash_confirms_the_finding_that_it_proves() -> None:
    read = [found("LL403", 12)]
    verdict = crashed("KeyError", "'question'", 12, read)
    alone = crashed("KeyError", "'question'", 12, [])
    assert [one.state for one in confirm(read, alone, verdict.raised)] == ["confirmed"]
    elsewhere = crashed("KeyError", "'question'", 13, read)
    assert [one.state for one in confirm(read, alone, elsewhere.raised)] == ["not reached"]
