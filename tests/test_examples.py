"""Every example of every rule card, executed: findings exactly at the markers, none on healthy code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from lora_lint.checks.registry import load_checks
from lora_lint.findings import Finding
from lora_lint.fix.apply import fix_project
from tests.examples import Example, analyse, analyse_texts, examples

STRIP = re.compile(r"[ \t]*#\s*LL\d{3}(?:\s*,\s*LL\d{3})*[ \t]*(?=\r?\n|$)")


def _found(example: Example, root: Path) -> set[tuple[str, int, str]]:
    return {
        (str(Path(f.location.path).relative_to(root)), f.location.line, f.code)
        for f in analyse(example.files, example.versions, root)
    }


@pytest.mark.parametrize("example", [e for e in examples() if e.card.group != "meta"], ids=str)
def test_example(example: Example, tmp_path: Path) -> None:
    """bad: exactly the marked findings; good: none; missed: not found (yet); false-alarm: found (still)."""
    found = _found(example, tmp_path)
    if example.kind == "bad":
        assert found == example.expected(), example.title
    elif example.kind == "good":
        assert found == set(), example.title
    elif example.kind == "missed":
        assert example.expected() - found, "found now: make it a bad example"
    else:
        assert found, "silent now: make it a good example"


def test_an_example_is_of_one_kind() -> None:
    """A second program under the same title would never be run."""
    kinds = {"bad", "good", "files", "missed", "false-alarm"}
    cards = load_checks().cards.values()
    assert [(card.code, raw["title"]) for card in cards for raw in card.examples if len(kinds & set(raw)) != 1] == []


def _strip(text: str) -> str:
    """Source without the markers of the example."""
    return "".join(STRIP.sub("", line) for line in text.splitlines(keepends=True))


def _fixable() -> list[Example]:
    return [e for e in examples() if e.fixed is not None and e.card.group != "meta"]


@pytest.mark.parametrize("example", _fixable(), ids=str)
def test_fixed(example: Example, tmp_path: Path) -> None:
    """--fix --unsafe-fixes gives exactly the text that the card shows, and a second run changes nothing."""
    before = {path: _strip(text) for path, text in example.files.items()}
    wanted = example.fixed if isinstance(example.fixed, dict) else {next(iter(before)): example.fixed}
    for path, text in before.items():
        if not path.endswith(".py"):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text, encoding="utf-8")

    def run(texts: Mapping[str, str]) -> list[Finding]:
        return analyse_texts(texts, example.versions, tmp_path)

    sources = {str(tmp_path / p): t for p, t in before.items() if p.endswith(".py")}
    outcome = fix_project(sources, run, unsafe=True, select=lambda finding: finding.code == example.card.code)
    after = {**sources, **outcome.texts}
    for path, text in wanted.items():
        assert after[str(tmp_path / path)] == text, example.title
    again = fix_project(after, run, unsafe=True, select=lambda finding: finding.code == example.card.code)
    assert not again.texts
