"""The library API: assertions, repair, report, callbacks, and the page with plots."""

from __future__ import annotations

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


def test_gradient_report_takes_out_what_wrappers_put_into_names() -> None:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    model = adapted()
    wanted = set(gradient_report(model))
    layers = model.base_model.model.model.layers
    layers[0] = checkpoint_wrapper(layers[0])
    layers[1] = torch.compile(layers[1], backend="eager")
    assert any("_orig_mod" in name for name, _ in model.named_parameters())
    assert set(gradient_report(model)) == wanted


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


def test_trainer_callback_counts_trainable_parameters_from_the_start(tmp_path: Path) -> None:
    from lora_lint.verify import VerifyCallback

    callback = VerifyCallback(steps=2)
    _trainer(adapted(), tmp_path, callback).train()
    assert callback.observer.session is not None
    assert callback.observer.session.verdict.record.ranks[0].ledger[0].moment == "observation begins"


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("frozen", [False, True])
def test_lightning_callback(tmp_path: Path, frozen: bool, accumulate: int) -> None:
    lightning = pytest.importorskip("lightning")
    from lora_lint.verify import LightningVerify

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.model = adapted()
            if frozen:
                self.model.requires_grad_(False)
                self.model.enable_input_require_grads()

        def training_step(self, data: Any, number: int) -> Any:
            return self.model(**data).loss

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.model.parameters(), lr=1e-2)

    callback = LightningVerify(steps=3)
    trainer = lightning.Trainer(
        max_steps=5, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, callbacks=[callback], accumulate_grad_batches=accumulate,
    )  # fmt: skip
    rows = [{k: v[0] for k, v in batch(i).items()} for i in range(32)]
    loader = torch.utils.data.DataLoader(rows, batch_size=2)
    if frozen:
        with pytest.raises(NotLearning, match="LL901"):
            trainer.fit(Module(), loader)
        return
    trainer.fit(Module(), loader)
    assert trainer.global_step == 5
    assert callback.observer.session is not None
    assert callback.observer.session.verdict.verdict == "PASS", callback.observer.session.text()


def test_a_model_first_seen_inside_a_closure_is_judged() -> None:
    """The optimizer steps before its model is known: what it holds must not stay nobody's."""
    model = adapted()
    model.requires_grad_(False)
    model.enable_input_require_grads()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = model(**batch()).loss
        loss.backward()
        return loss

    with observe() as session:
        for _ in range(3):
            optimizer.step(closure)
    assert session.verdict.verdict == "FAIL"
    assert session.verdict.findings[0].code == "LL901"


def test_steps_on_parameters_of_no_model_prove_nothing() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    with observe() as session:
        for _ in range(3):
            optimizer.zero_grad()
            (weight**2).sum().backward()
            optimizer.step()
    assert session.verdict.verdict == "INCONCLUSIVE"
    assert "nothing proves that it learns" in session.verdict.reason
