"""What the programs in the tests of idioms begin and end with.

Lines that end in `#-` are the bug's, lines that end in `#+` stand in the healthy program instead.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.examples import analyse_texts

HEAD = """
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback
import torch

def load():
    return AutoModelForCausalLM.from_pretrained("Qwen/Qwen2.5-0.5B")

def adapt(model):
    return get_peft_model(model, LoraConfig(r=8, target_modules=["q_proj"], task_type="CAUSAL_LM"))

def freeze(model):
    for parameter in model.parameters():
        parameter.requires_grad = False
"""
TRAIN = "\nTrainer(model=model, train_dataset=load_rows()).train()\n"
LOOP = """
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
model.train()
for batch in load_rows():
    loss = compute(model, batch)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
"""
LIGHTNING = """
import lightning as L
class Tuner(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = adapt(load())
    def training_step(self, batch, index):
        return self.model(**batch).loss
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-4)
"""


def program(text: str, drop: str) -> str:
    """One of the two programs in a text: without the lines of the other, and without the marks."""
    lines = [line for line in text.splitlines() if not line.endswith(drop)]
    return HEAD + "\n".join(re.sub(r" #[-+]$", "", line) for line in lines) + "\n"


def check(name: str, text: str, root: Path) -> None:
    """The code in the name is found where the bug is, and nothing where it is not."""
    code = name.rpartition("(")[2].rstrip(")")
    for drop, expected in (("#+", {code}), ("#-", set())):
        found = analyse_texts({"train.py": program(text, drop)}, {}, root)
        assert {finding.code for finding in found} == expected, drop
