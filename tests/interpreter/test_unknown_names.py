"""Names of modules that nothing is known of, in conditions: both arms are possible."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples import analyse

PROGRAM = """
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Trainer
{imports}
model = AutoModelForCausalLM.from_pretrained("m")
config = LoraConfig(r=8)
if {flag}:
    model = get_peft_model(model, config)
Trainer(model=model).train()
"""


@pytest.mark.parametrize(
    ("imports", "flag"),
    [
        ("import settings", "not settings.FULL"),
        ("from settings import FULL", "not FULL"),
        ("from corp import flags", "not flags.full and not flags.frozen"),
    ],
)
def test_a_flag_elsewhere_may_be_off(imports: str, flag: str, tmp_path: Path) -> None:
    """The adapter is applied when the flag says so: its config is not unused."""
    assert analyse({"train.py": PROGRAM.format(imports=imports, flag=flag)}, {}, tmp_path) == []
    assert [f.code for f in analyse({"train.py": PROGRAM.format(imports=imports, flag="False")}, {}, tmp_path)] == [
        "LL101"
    ]
