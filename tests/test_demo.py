"""The demo of the README, and the proof that its scripts are what it says: they learn nothing, and learn once fixed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def _python(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _scripts(folder: Path) -> Path:
    copy = folder / "scripts"
    shutil.copytree(ROOT / "demo" / "scripts", copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.mark.slow
@pytest.mark.torch
def test_the_demo_runs_and_leaves_its_scripts_alone(tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (ROOT / "demo" / "scripts").glob("*.py")}
    shown = _python(tmp_path, str(ROOT / "demo" / "run.py"))
    for code in ("LL105", "LL206", "LL301", "LL302"):
        assert code in shown.split("=== Run")[0]
    assert "FAIL  train.py does not learn as it should: LL301" in shown.split("=== Run:")[1].split("=== Explain")[0]
    assert "All clear: 3 files checked." in shown.split("=== Find nothing")[1]
    assert "PASS  train.py learns" in shown.split("=== Run again")[1]
    assert {path: path.read_bytes() for path in (ROOT / "demo" / "scripts").glob("*.py")} == before


def _losses(folder: Path) -> tuple[list[float], list[float]]:
    """Losses after each epoch of the plain loop, and those that the Trainer logs when it goes on with its adapter."""
    trained = re.findall(r"epoch \d: loss ([\d.]+)", _python(folder, "train.py"))
    resumed = re.findall(r"'grad_norm': '?([\d.]+)", _python(folder, "resume.py"))
    return [float(loss) for loss in trained], [float(norm) for norm in resumed]


@pytest.mark.slow
@pytest.mark.torch
def test_the_scripts_learn_nothing_until_they_are_fixed(tmp_path: Path) -> None:
    folder = _scripts(tmp_path)
    losses, norms = _losses(folder)
    assert len(losses) == 3
    assert len(set(losses)) == 1, "the plain loop changes nothing"
    assert set(norms) == {0.0}, "the resumed adapter gets no gradient"
    _python(folder, "-m", "lora_lint", "--fix", "--unsafe-fixes", ".")
    losses, norms = _losses(folder)
    assert losses[0] > losses[1] > losses[2]
    assert min(norms) > 0
