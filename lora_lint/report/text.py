"""The report for a person: place, message, code excerpt with the related events, help, and a summary line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from lora_lint.findings import Applicability, Finding, Severity
from lora_lint.report.excerpt import Mark, Style, excerpt, printable
from lora_lint.report.model import RunReport, fixable_by

_COLOUR = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
_FLAGS = {Applicability.SAFE: "--fix", Applicability.UNSAFE: "--fix --unsafe-fixes"}


def plain(colour: str, text: str) -> str:
    """The style of a report without colours."""
    return text


def render(report: RunReport, style: Style = plain, *, quiet: bool = False) -> str:
    """The findings with excerpts, then the summary line. quiet: without the summary."""
    blocks = ["\n".join(finding_lines(finding, report, style)) + "\n" for finding in report.findings]
    if not quiet:
        blocks.append(summary(report, style) + "\n")
    return "\n".join(blocks)


def render_concise(report: RunReport, style: Style = plain, *, quiet: bool = False) -> str:
    """One line for each finding, then the summary line."""
    lines = [_headline(finding, report, style) for finding in report.findings]
    if not quiet:
        lines.append(summary(report, style))
    return "".join(line + "\n" for line in lines)


def _headline(finding: Finding, report: RunReport, style: Style) -> str:
    place = printable(str(report.place(finding.location)))
    label = style(_COLOUR[finding.severity], f"{finding.code} [{finding.severity.value}]")
    return f"{style('bold', place)}: {label} {printable(finding.message)}"


def finding_lines(finding: Finding, report: RunReport, style: Style) -> Iterator[str]:
    """One finding: headline, excerpt with the related events, help and fix."""
    yield _headline(finding, report, style)
    here = finding.location.path
    own = Mark(finding.location, "^", "")
    near = [Mark(other.location, "-", other.message) for other in finding.related if other.location.path == here]
    yield from excerpt(report, [own, *near], style)
    for other in finding.related:
        if other.location.path != here:
            arrow = style("blue", "  -->")
            yield f"{arrow} {printable(str(report.place(other.location)))}"
            drawn = excerpt(report, [Mark(other.location, "-", other.message)], style)
            yield from drawn or [f"      {printable(other.message)}"]
    for label, text in (("help", finding.help), ("fix", _fix_line(finding))):
        if text:
            yield f"  {style('blue', '=')} {style('bold', label + ':')} {printable(text)}"


def _fix_line(finding: Finding) -> str:
    fix = finding.fix
    if fix is None:
        return ""
    if fix.refused:
        return f"{fix.title}: not possible here, {fix.refused}"
    flags = _FLAGS.get(fix.applicability)
    return f"{fix.title} (with `{flags}`)" if flags else f"{fix.title} (by hand)"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def summary(report: RunReport, style: Style = plain) -> str:
    """One line: what was found where, what was fixed, and how many can be fixed."""
    parts = [_fixed(report)] if report.fixed else []
    parts.append(_found(report, style))
    left_out = [
        f"{number} {reason}"
        for number, reason in ((report.baselined, "in the baseline"), (report.outside_diff, "outside the diff"))
        if number
    ]
    if left_out:
        parts.append(f"Not shown: {', '.join(left_out)}.")
    if report.errors:
        parts.append(f"{_count(len(report.errors), 'path')} could not be read.")
    return " ".join(parts)


def _fixed(report: RunReport) -> str:
    return f"Fixed {_count(report.fixed, 'problem')}."


def _found(report: RunReport, style: Style) -> str:
    if not report.findings:
        if not report.checked:
            return style("yellow", "No Python files or notebooks found to check.")
        return style("green", f"All clear: {_count(report.checked, 'file')} checked.")
    by_severity = Counter(finding.severity for finding in report.findings)
    kinds = ", ".join(_count(by_severity[severity], severity.value) for severity in Severity if by_severity[severity])
    hit = len({finding.location.path for finding in report.findings})
    found = f"Found {_count(len(report.findings), 'problem')} ({kinds}) in {hit} of {_count(report.checked, 'file')}"
    return style("bold", found) + f"{_fixable(report)}."


def _fixable(report: RunReport) -> str:
    safe = sum(fixable_by(finding, Applicability.SAFE) for finding in report.findings)
    unsafe = sum(fixable_by(finding, Applicability.UNSAFE) for finding in report.findings)
    if safe and unsafe:
        return f"; {safe} fixable with --fix, {unsafe} more with --unsafe-fixes"
    if safe:
        return f"; {safe} fixable with --fix"
    if unsafe:
        return f"; {unsafe} fixable with --fix --unsafe-fixes"
    return ""


def statistics(report: RunReport) -> str:
    """Counts by rule, then what the analysis met, for `--statistics`."""
    counts = Counter((finding.code, finding.name) for finding in report.findings)
    lines = [f"{number:6}  {code}  {name}" for (code, name), number in sorted(counts.items())]
    lines += [f"{number:6}  {what}" for what, number in report.statistics.items()]
    return "".join(line + "\n" for line in lines)
