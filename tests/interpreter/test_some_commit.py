"""A project that takes some commit of peft, whose version nobody knows."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from lora_lint.findings import Severity
from tests.examples import analyse_texts

FROZEN = """
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, Trainer

    model = get_peft_model(AutoModelForCausalLM.from_pretrained("m"), LoraConfig(r=8))
    model.requires_grad_(False)
    Trainer(model=model).train()
"""
LOADED = """
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, Trainer

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("m"), "out")
    Trainer(model=model).train()
"""
LOADED_AND_FROZEN = LOADED.replace(
    "    Trainer", "    for p in model.parameters():\n        p.requires_grad = False\n    Trainer"
)


@pytest.mark.parametrize(
    ("program", "codes"),
    [(FROZEN, {"LL103"}), (LOADED, set()), (LOADED_AND_FROZEN, {"LL103"})],
    ids=["new", "loaded", "both"],
)
def test_what_all_versions_do_is_known(program: str, codes: set[str], tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(
        "git+https://github.com/huggingface/peft.git@13e53fc\n", encoding="utf-8"
    )
    texts = {str(tmp_path / "train.py"): textwrap.dedent(program)}
    found = analyse_texts(texts, {}, tmp_path)
    assert {one.code for one in found if one.severity is Severity.ERROR} == codes
