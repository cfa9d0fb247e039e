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


DECIDING = {
    "flags.py": "import os\nfrom probes import has_fast_kernels\n\nif has_fast_kernels():\n    KERNELS = os.environ['KERNELS']\n"
    "    from torch.nn import Linear as Head\nelse:\n    KERNELS = None\n    from torch.nn import Bilinear as Head\n",
    "probes.py": "import importlib.util\n\ndef has_fast_kernels():\n    return importlib.util.find_spec('fast') is not None\n",
    "layers.py": "from flags import KERNELS, Head\n\nclass Block(Head):\n    kernels = KERNELS\n",
    "other.py": "from layers import Block\nfrom flags import KERNELS\n\nclass Wide(Block): ...\n",
}


def test_what_decides_conditions_is_run_once_for_each_way_they_go(executed: Counter[str], tmp_path: Path) -> None:
    texts = {**DECIDING, "train.py": TRAIN.format(imports="import layers\nimport other")}
    analyse_texts(texts, {}, tmp_path)
    for name in DECIDING:
        # As a script (on both paths through it), and twice for all others.
        assert executed[name] <= 5, name


BRANCH = """from peft import LoraConfig, get_peft_model
from torch.optim import AdamW
from transformers import AutoModelForCausalLM
import setup
{imports}

def main(rows):
    model = get_peft_model(AutoModelForCausalLM.from_pretrained("x"), LoraConfig(task_type="CAUSAL_LM"))
    setup.ready(model)
    optimizer = AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-4)
    for batch in rows:
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

def again(rows):
    main(rows)

if __name__ == "__main__":
    main(load())
"""


@pytest.mark.parametrize("first", ["", "import between"])
def test_both_ways_of_a_module_that_decides_are_seen(first: str, tmp_path: Path) -> None:
    """The arm that is not the first, taken by an import, and taken by what an import imports."""
    texts = {
        "between.py": "import setup\nimport kinds\nclass Task(kinds.Kind): ...\n",
        "kinds.py": "import setup\nclass Kind: ...\n",
        "setup.py": "import probes\n\nif probes.frozen():\n"
        "    def ready(model):\n        return None\n"
        "else:\n"
        "    def ready(model):\n        for p in model.parameters():\n            p.requires_grad = False\n",
        "probes.py": "import os\n\ndef frozen():\n    return os.path.exists('frozen')\n",
        "train.py": BRANCH.format(imports=first),
    }
    assert {finding.code for finding in analyse_texts(texts, {}, tmp_path)} == {"LL103"}


def test_one_condition_goes_one_way_on_a_path_whoever_imports_first(tmp_path: Path) -> None:
    """A freeze before the injection if there are kernels, and the thaw under the same condition in another module."""
    texts = {
        "flags.py": "import importlib.util\nKERNELS = importlib.util.find_spec('fast')\n"
        "if KERNELS:\n    def thaw(p):\n        p.requires_grad = True\nelse:\n    def thaw(p):\n        return p\n",
        "setup.py": "import flags\nif flags.KERNELS:\n    def ready(model):\n        for n, p in model.named_parameters():\n"
        "            p.requires_grad = False\n        for n, p in model.named_parameters():\n            if 'lora_' in n:\n"
        "                flags.thaw(p)\n"
        "else:\n    def ready(model):\n        return None\n",
        "train.py": BRANCH.format(imports="import flags"),
    }
    assert not analyse_texts(texts, {}, tmp_path)


def test_an_import_takes_no_steps_of_the_paths_that_need_it(executed: Counter[str], tmp_path: Path) -> None:
    """Tables that are computed when a module is imported, a larger one than anybody wants to follow among them."""
    rows = "\n".join(f"add({n}, [{n}, {n}], {{'a': {n}, 'b': [{n}, {n}]}}, name='row' + str({n}))" for n in range(400))
    many = "\n".join(f"add({n}, [{', '.join(['x'] * 200)}], {{}}, name='')" for n in range(400))
    texts = {
        "table.py": "ROWS = {}\n\ndef add(key, values, more, name):\n    for value in values:\n"
        "        for other in more:\n            name = name + other + value\n    ROWS[key] = (values, more, name)\n\n"
        + rows,
        "huge.py": "def add(key, values, more, name):\n    return [key, values, more, name]\n\nx = 1\n" + many,
        "train.py": BRANCH.format(imports="import table, huge"),
        "setup.py": "def ready(model):\n    for p in model.parameters():\n        p.requires_grad = False\n",
    }
    assert {finding.code for finding in analyse_texts(texts, {}, tmp_path)} == {"LL103"}
    assert executed["table.py"] <= 3
    assert executed["huge.py"] <= 3
