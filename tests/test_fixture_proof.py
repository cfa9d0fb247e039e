"""The proof's own tools: an expectation that evidence does not meet is reported, and a bad description is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.fixture_proof.catalog import FIXTURES, load_fixture
from tests.fixture_proof.expect import PROPERTIES, problems
from tests.fixture_proof.run import Evidence

TRAINED = dict.fromkeys(PROPERTIES, True)
FROZEN = dict.fromkeys(PROPERTIES, False)


def evidence(folder: Path, **changes: Any) -> Evidence:
    report = {
        "tensors": {"m.lora_A": TRAINED, "m.lora_B": TRAINED, "m.base": FROZEN},
        "losses": [{"value": value, "graph": True} for value in (4.0, 3.0, 2.0, 1.0)],
        "dropout": [{"train": 2, "eval": 0}, {"train": 2, "eval": 0}],
        "targets": {"2": 5, "7": 1},
        "steps": 4,
        "error": None,
    }
    return Evidence({**report, **changes}, "step 4 done\n", 0 if not changes.get("error") else 1, folder)


MET: list[dict[str, Any]] = [
    {"loss": "falls", "graph": "all", "steps": 4, "dropout": ["train"], "output": "step 4"},
    {"tensors": [{"match": "lora_", "count": 2, "trainable": "all", "changed": "all"}]},
    {"tensors": [{"match": "base", "trainable": "none"}, {"match": "absent", "count": 0}]},
    {"files": [{"path": "out/*.safetensors", "exists": False}]},
    {"targets": {"asked": [2], "never": [0]}},
]
UNMET: list[dict[str, Any]] = [
    {"loss": "constant"},
    {"graph": "none"},
    {"steps": 5},
    {"steps": 0},
    {"dropout": ["train", "eval"]},
    {"output": "step 5"},
    {"error": "element 0"},
    {"targets": {"asked": [0, 2]}},
    {"targets": {"never": [2]}},
    {"tensors": [{"match": "lora_", "count": 3}]},
    {"tensors": [{"match": "absent", "changed": "none"}]},
    {"tensors": [{"match": "lora_", "grad": "none"}]},
    {"tensors": [{"match": ".", "changed": "all"}]},
    {"files": [{"path": "out/*.safetensors"}]},
]


@pytest.mark.parametrize("expected", MET, ids=str)
def test_met_expectation_is_silent(expected: dict[str, Any], tmp_path: Path) -> None:
    assert problems(expected, evidence(tmp_path)) == []


@pytest.mark.parametrize("expected", UNMET, ids=str)
def test_unmet_expectation_is_named(expected: dict[str, Any], tmp_path: Path) -> None:
    assert len(problems(expected, evidence(tmp_path))) == 1


def test_unexpected_failure_is_named(tmp_path: Path) -> None:
    failed = evidence(tmp_path, error={"type": "RuntimeError", "text": "element 0 of tensors"})
    assert "element 0" in problems({}, failed)[0]
    assert problems({"error": "RuntimeError: element 0"}, failed) == []


@pytest.mark.torch
def test_saved_zeros_are_told_from_weights(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"lora_A": torch.ones(2), "lora_B": torch.zeros(2)}, tmp_path / "adapter.safetensors")
    shown = evidence(tmp_path)

    def told(**wanted: object) -> list[str]:
        return problems({"files": [{"path": "*.safetensors", **wanted}]}, shown)

    assert told(match="lora_B", tensors=1, nonzero="none") == []
    assert told(match="lora_B", nonzero="all")
    assert told(match="lora_", tensors=1)
    assert told(match="x", nonzero="all")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("cure:", "remedy:", "unknown keys"),
        ("  steps:", "  strides:", "unknown keys"),
        ("path: train.py", "file: train.py", "unknown keys in findings"),
        ("code: LL103}", "code: LL999}", "no line of train.py is marked"),
    ],
)
def test_bad_description_is_refused(old: str, new: str, complaint: str, tmp_path: Path) -> None:
    folder = tmp_path / "LL103-copy"
    shutil.copytree(FIXTURES / "LL103-freeze-after-injection", folder)
    text = (folder / "fixture.yaml").read_text(encoding="utf-8")
    assert old in text
    (folder / "fixture.yaml").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=complaint):
        load_fixture(folder)
