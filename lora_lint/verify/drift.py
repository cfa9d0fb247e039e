"""Spec drift: library calls that did something else in this run than the API specs say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from packaging.specifiers import SpecifierSet

from lora_lint.apis.spec import CallSpec, Derived, Effect, Ref
from lora_lint.apis.store import ApiStore
from lora_lint.checks.base import Report
from lora_lint.findings import Severity
from lora_lint.lifecycle.record import EffectRecord, RunRecord
from lora_lint.lifecycle.vocabulary import Ev


def drifts(record: RunRecord, versions: Mapping[str, str], store: ApiStore) -> Iterator[Report]:
    """Reports of LL919 about the effects of the first process. versions: of the libraries that ran."""
    for seen in record.ranks[0].effects if record.ranks else ():
        for spec in store.find_call(seen.call):
            if not _in_range(spec.versions, versions):
                continue
            expected = _expected(spec, seen, versions)
            if expected is not None and expected != seen.value:
                library = seen.call.split(".")[0]
                yield Report(
                    seen.at,
                    f"{seen.call} leaves the adapter {_word(seen.value)} with {library} {versions.get(library, '?')}, but "
                    f"lora-lint expects it {_word(expected)} ({spec.place})",
                    help="static findings about this call may be wrong for these versions; please report it",
                    severity=Severity.INFO,
                )


def _word(value: str) -> str:
    return {"yes": "trainable", "no": "frozen"}[value]


def _in_range(ranges: Mapping[str, str], versions: Mapping[str, str]) -> bool:
    return all(
        name not in versions or SpecifierSet(text).contains(versions[name], prereleases=True)
        for name, text in ranges.items()
    )


def _expected(spec: CallSpec, seen: EffectRecord, versions: Mapping[str, str]) -> str | None:
    """What the spec says of trainability: "yes", "no", or None when it does not say."""
    answers = {
        _value(effect, spec, seen)
        for effect in spec.effects
        if effect.event in (Ev.INJECT, Ev.ACTIVATE) and effect.when is None and _in_range(effect.versions, versions)
    }
    return answers.pop() if len(answers) == 1 else None


def _value(effect: Effect, spec: CallSpec, seen: EffectRecord) -> str | None:
    term = effect.args.get("trainable")
    if term in ("yes", "no"):
        return str(term)
    if not isinstance(term, Derived) or len(term.inputs) != 1 or not isinstance(term.inputs[0], Ref):
        return None
    if term.function == "trainable":
        inference = seen.inputs.get("inference")
        return None if inference is None else _answer(not inference)
    name = term.inputs[0].name
    given: Any = seen.inputs.get(name, spec.defaults.get(name, False))
    if not isinstance(given, bool):
        return None
    return _answer(given if term.function == "truth" else not given) if term.function in ("truth", "negated") else None


def _answer(value: bool) -> str:
    return "yes" if value else "no"
