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
    "all but the last ones": "for p in list(model.parameters())[:-4]:\n    p.requires_grad = False",
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
    "by position": "for p in list(model.parameters())[:100]:\n    p.requires_grad = False",
    "by number": "for i, p in enumerate(model.parameters()):\n    if i < 100:\n        p.requires_grad = False",
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


INSIDE = """
import re
import torch
from torch import nn
from peft import LoraConfig, get_peft_model
from transformers import AutoModel

from data import NAME, loader


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        base = AutoModel.from_pretrained(CHECKPOINT)
        self.net = get_peft_model(base, LoraConfig(r=8, target_modules=["query", "value"]))

    def forward(self, **x):
        return self.net(**x)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = HELD
        self.norm = nn.LayerNorm(768)
        self.head = nn.Linear(768, 3)
        for n, p in self.named_parameters():
            FILTER

    def forward(self, **x):
        return self.head(self.norm(self.backbone(**x).last_hidden_state[:, 0]))


model = Classifier()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
model.train()
for x, y in loader:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(**x), y).backward()
    optimizer.step()
"""
HELD = {"held directly": "Encoder().net", "held by a module inside": "Encoder()"}
OUTSIDE = (
    "p.requires_grad = n.startswith('head.')",
    "p.requires_grad = n.startswith('head')",
    "p.requires_grad = n.startswith(('head.', 'norm.'))",
    "p.requires_grad = n.split('.')[0] == 'head'",
    r"p.requires_grad = bool(re.match(r'head\.', n))",
    "p.requires_grad = 'head' in n",
    "p.requires_grad = n.startswith('@pooler')",
    "if not n.startswith('head.'): p.requires_grad = False",
    "if n.startswith('backbone.'): p.requires_grad = False",
)
REACHING = (
    "p.requires_grad = n.startswith('@encoder')",
    "p.requires_grad = n.startswith('@encoder.layer.11.')",
    "p.requires_grad = n.startswith(('head.', 'backbone.'))",
    "p.requires_grad = n.split('.')[0] != 'norm'",
    "p.requires_grad = 'encoder' in n",
    "p.requires_grad = 'head' in n or 'attention' in n",
    "p.requires_grad = 'layer.11' in n",
    "p.requires_grad = n.startswith('head.') or 'lora_' in n",
    "if n.startswith('head.'): p.requires_grad = False",
    "if n.startswith('@embeddings'): p.requires_grad = False",
)


def inside(lines: str, held: str, checkpoint: str, tmp_path: Path) -> list[str]:
    """Codes found where an adapted encoder is an attribute of a classifier, whose parameters are filtered."""
    before = "backbone.base_model.model." if held == "Encoder().net" else "backbone.net.base_model.model."
    text = INSIDE.replace("FILTER", lines.replace("@", before)).replace("HELD", held).replace("CHECKPOINT", checkpoint)
    return [f.code for f in analyse_texts({str(tmp_path / "train.py"): text}, {}, tmp_path)]


@pytest.mark.parametrize("checkpoint", ["NAME", "'google-bert/bert-base-uncased'"])
@pytest.mark.parametrize("held", HELD.values(), ids=HELD.keys())
@pytest.mark.parametrize("lines", OUTSIDE)
def test_the_adapter_of_an_attribute_is_frozen(lines: str, held: str, checkpoint: str, tmp_path: Path) -> None:
    """Only other attributes, or modules without an adapter, go on: LL103."""
    assert inside(lines, held, checkpoint, tmp_path) == ["LL103"]


@pytest.mark.parametrize("checkpoint", ["NAME", "'google-bert/bert-base-uncased'"])
@pytest.mark.parametrize("held", HELD.values(), ids=HELD.keys())
@pytest.mark.parametrize("lines", REACHING)
def test_a_filter_reaches_into_an_attribute(lines: str, held: str, checkpoint: str, tmp_path: Path) -> None:
    """Adapters go on to be trained, or it cannot be told: silent."""
    assert inside(lines, held, checkpoint, tmp_path) == []


@pytest.mark.parametrize(("module", "expected"), [("pooler", ["LL103"]), ("embeddings", ["LL103"]), ("encoder", [])])
def test_names_of_a_class_without_a_head(module: str, expected: list[str], tmp_path: Path) -> None:
    """`AutoModel` has the modules of its family without `bert.` before them."""
    head = HEAD.replace("AutoModelForCausalLM", "AutoModel").replace(
        "Qwen/Qwen2.5-0.5B", "google-bert/bert-base-uncased"
    )
    head = head.replace('"q_proj", "v_proj"], task_type="CAUSAL_LM"', '"query", "value"]')
    lines = f"for n, p in model.named_parameters():\n    p.requires_grad = n.startswith('base_model.model.{module}')\n"
    found = analyse_texts({str(tmp_path / "train.py"): head + lines + TAIL}, {}, tmp_path)
    assert [f.code for f in found] == expected
