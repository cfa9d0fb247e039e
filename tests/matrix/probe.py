"""Runs in an environment of some release (see test_releases.py), does one thing, and prints what happened as JSON."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM


def _base() -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=64,
            pad_token_id=3,
        )
    )


def _lora(rank: int = 4) -> LoraConfig:
    return LoraConfig(r=rank, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")


def _trainable(model: Any) -> int:
    return sum(p.requires_grad for name, p in model.named_parameters() if "lora_" in name)


def _tokenizer(folder: str) -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 3, "</s>": 2, "<unk>": 0, "a": 4, "b": 5}
    inner = Tokenizer(WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def _sft(model: Any, folder: str, **more: Any) -> Any:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    args = SFTConfig(output_dir=folder, use_cpu=True, bf16=False, report_to="none", save_strategy="no")
    rows = Dataset.from_dict({"text": ["a b a b", "b a b a"]})
    return SFTTrainer(model=model, args=args, train_dataset=rows, processing_class=_tokenizer(folder), **more)


def refreeze() -> dict[str, Any]:
    """A PeftModel on an 8-bit base in SFTTrainer without peft_config: adapters trainable before and after."""
    from transformers import BitsAndBytesConfig

    with tempfile.TemporaryDirectory() as folder:
        _base().save_pretrained(f"{folder}/base")
        config = BitsAndBytesConfig(load_in_8bit=True)
        base = LlamaForCausalLM.from_pretrained(f"{folder}/base", quantization_config=config, device_map={"": "cpu"})
        model = get_peft_model(base, _lora())
        before = _trainable(model)
        trainer = _sft(model, folder)
        return {"before": before, "after": _trainable(trainer.model)}


def second_config() -> dict[str, Any]:
    """A PeftModel and a peft_config of another rank in SFTTrainer."""
    with tempfile.TemporaryDirectory() as folder:
        model = get_peft_model(_base(), _lora(4))
        try:
            trainer = _sft(model, folder, peft_config=_lora(8))
        except ValueError as error:
            return {"error": str(error)}
        stacked = isinstance(trainer.model, PeftModel) and isinstance(trainer.model.get_base_model(), PeftModel)
        stacked = stacked or any(isinstance(m, PeftModel) for m in list(trainer.model.modules())[1:])
        ranks = {p.shape[0] for name, p in trainer.model.named_parameters() if "lora_A" in name}
        return {"ranks": sorted(ranks), "stacked": stacked}


def checkpointing() -> dict[str, Any]:
    """Gradient checkpointing with its defaults, switched on after the injection."""
    model = get_peft_model(_base(), _lora())
    model.gradient_checkpointing_enable()
    model.train()
    ids = torch.randint(4, 60, (2, 8))
    try:
        model(input_ids=ids, labels=ids).loss.backward()
    except RuntimeError as error:
        return {"error": str(error)}
    return {"gradients": sum(p.grad is not None for name, p in model.named_parameters() if "lora_B" in name)}


def state_dict() -> dict[str, Any]:
    """The state_dict trick of 2023: how many tensors save_pretrained writes."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    model = get_peft_model(_base(), _lora())
    old = model.state_dict
    model.state_dict = (lambda self, *_, **__: get_peft_model_state_dict(self, old())).__get__(model, type(model))
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        file = Path(folder) / "adapter_model.safetensors"
        with safe_open(file, "pt") as saved:
            return {"tensors": len(list(saved.keys()))}


if __name__ == "__main__":
    probe = {
        "refreeze": refreeze,
        "second-config": second_config,
        "checkpointing": checkpointing,
        "state-dict": state_dict,
    }
    sys.stdout.write("\nRESULT " + json.dumps(probe[sys.argv[1]]()) + "\n")
