"""GitHub workflow commands: each finding becomes an annotation on the line of a pull request."""

from __future__ import annotations

from lora_lint.findings import Finding, Severity
from lora_lint.report.model import RunReport

_COMMAND = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def render(report: RunReport) -> str:
    """One workflow command for each finding."""
    return "".join(_command(finding, report) + "\n" for finding in report.findings)


def _command(finding: Finding, report: RunReport) -> str:
    place = report.place(finding.location)
    properties = {"title": f"lora-lint {finding.code} ({finding.name})", "file": place.path.replace("\\", "/")}
    if place.cell is None:
        properties["line"] = str(place.line)
        properties["endLine"] = str(place.end_line)
        # Columns are only allowed when the annotation stays on one line.
        if place.line == place.end_line:
            properties["col"] = str(place.column)
            properties["endColumn"] = str(place.end_column)
    else:
        # A notebook is one JSON file: its cells have no lines that GitHub could show.
        properties["line"] = "1"
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    help_line = f"\nhelp: {finding.help}" if finding.help else ""
    return f"::{_COMMAND[finding.severity]} {listed}::{_data(f'{place}: {finding.code} {finding.message}{help_line}')}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
