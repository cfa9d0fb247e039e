"""Every example of every rule card, executed: findings exactly at the markers, none on healthy code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples import Example, analyse, examples


def _found(example: Example, root: Path) -> set[tuple[str, int, str]]:
    return {
        (str(Path(f.location.path).relative_to(root)), f.location.line, f.code)
        for f in analyse(example.files, example.versions, root)
    }


@pytest.mark.parametrize("example", [e for e in examples() if not e.card.group == "meta"], ids=str)
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
