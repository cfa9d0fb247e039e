"""A library that lies in the project itself, as a copy or as its own repository."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.examples import analyse_texts

TRAIN = """
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, Trainer

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("m"), "out")
    Trainer(model=model).train()
"""
COPY = """
    __version__ = "{version}"
    from .peft_model import PeftModel
"""
SOURCE = """
    class PeftModel:
        @classmethod
        def from_pretrained(cls, model, model_id, is_trainable=False):
            return load(cls(model), model_id, is_trainable)
"""


@pytest.mark.parametrize(("version", "codes"), [("0.5.0", ["LL105"]), ("0.2.0", [])])
def test_what_a_copied_library_does_is_known(version: str, codes: list[str], tmp_path: Path) -> None:
    files = {"train.py": TRAIN, "peft/__init__.py": COPY.format(version=version), "peft/peft_model.py": SOURCE}
    texts = {str(tmp_path / name): textwrap.dedent(text) for name, text in files.items()}
    assert [one.code for one in analyse_texts(texts, {}, tmp_path) if one.code == "LL105"] == codes


LAZY = """
    import sys
    from typing import TYPE_CHECKING
    from ._lazy import Lazy

    __version__ = "0.5.0"
    if TYPE_CHECKING:
        from .peft_model import PeftModel
    else:
        sys.modules[__name__] = Lazy(__name__, {"peft_model": ["PeftModel"]})
"""


def test_a_library_that_imports_lazily_is_known(tmp_path: Path) -> None:
    files = {"train.py": TRAIN, "peft/__init__.py": LAZY, "peft/peft_model.py": SOURCE, "peft/_lazy.py": ""}
    texts = {str(tmp_path / name): textwrap.dedent(text) for name, text in files.items()}
    assert [one.code for one in analyse_texts(texts, {}, tmp_path) if one.code == "LL105"] == ["LL105"]


def test_a_package_that_only_shares_the_name_is_followed(tmp_path: Path) -> None:
    files = {
        "train.py": """
            from datasets.lora import build
            from transformers import Trainer

            model = build()
            model.requires_grad_(False)
            Trainer(model=model).train()
        """,
        "datasets/__init__.py": "",
        "datasets/lora.py": """
            from peft import LoraConfig, get_peft_model
            from transformers import AutoModelForCausalLM

            def build():
                return get_peft_model(AutoModelForCausalLM.from_pretrained("m"), LoraConfig(r=8))
        """,
    }
    texts = {str(tmp_path / name): textwrap.dedent(text) for name, text in files.items()}
    assert [one.code for one in analyse_texts(texts, {}, tmp_path) if one.code == "LL103"] == ["LL103"]


HALF = """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    model = AutoModelForCausalLM.from_pretrained("m", torch_dtype=torch.float16)
    model = get_peft_model(model, LoraConfig(r=8))
    Trainer(model=model, args=TrainingArguments("out", fp16=True)).train()
"""


@pytest.mark.parametrize(
    ("version", "codes"), [("0.11.1", ["LL504"]), ("0.11.2.dev0", []), ("0.6.0.dev0", []), ("0.8.0.dev0", ["LL504"])]
)
def test_a_state_before_a_release_may_do_what_that_does(version: str, codes: list[str], tmp_path: Path) -> None:
    files = {"train.py": HALF, "peft/__init__.py": COPY.format(version=version), "peft/peft_model.py": SOURCE}
    assert _found(files, tmp_path, "LL504") == codes


DORA = """
    import sys
    {before}
    from peft import {names}, get_peft_model
    from transformers import AutoModelForCausalLM, Trainer

    model = get_peft_model(AutoModelForCausalLM.from_pretrained("m"), LoraConfig(r=8, use_dora=True))
    Trainer(model=model).train()
"""


@pytest.mark.parametrize(
    ("before", "names", "codes"),
    [
        ("", "LoraConfig", ["LL701"]),
        ("sys.path.insert(0, 'peft/src')", "LoraConfig", ["LL701"]),
        ("sys.path.append('peft/src')", "LoraConfig", []),
        ("", "LoraConfig, BOFTConfig", []),
        ("", "LoraConfig, BottleneckConfig", []),
    ],
)
def test_a_checkout_that_a_file_hardly_uses_says_no_version(
    before: str, names: str, codes: list[str], tmp_path: Path
) -> None:
    init = tmp_path / "peft" / "src" / "peft" / "__init__.py"
    init.parent.mkdir(parents=True)
    init.write_text('__version__ = "0.3.0.dev0"\n', encoding="utf-8")
    assert _found({"train.py": DORA.format(before=before, names=names)}, tmp_path, "LL701") == codes


FILTERED = """
    from peft import {names}, get_peft_model, get_peft_model_state_dict
    from transformers import AutoModelForCausalLM, Trainer

    model = get_peft_model(AutoModelForCausalLM.from_pretrained("m"), LoraConfig(r=8))
    old = model.state_dict
    model.state_dict = (lambda self, *_, **__: get_peft_model_state_dict(self, old())).__get__(model, type(model))
    Trainer(model=model).train()
    model.save_pretrained("out")
"""


@pytest.mark.parametrize("wanted", ["peft==0.3.0\n", "peft<0.10\n", ""])
@pytest.mark.parametrize(("names", "found"), [("LoraConfig", True), ("LoraConfig, BottleneckConfig", False)])
def test_of_a_fork_nothing_is_said_that_hangs_on_versions(wanted: str, names: str, found: bool, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(wanted, encoding="utf-8")
    codes = _found({"train.py": FILTERED.format(names=names)}, tmp_path, "LL801")
    assert codes == (["LL801"] if found else [])


def _found(files: dict[str, str], folder: Path, code: str) -> list[str]:
    texts = {str(folder / name): textwrap.dedent(text) for name, text in files.items()}
    return [one.code for one in analyse_texts(texts, {}, folder) if one.code == code]
