"""The report of a run for a terminal: verdict, cause, chain, curves, ledger, probes, environment."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from lora_lint.errors import InputError
from lora_lint.findings import Finding, Severity
from lora_lint.lifecycle.record import LedgerRow, ModelRecord, RankRecord
from lora_lint.report.excerpt import printable
from lora_lint.report.model import RunReport, SourceView
from lora_lint.report.text import finding_lines, plain
from lora_lint.syntax.source import read_source
from lora_lint.verify import summary
from lora_lint.verify.places import shown
from lora_lint.verify.verdict import FAIL, PASS, Verdict, world_of

Paint = Callable[[str, str], str]
WIDTH = 80
_SYMPTOM = re.compile(r"LL\d{3} ")


def render(verdict: Verdict, paint: Paint, title: str = "") -> str:
    """The whole report. `paint` colours a text: (colour, text) -> text. title: what ran."""
    rank = world_of(verdict.record)
    lines = [*_headline(verdict, rank, paint, title), ""]
    for finding in verdict.findings:
        lines += [*_finding(finding, paint), ""]
    if verdict.confirmations:
        lines += _confirmations(verdict, paint)
    lines += _said(verdict, paint)
    if rank is not None:
        lines += [*_figures(rank, paint), *_ledger(rank, paint), *_probes(rank, paint)]
    lines += _environment(verdict, paint)
    lines += _end(verdict)
    for fault in verdict.faults:
        lines += [
            "",
            paint("red", "LL000 internal-error: a bug of lora-lint; the run was observed without it"),
            fault.rstrip(),
        ]
    return "\n".join(lines).rstrip() + "\n"


def headline(verdict: Verdict, title: str, paint: Paint = plain) -> str:
    """The verdict and its reason in one line."""
    colour = {PASS: "green", FAIL: "red"}.get(verdict.verdict, "yellow")
    what = title or "this run"
    first = next((f for f in verdict.findings if f.severity is Severity.ERROR), None)
    if verdict.verdict == PASS:
        said = f"{what} learns"
    elif verdict.verdict == FAIL and first is not None:
        said = f"{what} does not learn as it should: {first.code} {first.name}"
    else:
        said = f"no verdict on {what}: {printable(verdict.reason)}"
    return f"{paint(colour, verdict.verdict)}  {said}"


def _headline(verdict: Verdict, rank: RankRecord | None, paint: Paint, title: str) -> list[str]:
    steps = rank.cycles if rank is not None else 0
    ranks = len(verdict.record.ranks)
    seen = f"{steps} optimizer step{'s' * (steps != 1)}" + (f" on {ranks} processes" if ranks > 1 else "")
    lines = [headline(verdict, title, paint), f"{seen} observed in {verdict.observed.seconds:.1f} s"]
    if verdict.verdict == FAIL and verdict.reason:
        lines.append(printable(verdict.reason))
    return [*lines, *(paint("yellow", "! ") + note for note in verdict.notes)]


def symptoms(finding: Finding) -> list[str]:
    """What the run showed of a cause: "LL901 no parameter is trainable …"."""
    return [one.message for one in finding.related if _SYMPTOM.match(one.message)]


def code_of(finding: Finding, paint: Paint) -> list[str]:
    """The place of a finding with its code and the other events; first its headline."""
    events = tuple(one for one in finding.related if not _SYMPTOM.match(one.message))
    here = replace(finding, related=events, help="", fix=None, message=f"{finding.name}: {finding.message}")
    return list(finding_lines(here, RunReport(sources=_sources(here)), paint))


def _finding(finding: Finding, paint: Paint) -> list[str]:
    lines = code_of(finding, paint)
    notes = [("seen", text) for text in symptoms(finding)] + ([("help", finding.help)] if finding.help else [])
    return [
        *lines,
        *(f"  {paint('blue', '=')} {paint('bold', label + ':')} {printable(text)}" for label, text in notes),
    ]


def _sources(finding: Finding) -> Mapping[str, SourceView]:
    """The files that the finding speaks of, as far as they can be read."""
    found: dict[str, SourceView] = {}
    for path in {finding.location.path, *(one.location.path for one in finding.related)}:
        try:
            found[path] = read_source(Path(path), path)
        except InputError:
            continue
    return found


def _confirmations(verdict: Verdict, paint: Paint) -> list[str]:
    lines = [paint("bold", "Static findings and what the run says")]
    for one in verdict.confirmations:
        finding = one.finding
        state = paint({"confirmed": "red", "refuted": "green"}.get(one.state, "yellow"), f"{one.state:<12}")
        lines.append(f"  {state} {finding.code} {shown(finding.location)}  {printable(finding.message)}")
    return [*lines, ""]


def _said(verdict: Verdict, paint: Paint) -> list[str]:
    """The end of the program in its own words, when it did not end as it should."""
    if not verdict.reason or (verdict.exit_code == 0 and not verdict.traceback):
        return []
    observed = verdict.observed
    parts: list[str] = []
    if verdict.traceback:
        parts += [paint("bold", "How the program ended"), verdict.traceback.rstrip(), ""]
    if observed.output and (not verdict.traceback or len(verdict.record.ranks) > 1 or observed.expected != 1):
        parts += [paint("bold", "What the program said last"), *(f"  {line}" for line in observed.output), ""]
    if observed.stacks:
        parts += [paint("bold", "Where it was"), observed.stacks.rstrip(), ""]
    return parts


def _figures(rank: RankRecord, paint: Paint) -> list[str]:
    rows: list[tuple[str, str]] = []
    proof = summary.chain(rank)
    if proof is not None:
        links = [f"{number} {name}" if number else paint("red", f"{number} {name}") for name, number in proof.links]
        rows.append(("chain", f"{proof.total} {proof.what}: " + " → ".join(links)))
    for name, values in (("loss", summary.loss_values(rank)), ("grad norm", summary.total_norms(rank.tensors))):
        if values:
            rows.append((name, f"{summary.spark(values)}  {summary.from_to(values)}"))
    for name, text in (
        ("data", summary.data(rank)),
        ("weights", summary.weights(rank)),
        ("memory", summary.memory(rank)),
    ):
        if text:
            rows.append((name, text))
    if not rows:
        return []
    return [paint("bold", "Training"), *(f"  {name:<10} {text}" for name, text in rows), ""]


def _ledger(rank: RankRecord, paint: Paint) -> list[str]:
    lines: list[str] = []
    for number, model in enumerate(rank.models):
        rows = [row for row in rank.ledger if row.model == number]
        if rows and (model.role != "idle" or len(rank.models) == 1):
            lines += _ledger_of(model, rows, paint)
    return [paint("bold", "Trainable parameters"), *lines, ""] if lines else []


def _ledger_of(model: ModelRecord, rows: list[LedgerRow], paint: Paint) -> list[str]:
    facts = [model.role, *([model.quantization] if model.quantization != "none" else [])]
    facts += [f"adapter {name}" for name in model.adapters]
    lines = [f"  {model.type.rsplit('.', 1)[-1]} ({', '.join(facts)})"]
    found = summary.runs(rows)
    width = max(len(summary.moment(row)) for row, _ in found)
    for row, same in found:
        share = 100 * row.trainable / row.total if row.total else 0.0
        head = (
            f"    {summary.moment(row):<{width}}  {summary.count(row.trainable):>7} of {summary.count(row.total):>7}"
            f"  {share:6.2f} %"
        )
        tail = summary.groups(row)
        if not row.trainable:
            tail = paint("red", "nothing is trainable") if row is found[-1][0] else "all frozen"
        elif len(head) + len(tail) + 2 > WIDTH:
            tail = "\n" + " " * 8 + tail
        lines.append(f"{head}  {tail}".rstrip() if not tail.startswith("\n") else head + tail)
        if same:
            lines.append(f"      the same: {', '.join(dict.fromkeys(summary.moment(one) for one in same))}")
    return lines


def _probes(rank: RankRecord, paint: Paint) -> list[str]:
    if not rank.probes:
        return []
    marks = {True: paint("green", "ok"), False: paint("red", "no"), None: "– "}
    lines = [paint("bold", "Probes after the last step")]
    for probe in rank.probes:
        first, *more = textwrap.wrap(printable(probe.text), WIDTH - 22) or [""]
        lines += [f"  {marks[probe.ok]} {probe.name:<15} {first}", *(" " * 21 + line for line in more)]
    return [*lines, ""]


def _environment(verdict: Verdict, paint: Paint) -> list[str]:
    if not verdict.observed.reports:
        return []
    found = verdict.observed.reports[0]["environment"]
    versions = [f"{name} {version}" for name, version in found.get("versions", {}).items()]
    devices = [f"{d['name']} ({d['free_gb']} of {d['total_gb']} GB free)" for d in found.get("devices", [])]
    threads = found.get("threads")
    hardware = [*(devices or ["CPU"]), *([f"{threads} thread{'s' * (threads != 1)}"] if threads else [])]
    hardware += [f"workers by {found['start_method']}"] if found.get("start_method", "default") != "default" else []
    lines = [paint("bold", "Environment")]
    for text in (", ".join([f"python {found['python']}", *versions]), ", ".join(hardware)):
        lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")
    variables = " ".join(f"{name}={value}" for name, value in found.get("variables", {}).items())
    lines += textwrap.wrap(
        printable(variables), WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False
    )
    return [*lines, *(f"  {paint('yellow', '!')} {text}" for text in found.get("remarks", [])), ""]


def _end(verdict: Verdict) -> list[str]:
    lines = []
    codes = list(dict.fromkeys(f.code for f in verdict.findings if f.severity is not Severity.INFO))
    if codes:
        lines.append(
            f"`lora-lint explain {codes[0]}` says more" + (f" (also {', '.join(codes[1:])})." if codes[1:] else ".")
        )
    if any(report["outcome"] == "done" and report["pid"] != os.getpid() for report in verdict.observed.reports):
        lines.append(
            "The program was ended after the last step; what comes later (evaluating, saving) was not reached."
        )
    return lines
