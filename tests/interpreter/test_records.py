"""Dataclasses inside the dataclass that a parser of the command line makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples import analyse_texts

SETTINGS = """
from __future__ import annotations
from dataclasses import dataclass, field


@dataclass
class Tower:
    adapter: bool = True
    inner: Tower  # in a ring


@dataclass
class Options:
    left: Tower = field(default_factory=Tower)
    right: Tower
"""
PROGRAM = """
import {library}
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Trainer

from settings import Options

options = {library}.{call}
model = AutoModelForCausalLM.from_pretrained("x")
if options.left.adapter:
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM"))
if {negated}options.{other}.adapter:
    for parameter in model.parameters():
        parameter.requires_grad = False
Trainer(model=model, train_dataset=load_rows()).train()
"""


@pytest.mark.parametrize(
    ("library", "call"),
    [
        ("tyro", "cli(Options)"),
        ("simple_parsing", "parse(config_class=Options)"),
        ("pyrallis", "parse(config_class=Options)"),
    ],
)
@pytest.mark.parametrize(
    ("other", "negated", "told"), [("left", "", True), ("right", "", True), ("left", "not ", False)]
)
def test_fields_of_dataclasses_inside_are_options(
    library: str, call: str, other: str, negated: str, told: bool, tmp_path: Path
) -> None:
    """Each has the default of its class and an identity of its own: one arm per field and path."""
    program = PROGRAM.format(library=library, call=call, other=other, negated=negated)
    found = analyse_texts({"settings.py": SETTINGS, "train.py": program}, {}, tmp_path)
    assert any(finding.code == "LL103" and finding.severity.value == "error" for finding in found) is told
