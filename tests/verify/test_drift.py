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


@pytest.mark.torch
def test_what_was_read_does_not_confirm_itself() -> None:
    """LL206 speaks of code after the observed steps: a healthy run of three steps neither confirms nor refutes it."""
    from lora_lint.findings import Finding, Severity
    from lora_lint.verify import observe
    from lora_lint.verify.confirm import confirm
    from tests.verify.tiny import adamw, adapted, train

    with observe() as session:
        model = adapted()
        train(model, adamw(model))
    verdict = session.verdict
    assert verdict.verdict == "PASS"
    path, line = verdict.observed.reports[0]["functions"][0]

    def found(code: str, at: int) -> Finding:
        return Finding(code, "some-name", Severity.ERROR, "message", Location(path, at, 1, at, 2))

    states = [
        one.state for one in confirm([found("LL206", line), found("LL103", line), found("LL103", 10**6)], verdict)
    ]
    assert states[0] == "open"
    assert states[1] == "refuted"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"variables": {"OMP_NUM_THREADS": "64"}, "cores": 8}, "OMP_NUM_THREADS is 64 on 8 cores"),
        ({"variables": {"WORLD_SIZE": "2", "RANK": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}}, "RANK is 2, but"),
        (
            {"variables": {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, "group": False},
            "no process group was made: every process trains alone",
        ),
        ({"variables": {}, "unused_gpu": "torch 2.13.0+cpu is built without CUDA"}, "there is an NVIDIA GPU here, but"),
    ],
)
def test_what_looks_wrong(found: dict[str, object], said: str) -> None:
    assert [text for text in remarks({"devices": [], **found}) if said in text]


def test_a_usual_environment_has_no_remarks() -> None:
    variables = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1", "OMP_NUM_THREADS": "4"}
    assert remarks({"devices": [], "variables": variables, "cores": 8, "group": True, "start_method": "fork"}) == []
