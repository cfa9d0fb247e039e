"""Files of a test runner: what is found there is advice at most."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from lora_lint.findings import Severity
from tests.examples import analyse_texts

BODY = """
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Trainer


def {function}():
    model = get_peft_model(AutoModelForCausalLM.from_pretrained("m"), LoraConfig(r=8))
    model.requires_grad_(False)
    Trainer(model=model).train()
"""


@pytest.mark.parametrize(
    ("name", "function", "severity"),
    [
        ("test_lora.py", "test_frozen_adapters_stay", Severity.INFO),
        ("lora_test.py", "test_frozen_adapters_stay", Severity.INFO),
        ("test_lora.py", "main", Severity.ERROR),
        ("train.py", "test_frozen_adapters_stay", Severity.ERROR),
    ],
)
def test_findings_in_tests_are_advice(name: str, function: str, severity: Severity, tmp_path: Path) -> None:
    text = textwrap.dedent(BODY).format(function=function)
    findings = analyse_texts({str(tmp_path / name): text}, {}, tmp_path)
    assert [(one.code, one.severity) for one in findings if one.code == "LL103"] == [("LL103", severity)]
