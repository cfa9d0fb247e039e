"""Training arguments in configuration files beside the script: read where the program names them, else unknown."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from lora_lint import datafiles
from tests.examples import analyse

HEAD = """
import json, os, sys
from pathlib import Path
from types import SimpleNamespace

import torch, yaml
from omegaconf import OmegaConf
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, HfArgumentParser, Trainer, TrainingArguments
"""
# Error without a scaler needs to know the precision; the frozen base under checkpointing needs the flag.
BODY = """
model = AutoModelForCausalLM.from_pretrained("m")
for p in model.parameters():
    p.requires_grad = False
if {frozen}:
    model.requires_grad_(False)
model = get_peft_model(model, LoraConfig(r=8))
if {frozen}:
    model.requires_grad_(False)
Trainer(model=model, args=TrainingArguments("out")).train()
"""
YAML = "train:\n  frozen: true\n  lr: 1.0e-4\n"


def codes(tmp_path: Path, load: str, flag: str, files: dict[str, str], script: str = "train.py") -> set[str]:
    """Codes found in a script that freezes its adapter when a configuration says so."""
    text = HEAD + textwrap.dedent(load) + BODY.format(frozen=flag)
    return {finding.code for finding in analyse({script: text, **files}, {}, tmp_path)}


LOADS = {
    "open": ('cfg = yaml.safe_load(open("config.yaml"))', 'cfg["train"]["frozen"]'),
    "with": ('with open("config.yaml", "r", encoding="utf-8") as f:\n    cfg = yaml.load(f, Loader=yaml.FullLoader)', 'cfg["train"]["frozen"]'),
    "read": ('with open("config.yaml") as f:\n    cfg = yaml.safe_load(f.read())', 'cfg["train"].get("frozen", False)'),
    "path": ('cfg = yaml.safe_load(Path("config.yaml").read_text())', 'cfg["train"]["frozen"]'),
    "beside": ('cfg = yaml.safe_load((Path(__file__).resolve().parent / "config.yaml").open())', 'cfg["train"]["frozen"]'),
    "join": ('cfg = yaml.safe_load(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "config.yaml")))', 'cfg["train"]["frozen"]'),
    "omegaconf": ('cfg = OmegaConf.load("config.yaml")', "cfg.train.frozen"),
    "namespace": ('cfg = SimpleNamespace(**yaml.safe_load(open("config.yaml"))["train"])', "cfg.frozen"),
    "function": ('def read(path):\n    with open(path) as f:\n        return yaml.safe_load(f)\ncfg = read("config.yaml")', 'cfg["train"]["frozen"]'),
    "json": ('cfg = json.load(open("config.json"))', 'cfg["train"]["frozen"]'),
    "text": ('cfg = json.loads(Path("config.json").read_text())', 'cfg["train"]["frozen"]'),
}  # fmt: skip


@pytest.mark.parametrize("name", LOADS)
def test_literal_path(name: str, tmp_path: Path) -> None:
    load, flag = LOADS[name]
    files = {"config.yaml": YAML, "config.json": '{"train": {"frozen": true}}'}
    assert "LL103" in codes(tmp_path, load, flag, files)
    calm = {path: text.replace("true", "false") for path, text in files.items()}
    assert codes(tmp_path, load, flag, calm) == set()


def test_default_of_an_option_is_only_a_default(tmp_path: Path) -> None:
    """The user may name another file: a bug that a path of defaults shows is one, what the default forbids is unknown."""
    load = """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--config", default="config.yaml")
        cfg = yaml.safe_load(open(parser.parse_args().config))
    """
    assert "LL103" in codes(tmp_path, load, 'cfg["train"]["frozen"]', {"config.yaml": YAML})


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"config.yaml": "train: {frozen: true"},
        {"config.yaml": "- train\n- frozen\n"},
        {"config.yaml": "!!python/object/apply:os.system ['touch harm']\n"},
        {"config.yaml": YAML + "#" * datafiles.MAX_BYTES},
        {"config.yaml": "\x00"},
        {"config.yaml": "a: &a [x, x]\n" + "\n".join(f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]" for a, b in zip("abcdefg", "bcdefgh", strict=True)) + "\ntrain: {frozen: true}\n"},
    ],
    ids=["missing", "broken", "a list", "code", "large", "binary", "aliases"],
)  # fmt: skip
def test_what_cannot_be_read_is_unknown(files: dict[str, str], tmp_path: Path) -> None:
    load, flag = LOADS["open"]
    script = HEAD + load + BODY.format(frozen=flag)
    unknown = HEAD + "import settings\ncfg = settings.load()" + BODY.format(frozen=flag)
    found = {f.code for f in analyse({"train.py": script, **files}, {}, tmp_path)}
    assert found == {f.code for f in analyse({"train.py": unknown}, {}, tmp_path / "other")}
    assert not (Path.cwd() / "harm").exists()


def test_two_files_of_that_name(tmp_path: Path) -> None:
    """Beside the script and at the top of the project: unless they agree, nobody knows which one is meant."""
    data = datafiles.DataFiles(str(tmp_path))
    (tmp_path / "src").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "config.yaml").write_text("a: 1\n")
    assert data.load("src/train.py", "config.yaml", "yaml") == {"a": 1}
    (tmp_path / "src" / "config.yaml").write_text("a: 2\n")
    assert datafiles.DataFiles(str(tmp_path)).load("src/train.py", "config.yaml", "yaml") is None
    assert data.load("src/train.py", str(tmp_path.parent / "config.yaml"), "yaml") is None
    assert data.load("src/train.py", "/etc/hostname", "yaml") is None


def test_written_files_and_changed_values(tmp_path: Path) -> None:
    """A value that the program sets itself is that value; a file opened for writing is not read."""
    files = {"config.yaml": YAML}
    load = 'cfg = yaml.safe_load(open("config.yaml"))\ncfg["train"]["frozen"] = False'
    assert codes(tmp_path, load, 'cfg["train"]["frozen"]', files) == set()
    load = 'cfg = OmegaConf.load("config.yaml")\ncfg.train.frozen = False'
    assert codes(tmp_path, load, "cfg.train.frozen", files) == set()


PARSER = """
from dataclasses import dataclass
from transformers import AutoModelForCausalLM, HfArgumentParser, Trainer, TrainingArguments
from peft import LoraConfig, get_peft_model

@dataclass
class Own:
    frozen: bool = False
    fp16: bool = False

own, args = HfArgumentParser((Own, TrainingArguments)).parse_%s_file("config.%s")
model = AutoModelForCausalLM.from_pretrained("m")
model = get_peft_model(model, LoraConfig(r=8))
if own.frozen:
    model.requires_grad_(False)
if args.weight_decay:
    model.requires_grad_(False)
Trainer(model=model, args=args).train()
"""


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("output_dir: out\nfrozen: true\nweight_decay: 0\n", {15}),
        ("output_dir: out\nweight_decay: 0.1\n", {17}),
        ("output_dir: out\nfp16: true\nweight_decay: 0\n", set()),
    ],
)
def test_argument_parser(config: str, expected: set[int], tmp_path: Path) -> None:
    """A key goes to the dataclass that has the field; what no dataclass of the user has is the library's."""
    found = analyse({"train.py": PARSER % ("yaml", "yaml"), "config.yaml": config}, {}, tmp_path)
    assert {finding.location.line for finding in found if finding.code == "LL103"} == expected


SWITCHED = """
import yaml
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Trainer

cfg = yaml.safe_load(open("config.yaml"))
model = AutoModelForCausalLM.from_pretrained("m")
lora = LoraConfig(r=8)
if {condition}:
    model = get_peft_model(model, lora)
Trainer(model=model).train()
"""


@pytest.mark.parametrize(
    "condition",
    [
        'cfg["lora"]',
        'not cfg["full"]',
        'cfg.get("use")',
        '"use" in cfg',
        'cfg["mode"] == "lora"',
        'cfg["lora"] and not cfg["full"]',
        'cfg["rank"] > 0',
    ],
)
def test_code_for_other_configurations(condition: str, tmp_path: Path) -> None:
    """What a configuration switches off is not dead: with another one the adapter is applied."""
    config = "lora: false\nfull: true\nmode: full\nrank: 0\n"
    assert analyse({"train.py": SWITCHED.format(condition=condition), "config.yaml": config}, {}, tmp_path) == []
    never = SWITCHED.format(condition=condition).replace("model = get_peft_model(model, lora)", "print(lora)")
    assert {f.code for f in analyse({"train.py": never, "config.yaml": config}, {}, tmp_path)} == {"LL101"}


def test_files_of_a_name_of_which_the_user_picks_one(tmp_path: Path) -> None:
    """What the nearest ones have in common; nothing when there is none."""
    (tmp_path / ".git").mkdir()
    for name, text in {
        "a/x.json": '{"r": 8, "on": false}',
        "b/x.json": '{"r": 9, "on": false}',
        "b/run.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    data = datafiles.DataFiles(str(tmp_path))
    assert data.load("b/run.py", "**/x.json", "json") == {"r": 9, "on": False}
    assert data.load("run.py", "**/x.json", "json") == {"on": False}
    assert data.load("c/run.py", "**/x.json", "json") == {"on": False}
    assert data.load("b/run.py", "**/y.json", "json") is None


BY_DEFAULT = {
    "parameter": """
        def load(path="config.yaml"):
            return yaml.safe_load(Path(path).read_text())
        cfg = load(*sys.argv[1:])
    """,
    "second parameter": """
        def load(name, path="config.yaml", *rest):
            return yaml.safe_load(Path(path).read_text())
        cfg = load(*sys.argv[1:])
    """,
    "option": """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--config", default="config.yaml")
        cfg = yaml.safe_load(open(parser.parse_args().config))
    """,
}


@pytest.mark.parametrize("load", BY_DEFAULT.values(), ids=BY_DEFAULT)
@pytest.mark.parametrize("saved", ["", "  modules_to_save: [embed_tokens]\n"], ids=["blocks", "embeddings"])
def test_a_file_that_is_named_by_default_is_read_whole(load: str, saved: str, tmp_path: Path) -> None:
    """Where nobody names another file, there is nothing in it but what it says: a config of it trains no embeddings."""
    text = HEAD + textwrap.dedent(load)
    text += """
model = AutoModelForCausalLM.from_pretrained("m")
model = get_peft_model(model, LoraConfig(**cfg["lora"]))
model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
Trainer(model=model, args=TrainingArguments("out")).train()
"""
    files = {"train.py": text, "config.yaml": "lora:\n  r: 8\n  target_modules: [q_proj]\n" + saved}
    found = {finding.code for finding in analyse(files, {"transformers": "4.45.2"}, tmp_path)}
    assert found == ({"LL204"} if not saved else set())
