"""Bounded work: no input makes the interpreter hang or crash."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_lint.findings import Finding
from lora_lint.interpreter import program as program_module
from lora_lint.interpreter.paths import Oracle, Outcome
from tests.examples import analyse_texts


def steps_of(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Finding], int]:
    """Findings of a program and the steps its analysis took."""
    taken = 0
    explore = program_module.explore

    def counting(run: Callable[[Oracle], Outcome], *args: Any) -> object:
        def counted(oracle: Oracle) -> Outcome:
            nonlocal taken
            outcome = run(oracle)
            taken += outcome.steps
            return outcome

        return explore(counted, *args)

    monkeypatch.setattr(program_module, "explore", counting)
    return analyse_texts({str(tmp_path / "train.py"): textwrap.dedent(text)}, {}, tmp_path), taken


def test_recursion_of_user_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutual recursion with the model as argument ends, and what it may do to the model is unknown."""
    text = """
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM, Trainer

        def a(m, n):
            return b(m, n + 1) if n else m

        def b(m, n):
            return a(a(m, n - 1), n - 2)

        model = get_peft_model(AutoModelForCausalLM.from_pretrained("x"), LoraConfig(r=8))
        model = a(model, 5)
        Trainer(model=model).train()
    """
    findings, steps = steps_of(text, tmp_path, monkeypatch)
    assert findings == []
    assert steps < 60_000


def test_many_independent_conditions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty unknown flags are 2**40 paths; a bounded number is followed, and the certain bug is found on the first."""
    flags = "\n".join(f"if args.flag{i}:\n    model.train()" for i in range(40))
    text = f"""
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Trainer
import settings
args = settings.load()
model = get_peft_model(AutoModelForCausalLM.from_pretrained("x"), LoraConfig(r=8))
{flags}
model.requires_grad_(False)
Trainer(model=model).train()
"""
    findings, steps = steps_of(text, tmp_path, monkeypatch)
    assert [f.code for f in findings] == ["LL103"]
    assert steps < 200_000


def test_generated_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generated file of thousands of lines takes work in proportion to its size, not more."""
    body = "\n".join(f"table[{i}] = ({i}, 'name{i}', lookup({i}))" for i in range(4_000))
    text = f"import torch\nfrom registry import lookup\ntable = {{}}\n{body}\noptimizer = torch.optim.AdamW([])\n"
    findings, steps = steps_of(text, tmp_path, monkeypatch)
    assert findings == []
    assert steps < 100_000


def test_recursion_under_a_condition(tmp_path: Path) -> None:
    """A function that calls itself under a condition, and may return before that, meets the condition twice."""
    text = """
        import settings
        import torch

        def fit(model):
            loss = model(1).loss
            if settings.load():
                return model
            if loss:
                model.train()
                fit(model)

        fit(torch.nn.Linear(1, 1))
    """
    assert analyse_texts({str(tmp_path / "train.py"): textwrap.dedent(text)}, {}, tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        "class A(A): pass\nA().fit()",
        "def f(*args, **kwargs):\n    return f(*args, **kwargs)\nf(f, f=f)",
        "x = [[]]\nx.append(x)\nfor y in x:\n    for z in y:\n        print(z)",
        "class A:\n    def __init__(self):\n        self.me = self\n    def __iter__(self):\n        return iter(self)\nfor x in A():\n    x.me.me.step()",
        "f = lambda g: g(g)\nf(f)",
        "def g():\n    while True:\n        yield from g()\nfor x in g():\n    x.backward()",
        "import torch\nclass M(torch.nn.Module):\n    def forward(self, x):\n        return self(x)\nM()(1).backward()",
        "def deco(f):\n    return deco\n@deco\ndef train(): ...\ntrain()",
        "a = b = c = {}\na['x'] = a\nprint(**a)\nmodel = a['x']['x']\nmodel.eval()",
        "from . import *\nfrom .. import x\nfrom ...... import y",
        "try:\n    pass\nfinally:\n    raise ValueError",
        "global x\nx = 1\ndel x\nprint(x)",
        "match x:\n    case {'a': [*_, b]}:\n        b.step()\n    case _:\n        pass",
    ],
)
def test_odd_programs(text: str, tmp_path: Path) -> None:
    """Odd but valid programs are analysed without an exception."""
    assert analyse_texts({str(tmp_path / "train.py"): text}, {}, tmp_path) == []


@pytest.mark.parametrize("steps", [True, False])
def test_the_step_in_one_arm_of_a_large_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: bool) -> None:
    """Before the steps of the analysis are used up, the arm is tried that holds the only step of the optimizer."""
    flags = "\n".join(f"if settings.flag{i}:\n    model.train()" for i in range(8))
    table = "\n".join(f"table[{i}] = lookup({i})" for i in range(900))
    text = f"""
import settings
import torch
from registry import lookup
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained("x")
optimizer = torch.optim.AdamW(model.parameters())
table = {{}}
{flags}
{table}
for batch in torch.utils.data.DataLoader(torch.load("data.pt")):
    model(**batch).loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    if not torch.isfinite(norm):
        print("not finite:", norm)
        optimizer.zero_grad()
    else:
        {"optimizer.step()" if steps else "print(norm)"}
    optimizer.zero_grad()
"""
    findings, _ = steps_of(text, tmp_path, monkeypatch)
    assert [f.code for f in findings] == ([] if steps else ["LL304"])


def test_ranges_longer_than_a_list_can_be(tmp_path: Path) -> None:
    text = "for i in range(2**70):\n    print(i)\nfor i in range(-(10**30), 10**30, 7):\n    print(i)\n"
    assert analyse_texts({"train.py": text}, {}, tmp_path) == []
