"""The examples of a rule card, made ready to be shown: code without markers, marked lines, and what a fix changes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lora_lint.checks.registry import Card

_MARKER = re.compile(r"\s+#\s*LL\d{3}(?:,\s*LL\d{3})*\s*$")
_KINDS = ("bad", "good", "files", "missed", "false-alarm")


@dataclass(frozen=True, slots=True)
class Code:
    """One file of an example. name: "" when there is one file only. marked: the lines, from 1, that the rule reports."""

    name: str
    lines: tuple[str, ...]
    marked: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """One example. kind: "Reported", "Not reported" …; fixed: the files as the fix leaves them, empty without a fix."""

    kind: str
    title: str
    files: tuple[Code, ...]
    fixed: tuple[Code, ...]

    @property
    def reported(self) -> bool:
        """Whether the rule reports something here."""
        return self.kind == "Reported"

    def changes(self) -> Iterator[tuple[str, str]]:
        """What the fix changes: lines with "+", "-" or " " in front of them, "…" between distant ones."""
        before = {code.name: code.lines for code in self.files}
        for code in self.fixed:
            matcher = difflib.SequenceMatcher(None, before.get(code.name, ()), code.lines, autojunk=False)
            for number, group in enumerate(matcher.get_grouped_opcodes(1)):
                if number:
                    yield " ", "…"
                for tag, i1, i2, j1, j2 in group:
                    if tag == "equal":
                        yield from ((" ", line) for line in code.lines[j1:j2])
                        continue
                    yield from (("-", line) for line in before.get(code.name, ())[i1:i2])
                    yield from (("+", line) for line in code.lines[j1:j2])


def examples_of(card: Card) -> list[Example]:
    """All examples of a card, in its order."""
    return [_example(card.code, raw) for raw in card.examples]


def _example(code: str, raw: Mapping[str, Any]) -> Example:
    key = next(kind for kind in _KINDS if kind in raw)
    expected = raw.get("expect", "bad") if key == "files" else key
    kind = {"missed": "Known to be missed", "false-alarm": "Known false alarm", "bad": "Reported"}.get(
        expected, "Not reported"
    )
    return Example(kind, str(raw.get("title", "")), _codes(raw[key], code), _codes(raw.get("fixed") or {}, code))


def _codes(value: str | Mapping[str, str], code: str) -> tuple[Code, ...]:
    texts = {"": value} if isinstance(value, str) else value
    return tuple(_code(name, text, code) for name, text in texts.items())


def _code(name: str, text: str, code: str) -> Code:
    lines: list[str] = []
    marked: list[int] = []
    for number, line in enumerate(text.rstrip("\n").splitlines(), 1):
        marker = _MARKER.search(line)
        lines.append(line[: marker.start()] if marker else line)
        if marker is not None and code in marker[0]:
            marked.append(number)
    return Code(name, tuple(lines), tuple(marked))
