"""Loads rule cards and finds the check functions that belong to them."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import lora_lint.checks
from lora_lint.apis.store import rules_directory
from lora_lint.apis.yaml_reader import Mapping as YamlMapping
from lora_lint.apis.yaml_reader import read_yaml
from lora_lint.checks.base import Check, Report
from lora_lint.errors import KnowledgeError
from lora_lint.findings import Applicability, Finding, Fix, Related, Severity
from lora_lint.lifecycle.trace import Event
from lora_lint.location import Location

_OWN_CODE = re.compile(r"LL9[5-9]\d")
DOCS_URL = "https://lora-lint.dev/rules/"

_KEYS = frozenset(
    [
        "code",
        "name",
        "severity",
        "since",
        "preview",
        "summary",
        "why",
        "versions",
        "fix",
        "runtime",
        "proof",
        "raises",
        "raises_there",
        "references",
        "examples",
    ]
)
_REQUIRED = frozenset(["code", "name", "severity", "since", "summary", "why"])


@dataclass(frozen=True, slots=True)
class CardFix:
    """The fix a card announces."""

    applicability: Applicability
    title: str
    safety: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """What a rule says of itself. `examples` are plain mappings, as written in the card. raises: expressions for the
    exceptions that programs with this bug end with, as "Type: text". raises_there: for those that prove it only when they
    come from the line of a finding."""

    code: str
    name: str
    severity: str
    summary: str
    why: str
    since: str = "0.1"
    preview: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    fix: CardFix | None = None
    runtime: bool = False
    proof: str = ""
    raises: tuple[str, ...] = ()
    raises_there: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    examples: tuple[Mapping[str, Any], ...] = ()
    group: str = ""
    place: str = ""

    @property
    def url(self) -> str:
        """Page of the rule in the documentation."""
        return f"{DOCS_URL}{self.code}"


@dataclass(frozen=True, slots=True)
class Registry:
    """All cards by code, and the checks to run."""

    cards: Mapping[str, Card]
    checks: tuple[Check, ...]

    def render(self, code: str, report: Report) -> Finding:
        """The finding that a check's report becomes, with the severity and name of its card."""
        card = self.cards[code]
        severity = report.severity or Severity(card.severity)
        message, help_line = report.message, report.help
        if report.maybe:
            severity = Severity.WARNING if severity is Severity.ERROR else severity
            message = f"{message} (with {report.maybe})"
            help_line = help_line or "say which versions you use in [tool.lora-lint.target-versions]"
        related = tuple(Related(_place(event), text) for event, text in report.story)
        return Finding(
            code, card.name, severity, message, report.location, help_line, related, report.plan, url=card.url
        )

    def unplanned(self) -> dict[str, Fix]:
        """By code what to say of the fix where a check of a rule that has one found nothing sure to change."""
        shown = {code: _only_shown(card) for code, card in self.cards.items()}
        return {code: fix for code, fix in shown.items() if fix is not None}


def _only_shown(card: Card) -> Fix | None:
    """Why a finding of a rule that has a fix comes without one."""
    if card.fix is None or card.fix.applicability is Applicability.DISPLAY:
        return None
    return Fix(card.fix.applicability, card.fix.title, refused="it is not certain which code is to change")


def _place(where: Event | Location) -> Location:
    return where.location if isinstance(where, Event) else where


def read_card(path: Path) -> Card:
    """The card of one YAML file. KnowledgeError with file:line when it is broken."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KnowledgeError(f"{path}:1: cannot be read: {error}") from error
    document = read_yaml(text, str(path))
    if not isinstance(document, YamlMapping):
        raise KnowledgeError(f"{path}:1: a rule card is a mapping")
    document.only(_KEYS, "a rule card")
    for key in sorted(_REQUIRED - set(document.data)):
        raise document.error(f"a rule card needs {key!r}")
    data = document.plain()
    if data["severity"] not in {s.value for s in Severity}:
        raise document.error(f"severity {data['severity']!r} is not error, warning or info", "severity")
    fix = data.get("fix")
    return Card(
        code=data["code"],
        name=data["name"],
        severity=data["severity"],
        summary=data["summary"],
        why=data["why"],
        since=str(data.get("since", "0.1")),
        preview=bool(data.get("preview", False)),
        versions=data.get("versions") or {},
        fix=CardFix(Applicability(fix["applicability"]), fix["title"], fix.get("safety", "")) if fix else None,
        runtime=bool(data.get("runtime", False)),
        proof=data.get("proof", ""),
        raises=tuple(data.get("raises") or ()),
        raises_there=tuple(data.get("raises_there") or ()),
        references=tuple(data.get("references") or ()),
        examples=tuple(data.get("examples") or ()),
        group=path.parent.name,
        place=str(path),
    )


@lru_cache(maxsize=1)
def _bundled() -> tuple[dict[str, Card], tuple[Check, ...]]:
    cards: dict[str, Card] = {}
    for path in sorted(rules_directory().glob("*/LL*.yaml")):
        card = read_card(path)
        if card.code in cards:
            raise KnowledgeError(f"{path}:1: code {card.code} stands twice, also in {cards[card.code].place}")
        cards[card.code] = card
    checks: list[Check] = []
    for info in sorted(pkgutil.iter_modules(lora_lint.checks.__path__), key=lambda i: i.name):
        checks.extend(_checks_in(importlib.import_module(f"lora_lint.checks.{info.name}")))
    return cards, tuple(sorted((c for c in checks if c.code in cards), key=lambda c: c.code))


def _checks_in(module: Any) -> list[Check]:
    own = [f for f in vars(module).values() if getattr(f, "__module__", None) == module.__name__]
    return [check for function in own for check in getattr(function, "lora_lint_checks", ())]


def load_checks(extra: Iterable[Path] = ()) -> Registry:
    """The bundled rules, and the user's own: each extra path is a card `X.yaml` with its check function in `X.py`, or a
    folder of them. KnowledgeError with file:line when one is broken."""
    cards, checks = _bundled()
    cards, found = dict(cards), list(checks)
    for path in (one for each in extra for one in _cards_at(each)):
        card = read_card(path)
        if not _OWN_CODE.fullmatch(card.code) or card.code in cards:
            taken = f", which is taken by {cards[card.code].place}" if card.code in cards else ""
            raise KnowledgeError(f"{path}:1: code {card.code!r}{taken}; codes of your own are LL950 to LL999")
        cards[card.code] = card
        own = _checks_in(_load_file(path.with_suffix(".py")))
        if all(check.code != card.code for check in own):
            raise KnowledgeError(f"{path.with_suffix('.py')}:1: no function is marked @check({card.code!r}, on=…)")
        found.extend(own)
    return Registry(cards, tuple(found))


def _cards_at(path: Path) -> list[Path]:
    """The cards that a path of the configuration names."""
    return sorted(path.glob("*.yaml")) if path.is_dir() else [path.with_suffix(".yaml")]


def _load_file(path: Path) -> Any:
    """The module in a file of the user's. KnowledgeError: it is missing, or fails while it is imported."""
    spec = importlib.util.spec_from_file_location(f"lora_lint_rule_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise KnowledgeError(f"{path}:1: the check function of the rule is missing")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise KnowledgeError(f"{path}:{error.lineno or 1}: {error.msg}") from error
    except (ImportError, NameError, AttributeError, TypeError, ValueError) as error:
        raise KnowledgeError(f"{path}:{_line_in(path, error)}: {type(error).__name__}: {error}") from error
    return module


def _line_in(path: Path, error: BaseException) -> int:
    """The line of a file that raised an error while it was imported."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return (lines[-1] or 1) if lines else 1


def render_finding(code: str, report: Report) -> Finding:
    """The finding of a bundled rule's report."""
    return load_checks().render(code, report)
