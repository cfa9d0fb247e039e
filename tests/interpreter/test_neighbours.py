"""Programs that stand beside each other in a project: what one does is no excuse for another."""

from __future__ import annotations

from pathlib import Path

from tests.examples import analyse

TRAINS = """import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from data import loader

model = AutoModelForCausalLM.from_pretrained("Qwen/Qwen2.5-0.5B")
model = get_peft_model(model, LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
for batch in loader:
    model(**batch).loss.backward()
    optimizer.step()
"""
HOOKS = """def watch(layers, note):
    for layer in layers:
        layer.weight.register_hook(lambda grad: note(grad))
"""


def test_hooks_of_another_program(tmp_path: Path) -> None:
    found = analyse({"train.py": TRAINS, "probe.py": HOOKS}, {}, tmp_path)
    assert [finding.code for finding in found] == ["LL307"]


def test_hooks_of_a_module_that_the_program_uses(tmp_path: Path) -> None:
    used = TRAINS.replace("for batch", "watch(model.base_model.model.model.layers, clear)\nfor batch")
    used = used.replace("from data import loader\n", "from data import clear, loader\nfrom probe import watch\n")
    assert analyse({"train.py": used, "probe.py": HOOKS}, {}, tmp_path) == []
