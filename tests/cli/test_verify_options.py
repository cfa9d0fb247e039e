"""Options of `lora-lint verify` that contradict each other: one line says what to do, before anything runs."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from lora_lint.cli.verify import verify


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give a script"),
        (["train.py", "--model", "base"], "give a script"),
        (["train.py", "--lr", "1e-4"], "lora-lint verify train.py -- --lr"),
        (["train.py", "--quant", "4bit"], "--quant belongs to --model"),
        (["train.py", "--epochs", "3"], "no such option: --epochs (options of the program itself come after `--`)"),
        (["--model", "base", "--launch", "torchrun"], "--launch goes with a script"),
        (["--model", "base", "--confirm"], "--confirm goes with a script"),
        (["--model", "base", "--dtype", "float99"], "float99"),
        (["train.py", "-o", "no/such/folder/page.html"], "no such folder"),
    ],
)
def test_contradictions(words: list[str], said: str) -> None:
    done = CliRunner().invoke(verify, words, prog_name="lora-lint verify")
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())
