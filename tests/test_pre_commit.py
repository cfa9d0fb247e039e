"""The pre-commit hooks, tried for real: `pre-commit try-repo` on a scratch repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Repository

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow

BROKEN = (ROOT / "demo/scripts/resume.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def hooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the hooks: this checkout, with what is not committed yet."""
    made = Repository(tmp_path_factory.mktemp("hooks") / "lora-lint")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for raw in listed.stdout.split(b"\0"):
        name = os.fsdecode(raw)
        if name and (ROOT / name).is_file():
            (made.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, made.path / name)
    made.commit()
    return made.path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pre-commit keeps the hook's environment: made once for all tests of this file."""
    return tmp_path_factory.mktemp("pre-commit")


def _try(repository: Repository, hooks: Path, cache: Path, hook: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pre_commit", "try-repo", str(hooks), hook, "--all-files", "--color", "never"]
    environment = {**os.environ, "PRE_COMMIT_HOME": str(cache), "GIT_CONFIG_GLOBAL": str(cache / "no-gitconfig")}
    return subprocess.run(
        command, cwd=repository.path, env=environment, capture_output=True, text=True, check=False, timeout=600
    )


def test_the_hook_stops_a_commit_with_a_finding(repository: Repository, hooks: Path, cache: Path) -> None:
    repository.write("train.py", BROKEN)
    repository.write("README.md", "nothing to check here\n")
    repository.commit()
    done = _try(repository, hooks, cache, "lora-lint")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "lora-lint................................................................Failed" in done.stdout
    assert re.search(r"^train.py:11:\d+: LL105 \[error\]", done.stdout, re.MULTILINE)


def test_the_hook_lets_healthy_code_pass_and_honours_excludes(repository: Repository, hooks: Path, cache: Path) -> None:
    repository.write("train.py", BROKEN.replace("adapter)", "adapter, is_trainable=True)", 1))
    repository.write("old/train.py", BROKEN)
    repository.write("lora-lint.toml", "extend-exclude = ['old']\n")
    repository.commit()
    done = _try(repository, hooks, cache, "lora-lint")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Passed" in done.stdout


def test_the_fixing_hook_fixes(repository: Repository, hooks: Path, cache: Path) -> None:
    script = repository.write("train.py", BROKEN)
    repository.commit()
    done = _try(repository, hooks, cache, "lora-lint-fix")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "files were modified by this hook" in done.stdout
    assert "is_trainable=True" in script.read_text(encoding="utf-8")
    again = _try(repository, hooks, cache, "lora-lint-fix")
    assert again.returncode == 0, again.stdout + again.stderr
