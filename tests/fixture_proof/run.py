"""Runs one side of a fixture, unmodified, in a copy of its folder and in a child process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fixture_proof.catalog import Fixture

SITE = Path(__file__).parent / "site"
TIME_LIMIT = 300


@dataclass(frozen=True)
class Evidence:
    """What one run left behind: the observer's report, its output and its folder."""

    report: dict[str, Any]
    output: str
    status: int
    folder: Path


def run_side(fixture: Fixture, side: str, folder: Path, python: str = sys.executable) -> Evidence:
    """Run the `buggy` or `fixed` side below `folder` with the interpreter `python`."""
    work = folder / side
    shutil.copytree(fixture.folder / side, work, ignore=shutil.ignore_patterns("__pycache__"))
    return run_program(fixture, work, python)


def offline(folder: Path) -> dict[str, str]:
    """The environment of a program that may reach no network, no tracker and no GPU; its caches lie in `folder`."""
    return {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "hf"),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "WANDB_DISABLED": "true",
        "CUDA_VISIBLE_DEVICES": "",
    }


def run_program(fixture: Fixture, work: Path, python: str = sys.executable) -> Evidence:
    """Run the program in the folder `work` the way the fixture says; it may write there and beside it."""
    folder = work.parent
    report = folder / f"{work.name}.json"
    environment = {
        **offline(folder),
        "PYTHONPATH": str(SITE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "FIXTURE_PROOF_REPORT": str(report),
    }
    environment.pop("FIXTURE_PROOF_OWNER", None)
    if fixture.emulate:
        environment["FIXTURE_PROOF_EMULATE"] = fixture.emulate
    done = subprocess.run(
        [python, *fixture.entry],
        cwd=work,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    if not report.exists():
        raise AssertionError(f"{fixture.name} {work.name}: the run left no report\n{done.stdout[-4000:]}")
    return Evidence(json.loads(report.read_text(encoding="utf-8")), done.stdout, done.returncode, work)
