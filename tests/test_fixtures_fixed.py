"""Every fix that `--fix --unsafe-fixes` makes in a fixture: the program parses, a second run changes nothing and finds
nothing, and the program trains as the fixture's fixed side does."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests import envs
from tests.fixture_proof.catalog import Fixture, load_fixtures
from tests.fixture_proof.expect import problems
from tests.fixture_proof.run import run_program

# Fixtures whose finding is not fixed, and why: the test fails when one of them is fixed, or another one is not.
NOT_FIXED = {
    "LL106-loaded-adapter-reset": "the adapter is loaded under a condition: resume or inject is for the author to separate",
    "LL109-disabled-for-a-baseline": "shown only: what was meant cannot be known",
    "LL114-quantized-loop-without-adapter": "shown only: rank and target modules are for the author to choose",
    "LL116-adapter-called-lora": "shown only: the name stands in files that were saved under it",
    "LL201-encoded-in-the-training-loop": "what the model is called with instead of encode() is for the author to write",
    "LL202-requires-grad-on-accuracy": "shown only: without the hack the program fails, as it should",
    "LL304-only-the-schedule-steps": "shown only: where the step belongs is for the author to say",
    "LL803-stage-one-not-loaded": "shown only: which keys should match is for the author to see",
}
# Fixtures whose fixed program cannot run here, and why; the rest of the proof holds for them.
NOT_RUN = {
    "LL601-auto-map-in-two-processes": "the fix gives each process the GPU of its number, and there is none",
}


def _cases() -> list[ParameterSet]:
    cases = []
    for fixture in load_fixtures():
        marks = [pytest.mark.torch, pytest.mark.thorough, *[pytest.mark.old_stack] * bool(fixture.stack)]
        cases.append(pytest.param(fixture, id=fixture.name, marks=marks))
    return cases


def _fix(folder: Path, code: str) -> list[dict[str, object]]:
    """Apply all fixes in `folder`; what is still reported, infos and rules on trial only for the fixture's own `code`."""
    command = [sys.executable, "-m", "lora_lint", "--fix", "--unsafe-fixes", "--extend-select", code]
    done = subprocess.run(
        [*command, "--format", "json", "--exit-zero", str(folder)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return [f for f in json.loads(done.stdout) if f["severity"] != "info" or f["code"] == code]


def _texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))}


@pytest.mark.parametrize("fixture", _cases())
def test_fixed_by_the_tool(fixture: Fixture, tmp_path: Path) -> None:
    work = tmp_path / "fix"
    shutil.copytree(fixture.folder / "buggy", work, ignore=shutil.ignore_patterns("__pycache__"))
    before = _texts(work)
    _fix(work, fixture.code)
    once = _texts(work)
    if fixture.name in NOT_FIXED:
        assert once == before, "this fixture is fixed now"
        pytest.skip(NOT_FIXED[fixture.name])
    assert once != before, "nothing was fixed"
    for path, text in once.items():
        ast.parse(text, path)
    assert _fix(work, fixture.code) == [], "findings are left, or new ones came"
    assert _texts(work) == once, "a second run changes more"
    if fixture.name in NOT_RUN:
        pytest.skip(NOT_RUN[fixture.name])
    evidence = run_program(fixture, work, envs.interpreter(fixture.stack))
    found = problems(fixture.cure, evidence)
    assert not found, "\n".join([*found, "--- output", evidence.output[-3000:]])


def test_exceptions_are_fixtures() -> None:
    names = {fixture.name for fixture in load_fixtures()}
    assert set(NOT_FIXED) <= names
    assert set(NOT_RUN) <= names
