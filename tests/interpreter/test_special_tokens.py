"""Special tokens of tokenizers: what is known of those that a checkpoint brings."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from lora_lint.findings import Severity
from tests.examples import analyse_texts

TRAIN = """
import argparse
import yaml
from datasets import load_from_disk
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForLanguageModeling, Trainer

parser = argparse.ArgumentParser()
parser.add_argument("--model", default="meta-llama/Llama-3.2-1B")
parser.add_argument("--other", required=True)
args = parser.parse_args()
config = yaml.safe_load(open(args.other))
tokenizer = AutoTokenizer.from_pretrained({name})
{guard}
    tokenizer.pad_token = tokenizer.eos_token
collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
model = AutoModelForCausalLM.from_pretrained({name})
Trainer(model=model, train_dataset=load_from_disk("data"), data_collator=collator).train()
"""
ASKS = "if tokenizer.pad_token is None:"


@pytest.mark.parametrize(
    ("name", "guard", "severities"),
    [
        ('"meta-llama/Llama-3.2-1B"', ASKS, [Severity.WARNING]),
        ('"Qwen/Qwen2.5-0.5B"', ASKS, []),
        ("args.model", ASKS, [Severity.WARNING]),
        ("args.other", ASKS, [Severity.INFO]),
        ('config["model"]["name"]', ASKS, [Severity.INFO]),
        ('config["model"]["name"]', 'if getattr(tokenizer, "pad_token", None) is None:', [Severity.INFO]),
        ('config["model"]["name"]', "if True:", [Severity.WARNING]),
    ],
)
def test_a_padding_token_that_an_unknown_checkpoint_may_bring(
    name: str, guard: str, severities: list[Severity], tmp_path: Path
) -> None:
    text = textwrap.dedent(TRAIN).format(name=name, guard=guard)
    findings = analyse_texts({str(tmp_path / "train.py"): text}, {}, tmp_path)
    assert [one.severity for one in findings if one.code == "LL404"] == severities
