"""What a run shows, in order: causes first, each with the symptoms it explains, then symptoms without a cause."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lora_lint.apis.store import ApiStore
from lora_lint.checks.base import Report
from lora_lint.checks.registry import Registry, load_checks
from lora_lint.findings import Finding, Related, Severity
from lora_lint.lifecycle.record import RunRecord
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import Ev
from lora_lint.location import Location
from lora_lint.verify.drift import drifts
from lora_lint.verify.judge import all_checks
from lora_lint.verify.measured import measured_causes
from lora_lint.verify.observed import Observed

# Causes that mean "this does not learn", and the symptoms that show it. Without one of them in the same run such a
# cause did no harm here: it is told as information and does not fail the run.
_CHAIN = frozenset({"LL901", "LL902", "LL903", "LL904", "LL905", "LL907", "LL914"})
_NEEDS_PROOF = {
    "LL101": _CHAIN | {"LL920"},
    "LL103": _CHAIN,
    "LL104": _CHAIN,
    "LL105": _CHAIN,
    "LL102": _CHAIN,
    "LL107": _CHAIN,
    "LL109": _CHAIN,
    "LL113": _CHAIN,
    "LL201": _CHAIN,
    "LL202": _CHAIN,
    "LL203": _CHAIN,
    "LL204": _CHAIN,
    "LL301": _CHAIN,
    "LL302": _CHAIN,
    "LL602": _CHAIN | {"LL913"},
    "LL603": _CHAIN | {"LL913"},
    "LL607": {"LL913"},
}
# Causes that cards call warnings because reading cannot be sure of them: a run in which they happened shows them. What
# was only read keeps the severity of its card.
_SEEN_TO_HARM = frozenset({"LL112", "LL115", "LL206", "LL404", "LL405", "LL803"})
# Causes that the measurements prove or refute by themselves, whatever the order of the events suggests.
_MEASURABLE = frozenset(
    {
        "LL111",
        "LL112",
        "LL302",
        "LL303",
        "LL304",
        "LL306",
        "LL307",
        "LL404",
        "LL405",
        "LL503",
        "LL605",
        "LL704",
        "LL803",
    }
)
# Causes that something never happens: a program that an exception ended did not come to it.
_NEEDS_AN_END = frozenset({"LL304"})
# Symptoms that a cause explains: they become its related places.
_EXPLAINS = {
    **_NEEDS_PROOF,
    "LL303": frozenset(),
    "LL304": frozenset({"LL905"}),
    "LL306": frozenset({"LL903", "LL904"}),
    "LL307": frozenset({"LL908"}),
    "LL502": frozenset({"LL902"}),
    "LL503": frozenset({"LL905"}),
    "LL605": frozenset({"LL903", "LL904"}),
    "LL801": frozenset({"LL915"}),
    "LL115": frozenset({"LL915"}),
    # symptoms that explain others
    "LL911": frozenset({"LL902", "LL906"}),
    "LL906": frozenset({"LL902"}),
    "LL914": frozenset({"LL902"}),
    "LL904": frozenset({"LL903"}),
}
# Rules about what comes after the observed steps, or about what no hook sees: what the static check says of them stands.
ONLY_READ = frozenset(
    {
        "LL108",
        "LL110",
        "LL112",
        "LL206",
        "LL308",
        "LL405",
        "LL406",
        "LL407",
        "LL605",
        "LL703",
        "LL704",
        "LL801",
        "LL802",
        "LL803",
    }
)
# Rules whose place the static check knows better than a run, which sees only that the graph is gone.
_BETTER_READ = frozenset({"LL201"})


class Causes:
    """The findings of one run. raised: rules that explain the exception which ended the program."""

    def __init__(self, observed: Observed, record: RunRecord, read: Sequence[Finding]) -> None:
        self._registry = load_checks()
        self._record = record
        self._observed = observed
        self._read = [f for f in read if f.severity is not Severity.INFO and self._judges_runs(f.code)]
        self._symptoms = _symptoms(record, self._registry)
        self._seen = {f.code for f in self._symptoms if f.severity is not Severity.INFO}
        self.raised = self._raised()

    def ordered(self) -> tuple[Finding, ...]:
        """Causes, symptoms that none of them explains, and last what is only to know."""
        measured = [self._registry.render(code, report) for code, report in measured_causes(self._record)]
        if any(report["error"] for report in self._observed.reports):
            measured = [finding for finding in measured if finding.code not in _NEEDS_AN_END]
        proven = {finding.code: finding.severity for finding in (*self.raised, *measured)}
        reported = _reported(self._observed.reports, self._registry)
        causes = [self._placed(cause) for cause in reported if _stands(cause, proven)]
        for more in (self.raised, measured):
            told = {cause.code for cause in causes}
            causes += [finding for finding in more if finding.code not in told]
        causes = [_as_seen(cause) for cause in causes]
        told = {cause.code for cause in causes}
        causes += [finding for finding in self._from_reading() if finding.code not in told]
        versions = self._observed.reports[0]["environment"].get("versions", {}) if self._observed.reports else {}
        drift = [self._registry.render("LL919", r) for r in drifts(self._record, versions, ApiStore.bundled())]
        return self._order(causes, [*self._symptoms, *drift], set(proven))

    def _judges_runs(self, code: str) -> bool:
        card = self._registry.cards.get(code)
        return card is not None and card.runtime

    def _raised(self) -> list[Finding]:
        """The exception that ended the program, as the finding of the rule that it proves."""
        error = next((report["error"] for report in self._observed.reports if report["error"]), None)
        if error is None:
            return []
        text = f"{error['type']}: {error['text']}"
        places = [Location(one["path"], one["line"], 1, one["line"], 1) for one in error["places"]]
        at = places[-1] if places else Location("<unknown>", 1, 1, 1, 1)
        cards = [card for card in self._registry.cards.values() if card.runtime and _fits(card.raises, text)]
        codes = {card.code for card in cards}
        read = [
            replace(f, severity=Severity.ERROR)
            for f in self._read
            if f.code in codes or (_stands_at(f, at) and _fits(self._registry.cards[f.code].raises_there, text))
        ]
        if read or not cards:
            return read
        card = min(cards, key=lambda card: card.code)
        report = Report(at, f"the program ends with {text.splitlines()[0]}: {card.summary}", severity=Severity.ERROR)
        return [self._registry.render(card.code, report)]

    def _from_reading(self) -> list[Finding]:
        """What the static check says, where the run shows its symptom or could not show anything."""
        return [
            f
            for f in self._read
            if f.code in ONLY_READ
            or (f.code not in _MEASURABLE and not self._seen.isdisjoint(_NEEDS_PROOF.get(f.code, frozenset())))
        ]

    def _placed(self, cause: Finding) -> Finding:
        read = [f for f in self._read if f.code == cause.code]
        return read[0] if len(read) == 1 and cause.code in _BETTER_READ else cause

    def _needs(self, cause: Finding) -> frozenset[str]:
        """The symptoms of which one must be there."""
        if cause.code == "LL101" and not any(rank.applies_adapters for rank in self._record.ranks):
            return frozenset()  # nothing in the program could have applied the config: it was forgotten
        return frozenset(_NEEDS_PROOF.get(cause.code, ()))

    def _order(self, causes: list[Finding], symptoms: list[Finding], known: set[str]) -> tuple[Finding, ...]:
        """Causes first, each with the symptoms it explains; unproved causes as information; symptoms without cause
        last."""
        first: list[Finding] = []
        info: list[Finding] = []
        explained: set[str] = set()
        for cause in causes:
            needed = self._needs(cause)
            if needed and cause.code not in known and self._seen.isdisjoint(needed):
                info.append(replace(cause, severity=Severity.INFO))
                continue
            first.append(_with_symptoms(cause, symptoms, explained))
        first.sort(key=lambda f: -f.severity.rank)
        rest: list[Finding] = []
        order = [*_EXPLAINS]
        for symptom in sorted(symptoms, key=lambda f: order.index(f.code) if f.code in _EXPLAINS else len(order)):
            if symptom.code not in explained:
                rest.append(_with_symptoms(symptom, symptoms, explained))
        rest.sort(key=lambda f: -f.severity.rank)
        return (*first, *rest, *info)


def _with_symptoms(cause: Finding, symptoms: list[Finding], explained: set[str]) -> Finding:
    """The cause with the symptoms that it explains as related places; they are noted as explained. A symptom that is
    worse than the cause stands for itself."""
    if cause.severity is Severity.INFO:
        return cause
    mine = [s for s in symptoms if s.code in _EXPLAINS.get(cause.code, ()) and s.severity.rank <= cause.severity.rank]
    explained |= {s.code for s in mine}
    return replace(cause, related=(*cause.related, *(Related(s.location, f"{s.code} {s.message}") for s in mine)))


def _stands(cause: Finding, proven: Mapping[str, Severity]) -> bool:
    """Whether the measurements leave room for what a shared check said: they may refute it, or prove worse."""
    if cause.code in proven:
        return cause.severity.rank >= proven[cause.code].rank
    return cause.code not in _MEASURABLE


def _as_seen(cause: Finding) -> Finding:
    harmful = cause.code in _SEEN_TO_HARM and cause.severity is Severity.WARNING
    return replace(cause, severity=Severity.ERROR) if harmful else cause


def _fits(patterns: Sequence[str], text: str) -> bool:
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in patterns)


def _stands_at(finding: Finding, at: Location) -> bool:
    """Whether a line is one of a finding's own or of its story."""
    places = (finding.location, *(related.location for related in finding.related))
    return any(place.path == at.path and place.line <= at.line <= place.end_line for place in places)


def _symptoms(record: RunRecord, registry: Registry) -> list[Finding]:
    """What the runtime checks say about the merged record."""
    trace = Trace()
    place = next((rank.main for rank in record.ranks if rank.main is not None), Location("<run>", 1, 1, 1, 1))
    end = Event(Ev.END, 0, place, args={"record": record})
    found: dict[tuple[str, Location], Finding] = {}
    for check in all_checks(runtime_only=True):
        if Ev.END in check.on:
            for report in check.function(end, trace):
                finding = registry.render(check.code, report)
                found.setdefault((finding.code, finding.location), finding)
    return list(found.values())


def _reported(reports: list[dict[str, Any]], registry: Registry) -> list[Finding]:
    """What the shared checks said inside the processes, each once."""
    found: dict[tuple[str, Location], Finding] = {}
    for report in reports:
        for data in report["reports"]:
            if data["maybe"] or data["code"] not in registry.cards or not registry.cards[data["code"]].runtime:
                continue
            finding = registry.render(data["code"], _revived(data))
            found.setdefault((finding.code, finding.location), finding)
    return list(found.values())


def _revived(data: dict[str, Any]) -> Report:
    return Report(
        Location(**data["location"]),
        data["message"],
        help=data["help"],
        story=tuple((Location(**one["location"]), one["message"]) for one in data["story"]),
        severity=Severity(data["severity"]) if data["severity"] else None,
    )
