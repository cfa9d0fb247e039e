"""Shell scripts that start a program as several processes, and what that makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_lint.datafiles import DataFiles
from tests.examples import analyse

SCRIPT = """
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Trainer
model = AutoModelForCausalLM.from_pretrained("m", device_map="auto")
model = get_peft_model(model, LoraConfig(r=8))
Trainer(model=model).train()
"""
ACCELERATE = "distributed_type: {kind}\nnum_processes: {count}\nmixed_precision: bf16\n"


@pytest.mark.parametrize(
    ("command", "several"),
    [
        ("torchrun --nproc_per_node=8 src/train.py --lr 1", True),
        ("torchrun --nproc-per-node 8 \\\n    src/train.py \\\n    --lr 1", True),
        ("CUDA_VISIBLE_DEVICES=0,1 python -m torch.distributed.run --nproc_per_node 2 src/train.py", True),
        ("accelerate launch --num_processes 4 src/train.py", True),
        ("accelerate launch --config_file conf/ddp.yaml src/train.py", True),
        ("accelerate launch --config_file conf/one.yaml src/train.py", False),
        ("accelerate launch --config_file conf/none.yaml src/train.py", False),
        ("deepspeed --num_gpus=2 src/train.py --deepspeed ds.json", True),
        ("deepspeed src/train.py", False),
        ("torchrun --nproc_per_node=1 src/train.py", False),
        ("torchrun --nproc_per_node=$GPUS src/train.py", False),
        ("torchrun --nproc_per_node=8 src/other.py", False),
        ("# torchrun --nproc_per_node=8 src/train.py", False),
        ("echo torchrun --nproc_per_node=8 src/train.py", False),
        ("python src/train.py --nproc_per_node=8", False),
        ("torchrun --nproc_per_node=8 'src/train.py", False),
    ],
)
def test_commands(command: str, several: bool, tmp_path: Path) -> None:
    files = {
        "src/train.py": SCRIPT,
        "scripts/run.sh": f"#!/bin/bash\nset -e\n{command}\n",
        "conf/ddp.yaml": ACCELERATE.format(kind="MULTI_GPU", count=4),
        "conf/one.yaml": ACCELERATE.format(kind="NO", count=1),
    }
    (tmp_path / ".git").mkdir()
    found = [f for f in analyse(files, {}, tmp_path) if f.code == "LL601"]
    assert bool(found) is several
    if several:
        assert "scripts/run.sh:3 starts it as" in found[0].related[0].message
    assert bool(DataFiles(str(tmp_path)).launched("src/train.py")) is several


def test_a_command_in_the_folder_of_the_script(tmp_path: Path) -> None:
    files = {"src/train.py": SCRIPT, "src/run.sh": "torchrun --nproc_per_node 2 train.py\n"}
    assert [f.code for f in analyse(files, {}, tmp_path)] == ["LL601"]


def test_only_what_is_started_is_distributed(tmp_path: Path) -> None:
    """A file of the same name elsewhere is another program."""
    files = {"a/train.py": SCRIPT, "b/train.py": SCRIPT, "run.sh": "torchrun --nproc_per_node 2 a/train.py\n"}
    found = analyse(files, {}, tmp_path)
    assert [(Path(f.location.path).parent.name, f.code) for f in found] == [("a", "LL601")]


CHECKPOINTED = """
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments
model = get_peft_model(AutoModelForCausalLM.from_pretrained("m"), LoraConfig(r=8))
args = TrainingArguments("out", gradient_checkpointing=True, deepspeed={deepspeed})
Trainer(model=model, args=args).train()
"""


@pytest.mark.parametrize(
    ("deepspeed", "stage", "fixed"),
    [
        ('"ds.json"', "2", True),
        ('"ds.json"', "3", False),
        ('"ds.json"', '"auto"', False),
        ('"other.json"', "2", False),
        ('{"zero_optimization": {"stage": 2}}', "3", True),
    ],
)
def test_zero_stage(deepspeed: str, stage: str, fixed: bool, tmp_path: Path) -> None:
    """ZeRO-3 needs reentrant checkpointing: only where it is surely not used is the other kind proposed."""
    files = {
        "train.py": CHECKPOINTED.replace("{deepspeed}", deepspeed),
        "ds.json": f'{{"zero_optimization": {{"stage": {stage}}}}}',
    }
    versions = {"transformers": "4.56.2", "peft": "0.17.1"}
    (found,) = [f for f in analyse(files, versions, tmp_path) if f.code == "LL204"]
    assert (found.plan is not None) is fixed
