"""Calls that the targeted versions of a library lack: the program fails there, or it runs with an older one."""

from __future__ import annotations

import textwrap
from pathlib import Path

from tests.examples import analyse_texts

TRAIN = """
    from dataclasses import dataclass

    from datasets import load_from_disk
    from peft import LoraConfig, get_peft_model, prepare_model_for_int8_training
    from transformers import AutoModelForCausalLM, HfArgumentParser, Trainer, TrainingArguments


    @dataclass
    class Settings:
        int8: bool = False
        lora: bool = False


    settings, args = HfArgumentParser((Settings, TrainingArguments)).parse_args_into_dataclasses()
    if settings.int8:
        model = AutoModelForCausalLM.from_pretrained("huggyllama/llama-7b", load_in_8bit=True, device_map="auto")
    else:
        model = AutoModelForCausalLM.from_pretrained("huggyllama/llama-7b")
    if settings.lora:
        if settings.int8:
            model = prepare_model_for_int8_training(model)
        model = get_peft_model(model, LoraConfig(r=8, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    Trainer(model=model, args=args, train_dataset=load_from_disk("data")).train()
"""


def test_a_call_that_is_gone_does_what_it_did(tmp_path: Path) -> None:
    """The model that comes out of the preparation is the one that went in: with both settings on it has an adapter."""
    copy = '__version__ = "0.17.0"\nfrom .peft_model import PeftModel\n'
    files = {"train.py": textwrap.dedent(TRAIN), "peft/__init__.py": copy, "peft/peft_model.py": "class PeftModel: ..."}
    texts = {str(tmp_path / name): text for name, text in files.items()}
    found = [one.code for one in analyse_texts(texts, {"peft": "==0.17.0"}, tmp_path)]
    assert "LL701" in found
    assert "LL114" not in found
