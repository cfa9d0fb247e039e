"""Verdicts that only the end of a program settles."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples import analyse_texts

SWEEP = """
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from data import rows

base = AutoModelForCausalLM.from_pretrained("Qwen/Qwen2.5-0.5B")
models, scores = {{}}, {{}}
for rank in (4, 8):
    model = get_peft_model(base, LoraConfig(r=rank, task_type="CAUSAL_LM"))
    models[rank] = model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for batch in rows():
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    scores[rank] = loss.item()
{end}
"""


@pytest.mark.parametrize(
    ("end", "severity"),
    [
        ("print(scores)", "warning"),
        ('models[4].save_pretrained("small")', "error"),
        ('models[min(scores, key=scores.get)].save_pretrained("best")', "error"),
        ("for rank, model in models.items():\n    print(rank, model(**rows()).loss)", "error"),
    ],
)
def test_a_second_injection_and_the_first_model_used_again(end: str, severity: str, tmp_path: Path) -> None:
    """A fresh adapter over a fresh one starts again, which a sweep may want; the first model then has the second's weights."""
    found = analyse_texts({"sweep.py": SWEEP.format(end=end)}, {}, tmp_path)
    assert [one.severity.value for one in found if one.code == "LL106"] == [severity]


BLOCKS = """
from datasets import load_from_disk
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

model = AutoModelForCausalLM.from_pretrained("Qwen/Qwen2.5-0.5B")
model = get_peft_model(model, LoraConfig(r=8, target_modules=["q_proj"], task_type="CAUSAL_LM"))
for block in model.base_model.model.model.layers{which}:
    block.requires_grad_(False)
Trainer(model=model, args=TrainingArguments("out"), train_dataset=load_from_disk("data/tokenized")).train()
"""


@pytest.mark.parametrize(("which", "severity"), [("", "warning"), ("[:12]", "info")])
def test_a_freeze_of_blocks_with_adapters(which: str, severity: str, tmp_path: Path) -> None:
    """To freeze the adapters in some blocks may be meant; to freeze those in all of them is not."""
    found = analyse_texts({"blocks.py": BLOCKS.format(which=which)}, {}, tmp_path)
    assert [one.severity.value for one in found if one.code == "LL103"] == [severity]


TWICE = """
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from trl import SFTConfig, SFTTrainer

from data import rows

base = AutoModelForCausalLM.from_pretrained("Qwen/Qwen2.5-0.5B")
config = LoraConfig(r=8, target_modules=["q_proj"], task_type="CAUSAL_LM")
get_peft_model(base, config).print_trainable_parameters()
{between}
SFTTrainer(model=base, args=SFTConfig("out"), train_dataset=rows(), peft_config={config}).train()
"""


@pytest.mark.parametrize(
    ("between", "config", "severity"),
    [
        ("", "config", "info"),
        ("", 'LoraConfig(r=4, target_modules=["k_proj"], task_type="CAUSAL_LM")', "warning"),
        ('SFTTrainer(model=base, args=SFTConfig("a"), train_dataset=rows()).train()', "config", "warning"),
    ],
)
def test_the_same_adapter_injected_again(between: str, config: str, severity: str, tmp_path: Path) -> None:
    """The same config over an adapter that learned nothing yet: as if it had been injected once."""
    found = analyse_texts({"sft.py": TWICE.format(between=between, config=config)}, {}, tmp_path)
    assert [one.severity.value for one in found if one.code == "LL106"] == [severity]


SWITCHED_OFF = """
from datasets import load_from_disk
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

settings = LoraConfig(r=8, target_modules=["q_proj"], task_type="CAUSAL_LM")
model = AutoModelForCausalLM.from_pretrained("Qwen/Qwen2.5-0.5B")
{comment}
Trainer(model=model, args=TrainingArguments("out"), train_dataset=load_from_disk("data/tokenized")).train()
"""


@pytest.mark.parametrize(
    ("comment", "severity"),
    [
        ("", "error"),
        ("# the settings are applied by get_peft_model", "error"),
        ("# model = get_peft_model(model, others)", "error"),
        ("# model = get_peft_model(model, settings)", "warning"),
        ("    # model = get_peft_model(model, peft_config=settings)  # for LoRA", "warning"),
        ("# merge(options, settings)", "warning"),
    ],
)
def test_an_adapter_that_was_switched_off_by_hand(comment: str, severity: str, tmp_path: Path) -> None:
    """A comment that holds the call says that the config is left for later; it is not applied for the user then."""
    found = analyse_texts({"train.py": SWITCHED_OFF.format(comment=comment)}, {}, tmp_path)
    assert [(one.severity.value, one.plan is None) for one in found if one.code == "LL101"] == [
        (severity, severity == "warning")
    ]


LOOP = """
import argparse
import json

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from data import loader

parser = argparse.ArgumentParser()
parser.add_argument("--accum", type=int, default=1)
parser.add_argument("--many", type=int, default=8)
parser.add_argument("--fp16", action="store_true")
parser.add_argument("--config", default="config.json")
args = parser.parse_args()
cfg = json.load(open("elsewhere.json"))
stated = json.load(open(args.config))
model = get_peft_model(AutoModelForCausalLM.from_pretrained("Qwen/Qwen2.5-0.5B"), LoraConfig(r=8, task_type="CAUSAL_LM"))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
"""

RARE = """
accum = {steps}
for step, batch in enumerate(loader):
    optimizer.zero_grad()
    (model(**batch).loss / accum).backward()
    if (step + 1) % accum == 0:
        optimizer.step()
"""

BLOCK = """
from accelerate import Accelerator

accelerator = Accelerator(gradient_accumulation_steps={steps})
model, optimizer = accelerator.prepare(model, optimizer)
for batch in loader:
    with accelerator.accumulate(model):
        model.zero_grad()
        accelerator.backward(model(**batch).loss)
        optimizer.step()
"""


@pytest.mark.parametrize("loop", [RARE, BLOCK], ids=["rare", "block"])
@pytest.mark.parametrize(
    ("steps", "severities"),
    [
        ("1", []),
        ("4", ["error"]),
        ("args.accum", ["warning"]),
        ("args.many", ["error"]),
        ('cfg["accum"]', ["error"]),
        ('cfg.get("accum", 1)', ["warning"]),
        ('max(1, int(cfg["train"].get("accum", 1)))', ["warning"]),
        ('cfg.get("accum", 4)', ["error"]),
    ],
)
def test_gradients_wiped_where_nothing_may_be_gathered(
    loop: str, steps: str, severities: list[str], tmp_path: Path
) -> None:
    """A setting that is 1 unless it is given makes a wipe harmless as long as nobody gives it."""
    found = analyse_texts({"loop.py": LOOP + loop.format(steps=steps)}, {}, tmp_path)
    assert [one.severity.value for one in found if one.code == "LL303"] == severities


CLIP = """
amp = {amp}
scaler = torch.amp.GradScaler("cuda", enabled={enabled})
for batch in loader:
    optimizer.zero_grad()
    with torch.autocast("cuda", dtype=torch.float16, enabled={enabled}):
        loss = model(**batch).loss
    if {used}:
        scaler.scale(loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
    else:
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
"""


@pytest.mark.parametrize(("enabled", "used"), [("amp", "True"), ("True", "amp")], ids=["disabled", "branch"])
@pytest.mark.parametrize(
    ("amp", "severities"),
    [
        ("True", ["error"]),
        ('cfg["amp"]', ["error"]),
        ('cfg.get("amp", True)', ["error"]),
        ('cfg.get("amp", False)', ["warning"]),
    ],
)
def test_clipping_of_gradients_that_may_not_be_scaled(
    enabled: str, used: str, amp: str, severities: list[str], tmp_path: Path
) -> None:
    """The same of a scaler that is off unless it is asked for."""
    text = LOOP + CLIP.format(amp=amp, enabled=enabled, used=used)
    found = analyse_texts({"loop.py": text}, {}, tmp_path)
    assert [one.severity.value for one in found if one.code == "LL503"] == severities


@pytest.mark.parametrize(("amp", "severities"), [("args.fp16", ["error"]), ('stated["amp"]', ["warning"])])
def test_clipping_in_a_branch_that_is_off_by_default(amp: str, severities: list[str], tmp_path: Path) -> None:
    """A flag is there to be given; what the configuration of the project says is what runs."""
    (tmp_path / "config.json").write_text('{"amp": false}', encoding="utf-8")
    text = LOOP + CLIP.format(amp=amp, enabled="True", used="amp")
    found = analyse_texts({str(tmp_path / "loop.py"): text}, {}, tmp_path)
    assert [one.severity.value for one in found if one.code == "LL503"] == severities


TEXTS = """
from datasets import load_dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForLanguageModeling, Trainer, TrainingArguments

tokenizer = AutoTokenizer.from_pretrained("meta-llama/Llama-2-7b-hf"{options})
tokenizer.{pad}
model = AutoModelForCausalLM.from_pretrained("meta-llama/Llama-2-7b-hf")
model = get_peft_model(model, LoraConfig(r=8, target_modules=["q_proj"], task_type="CAUSAL_LM"))
data = load_dataset("json", data_files="train.jsonl", split="train")
data = data.map(lambda row: tokenizer(row["text"]{end}, truncation=True))
collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
Trainer(model, TrainingArguments("out"), train_dataset=data, data_collator=collator).train()
print(tokenizer.decode(model.generate(eos_token_id=tokenizer.eos_token_id)[0], skip_special_tokens=True))
"""


@pytest.mark.parametrize(
    ("options", "pad", "end", "severity"),
    [
        ("", "pad_token = tokenizer.eos_token", "", "info"),
        ("", 'add_special_tokens({"pad_token": tokenizer.eos_token})', "", "info"),
        (", add_eos_token=False", "pad_token_id = tokenizer.eos_token_id", "", "info"),
        (", add_eos_token=True", "pad_token = tokenizer.eos_token", "", "warning"),
        ("", "pad_token = tokenizer.eos_token", " + tokenizer.eos_token", "warning"),
        ("", "pad_token = tokenizer.eos_token", " + '</s>'", "warning"),
    ],
)
def test_texts_without_an_end_token_have_none_to_mask(
    options: str, pad: str, end: str, severity: str, tmp_path: Path
) -> None:
    texts = {"train.py": TEXTS.format(options=options, pad=pad, end=end)}
    assert [one.severity.value for one in analyse_texts(texts, {}, tmp_path) if one.code == "LL404"] == [severity]


def test_an_end_put_there_in_another_file_counts(tmp_path: Path) -> None:
    helper = "def ended(row, tokenizer):\n    return row['text'] + tokenizer.eos_token\n"
    text = TEXTS.format(options="", pad="pad_token = tokenizer.eos_token", end="")
    text = "from helper import ended\n" + text.replace('row["text"]', "ended(row, tokenizer)")
    files = {str(tmp_path / "train.py"): text, str(tmp_path / "helper.py"): helper}
    found = analyse_texts(files, {}, tmp_path)
    assert [one.severity.value for one in found if one.code == "LL404"] == ["warning"]
