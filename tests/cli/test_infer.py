"""`lora-lint apis infer`, and the worked example of the guide, from the wrapper's repository to the finding elsewhere."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from lora_lint.cli.main import cli

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "api-specs.md"
BLOCK = re.compile(r'```\w+ title="([^"]+)"\n(.*?)```', re.DOTALL)


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="lora-lint", catch_exceptions=False)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _outline(text: str) -> object:
    """A spec file without the facts and arguments of its events, which grow with what is known of the libraries."""
    document = yaml.safe_load(text)
    for effect in document["calls"][0]["effects"]:
        effect.pop("args", None)
        effect.pop("facts", None)
    return document


def test_worked_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the guide shows is what happens."""
    guide = GUIDE.read_text(encoding="utf-8")
    blocks = dict(BLOCK.findall(guide))
    library, project = tmp_path / "library", tmp_path / "project"
    _write(library / "corp" / "__init__.py", "")
    _write(library / "corp" / "adapters.py", blocks["corp/adapters.py"])
    _write(project / "train.py", blocks["train.py"])

    monkeypatch.chdir(project)
    assert _run("check", "train.py").exit_code == 0  # without the spec: silent

    monkeypatch.chdir(library)
    spec = _run("apis", "infer", "corp.adapters:attach_lora")
    assert spec.exit_code == 0
    assert _outline(spec.stdout) == _outline(blocks["corp.yaml"])

    monkeypatch.chdir(project)
    _write(project / "lint" / "corp.yaml", spec.stdout)
    _write(project / "pyproject.toml", blocks["pyproject.toml"])
    found = _run("check", "train.py", "--format", "concise")
    assert found.exit_code == 1
    assert found.stdout + found.stderr in guide
    checked = _run("apis", "check", "lint/corp.yaml")
    assert (checked.exit_code, checked.stdout) == (0, "1 call in 1 file\n")
    assert "event inject" in _run("apis", "show", "corp.attach_lora").stdout


def _effects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, name: str = "f") -> list[object]:
    """The effects inferred for a function."""
    head = "import torch, peft, elsewhere\nfrom transformers import AutoModelForCausalLM, Trainer\n"
    _write(tmp_path / "mod.py", head + textwrap.dedent(source))
    monkeypatch.chdir(tmp_path)
    result = _run("apis", "infer", f"mod:{name}")
    assert result.exit_code == 0, result.output
    effects: list[object] = yaml.safe_load(result.stdout)["calls"][0]["effects"]
    return effects


FREEZE = {"emit": "freeze", "model": "$m", "args": {"value": "no"}}
NONE = {"return": None}


@pytest.mark.parametrize(
    ("source", "effects"),
    [
        ("def f(m):\n    m.requires_grad_(False)\n    return m", [FREEZE, {"return": "$m"}]),
        ("def f(m):\n    for p in m.parameters():\n        p.requires_grad = False", [{"emit": "freeze", "model": "$m"}, NONE]),
        ("def f(m, on=True):\n    if on:\n        m.requires_grad_(False)", [{**FREEZE, "when": "$on"}, NONE]),
        ("def f(m, on=True):\n    if not on:\n        return\n    m.requires_grad_(False)", [{**FREEZE, "when": "$on"}, NONE]),
        ("def f(m, how):\n    if how == 'all':\n        m.requires_grad_(False)", [{**FREEZE, "when": {"equals": ["$how", "all"]}}, NONE]),
        ("def f(m, a, b):\n    if a and not b:\n        m.requires_grad_(False)", [{**FREEZE, "when": {"all": ["$a", {"not": "$b"}]}}, NONE]),
        ("def f(m):\n    if elsewhere.flag:\n        m.requires_grad_(False)", [{"havoc": ["$m"]}, NONE]),
        ("def f(m):\n    for n, p in m.named_parameters():\n        if 'head' not in n:\n            p.requires_grad = False", [{"havoc": ["$m"]}, NONE]),
        ("def f(m):\n    m.vision_tower.requires_grad_(False)", [{"havoc": ["$m"]}, NONE]),
        ("def f(m):\n    elsewhere.change(m)", [{"havoc": ["$m"]}, NONE]),
        ("def g(m):\n    m.requires_grad_(False)\ndef f(m):\n    g(m)", [FREEZE, NONE]),
        ("def f(m):\n    return elsewhere.x", [{"return": {"unknown": "result"}}]),
        ("def f(m):\n    return m, 3", [{"return": ["$m", 3]}]),
    ],
)  # fmt: skip
def test_inferred_effects(source: str, effects: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = re.sub(r"(def \w\()m\b", r"\1m: torch.nn.Module", source)
    found = _effects(tmp_path, monkeypatch, typed)
    assert found == effects


def test_objects_that_the_function_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
        def f(model, lr):
            optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
            trainer = Trainer(model=model, optimizers=(optimizer, None))
            trainer.train()
            return trainer
    """
    effects = _effects(tmp_path, monkeypatch, source)
    assert {"new": "optimizer", "kind": "optimizer", "type": "torch.optim.AdamW"} in effects
    assert any(
        isinstance(e, dict) and (e.get("emit"), e.get("model"), e.get("trainer")) == ("train", "$model", "$trainer")
        for e in effects
    )
    assert effects[-1] == {"return": "$trainer"}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("mod", "is not of the form package.module:function"),
        ("nowhere.mod:f", "no file of the module `nowhere.mod` is found"),
        ("mod:fo", "defines no function `fo`; did you mean `foo`?"),
        ("broken:f", "broken.py: "),
    ],
)
def test_wrong_targets(target: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path / "mod.py", "def foo():\n    pass\n")
    _write(tmp_path / "broken.py", "def f(:\n")
    monkeypatch.chdir(tmp_path)
    result = _run("apis", "infer", target)
    assert result.exit_code == 2
    assert message in result.stderr
