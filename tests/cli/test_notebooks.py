"""Notebooks from the command line: findings by cell, fixes in place, versions from install lines, jupytext pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lora_lint.cli.main import cli
from tests.conftest import Write

SETUP = """import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from data import loader
model = get_peft_model(AutoModelForCausalLM.from_pretrained("m"), LoraConfig(r=8))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
"""
LOOP = """%time
model.train()
for batch in loader:
    model(**batch).loss.backward()
    optimizer.zero_grad()
    optimizer.step()
"""
FIXED = LOOP.replace(
    "    optimizer.zero_grad()\n    optimizer.step()\n", "    optimizer.step()\n    optimizer.zero_grad()\n"
)
QUANTIZED = """from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from trl import SFTConfig, SFTTrainer
model = AutoModelForCausalLM.from_pretrained("m", quantization_config=BitsAndBytesConfig(load_in_4bit=True))
model = get_peft_model(model, LoraConfig(r=8))
SFTTrainer(model=model, args=SFTConfig(output_dir="x"), train_dataset=data).train()
"""


def _book(*sources: str, indent: int | None = 2, **metadata: Any) -> str:
    """A notebook with its keys in an unusual order, outputs and text that a JSON library would write otherwise."""
    cells = [
        {
            "source": source.splitlines(keepends=True),
            "outputs": [{"output_type": "stream", "name": "stdout", "text": ["é \u2028 1e5\n"]}],
            "metadata": {"tags": ["z", "a"]},
            "execution_count": 7,
            "cell_type": "code",
        }
        for source in sources
    ]
    text = json.dumps(
        {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}, indent=indent, ensure_ascii=False
    )
    return text.replace('"execution_count": 7', '"execution_count":   7') + "\n\n"


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="lora-lint", catch_exceptions=False)


@pytest.mark.parametrize("indent", [None, 1, 2, "\t"])
def test_a_fix_changes_two_lines_and_nothing_else(tree: Write, indent: Any) -> None:
    book = _book(SETUP, LOOP, indent=indent)
    top = tree({"train.ipynb": book})
    found = _run("check", "--format", "concise")
    assert found.stdout.startswith("train.ipynb: cell 2, line 5, column 5: LL302 [error] zero_grad()")
    assert _run("check", "--fix").stdout == "Fixed 1 problem. All clear: 1 file checked.\n"
    assert (top / "train.ipynb").read_text(encoding="utf-8") == _book(SETUP, FIXED, indent=indent)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("%pip install trl==0.22.2", 1),
        ("!pip install -q 'trl==0.22.2' peft", 1),
        ("!uv pip install trl==0.22.2", 1),
        ("%%bash\npip install trl==0.22.2", 1),
        ('!pip install "trl>=0.23.1"', 0),
        ("%pip install trl==0.19.1", 0),
    ],
)
def test_install_lines_tell_the_version(tree: Write, line: str, code: int) -> None:
    tree({"train.ipynb": _book(line, QUANTIZED)})
    assert _run("check", "--select", "LL102").exit_code == code
    Path("train.ipynb").unlink()
    if not line.startswith("%%"):
        script = f"# %%\n# {line}\n\n# %%\n{QUANTIZED}"
        tree({"train.py": script})
        assert _run("check", "--select", "LL102").exit_code == code


@pytest.mark.parametrize("suffix", [".py", ".ipynb"])
def test_pairs(tree: Write, suffix: str) -> None:
    """Both files of a pair are fixed; where only one is asked for, the other is named."""
    script = (
        f"# ---\n# jupyter:\n#   jupytext:\n#     formats: ipynb,py:percent\n# ---\n\n# %%\n{SETUP}\n# %%\n"
        + LOOP.replace("%time", "# %time")
    )
    files = {"train.py": script, "train.ipynb": _book(SETUP, LOOP, jupytext={"formats": "ipynb,py:percent"})}
    top = tree(files)
    other = "train" + ({".py", ".ipynb"} - {suffix}).pop()
    note = f"train{suffix} is paired with {other}, which stays as it is: run `jupytext --sync train{suffix}`"
    shown = _run("check", "--diff", f"train{suffix}")
    assert note in shown.stderr
    alone = _run("check", "--fix", f"train{suffix}")
    assert note in alone.stderr
    assert (top / other).read_text(encoding="utf-8") == files[other]
    tree(files)
    both = _run("check", "--fix")
    assert both.stdout == "Fixed 2 problems. All clear: 2 files checked.\n"
    assert "paired" not in both.stderr


def test_files_of_one_name_that_are_no_pair(tree: Write) -> None:
    tree({"train.py": SETUP + LOOP.replace("%time\n", ""), "train.ipynb": _book(SETUP, LOOP)})
    assert "paired" not in _run("check", "--fix", "train.py").stderr


@pytest.mark.parametrize(
    "metadata",
    [
        {"kernelspec": {"name": "ir", "display_name": "R"}},
        {"kernelspec": {"name": "julia-1.9", "display_name": "Julia 1.9.0"}},
        {"kernelspec": {"name": "x", "display_name": "x", "language": "rust"}},
        {"language_info": {"name": "R"}},
    ],
)
def test_other_kernels_are_left_alone(tree: Write, metadata: dict[str, Any]) -> None:
    tree({"train.ipynb": _book("library(peft)\nx <- 1\n", **metadata)})
    assert _run("check").exit_code == 0


def test_own_kernel_names_are_python(tree: Write) -> None:
    tree({"train.ipynb": _book(SETUP, LOOP, kernelspec={"name": "ir-models", "display_name": "my env"})})
    assert _run("check").exit_code == 1
