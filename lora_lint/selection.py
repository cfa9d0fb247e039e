"""Selectors (`LL103`, `LL1`, `freeze-after-injection`, `ALL`): what they mean, and which rules they switch on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import pathspec

from lora_lint.config import Settings, did_you_mean
from lora_lint.errors import InputError

# These are never switched off: a run that could not do its work must not look clean.
ALWAYS_ON = frozenset({"LL000", "LL001"})


class RuleInfo(Protocol):
    """The part of a rule card that selection reads."""

    @property
    def code(self) -> str:
        """For instance "LL103"."""

    @property
    def name(self) -> str:
        """For instance "freeze-after-injection"."""

    @property
    def preview(self) -> bool:
        """Whether the rule is still on trial."""


class RuleNames:
    """All rules by code and name; gives selectors their meaning."""

    def __init__(self, cards: Mapping[str, RuleInfo]):
        self._names = {code: card.name for code, card in cards.items()}
        self._codes_by_name = {name: code for code, name in self._names.items()}
        self._preview = frozenset(code for code, card in cards.items() if card.preview)

    def resolve(self, selector: str, place: str) -> frozenset[str]:
        """Codes that a selector stands for.

        place: where the selector was written, for the message of the InputError that an unknown one raises.
        """
        if selector == "ALL":
            return frozenset(self._names)
        code = self._codes_by_name.get(selector)
        if code is not None:
            return frozenset({code})
        # The group's letters alone ("LL") mean every rule, a digit more narrows it down.
        matching = frozenset(known for known in self._names if known.startswith(selector)) if selector else frozenset()
        if not matching or not selector.startswith("LL"):
            known = (*self._names, *self._codes_by_name, "ALL")
            raise InputError(f"{place}: unknown rule `{selector}`{did_you_mean(selector, known)}")
        return matching

    def resolve_all(self, selectors: Iterable[str], place: str) -> frozenset[str]:
        """Codes that any of the selectors stands for."""
        return frozenset().union(*(self.resolve(selector, place) for selector in selectors))

    def is_preview(self, code: str) -> bool:
        """Whether the rule is still on trial: it runs with `preview = true` or when it is named in full."""
        return code in self._preview

    def spelled_out(self, selectors: Iterable[str]) -> frozenset[str]:
        """Codes that a selector names in full, by code or by name."""
        exact = set()
        for selector in selectors:
            if selector in self._names:
                exact.add(selector)
            elif selector in self._codes_by_name:
                exact.add(self._codes_by_name[selector])
        return frozenset(exact)


@dataclass(frozen=True, slots=True)
class Selection:
    """What one settings object switches on: rules to report and rules whose fixes may be applied."""

    enabled: frozenset[str]
    fixable: frozenset[str]
    per_file: tuple[tuple[pathspec.GitIgnoreSpec, frozenset[str]], ...]

    def reports(self, code: str, relative_path: str) -> bool:
        """Whether a finding of `code` in the file (path relative to the settings' root, with /) is reported."""
        if code in ALWAYS_ON:
            return True
        if code not in self.enabled:
            return False
        return not any(code in codes and spec.match_file(relative_path) for spec, codes in self.per_file)

    def fixes(self, code: str) -> bool:
        """Whether fixes of `code` may be applied."""
        return code in self.fixable


def make_selection(settings: Settings, names: RuleNames) -> Selection:
    """The meaning of the settings' selectors. Raises InputError naming the unknown one and its place.

    As with ruff, the more exact selector wins over the less exact one, and `ignore` wins over `select` when both are
    equally exact: `select = ["LL103"], ignore = ["LL1"]` reports LL103.
    """
    where = str(settings.source) if settings.source else "command line"
    chosen = [*settings.select, *settings.extend_select]
    dropped = [*settings.ignore, *settings.extend_ignore]
    exact = names.spelled_out(chosen)
    enabled = {
        code
        for code in names.resolve_all(chosen, f"{where}: select")
        if settings.preview or code in exact or not names.is_preview(code)
    }
    weights = {code: _weight(code, chosen, names) for code in enabled}
    for selector in dropped:
        for code in names.resolve(selector, f"{where}: ignore"):
            if weights.get(code, -1) <= _exactness(selector, names):
                enabled.discard(code)
    per_file = tuple(
        (_pattern(pattern), names.resolve_all(selectors, f"{where}: per-file-ignores"))
        for pattern, selectors in settings.per_file_ignores.items()
    )
    fixable = names.resolve_all(settings.fixable, f"{where}: fixable")
    fixable -= names.resolve_all(settings.unfixable, f"{where}: unfixable")
    return Selection(frozenset(enabled), fixable, per_file)


def _exactness(selector: str, names: RuleNames) -> int:
    """0 for ALL, the length for a prefix, 99 for a rule named in full."""
    if selector == "ALL":
        return 0
    return 99 if names.spelled_out([selector]) else len(selector)


def _weight(code: str, selectors: Iterable[str], names: RuleNames) -> int:
    """How exactly the selectors name `code`: that of the most exact one."""
    return max(
        (_exactness(selector, names) for selector in selectors if code in names.resolve(selector, "select")),
        default=-1,
    )


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> pathspec.GitIgnoreSpec:
    return pathspec.GitIgnoreSpec.from_lines([pattern])


def relative_to_root(path: str, root: str, cwd: str) -> str:
    """The path relative to a folder, with slashes; absolute without the leading slash when it lies elsewhere."""
    absolute = os.path.normpath(os.path.join(cwd, path))
    prefix = root.rstrip(os.sep) + os.sep
    inside = absolute[len(prefix) :] if absolute.startswith(prefix) else absolute.lstrip(os.sep)
    return inside.replace(os.sep, "/")
