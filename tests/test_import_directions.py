"""Who may import whom: the architecture, held by a test. Read from the source text, functions included."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "lora_lint"

# part -> the parts of lora_lint that it may import (itself always). A part is a folder or a module of the package.
ALLOWED = {
    "location": set(),
    "errors": set(),
    "findings": {"location"},
    "lifecycle": {"location"},
    "syntax": {"location", "errors"},
    "apis": {"lifecycle", "errors"},
    "report": {"findings", "location"},
    "fix": {"findings", "location", "errors", "syntax"},
    "checks": {"lifecycle", "findings", "location", "errors", "apis"},
    "config": {"errors"},
    "selection": {"config", "errors"},
    "modules": set(),
    "launches": set(),
    "datafiles": {"modules", "launches"},
    "discovery": {"config", "selection"},
    "baseline": {"errors", "findings"},
    "gitdiff": {"errors", "findings", "location"},
}
# Modules outside of the package that only some parts may import.
RESERVED = {
    "click": {"cli"},
    "torch": {"verify"},
    "transformers": {"verify"},
    "peft": {"verify"},
    "trl": {"verify"},
    "accelerate": {"verify"},
    "libcst": {"syntax", "fix"},
    "yaml": {"apis", "checks", "cli", "datafiles", "requirement_files"},
}


def _part(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def _imports(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, at any depth; for `from a import b` both `a` and `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_directions(path: Path) -> None:
    part = _part(path)
    for name in _imports(path):
        top, _, rest = name.partition(".")
        if top == "lora_lint":
            other = rest.split(".")[0]
            if part in ALLOWED and other and other != part:
                assert other in ALLOWED[part], f"{part} must not import {name}"
        elif top in RESERVED:
            assert part in RESERVED[top], f"{part} must not import {top}"


def _loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return {name.split(".")[0] for name in done.stdout.splitlines()}


def test_scanning_imports_no_library_of_the_checked_code(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("import torch\nfrom peft import get_peft_model\n")
    loaded = _loaded(f"""
from click.testing import CliRunner
from lora_lint.cli.main import cli
result = CliRunner().invoke(cli, ["check", {str(script)!r}])
assert result.exit_code == 0, result.output
""")
    assert not loaded & {"torch", "transformers", "peft", "trl", "accelerate", "numpy", "libcst"}


def test_help_imports_next_to_nothing() -> None:
    loaded = _loaded("""
from click.testing import CliRunner
from lora_lint.cli.main import cli
result = CliRunner().invoke(cli, ["--help"])
assert result.exit_code == 0, result.output
""")
    assert not loaded & {"libcst", "yaml", "pathspec", "torch"}
