"""The documentation: a page for each rule made from its card, guide pages that say what is true, a strict build."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from lora_lint import config
from lora_lint.checks.registry import load_checks
from lora_lint.cli.main import cli
from tests.conftest import Write
from tests.envs import interpreter
from tools import docs

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "docs" / "guide"
CARDS = load_checks().cards
BLOCK = re.compile(r'```\w+ title="([^"]+)"\n(.*?)```', re.DOTALL)


def test_a_page_for_each_rule(tmp_path: Path) -> None:
    (tmp_path / "LL999.md").write_text("a rule that is gone")
    docs.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"index.md", *(f"{code}.md" for code in CARDS)}
    index = (tmp_path / "index.md").read_text(encoding="utf-8")
    for code, card in CARDS.items():
        assert f"[`{card.name}`]({code}.md)" in index


@pytest.mark.parametrize("code", sorted(CARDS))
def test_a_page_says_what_the_card_says(code: str) -> None:
    card, text = CARDS[code], docs.page(CARDS[code])
    assert text.startswith(f"# {code} {card.name}\n")
    said = [card.summary, card.why.strip(), *card.references]
    said += [card.fix.title[1:], card.fix.safety.strip()] if card.fix else []
    said += [card.proof.strip()] if card.proof else []
    said += [f"{library} `{span}`" for library, span in card.versions.items()]
    assert [part for part in said if part not in text] == []
    assert text.count("```") % 2 == 0
    assert not re.search(r"#\s*LL\d{3}\s*$", text, re.MULTILINE)
    assert text.count("```python") >= len(card.examples)


def test_the_guide_names_every_setting() -> None:
    text = (GUIDE / "configuration.md").read_text(encoding="utf-8")
    assert [key for key in config._READERS if f"`{key}`" not in text] == []


def test_the_navigation_names_every_page() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    pages = re.findall(r"[\w/-]+\.md", str(site["nav"]))
    there = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert set(pages) | {"rules/index.md"} == {page for page in there if "rules/" not in page} | {"rules/index.md"}


def test_the_rule_of_the_guide(tree: Write) -> None:
    """The two files of `Rules of your own` are a rule that works."""
    blocks = dict(BLOCK.findall((GUIDE / "writing-rules.md").read_text(encoding="utf-8")))
    program = """from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Trainer
model = AutoModelForCausalLM.from_pretrained("{}")
model = get_peft_model(model, LoraConfig(r=8))
Trainer(model=model).train()
"""
    tree({**blocks, "ours.py": program.format("corp/base"), "other.py": program.format("other/base")})
    found = CliRunner().invoke(cli, ["check", "--format", "concise"], catch_exceptions=False)
    assert [line.split(" [")[0] for line in found.stdout.splitlines()[:-1]] == ["other.py:4:9: LL950"]


def test_the_dataset_of_the_guide(tree: Write) -> None:
    blocks = dict(BLOCK.findall((GUIDE / "configuration.md").read_text(encoding="utf-8")))
    program = """from datasets import load_dataset
rows = load_dataset("corp/support-tickets", split="validation")
print(load_dataset("corp/support-tickets", split="train")[0]["text"])
print(load_dataset("tatsu-lab/alpaca", split="test"))
"""
    tree({**blocks, "train.py": program})
    found = CliRunner().invoke(cli, ["check", "--format", "concise"], catch_exceptions=False)
    assert [line.split(": LL403")[0] for line in found.stdout.splitlines()[:-1]] == [
        "train.py:2:8",
        "train.py:3:7",
        "train.py:4:7",
    ]
    tree({"lint/datasets.yaml": "datasets:\n  - name: corp/support-tickets\n    splits: [train]\n"})
    broken = CliRunner().invoke(cli, ["check"], catch_exceptions=False)
    assert broken.exit_code == 2
    assert "datasets.yaml:2: a dataset needs fields" in broken.stderr


@pytest.mark.slow
def test_strict_build(tmp_path: Path) -> None:
    docs.write(docs.PAGES)
    command = [interpreter("docs"), "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "rules" / "LL301" / "index.html").is_file()
