"""The garbage collector during a run, and after it."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from lora_lint import collector
from lora_lint.config import Configuration
from lora_lint.errors import KnowledgeError
from lora_lint.pipeline import run
from lora_lint.request import Request


def test_what_was_read_is_left_alone() -> None:
    """Nothing is collected while files are read; afterwards what was made is not looked at again, until the run is over."""
    with collector.rarely():
        with collector.reading():
            assert not gc.isenabled()
            kept = [[] for _ in range(3)]
        assert gc.isenabled()
        assert gc.get_freeze_count() > len(kept)
        assert not any(one is kept for one in gc.get_objects())
    assert gc.get_freeze_count() == 0
    assert any(one is kept for one in gc.get_objects())


@pytest.mark.parametrize("apis", ["", "apis: [{call: nonsense}]"])
def test_a_run_leaves_the_collector_as_it_was(apis: str, tmp_path: Path) -> None:
    """Also one that stops at a broken file."""
    (tmp_path / "train.py").write_text("import torch\ntorch.no_grad()\n")
    (tmp_path / "lora-lint.toml").write_text('apis = ["apis.yaml"]\n' if apis else "")
    (tmp_path / "apis.yaml").write_text(apis)
    before = gc.get_threshold()
    configuration = Configuration(explicit=tmp_path / "lora-lint.toml")
    request = Request(paths=(str(tmp_path / "train.py"),), configuration=configuration)
    if apis:
        with pytest.raises(KnowledgeError):
            run(request)
    else:
        assert run(request).report.checked == 1
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before
