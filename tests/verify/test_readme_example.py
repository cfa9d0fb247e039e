"""The worked example of the README is run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")
pytestmark = pytest.mark.torch

README = Path(__file__).parents[2] / "README.md"


def test_the_example_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(
        r"<!-- run by \S*test_readme_example\.py -->\n```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL
    )
    assert found is not None
    exec(compile(found.group(1), "README.md", "exec"), {"__name__": "example"})
    said = capsys.readouterr().out
    assert "LL901 no-trainable-parameters" in said
    assert said.count("lora_A.default.weight") >= 2
    assert "PASS  this run learns" in said
    assert "'trainable': True" in said
