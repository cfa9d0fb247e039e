"""What is known of dicts under keys that are not known."""

from __future__ import annotations

from pathlib import Path

from tests.examples import analyse_texts

PROGRAM = """
import sys
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Trainer

given = {one.split("=")[0]: one.split("=")[1] for one in sys.argv[1:]}
seen = {}
for group in ("model", "data"):
    for name, value in given.items():
        if name not in seen:
            seen[name] = value
        else:
            raise ValueError(f"{name} is given twice")

model = get_peft_model(AutoModelForCausalLM.from_pretrained("x"), LoraConfig(task_type="CAUSAL_LM"))
for parameter in model.parameters():
    parameter.requires_grad = False
Trainer(model=model, train_dataset=load_rows()).train()
"""


def test_an_unknown_key_of_another_turn_may_be_another_key(tmp_path: Path) -> None:
    """The program goes on behind a check for keys that come twice."""
    assert {finding.code for finding in analyse_texts({"train.py": PROGRAM}, {}, tmp_path)} == {"LL103"}
