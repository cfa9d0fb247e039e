"""The analyzer on the fixtures: it reports at the markers of every buggy program and nothing on its fixed twin."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixture_proof.catalog import Fixture, load_fixtures


def _lint(folder: Path, code: str) -> set[tuple[str, int, str]]:
    """What the analyzer reports in `folder`; infos and rules on trial only where they are the fixture's own `code`."""
    command = [
        sys.executable,
        "-m",
        "lora_lint",
        "--extend-select",
        code,
        "--format",
        "json",
        "--exit-zero",
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return {
        (str(Path(f["path"]).resolve().relative_to(folder.resolve())), f["line"], f["code"])
        for f in json.loads(done.stdout)
        if f["severity"] != "info" or f["code"] == code
    }


@pytest.mark.parametrize("fixture", load_fixtures(), ids=lambda f: f.folder.name)
def test_fixture_is_found(fixture: Fixture) -> None:
    """Every marker is reported, nothing but markers is, and the fixed twin is clean."""
    found = _lint(fixture.folder / "buggy", fixture.code)
    markers = {(m.path, m.line, m.code) for m in fixture.findings}
    required = {(m.path, m.line, m.code) for m in fixture.findings if not m.optional}
    assert required <= found <= markers
    assert _lint(fixture.folder / "fixed", fixture.code) == set()
