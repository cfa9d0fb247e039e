"""The library API: assertions, repair, report, callbacks, and the page with plots."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from lora_lint.verify import NotLearning, assert_trains, ensure_adapters_trainable, gradient_report, observe  # noqa: E402
from tests.verify.tiny import adamw, adapted, batch, llama, train  # noqa: E402

pytestmark = pytest.mark.torch


def test_assert_trains_restores_the_model() -> None:
    model = adapted().eval()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    verdict = assert_trains(model, batch())
    assert verdict.verdict == "PASS"
    assert not model.training
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in model.named_parameters())


def test_assert_trains_says_why_not() -> None:
    model = adapted()
    model.requires_grad_(False)
    model.enable_input_require_grads()
    with pytest.raises(NotLearning, match="LL901"):
        assert_trains(model, batch())


def test_ensure_adapters_trainable_thaws_adapters_only() -> None:
    model = adapted(modules_to_save=["lm_head"])
    wanted = {name for name, p in model.named_parameters() if p.requires_grad}
    model.requires_grad_(False)
    assert set(ensure_adapters_trainable(model)) == wanted
    assert {name for name, p in model.named_parameters() if p.requires_grad} == wanted
    assert ensure_adapters_trainable(model) == []


def test_ensure_adapters_trainable_looks_through_wrappers() -> None:
    model = adapted()
    model.requires_grad_(False)
    assert len(ensure_adapters_trainable(torch.nn.DataParallel(model))) == 8


def test_gradient_report_names_are_those_of_the_inner_model() -> None:
    model = torch.nn.DataParallel(adapted())
    model(**batch()).loss.backward()
    found = gradient_report(model)
    assert len(found) == 8
    assert all(name.startswith("base_model.") for name in found)
    assert {entry["part"] for entry in found.values()} == {"adapter"}
    assert any(entry["grad"] for name, entry in found.items() if "lora_B" in name)


def test_observations_do_not_nest() -> None:
    with observe(), pytest.raises(RuntimeError, match="running already"), observe():
        pass


def test_nothing_is_observed_outside() -> None:
    with observe() as session:
        pass
    model = adapted()
    train(model, adamw(model))
    assert session.verdict.verdict == "INCONCLUSIVE"


def test_reference_trained_without_adapters() -> None:
    model = llama()
    with observe() as session:
        train(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert session.verdict.verdict == "PASS"


def _trainer(model: Any, folder: Path, callback: Any) -> Any:
    from datasets import Dataset
    from transformers import Trainer, TrainingArguments

    rows = [{k: v[0].tolist() for k, v in batch(i).items()} for i in range(16)]
    args = TrainingArguments(
        str(folder), max_steps=5, per_device_train_batch_size=2, report_to=[], use_cpu=True, save_strategy="no"
    )
    return Trainer(model=model, args=args, train_dataset=Dataset.from_list(rows), callbacks=[callback])


def test_trainer_callback(tmp_path: Path) -> None:
    from lora_lint.verify import VerifyCallback

    callback = VerifyCallback(steps=3)
    trainer = _trainer(adapted(), tmp_path, callback)
    trainer.train()
    assert trainer.state.global_step == 5
    assert callback.observer.session is not None
    assert callback.observer.session.verdict.verdict == "PASS", callback.observer.session.text()


def test_trainer_callback_stops_a_training_that_learns_nothing(tmp_path: Path) -> None:
    from lora_lint.verify import VerifyCallback

    model = adapted()
    model.requires_grad_(False)
    model.enable_input_require_grads()
    with pytest.raises(NotLearning):
        _trainer(model, tmp_path, VerifyCallback(steps=3)).train()


@pytest.fixture
def page(tmp_path: Path) -> Path:
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    from lora_lint.verify.report_html import render

    with observe(steps=3, probes=True) as session:
        model = adapted()
        train(model, adamw(model))
    path = tmp_path / "report.html"
    path.write_text(render(session.verdict, "<train & co>"), encoding="utf-8")
    return path


def test_page_is_self_contained(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 5
    assert "&lt;train &amp; co&gt;" in text
    assert "<script" not in text
    assert 'src="http' not in text
    assert "@import" not in text
    assert "lora_A" in text or "layers.0" in text


def test_page_opens_in_a_browser(page: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser here")
    shot = tmp_path / "shot.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,1600", f"--screenshot={shot}"]
    subprocess.run([browser, *options, page.as_uri()], capture_output=True, timeout=120, check=True)
    assert shot.stat().st_size > 20_000
