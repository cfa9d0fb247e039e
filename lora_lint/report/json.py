"""The report for programs: a JSON list of findings."""

from __future__ import annotations

import json
import re
from typing import Any

from lora_lint.findings import Finding, Fix
from lora_lint.report.model import Place, RunReport

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def render(report: RunReport) -> str:
    """A JSON list with one object for each finding, in order of place. In notebooks lines count within `cell`."""
    rows = [_finding(finding, mark, report) for finding, mark in zip(report.findings, report.fingerprints, strict=True)]
    return dumps(rows)


def dumps(value: Any) -> str:
    """JSON text that can be encoded as UTF-8: file names that are no text keep their odd bytes as escapes."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


def _finding(finding: Finding, fingerprint: str, report: RunReport) -> dict[str, Any]:
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity.value,
        "message": finding.message,
        **_place(report.place(finding.location)),
        "help": finding.help,
        "related": [{**_place(report.place(other.location)), "message": other.message} for other in finding.related],
        "fix": None if finding.fix is None else _fix(finding.fix, report),
        "fingerprint": fingerprint,
        "url": finding.url,
    }


def _place(place: Place) -> dict[str, Any]:
    where: dict[str, Any] = {"path": place.path.replace("\\", "/")}
    if place.cell is not None:
        where["cell"] = place.cell
    where["line"] = place.line
    where["column"] = place.column
    where["end_line"] = place.end_line
    where["end_column"] = place.end_column
    return where


def _fix(fix: Fix, report: RunReport) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "applicability": fix.applicability.value,
        "title": fix.title,
        "edits": [{**_place(report.place(edit.location)), "text": edit.text} for edit in fix.edits],
    }
    if fix.refused:
        shown["refused"] = fix.refused
    return shown
