"""Spec drift: what a call really did against what the API specs say of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_lint.apis.store import ApiStore
from lora_lint.lifecycle.record import EffectRecord, RankRecord, RunRecord
from lora_lint.location import Location
from lora_lint.verify.drift import drifts
from lora_lint.verify.environment import remarks

HERE = Location("train.py", 4, 1, 4, 9)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ApiStore:
    from lora_lint.apis.load import load_specs

    text = """
library: peft
types:
  - {type: peft.PeftModel, kind: model}
calls:
  - call: peft.PeftModel.load_adapter
    params: [model_id, adapter_name, is_trainable]
    defaults: {is_trainable: false}
    effects:
      - emit: inject
        model: $self
        args: {adapter: $adapter_name, trainable: {derive: truth, from: $is_trainable}}
    source: a test
"""
    path: Path = tmp_path_factory.mktemp("specs") / "peft.yaml"
    path.write_text(text, encoding="utf-8")
    return ApiStore(load_specs([path]))


def seen(value: str, **inputs: object) -> RunRecord:
    effect = EffectRecord("peft.PeftModel.load_adapter", value, HERE, dict(inputs))
    return RunRecord([RankRecord(effects=[effect])])


def test_what_the_spec_says_is_no_drift(store: ApiStore) -> None:
    assert not list(drifts(seen("no"), {"peft": "0.21.2"}, store))
    assert not list(drifts(seen("yes", is_trainable=True), {"peft": "0.21.2"}, store))


def test_another_effect_is_drift(store: ApiStore) -> None:
    (report,) = drifts(seen("yes"), {"peft": "0.17.1"}, store)
    assert "trainable with peft 0.17.1" in report.message
    assert "expects it frozen" in report.message
    assert report.location == HERE


def test_an_unknown_call_says_nothing(store: ApiStore) -> None:
    record = RunRecord([RankRecord(effects=[EffectRecord("peft.unheard_of", "yes", HERE)])])
    assert not list(drifts(record, {}, store))
    assert not list(drifts(RunRecord(), {}, store))


def test_remarks_on_an_environment() -> None:
    def about(**variables: str) -> list[str]:
        return remarks({"variables": variables, "devices": []})

    assert about() == []
    assert about(CUDA_VISIBLE_DEVICES="-1") == ["CUDA_VISIBLE_DEVICES hides every GPU"]
    assert any("MASTER_ADDR" in text for text in about(WORLD_SIZE="2", RANK="0"))
    assert any("RANK is missing" in text for text in about(WORLD_SIZE="2", MASTER_ADDR="a", MASTER_PORT="1"))
    full = {"name": "GPU", "free_gb": 1.0, "total_gb": 80.0}
    assert remarks({"variables": {}, "devices": [full]}) == ["GPU has only 1.0 GB free"]
