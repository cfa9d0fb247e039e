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
