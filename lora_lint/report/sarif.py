"""SARIF 2.1.0: for code scanning services and editors."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from lora_lint.findings import Edit, Finding, Fix, Severity
from lora_lint.location import Location
from lora_lint.report.json import dumps
from lora_lint.report.model import Place, RuleView, RunReport

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVEL = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def render(report: RunReport) -> str:
    """A SARIF log with one run. Fingerprints are stable when lines move; paths are relative to %SRCROOT%."""
    used = sorted({finding.code for finding in report.findings} | set(report.rules))
    index = {code: position for position, code in enumerate(used)}
    run = {
        "tool": {
            "driver": {
                "name": "lora-lint",
                "version": report.version,
                "semanticVersion": report.version,
                "rules": [_rule(code, report.rules.get(code)) for code in used],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [
            _result(finding, mark, index[finding.code], report)
            for finding, mark in zip(report.findings, report.fingerprints, strict=True)
        ],
        "invocations": [_invocation(report)],
    }
    return dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def _invocation(report: RunReport) -> dict[str, Any]:
    broken = report.errors or any(finding.code == "LL000" for finding in report.findings)
    shown: dict[str, Any] = {"executionSuccessful": not broken}
    if report.errors:
        shown["toolExecutionNotifications"] = [
            {"level": "error", "message": {"text": error}} for error in report.errors
        ]
    return shown


def _rule(code: str, card: RuleView | None) -> dict[str, Any]:
    if card is None:
        return {"id": code}
    name = "".join(word.capitalize() for word in card.name.split("-"))
    why = card.why.strip()
    return {
        "id": code,
        "name": name,
        "shortDescription": {"text": card.summary},
        "fullDescription": {"text": why or card.summary},
        "help": {"text": f"{why}\n\nRun `lora-lint explain {code}` for examples and the fix."},
    }


def _result(finding: Finding, fingerprint: str, rule_index: int, report: RunReport) -> dict[str, Any]:
    place = report.place(finding.location)
    message = finding.message if place.cell is None else f"cell {place.cell}, line {place.line}: {finding.message}"
    if finding.help:
        message += f"\nhelp: {finding.help}"
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": rule_index,
        "level": _LEVEL[finding.severity],
        "message": {"text": message},
        "locations": [_location(place)],
        "partialFingerprints": {"loraLintFingerprint/v1": fingerprint},
    }
    if finding.related:
        result["relatedLocations"] = [
            {"id": number, **_location(report.place(other.location)), "message": {"text": other.message}}
            for number, other in enumerate(finding.related, start=1)
        ]
    # A notebook's edits are in cells, which SARIF has no words for.
    if finding.fix is not None and finding.fix.edits and place.cell is None:
        result["fixes"] = [_fix(finding.fix)]
    return result


def _artifact(path: str) -> dict[str, Any]:
    slashed = path.replace("\\", "/")
    if slashed.startswith("/"):
        return {"uri": "file://" + quote(os.fsencode(slashed))}
    return {"uri": quote(os.fsencode(slashed)), "uriBaseId": "%SRCROOT%"}


def _location(place: Place) -> dict[str, Any]:
    if place.cell is not None:
        # Lines of a cell are no lines of the .ipynb file: point at its first line and name the cell.
        return {
            "physicalLocation": {"artifactLocation": _artifact(place.path), "region": {"startLine": 1}},
            "logicalLocations": [{"name": f"cell {place.cell}", "kind": "module"}],
        }
    region = {
        "startLine": place.line,
        "startColumn": place.column,
        "endLine": place.end_line,
        "endColumn": place.end_column,
    }
    return {"physicalLocation": {"artifactLocation": _artifact(place.path), "region": region}}


def _fix(fix: Fix) -> dict[str, Any]:
    paths = sorted({edit.location.path for edit in fix.edits})
    return {
        "description": {"text": f"{fix.title} ({fix.applicability.value})"},
        "artifactChanges": [
            {
                "artifactLocation": _artifact(path),
                "replacements": list(_replacements(edit for edit in fix.edits if edit.location.path == path)),
            }
            for path in paths
        ],
    }


def _replacements(edits: Iterable[Edit]) -> Iterable[dict[str, Any]]:
    for edit in edits:
        yield {"deletedRegion": _region(edit.location), "insertedContent": {"text": edit.text}}


def _region(location: Location) -> dict[str, int]:
    return {
        "startLine": location.line,
        "startColumn": location.column,
        "endLine": location.end_line,
        "endColumn": location.end_column,
    }
