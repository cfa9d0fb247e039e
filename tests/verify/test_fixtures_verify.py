"""`lora-lint verify` on every fixture whose rule judges runs: the buggy side fails with its rule, the fixed one passes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from lora_lint.checks.registry import load_checks
from tests import envs
from tests.fixture_proof.catalog import Fixture, load_fixtures
from tests.fixture_proof.run import SITE, offline

ROOT = Path(__file__).parents[2]
CARDS = load_checks().cards
FIXTURES = [fixture for fixture in load_fixtures() if CARDS[fixture.code].runtime]


def _cases() -> list[ParameterSet]:
    return [
        pytest.param(
            fixture,
            id=fixture.name,
            marks=[pytest.mark.torch, pytest.mark.thorough, *[pytest.mark.old_stack] * bool(fixture.stack)],
        )
        for fixture in FIXTURES
    ]


def verify(fixture: Fixture, side: str, folder: Path) -> tuple[int, Any]:
    """Verify one side in a copy of its folder; with an old stack the launcher is that stack's interpreter."""
    work = folder / side
    shutil.copytree(fixture.folder / side, work, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**offline(folder), "PYTHONPATH": str(ROOT)}
    if fixture.emulate:  # pretends a GPU in every process; nobody is the owner, so the proof's own observer stays out
        pretence = {
            "FIXTURE_PROOF_EMULATE": fixture.emulate,
            "FIXTURE_PROOF_REPORT": os.devnull,
            "FIXTURE_PROOF_OWNER": "-",
        }
        installed = folder / "site-packages"  # it stands for the library on a GPU, and is none of the user's files
        shutil.copytree(SITE, installed, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        environment = {**environment, **pretence, "PYTHONPATH": f"{ROOT}{os.pathsep}{installed}"}
    words = [sys.executable, "-m", "lora_lint", "verify", "--format", "json", "--timeout", "480"]
    if fixture.watch:
        words += ["--steps", str(fixture.watch)]
    if fixture.stack:
        words += ["--launch", envs.interpreter(fixture.stack)]
    module = fixture.entry[0] == "-m"
    target, after = (fixture.entry[1], fixture.entry[2:]) if module else (fixture.entry[0], fixture.entry[1:])
    words += [*["-m"] * module, target, *(["--", *after] if after else [])]
    done = subprocess.run(words, cwd=work, env=environment, capture_output=True, text=True, timeout=540, check=False)
    assert done.stdout.strip(), done.stderr[-3000:]
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("fixture", _cases())
def test_buggy_fails_and_fixed_passes(fixture: Fixture, tmp_path: Path) -> None:
    status, report = verify(fixture, "buggy", tmp_path)
    told = [one for one in report["findings"] if one["severity"] != "info"]
    assert fixture.code in {one["code"] for one in told}, report
    assert (status, report["verdict"]) == (1, "FAIL"), report
    assert report["internal_errors"] == []
    files = {marker.path for marker in fixture.findings}
    assert {one["path"] for one in told if one["code"] == fixture.code} <= files, told

    status, report = verify(fixture, "fixed", tmp_path)
    assert (status, report["verdict"]) == (0, "PASS"), report
    assert [one for one in report["findings"] if one["severity"] != "info"] == []
    assert report["internal_errors"] == []
