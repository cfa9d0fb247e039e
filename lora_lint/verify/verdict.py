"""From what the processes saw to a verdict: PASS, FAIL or INCONCLUSIVE, with causes before symptoms."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lora_lint.findings import Finding, Severity
from lora_lint.lifecycle.record import RankRecord, RunRecord, rank_from
from lora_lint.location import Location
from lora_lint.verify import summary
from lora_lint.verify.causes import Causes
from lora_lint.verify.observed import Observed
from lora_lint.verify.places import shown

if TYPE_CHECKING:
    from lora_lint.verify.confirm import Confirmation

# The last line of a traceback, and what argparse says.
_LAST_WORDS = re.compile(r"(?:[\w.]*(?:Error|Exception|Interrupt)\b|[\w./-]+: error: )")
_ROOT_CAUSE = re.compile(r"Root Cause .*?\n\s*rank\s*: (\d+) .*?\n\s*exitcode\s*: (-?\d+)", re.DOTALL)
PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "INCONCLUSIVE"
ENOUGH_STEPS = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a run. findings: causes first. reason: why there is no verdict, or what to know about it.
    exit_code: 0 PASS, 1 FAIL, 2 INCONCLUSIVE; a program that ended by itself after one healthy step is INCONCLUSIVE
    with 0. notes: what is strange about the run without being a finding. raised: rules that the exception proves which
    ended the program.
    """

    verdict: str
    reason: str
    findings: tuple[Finding, ...]
    record: RunRecord
    exit_code: int
    traceback: str = ""
    faults: tuple[str, ...] = ()
    observed: Observed = field(default_factory=Observed)
    confirmations: tuple[Confirmation, ...] = ()
    notes: tuple[str, ...] = ()
    raised: frozenset[str] = frozenset()


def judge(observed: Observed, steps: int, read: Sequence[Finding] = ()) -> Verdict:
    """The verdict over the reports of one run. `read`: what the static check says of the same program."""
    record = RunRecord([rank_from(report["rank"]) for report in observed.reports])
    record.ranks.sort(key=lambda rank: rank.rank)
    found = Causes(observed, record, read)
    findings = found.ordered()
    faults = tuple(fault for report in observed.reports for fault in report["faults"])
    reason, crashed = _trouble(observed, record, steps)
    notes = _notes(observed, record)
    raised = frozenset(finding.code for finding in found.raised)
    failed = any(f.severity is Severity.ERROR for f in findings)
    trace = next((r["error"]["traceback"] for r in observed.reports if r["error"]), "")
    if failed and not (crashed and _only_crash(record) and not raised):
        return Verdict(FAIL, reason, findings, record, 1, trace, faults, observed, notes=notes, raised=raised)
    if faults and not reason and not _learns(record):
        reason, crashed = "an error of lora-lint itself kept it from seeing anything learn (see below)", True
    if reason:
        short = not crashed and not observed.timed_out and any(rank.steps for rank in record.ranks)
        return Verdict(INCONCLUSIVE, reason, findings, record, 0 if short else 2, trace, faults, observed, notes=notes)
    return Verdict(PASS, "", findings, record, 0, "", faults, observed, notes=notes)


def _learns(record: RunRecord) -> bool:
    """Whether some tensor was seen to change for good, with a gradient, in every process."""
    return all(any(t.learned and any(t.gradients) for t in rank.tensors) for rank in record.ranks)


def _only_crash(record: RunRecord) -> bool:
    """Whether a crash came before anything could be judged."""
    return not any(rank.backwards or rank.steps for rank in record.ranks)


def _trouble(observed: Observed, record: RunRecord, steps: int) -> tuple[str, bool]:
    """Why there is no PASS, "" when there is nothing against it; and whether the program crashed."""
    error = next((report["error"] for report in observed.reports if report["error"]), None)
    if observed.interrupted:
        return "interrupted", True
    if observed.over_memory:
        return f"the program held more main memory than the limit of {observed.over_memory / 2**30:g} GB", True
    if error is not None:
        return _crash(error) + _missing(observed, record), True
    if observed.timed_out:
        return (
            f"time is up after {observed.seconds:.0f} s and {max((r.steps for r in record.ranks), default=0)} steps",
            True,
        )
    if observed.status not in (0, None):
        return _exit(observed), True
    told = next((r["outcome"] for r in observed.reports if r["outcome"] not in ("done", "ended")), "")
    if told:
        return told, False
    if not record.ranks or not any(rank.steps for rank in record.ranks):
        return "no optimizer step was seen: the program does not train in this process", True
    world = _world(observed, record)
    if len(record.ranks) < world:
        return f"only {len(record.ranks)} of {world} processes reported", True
    fewest = min(rank.cycles for rank in record.ranks)
    if fewest < ENOUGH_STEPS:
        return (
            f"the program ended after {fewest} optimizer step{'s' * (fewest != 1)}: too few to prove that it learns",
            False,
        )
    if any(summary.chain(rank) is None for rank in record.ranks):
        return (
            "no model was seen to run with the parameters that the optimizer holds: nothing proves that it learns",
            True,
        )
    return "", False


def _world(observed: Observed, record: RunRecord) -> int:
    """How many processes there should be. One process that knows of no others is no lost rank: the launcher started
    only this one, as `accelerate launch --cpu` does whatever number it is given."""
    told = max([1, *(rank.world for rank in record.ranks)])
    return told if len(record.ranks) == 1 and told == 1 else max(observed.expected, told)


def _notes(observed: Observed, record: RunRecord) -> tuple[str, ...]:
    """What to know about a run that says nothing about its learning."""
    if observed.expected > _world(observed, record):
        said = (
            f"{observed.expected} processes were asked for, but the launcher started one that knows of no others "
            "(`accelerate launch --cpu` does so): nothing distributed was tried"
        )
        return (said,)
    return ()


def _crash(error: dict[str, Any]) -> str:
    text = error["text"].strip().splitlines()[0] if error["text"].strip() else ""
    place = error["places"][-1] if error["places"] else None
    where = f" at {shown(Location(place['path'], place['line'], 1, place['line'], 1))}" if place is not None else ""
    return f"the program ended{where} with {error['type']}" + (f": {text}" if text else "")


def _missing(observed: Observed, record: RunRecord) -> str:
    """What to add to a crash of a distributed run: another process may have been the first to go."""
    root = _root_cause(observed)
    if root:
        return f" ({root})"
    world = _world(observed, record)
    there = len(record.ranks)
    return f" ({there} of {world} processes reported: another may have ended first)" if there < world else ""


def _root_cause(observed: Observed) -> str:
    """What torchrun says about the process that ended first, when it was another's fault than an exception that we saw."""
    found = _ROOT_CAUSE.search("\n".join(observed.output))
    return f"rank {found.group(1)} ended first, with exit code {found.group(2)}" if found else ""


def _exit(observed: Observed) -> str:
    """How a program ended that no exception was seen of."""
    status = observed.status or 0
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        often = ": often the system's out-of-memory killer" if name == "SIGKILL" else ""
        return f"the program was ended by {name}{often}"
    root = _root_cause(observed)
    if root:
        return root
    said = next((line for line in reversed(observed.output) if _LAST_WORDS.match(line)), "")
    return f"the program ended with exit status {status}" + (f": {said.strip()}" if said else "")


def world_of(record: RunRecord) -> RankRecord | None:
    """The process whose figures are shown: rank 0, or the first that reported."""
    return record.ranks[0] if record.ranks else None
