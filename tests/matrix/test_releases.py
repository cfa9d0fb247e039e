"""The version ranges of the important rules, on both sides of each boundary: what the libraries do, and what lora-lint says.

`make matrix` runs this; it needs the old stack of tests/envs/trl-0.22.txt and downloads single releases over it.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.envs import interpreter, overlay
from tests.examples import analyse

pytestmark = [pytest.mark.matrix, pytest.mark.slow]

PROBE = Path(__file__).with_name("probe.py")
OLD = "trl-0.22"  # transformers 4.56.2, peft 0.17.1, trl 0.22.2, accelerate 1.10.1
NEW = ""  # the running environment: constraints.txt


def run(probe: str, stack: str, **releases: str) -> dict[str, Any]:
    """What the probe saw in an environment, with single releases laid over it."""
    folders = [str(overlay(library, version)) for library, version in releases.items()]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(folders),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [interpreter(stack), str(PROBE), probe],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert lines, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(lines[-1].removeprefix("RESULT "))
    return result


def codes(text: str, tmp_path: Path, **versions: str) -> set[str]:
    """What lora-lint reports for a script that is for these versions."""
    return {finding.code for finding in analyse({"train.py": text}, versions, tmp_path)}


HEAD = """
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, Trainer, TrainingArguments
from trl import SFTConfig, SFTTrainer
from data import rows
"""
QUANTIZED = (
    HEAD
    + """
model = AutoModelForCausalLM.from_pretrained("m", quantization_config=BitsAndBytesConfig(load_in_8bit=True))
model = get_peft_model(model, LoraConfig(r=4))
trainer = SFTTrainer(model=model, args=SFTConfig(output_dir="out"), train_dataset=rows)
trainer.train()
"""
)
TWICE = (
    HEAD
    + """
model = get_peft_model(AutoModelForCausalLM.from_pretrained("m"), LoraConfig(r=4))
trainer = SFTTrainer(model=model, args=SFTConfig(output_dir="out"), train_dataset=rows, peft_config=LoraConfig(r=8))
trainer.train()
"""
)
CHECKPOINTED = (
    HEAD
    + """
model = get_peft_model(AutoModelForCausalLM.from_pretrained("m"), LoraConfig(r=4))
model.gradient_checkpointing_enable()
model.train()
for batch in rows:
    model(**batch).loss.backward()
"""
)
TRICK = (
    HEAD
    + """
model = get_peft_model(AutoModelForCausalLM.from_pretrained("m"), LoraConfig(r=4))
old = model.state_dict
model.state_dict = (lambda self, *_, **__: get_peft_model_state_dict(self, old())).__get__(model, type(model))
Trainer(model=model, args=TrainingArguments("out"), train_dataset=rows).train()
model.save_pretrained("out")
"""
)


@pytest.mark.parametrize(
    ("trl", "frozen"), [("0.19.1", False), ("0.20.0", True), ("0.22.2", True), ("0.23.0", True), ("0.23.1", False)]
)
def test_ll102(trl: str, frozen: bool, tmp_path: Path) -> None:
    seen = run("refreeze", OLD, trl=trl)
    assert seen == {"before": 8, "after": 0 if frozen else 8}
    assert ("LL102" in codes(QUANTIZED, tmp_path, trl=trl)) is frozen


@pytest.mark.parametrize(
    ("trl", "seen", "said"),
    [
        ("0.19.1", {"ranks": [4], "stacked": False}, set()),  # the config is ignored
        ("0.21.0", {"ranks": [8], "stacked": True}, {"LL106"}),
        ("0.22.2", {"ranks": [8], "stacked": False}, set()),  # the fresh adapter is merged: nothing learned is lost
    ],
)
def test_a_peft_model_and_a_config(trl: str, seen: dict[str, Any], said: set[str], tmp_path: Path) -> None:
    assert run("second-config", OLD, trl=trl) == seen
    assert codes(TWICE, tmp_path, trl=trl) == said


def test_a_peft_model_and_a_config_raise_today(tmp_path: Path) -> None:
    assert "together with a `peft_config`" in run("second-config", NEW)["error"]
    assert codes(TWICE, tmp_path, trl="1.16.0") == {"LL106"}


def test_ll204(tmp_path: Path) -> None:
    assert "does not require grad" in run("checkpointing", OLD)["error"]
    assert run("checkpointing", NEW) == {"gradients": 4}
    assert codes(CHECKPOINTED, tmp_path, transformers="4.56.2", peft="0.17.1") >= {"LL204"}
    assert "LL204" not in codes(CHECKPOINTED, tmp_path, transformers="5.23.0", peft="0.21.2")


def test_ll801(tmp_path: Path) -> None:
    assert run("state-dict", OLD) == {"tensors": 0}
    assert run("state-dict", NEW)["tensors"] == 8
    assert "LL801" in codes(TRICK, tmp_path, peft="0.17.1", transformers="4.56.2")
    assert "LL801" not in codes(TRICK, tmp_path, peft="0.21.2")
