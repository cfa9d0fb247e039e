"""What is shipped: metadata, the wheel and its knowledge files, and a working command in an empty environment."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from lora_lint import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent


def _project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", line, maxsplit=1)[0].lower() for line in requirements}


def test_scanning_needs_only_light_packages() -> None:
    assert _names(_project()["dependencies"]) == {"click", "libcst", "packaging", "pathspec", "pyyaml", "tomli"}
    assert {"torch", "peft", "transformers", "accelerate"} <= _names(_project()["optional-dependencies"]["verify"])


def test_constraints_pin_exactly_and_name_no_index() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    assert all(re.fullmatch(r"""[a-z0-9-]+==[0-9][0-9a-z.]*(; python_version >= "3\.\d+")?""", line) for line in lines)
    assert "torch==2.13.0" in lines
    project = _project()
    pinned = {line.partition("==")[0] for line in lines}
    wanted = _names(project["dependencies"]) | _names([*project["optional-dependencies"]["verify"]])
    assert wanted - {"tomli"} <= pinned


def test_hooks_and_action_are_well_formed() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert [hook["id"] for hook in hooks] == ["lora-lint", "lora-lint-fix"]
    assert all(hook["language"] == "python" and hook["entry"].startswith("lora-lint check") for hook in hooks)
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    steps = action["runs"]["steps"]
    assert not any("${{" in step.get("run", "") for step in steps), "inputs must not become shell text"
    inputs = {name for step in steps for name in re.findall(r"inputs\.([\w-]+)", str(step))}
    assert inputs == set(action["inputs"])


def test_changelog_knows_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## (Unreleased|{re.escape(__version__)}\b)", changelog, re.MULTILINE)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout by an isolated build."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    (found,) = folder.glob("lora_lint-*.whl")
    return found


@pytest.mark.slow
def test_the_wheel_carries_code_and_knowledge_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    knowledge = {str(path.relative_to(ROOT / "rules")) for path in (ROOT / "rules").rglob("*") if path.is_file()}
    packed = {name.removeprefix("lora_lint/_rules/") for name in names if name.startswith("lora_lint/_rules/")}
    assert packed == knowledge
    assert knowledge
    assert {name.split("/")[0] for name in names} == {"lora_lint", f"lora_lint-{__version__}.dist-info"}
    assert "lora_lint/py.typed" in names


@pytest.mark.slow
def test_the_wheel_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "env"
    venv.create(home, with_pip=True)
    bin_folder = home / ("Scripts" if sys.platform == "win32" else "bin")
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([bin_folder / "python", "-m", "pip", "install", "--quiet", *constraints, wheel], check=True)
    script = tmp_path / "train.py"
    script.write_text((ROOT / "demo/scripts/resume.py").read_text(encoding="utf-8"), encoding="utf-8")
    found = subprocess.run(
        [bin_folder / "lora-lint", "--format", "concise", "train.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert found.returncode == 1, found.stderr
    assert re.search(r"^train.py:11:\d+: LL105 \[error\]", found.stdout, re.MULTILINE)
    listed = subprocess.run([bin_folder / "python", "-m", "pip", "list"], capture_output=True, text=True, check=True)
    assert "torch" not in listed.stdout
    explained = subprocess.run([bin_folder / "lora-lint", "explain", "LL105"], capture_output=True, text=True)
    assert explained.returncode == 0
    assert "adapter-loaded-frozen" in explained.stdout
