"""Imports whose order matters, over files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples import analyse

TRAINER = """
from trl import SFTTrainer
from unsloth import is_bfloat16_supported


def train(model, rows):
    SFTTrainer(model=model, train_dataset=rows).train()
"""


@pytest.mark.parametrize(
    ("main", "found"),
    [
        ("from unsloth import FastLanguageModel\n\nfrom work.trainer import train\n", []),
        ("from work.trainer import train\nfrom unsloth import FastLanguageModel\n", ["LL705"]),
        ("from work.trainer import train\n", ["LL705"]),
    ],
)
def test_a_file_that_is_imported_after_the_library(main: str, found: list[str], tmp_path: Path) -> None:
    files = {"main.py": f"{main}\ntrain(object(), [])\n", "work/__init__.py": "", "work/trainer.py": TRAINER}
    assert [f.code for f in analyse(files, {}, tmp_path) if f.code == "LL705"] == found
