"""Every fixture is run: the buggy program must fail in its own way, and the fixed one must train its adapters."""

from __future__ import annotations

from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests import envs
from tests.fixture_proof.catalog import Fixture, load_fixtures
from tests.fixture_proof.expect import problems
from tests.fixture_proof.run import Evidence, run_side

RULES = {
    "LL101", "LL102", "LL103", "LL104", "LL105", "LL106", "LL107", "LL108", "LL109", "LL110", "LL111", "LL112",
    "LL113", "LL114", "LL115", "LL116", "LL117",
    "LL201", "LL202", "LL203", "LL204", "LL205", "LL206",
    "LL301", "LL302", "LL303", "LL304", "LL305", "LL306", "LL307", "LL308",
    "LL401", "LL402", "LL403", "LL404", "LL405", "LL407", "LL409",
    "LL501", "LL502", "LL503", "LL504", "LL505",
    "LL601", "LL602", "LL603", "LL604", "LL605", "LL606", "LL607",
    "LL701", "LL702", "LL704", "LL705",
    "LL801", "LL802", "LL803",
}  # fmt: skip
ALL = load_fixtures()


def _cases() -> list[ParameterSet]:
    cases = []
    for fixture in ALL:
        marks = [pytest.mark.torch, pytest.mark.proof, *[pytest.mark.old_stack] * bool(fixture.stack)]
        cases.append(pytest.param(fixture, id=fixture.name, marks=marks))
    return cases


@pytest.mark.parametrize("fixture", _cases())
def test_failure_and_cure(fixture: Fixture, tmp_path: Path) -> None:
    python = envs.interpreter(fixture.stack)
    buggy = run_side(fixture, "buggy", tmp_path, python)
    assert_shows(fixture.symptom, buggy)
    fixed = run_side(fixture, "fixed", tmp_path, python)
    assert_shows(fixture.cure, fixed)
    # Expectations that both sides meet would prove nothing.
    assert problems(fixture.symptom, fixed), "the fixed program shows the symptom too"
    assert problems(fixture.cure, buggy), "the buggy program shows the cure too"


def assert_shows(expected: dict[str, object], evidence: Evidence) -> None:
    found = problems(expected, evidence)
    assert not found, "\n".join([*found, "--- output", evidence.output[-3000:]])


def test_every_rule_has_a_fixture() -> None:
    assert {fixture.code for fixture in ALL} == RULES


@pytest.mark.parametrize("fixture", ALL, ids=lambda fixture: fixture.name)
def test_description_is_whole(fixture: Fixture) -> None:
    assert fixture.name.startswith(fixture.code)
    assert any(marker.code == fixture.code for marker in fixture.findings)
    assert set(fixture.symptom) - {"text"}, "the symptom asserts nothing"
    cured = [entry for entry in fixture.cure.get("tensors", []) if entry.get("changed") == "all"]
    assert cured, "the cure must show that adapters changed"
    fixed = "".join(path.read_text(encoding="utf-8") for path in (fixture.folder / "fixed").rglob("*.py"))
    assert not any(rule in fixed for rule in RULES), "a marker is left on the fixed side"
