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
        ("uv run torchrun --nproc-per-node 8 src/train.py", True),
        ("srun --ntasks=1 -c 8 torchrun --nproc-per-node 8 src/train.py", True),
        ("mpirun -np 1 -x PATH -bind-to none torchrun --nproc-per-node 8 src/train.py", True),
        ("mpirun -np 8 ./torch src/train.py --nproc-per-node 8", False),
        ("mkdir -p out && torchrun --nproc-per-node 8 src/train.py", True),
        ("\t@torchrun --nproc-per-node 8 src/train.py", True),
        ("test -f x && echo torchrun --nproc-per-node 8 src/train.py", False),
        ("torchrun --nproc_per_node=8 -m src.train --lr 1", True),
        ("accelerate launch --num_processes 4 --module src.train --lr 1", True),
        ("python -m accelerate.commands.launch --num_processes 4 src/train.py", True),
        ("python -m torch.distributed.run --nproc_per_node 2 -m src.train", True),
        ("python -m src.train --nproc_per_node=8", False),
        ("torchrun --nproc_per_node=8 -m src.other", False),
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
    (launch,) = DataFiles(str(tmp_path)).launches("src/train.py") or [None]
    assert bool(launch and launch.processes and launch.processes > 1) is several


@pytest.mark.parametrize(
    ("script", "several"),
    [
        ("NPROC=8\ntorchrun --nproc_per_node=$NPROC src/train.py", True),
        ("NPROC ?= 8\ntrain:\n\ttorchrun --nproc_per_node=$(NPROC) -m src.train", True),
        ('export NPROC="${NPROC:-8}"  # as many as there are\ntorchrun --nproc_per_node="${NPROC}" src/train.py', True),
        ("torchrun --nproc_per_node=${1:-8} src/train.py", True),
        ("SCRIPT=src/train.py\ntorchrun --nproc_per_node=8 $SCRIPT", True),
        ("NPROC=1\ntorchrun --nproc_per_node=$NPROC src/train.py", False),
        ("NPROC=$(nvidia-smi -L | wc -l)\ntorchrun --nproc_per_node=$NPROC src/train.py", False),
        ("NPROC=8\nif test $DEBUG; then\n  NPROC=1\nfi\ntorchrun --nproc_per_node=${NPROC:-8} src/train.py", False),
        ("#SBATCH --gres=gpu:4\nsrun torchrun --nproc_per_node=$SLURM_GPUS_ON_NODE src/train.py", True),
        ("#SBATCH --gpus-per-node a100:2\ntorchrun --nproc_per_node=$SLURM_GPUS_PER_NODE src/train.py", True),
        ("#SBATCH -N 2\ntorchrun --nnodes $SLURM_NNODES --nproc_per_node 1 src/train.py", True),
        ("#SBATCH --gres=gpu:1\nsrun torchrun --nproc_per_node=$SLURM_GPUS_ON_NODE src/train.py", False),
        ("#SBATCH --partition=gpu\nsrun torchrun --nproc_per_node=$SLURM_GPUS_ON_NODE src/train.py", False),
        ("for NPROC in 1 8; do\n  torchrun --nproc_per_node=$NPROC src/train.py\ndone", False),
    ],
)
def test_variables(script: str, several: bool, tmp_path: Path) -> None:
    """A variable that the script sets to one word is followed; what may be another value is not known."""
    (tmp_path / ".git").mkdir()
    files = {"src/train.py": SCRIPT, "scripts/run.sh": script + "\n"}
    assert [f.code for f in analyse(files, {}, tmp_path)] == (["LL601"] if several else [])


def test_a_command_in_the_folder_of_the_script(tmp_path: Path) -> None:
    files = {"src/train.py": SCRIPT, "src/run.sh": "torchrun --nproc_per_node 2 train.py\n"}
    assert [f.code for f in analyse(files, {}, tmp_path)] == ["LL601"]


def test_a_makefile(tmp_path: Path) -> None:
    files = {"train.py": SCRIPT, "Makefile": "train: data\n\t@accelerate launch --num_processes 8 train.py\n"}
    (found,) = analyse(files, {}, tmp_path)
    assert found.code == "LL601"
    assert "Makefile:2 starts it as" in found.related[0].message


@pytest.mark.parametrize(
    ("readme", "several"),
    [
        ("```bash\n$ pip install -r requirements.txt\n$ torchrun --nproc_per_node 4 src/train.py\n```", True),
        ("~~~\ntorchrun \\\n  --nproc_per_node 4 src/train.py\n~~~", True),
        ("```python\nprint(1)\n```\nthen\n```sh\naccelerate launch --num_processes 2 src/train.py\n```", True),
        ("torchrun --nproc_per_node 4 src/train.py", False),
        ("```diff\ntorchrun --nproc_per_node 4 src/train.py\n```", False),
        ("```bash\npython src/train.py\n```\ntorchrun --nproc_per_node 4 src/train.py", False),
    ],
)
def test_a_readme(readme: str, several: bool, tmp_path: Path) -> None:
    """The commands in its fenced blocks of shell code, not those in its text."""
    (tmp_path / ".git").mkdir()
    found = analyse({"src/train.py": SCRIPT, "README.md": f"# Use\n\n{readme}\n"}, {}, tmp_path)
    assert [f.code for f in found] == (["LL601"] if several else [])


SWEEP = """program: {program}
method: random
command:
  - ${{env}}
{launcher}
  - ${{program}}
  - ${{args}}
parameters:
  lr: {{values: [0.0001, 0.0002]}}
"""


@pytest.mark.parametrize(
    ("launcher", "program", "several"),
    [
        ("  - torchrun\n  - --nproc_per_node=4", "src/train.py", True),
        ("  - accelerate\n  - launch\n  - --num_processes\n  - 4", "src/train.py", True),
        ("  - torchrun\n  - --nproc_per_node=1", "src/train.py", False),
        ("  - torchrun\n  - --nproc_per_node=4", "src/other.py", False),
        ("  - ${interpreter}", "src/train.py", False),
    ],
)
def test_a_sweep(launcher: str, program: str, several: bool, tmp_path: Path) -> None:
    """What the agents of a sweep run is a command like those of a shell script."""
    (tmp_path / ".git").mkdir()
    files = {"src/train.py": SCRIPT, "conf/sweep-lr.yaml": SWEEP.format(launcher=launcher, program=program)}
    found = analyse(files, {}, tmp_path)
    assert [f.code for f in found] == (["LL601"] if several else [])
    if several:
        assert "conf/sweep-lr.yaml:3 starts it as 4 processes" in found[0].related[0].message


@pytest.mark.parametrize("text", ["program: train.py\nmethod: grid\n", "- command: [torchrun]\n", "command: [\n", ""])
def test_a_sweep_without_a_command(text: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").touch()
    (tmp_path / "sweep.yaml").write_text(text)
    assert DataFiles(str(tmp_path)).launches("train.py") == []


def test_only_what_is_started_is_distributed(tmp_path: Path) -> None:
    """A file of the same name elsewhere is another program."""
    files = {"a/train.py": SCRIPT, "b/train.py": SCRIPT, "run.sh": "torchrun --nproc_per_node 2 a/train.py\n"}
    found = analyse(files, {}, tmp_path)
    assert [(Path(f.location.path).parent.name, f.code) for f in found] == [("a", "LL601")]


@pytest.mark.parametrize(
    ("command", "precision", "stage", "config"),
    [
        ("accelerate launch --mixed_precision=fp16 train.py", "fp16", None, None),
        ("accelerate launch --config_file ds.yaml train.py --config sft.yaml", "bf16", 3, "sft.yaml"),
        ("accelerate launch --config_file ds.yaml --zero_stage 2 train.py --config=sft.yaml", "bf16", 2, "sft.yaml"),
        ("accelerate launch --use_deepspeed --zero_stage 3 --mixed_precision no train.py", "no", 3, None),
        ("accelerate launch --config_file no.yaml train.py --config", "no", None, None),
        ("accelerate launch train.py", None, None, None),
        ("python train.py --mixed_precision fp16 --config $CONFIG", None, None, "$CONFIG"),
        ("python -m train --config sft.yaml", None, None, "sft.yaml"),
        ("accelerate launch --mixed_precision fp16 -m train --config sft.yaml", "fp16", None, "sft.yaml"),
        ("torchrun --nproc_per_node 2 train.py --zero_stage 3", None, None, None),
    ],
)
def test_settings(command: str, precision: str | None, stage: int | None, config: str | None, tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text(command + "\n")
    (tmp_path / "train.py").touch()
    (tmp_path / "no.yaml").write_text("distributed_type: NO\nmixed_precision: no\n")
    (tmp_path / "ds.yaml").write_text(
        "distributed_type: DEEPSPEED\nmixed_precision: bf16\ndeepspeed_config:\n  zero_stage: 3\nnum_processes: 8\n"
    )
    (found,) = DataFiles(str(tmp_path)).launches("train.py")
    assert (found.mixed_precision, found.zero_stage, found.config) == (precision, stage, config)


PREPARED = """
import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from data import make_loader

accelerator = Accelerator({given})
model = get_peft_model(AutoModelForCausalLM.from_pretrained("m"), LoraConfig(r=8, task_type="CAUSAL_LM"))
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)
model, optimizer, loader = accelerator.prepare(model, optimizer, make_loader())
model.train()
for batch in loader:
    optimizer.zero_grad()
    accelerator.backward(model(**batch).loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
accelerator.unwrap_model(model).save_pretrained("out")
"""


@pytest.mark.parametrize(
    ("commands", "given", "codes"),
    [
        ("accelerate launch --mixed_precision fp16 train.py", "", {"LL704"}),
        ("accelerate launch --mixed_precision fp16 train.py", 'mixed_precision="bf16"', set()),
        ("accelerate launch --mixed_precision fp16 train.py\naccelerate launch train.py", "", set()),
        ("accelerate launch --mixed_precision fp16 other.py", "", set()),
        ("python train.py --mixed_precision fp16", "", set()),
        ("accelerate launch --use_deepspeed --zero_stage 3 train.py", "", {"LL802"}),
        ("accelerate launch --use_deepspeed --zero_stage 2 train.py", "", set()),
        ("accelerate launch --use_deepspeed --zero_stage 3 train.py", "deepspeed_plugin=make_plugin()", set()),
    ],
)
def test_settings_of_the_launcher(commands: str, given: str, codes: set[str], tmp_path: Path) -> None:
    """The launcher sets what the program leaves open; two commands that differ say nothing."""
    files = {"train.py": PREPARED.replace("{given}", given), "run.sh": commands + "\n"}
    assert {f.code for f in analyse(files, {}, tmp_path)} == codes


PARSED = """
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments
from trl import ModelConfig, TrlParser

from data import make_rows

parser = TrlParser((TrainingArguments, ModelConfig))
training_args, model_args = parser.parse_args_and_config()
model = AutoModelForCausalLM.from_pretrained(model_args.model_name_or_path)
model = get_peft_model(model, LoraConfig(r=8, task_type="CAUSAL_LM"))
trainer = Trainer(model=model, args=training_args, train_dataset=make_rows())
trainer.train()
"""


@pytest.mark.parametrize(
    ("reentrant", "command", "found"),
    [
        ("true", "python train.py --config sft.yaml", True),
        ("false", "python train.py --config sft.yaml", False),
        ("true", "python train.py", False),
        ("true", "python train.py --config $1", False),
        ("true", "python train.py --config sft.yaml\npython train.py --config other.yaml", False),
    ],
)
def test_configuration_on_the_command_line(reentrant: str, command: str, found: bool, tmp_path: Path) -> None:
    files = {
        "train.py": PARSED,
        "run.sh": command + "\n",
        "sft.yaml": "gradient_checkpointing: true\n"
        f"gradient_checkpointing_kwargs:\n  use_reentrant: {reentrant}\nlearning_rate: 2.0e-4\n",
    }
    codes = {f.code for f in analyse(files, {"transformers": "4.56.2", "peft": "0.17.1", "trl": "0.23.1"}, tmp_path)}
    assert codes == ({"LL204"} if found else set())


def test_configuration_named_in_a_makefile(tmp_path: Path) -> None:
    files = {
        "src/train.py": PARSED,
        "Makefile": "sft:\n\taccelerate launch --num_processes 1 -m src.train --config conf/sft.yaml\n",
        "conf/sft.yaml": "gradient_checkpointing: true\ngradient_checkpointing_kwargs:\n  use_reentrant: true\n",
    }
    codes = {f.code for f in analyse(files, {"transformers": "4.56.2", "peft": "0.17.1", "trl": "0.23.1"}, tmp_path)}
    assert codes == {"LL204"}


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


OPTIONS = """
import argparse

import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM

from rows import Rows


def collate(rows):
    return {k: torch.stack([row[k] for row in rows]).to("cuda") for k in ("input_ids", "labels")}


parser = argparse.ArgumentParser()
parser.add_argument("-w", "--workers", type=int, default=0)
parser.add_argument("--name", default="gpt2")
args = parser.parse_args()
model = AutoModelForCausalLM.from_pretrained(args.name)
model = get_peft_model(model, LoraConfig(r=8, task_type="CAUSAL_LM"))
loader = DataLoader(Rows(), batch_size=8, num_workers=args.workers, collate_fn=collate)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
model.train()
for batch in loader:
    model(**batch).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
"""


@pytest.mark.parametrize(
    ("commands", "found"),
    [
        ("python train.py --name gpt2-xl --workers 4", True),
        ("python train.py --workers=4 $@", True),
        ("python train.py -w 4\npython train.py --name distilgpt2 --workers 4", True),
        ("python train.py", False),
        ("python train.py --workers 0", False),
        ("python train.py --workers $N", False),
        ("python train.py --workers many", False),
        ("python train.py --workers 4\npython train.py", False),
        ("python other.py --workers 4", False),
    ],
)
def test_options_on_the_command_line(commands: str, found: bool, tmp_path: Path) -> None:
    """What every command gives for an option holds, whatever its default is."""
    (tmp_path / ".git").mkdir()
    files = {"train.py": OPTIONS, "run.sh": f"{commands}\n"}
    assert [f.code for f in analyse(files, {}, tmp_path)] == (["LL401"] if found else [])


@pytest.mark.parametrize(
    ("words", "found"),
    [("--workers", True), ("--workers True", False), ("--workers False --name gpt2", False), ("--workers -w", True)],
)
def test_flags_on_the_command_line(words: str, found: bool, tmp_path: Path) -> None:
    """A flag that is given a value tells nothing: the command is for another parser."""
    (tmp_path / ".git").mkdir()
    script = OPTIONS.replace("type=int, default=0", 'action="store_true"')
    files = {"train.py": script, "README.md": f"```bash\npython train.py {words}\n```\n"}
    assert [f.code for f in analyse(files, {}, tmp_path)] == (["LL401"] if found else [])
