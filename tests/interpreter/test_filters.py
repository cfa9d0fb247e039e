"""Filters over parameters: whatever the user writes is evaluated on representative names."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.examples import analyse_texts

HEAD = """
import re
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Trainer

model = AutoModelForCausalLM.from_pretrained("Qwen/Qwen2.5-0.5B")
model = get_peft_model(model, LoraConfig(r=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
"""
TAIL = "Trainer(model=model).train()\n"

FREEZES = {
    "plain": "for p in model.parameters():\n    p.requires_grad = False",
    "named": "for n, p in model.named_parameters():\n    p.requires_grad_(False)",
    "setattr": "for p in model.parameters():\n    setattr(p, 'requires_grad', False)",
    "filter that everything passes": "for n, p in model.named_parameters():\n    if 'lm_head' not in n:\n        p.requires_grad = False",
    "prefix of the unwrapped model": "for n, p in model.named_parameters():\n    p.requires_grad = n.startswith('model.lora')",
    "wrong regex": "for n, p in model.named_parameters():\n    if not re.match(r'lora_[AB]', n):\n        p.requires_grad = False",
    "capital letters": "for n, p in model.named_parameters():\n    p.requires_grad = 'LoRA' in n",
    "comprehension": "[p.requires_grad_(False) for p in model.parameters()]",
    "map": "list(map(lambda p: p.requires_grad_(False), model.parameters()))",
    "modules": "for m in model.modules():\n    for p in m.parameters():\n        p.requires_grad = False",
    "enumerate": "for i, p in enumerate(model.parameters()):\n    p.requires_grad = False",
    "submodule chain": "model.base_model.model.requires_grad_(False)",
}

KEEPS = {
    "lora in name": "for n, p in model.named_parameters():\n    if 'lora' not in n:\n        p.requires_grad = False",
    "continue guard": "for n, p in model.named_parameters():\n    if 'lora_' in n:\n        continue\n    p.requires_grad = False",
    "assigned from test": "for n, p in model.named_parameters():\n    p.requires_grad = 'lora' in n",
    "any of keywords": "keys = ['norm', 'lora']\nfor n, p in model.named_parameters():\n    p.requires_grad = any(k in n for k in keys)",
    "helper": "def wanted(name):\n    return re.search(r'lora_[AB]', name) is not None\nfor n, p in model.named_parameters():\n    p.requires_grad_(wanted(n))",
    "lower": "for n, p in model.named_parameters():\n    p.requires_grad = 'LORA'.lower() in n.lower()",
    "thawed again": "for p in model.parameters():\n    p.requires_grad = False\nfor n, p in model.named_parameters():\n    if 'lora' in n:\n        p.requires_grad = True",
    "unknown predicate": "from rules import frozen\nfor n, p in model.named_parameters():\n    if frozen(n):\n        p.requires_grad = False",
    "by position": "for p in list(model.parameters())[:-4]:\n    p.requires_grad = False",
    "only vectors": "for p in model.parameters():\n    if p.ndim == 1:\n        p.requires_grad = False",
    "only the head": "for n, p in model.named_parameters():\n    if 'lm_head' in n:\n        p.requires_grad = False",
    "what is trainable already": "for p in model.parameters():\n    if not p.requires_grad:\n        p.data = p.data.half()",
    "set_adapter": "for p in model.parameters():\n    p.requires_grad = False\nmodel.set_adapter('default')",
}


def codes(lines: str, tmp_path: Path) -> list[str]:
    """Codes found in a program that runs these lines after the injection and then trains."""
    text = HEAD + textwrap.dedent(lines) + "\n" + TAIL
    return [f.code for f in analyse_texts({str(tmp_path / "train.py"): text}, {}, tmp_path)]


@pytest.mark.parametrize("lines", FREEZES.values(), ids=FREEZES.keys())
def test_freezes_the_adapter(lines: str, tmp_path: Path) -> None:
    """The adapter is frozen: LL103."""
    assert "LL103" in codes(lines, tmp_path)


@pytest.mark.parametrize("lines", KEEPS.values(), ids=KEEPS.keys())
def test_keeps_the_adapter(lines: str, tmp_path: Path) -> None:
    """The adapter stays trainable, or it cannot be told: silent."""
    assert codes(lines, tmp_path) == []
