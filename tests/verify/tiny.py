"""Tiny models and batches that train in milliseconds on a CPU, offline."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification


def _config(**changes: Any) -> LlamaConfig:
    sizes: dict[str, Any] = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 64,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
    }
    return LlamaConfig(**{**sizes, **changes})


def llama(seed: int = 0, **changes: Any) -> Any:
    torch.manual_seed(seed)
    return LlamaForCausalLM(_config(**changes))


def classifier() -> Any:
    torch.manual_seed(0)
    return LlamaForSequenceClassification(_config(num_labels=3))


def lora(**changes: Any) -> LoraConfig:
    given: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}
    return LoraConfig(**{**given, **changes})


def adapted(**changes: Any) -> Any:
    return get_peft_model(llama(), lora(**changes))


def batch(seed: int = 1, size: int = 2, length: int = 10) -> dict[str, Any]:
    ids = torch.randint(4, 60, (size, length), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}


def adamw(model: Any, lr: float = 1e-2, **changes: Any) -> Any:
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, **changes)


def train(model: Any, optimizer: Any, steps: int = 3, scheduler: Any = None) -> None:
    for step in range(steps):
        optimizer.zero_grad()
        model(**batch(step)).loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()


def train_classifier(model: Any, steps: int = 3) -> None:
    optimizer = adamw(model)
    for step in range(steps):
        data = batch(step)
        data["labels"] = torch.tensor([step % 3, (step + 1) % 3])
        optimizer.zero_grad()
        model(**data).loss.backward()
        optimizer.step()
