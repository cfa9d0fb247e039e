"""Imported modules are run once where no path can tell the difference, and again on every path where one can."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from lora_lint.interpreter.program import Program
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import ModuleVal
from tests.examples import analyse_texts

TRAIN = """
from peft import LoraConfig, get_peft_model
from transformers import Trainer, AutoModelForCausalLM
{imports}

def first(flag, arguments, rows):
    model = AutoModelForCausalLM.from_pretrained("base")
    if flag:
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM"))
    Trainer(model=model, args=arguments, train_dataset=rows).train()

def second(arguments, rows):
    model = get_peft_model(AutoModelForCausalLM.from_pretrained("base"), LoraConfig(task_type="CAUSAL_LM"))
    Trainer(model=model, args=arguments, train_dataset=rows).train()
"""


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the body of each module is run."""
    counts: Counter[str] = Counter()
    execute = Program._execute_module

    def counting(self: Program, run: Run, module: ModuleVal, name: str) -> None:
        counts[module.path] += 1
        execute(self, run, module, name)

    monkeypatch.setattr(Program, "_execute_module", counting)
    return counts


def test_what_only_defines_things_is_run_once(executed: Counter[str], tmp_path: Path) -> None:
    texts = {
        "options.py": "import os\nimport paths\n\ndef flag(name):\n    if name in os.environ:\n        return int(name)\n"
        "    return name.lower()\n\nFAST = flag('FAST')\n",
        "paths.py": "import options\nROOT = '/data'\nclass Place: ...\n",
        "train.py": TRAIN.format(imports="import options"),
    }
    analyse_texts(texts, {}, tmp_path)
    # As a script, with the other one as a script, and for all others.
    assert executed["options.py"] <= 3
    assert executed["paths.py"] <= 3


def test_what_makes_objects_is_run_on_every_path(executed: Counter[str], tmp_path: Path) -> None:
    texts = {
        "base.py": "from transformers import AutoModelForCausalLM\nmodel = AutoModelForCausalLM.from_pretrained('x')\n",
        "middle.py": "from base import model\n",
        "train.py": TRAIN.format(imports="import middle"),
    }
    analyse_texts(texts, {}, tmp_path)
    assert executed["base.py"] > 3
    assert executed["middle.py"] > 3


def test_attributes_that_a_path_writes_are_gone_on_the_next(tmp_path: Path) -> None:
    texts = {
        "settings.py": "class Settings:\n    rank = 8\n",
        "train.py": "from peft import LoraConfig, get_peft_model\nfrom transformers import Trainer, AutoModelForCausalLM\n"
        "from settings import Settings\n\n"
        "def tune(rows):\n"
        "    model = AutoModelForCausalLM.from_pretrained('x')\n"
        "    if Settings.rank == 8:\n"
        "        model = get_peft_model(model, LoraConfig(task_type='CAUSAL_LM'))\n"
        "    model = get_peft_model(model, LoraConfig(r=4, task_type='CAUSAL_LM'))\n"
        "    Trainer(model=model, train_dataset=rows).train()\n\n"
        "def other(rows):\n"
        "    Settings.rank = 4\n"
        "    Trainer(model=AutoModelForCausalLM.from_pretrained('x'), train_dataset=rows).train()\n",
    }
    assert {finding.code for finding in analyse_texts(texts, {}, tmp_path)} == {"LL106"}
    moved = texts["train.py"].partition("def tune")
    head, tail = moved[0], moved[1] + moved[2]
    tune, other = tail.split("def other")
    texts["train.py"] = f"{head}def other{other}\n{tune}"
    assert {finding.code for finding in analyse_texts(texts, {}, tmp_path)} == {"LL106"}
