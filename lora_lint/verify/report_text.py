"""The report of a run for a terminal: verdict, cause, ledger, curves, environment."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from lora_lint.findings import Finding, Severity
from lora_lint.lifecycle.record import RankRecord
from lora_lint.verify.places import shown
from lora_lint.verify.verdict import FAIL, PASS, Verdict, world_of

Paint = Callable[[str, str], str]
_BARS = "▁▂▃▄▅▆▇█"
_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "blue"}


def render(verdict: Verdict, paint: Paint) -> str:
    """The whole report. `paint` colours a text: (colour, text) -> text."""
    rank = world_of(verdict.record)
    lines = [_headline(verdict, rank, paint), ""]
    for finding in verdict.findings:
        lines += _finding(finding, paint)
    if verdict.confirmations:
        lines += _confirmations(verdict, paint)
    if rank is not None and rank.ledger:
        lines += _ledger(rank, paint)
    if rank is not None and rank.losses:
        lines += _curves(rank, paint)
    if rank is not None and rank.probes:
        lines += _probes(rank, paint)
    lines += _environment(verdict, paint)
    if verdict.exit_code == 2:
        lines += _crash(verdict, paint)
    for fault in verdict.faults:
        lines += [
            "",
            paint("red", "LL000 internal-error: a bug of lora-lint; the run was observed without it"),
            fault.rstrip(),
        ]
    return "\n".join(lines).rstrip() + "\n"


def _headline(verdict: Verdict, rank: RankRecord | None, paint: Paint) -> str:
    colour = {PASS: "green", FAIL: "red"}.get(verdict.verdict, "yellow")
    steps = rank.cycles if rank is not None else 0
    ranks = len(verdict.record.ranks)
    seen = f"{steps} step{'s' * (steps != 1)}" + (f" on {ranks} processes" if ranks > 1 else "")
    text = f"{paint(colour, verdict.verdict)}  {seen} observed in {verdict.observed.seconds:.1f} s"
    return f"{text}: {verdict.reason}" if verdict.reason else text


def _finding(finding: Finding, paint: Paint) -> list[str]:
    head = paint(_COLOURS[finding.severity], f"{finding.severity.value} {finding.code} {finding.name}")
    lines = [head, f"  {shown(finding.location)}  {finding.message}"]
    lines += [f"    {shown(related.location)}  {related.message}" for related in finding.related]
    if finding.help:
        lines.append(f"  {paint('bold', 'help:')} {finding.help}")
    return [*lines, ""]


def _confirmations(verdict: Verdict, paint: Paint) -> list[str]:
    lines = [paint("bold", "Static findings and what the run says")]
    for one in verdict.confirmations:
        finding = one.finding
        lines.append(f"  {one.state:<12} {finding.code} {shown(finding.location)}  {finding.message}")
    return [*lines, ""]


def _ledger(rank: RankRecord, paint: Paint) -> list[str]:
    lines = [paint("bold", "Trainable parameters")]
    for number, model in enumerate(rank.models):
        rows = [row for row in rank.ledger if row.model == number]
        if not rows or (model.role == "idle" and len(rank.models) > 1):
            continue
        adapters = f", adapters {', '.join(model.adapters)}" if model.adapters else ""
        quantized = f", {model.quantization}" if model.quantization != "none" else ""
        lines.append(f"  {model.type.rsplit('.', 1)[-1]} ({model.role}{quantized}{adapters})")
        before: tuple[int, int] | None = None
        for row in rows:
            share = 100 * row.trainable / row.total if row.total else 0.0
            groups = ", ".join(f"{name} {_count(n)}" for name, n in sorted(row.groups.items()))
            mark = "" if before is None or before == (row.trainable, row.total) else "  ← changed"
            before = (row.trainable, row.total)
            lines.append(
                f"    {row.moment:<32} {_count(row.trainable):>8} of {_count(row.total):>8}"
                f"  {share:6.2f} %  {groups}{mark}"
            )
    return [*lines, ""]


def _count(number: int) -> str:
    for unit, size in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return str(number)


def _curves(rank: RankRecord, paint: Paint) -> list[str]:
    losses = [loss.value for loss in rank.losses if loss.value is not None]
    lines = [paint("bold", "Curves")]
    if losses:
        lines.append(f"  loss       {spark(losses)}  {_number(losses[0])} → {_number(losses[-1])}")
    norms: dict[int, float] = {}
    for tensor in rank.tensors:
        for sample in tensor.samples:
            if sample.grad is not None:
                norms[sample.step] = norms.get(sample.step, 0.0) + sample.grad**2
    values = [math.sqrt(norms[step]) if math.isfinite(norms[step]) else math.nan for step in sorted(norms)]
    if values:
        lines.append(f"  grad norm  {spark(values)}  {_number(values[0])} → {_number(values[-1])}")
    moved = sum(1 for t in rank.tensors if t.trainable and t.learned)
    trained = sum(1 for t in rank.tensors if t.trainable)
    lines.append(f"  changed    {moved} of {trained} trainable tensors")
    return [*lines, ""]


def spark(values: Sequence[float]) -> str:
    """A line of bars; × for what is not finite."""
    finite = [v for v in values if math.isfinite(v)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    span = (high - low) or 1.0
    return "".join(_BARS[round((v - low) / span * (len(_BARS) - 1))] if math.isfinite(v) else "×" for v in values[-60:])


def _number(value: float) -> str:
    return f"{value:.4g}"


def _probes(rank: RankRecord, paint: Paint) -> list[str]:
    marks = {True: "ok  ", False: "no  ", None: "–   "}
    return [paint("bold", "Probes"), *(f"  {marks[p.ok]} {p.name}: {p.text}" for p in rank.probes), ""]


def _environment(verdict: Verdict, paint: Paint) -> list[str]:
    if not verdict.observed.reports:
        return []
    found = verdict.observed.reports[0]["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in found.get("versions", {}).items())
    lines = [paint("bold", "Environment"), f"  python {found['python']}, {versions}"]
    devices = [f"{d['name']} ({d['free_gb']} of {d['total_gb']} GB free)" for d in found.get("devices", [])]
    lines.append(f"  {', '.join(devices) if devices else 'CPU'}, {found.get('threads', '?')} threads")
    if found.get("variables"):
        lines.append("  " + " ".join(f"{name}={value}" for name, value in found["variables"].items()))
    return [*lines, *(f"  ! {text}" for text in found.get("remarks", [])), ""]


def _crash(verdict: Verdict, paint: Paint) -> list[str]:
    text = verdict.traceback or "\n".join(verdict.observed.output)
    if not text and not verdict.observed.stacks:
        return []
    parts = [paint("bold", "What the program said last"), text.rstrip()]
    if verdict.observed.stacks:
        parts += [paint("bold", "Where it was"), verdict.observed.stacks.rstrip()]
    return parts
