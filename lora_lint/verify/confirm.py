"""`--confirm`: what the run says about the findings of the static check."""

from __future__ import annotations

import ast
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from lora_lint.checks.registry import load_checks
from lora_lint.config import Configuration
from lora_lint.findings import Finding, Severity
from lora_lint.pipeline import run
from lora_lint.request import Request
from lora_lint.verify.causes import ONLY_READ
from lora_lint.verify.verdict import PASS, Verdict

CONFIRMED, REFUTED, NOT_REACHED, OPEN = "confirmed", "refuted", "not reached", "open"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A static finding and what became of it.

    confirmed: the run reports the same rule. refuted: its function ran, the rule judges runs, and the run learns.
    not reached: its function did not run. open: anything else, e.g. a rule about what comes after the observed steps.
    """

    finding: Finding
    state: str


def static_findings(targets: Sequence[str]) -> tuple[Finding, ...]:
    """The findings of `lora-lint check` on these paths, without fixes."""
    return run(Request(tuple(targets), Configuration(anchor=targets[0]))).report.findings


def confirm(findings: Sequence[Finding], verdict: Verdict, raised: Set[str] = frozenset()) -> list[Confirmation]:
    """What the run says about each finding. verdict: of the run alone, without what was read. raised: rules that the
    exception proves which ended the program."""
    said = {f.code for f in verdict.findings if f.severity is not Severity.INFO} | raised
    ran = {(path, line) for report in verdict.observed.reports for path, line in report["functions"]}
    return [Confirmation(finding, _state(finding, verdict, said, ran)) for finding in findings]


def _state(finding: Finding, verdict: Verdict, said: set[str], ran: set[tuple[str, int]]) -> str:
    if finding.code in said:
        return CONFIRMED
    path, line = finding.location.path, finding.location.line
    if (path, _function_around(path, line)) not in ran:
        return NOT_REACHED
    card = load_checks().cards.get(finding.code)
    judged = card is not None and card.runtime
    return REFUTED if judged and verdict.verdict == PASS and finding.code not in ONLY_READ else OPEN


def _function_around(path: str, line: int) -> int:
    """First line of the innermost function around a line, as its code object counts: with decorators. 1 for the module,
    whose code object may also say 0."""
    try:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return 1
    best = 1
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if first <= line <= (node.end_lineno or line):
                best = max(best, first)
    return best
