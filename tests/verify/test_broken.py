"""Programs that learn nothing, or not what they seem to: each must FAIL, and the cause must be named."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict  # noqa: E402

from lora_lint.findings import Severity  # noqa: E402
from lora_lint.verify import observe  # noqa: E402
from tests.verify.tiny import adamw, adapted, batch, classifier, llama, lora, train, train_classifier  # noqa: E402

pytestmark = pytest.mark.torch
CASES: list[tuple[Callable[..., None], set[str]]] = []


def broken(*codes: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def mark(function: Callable[..., None]) -> Callable[..., None]:
        CASES.append((function, set(codes)))
        return function

    return mark


@broken("LL103")
def freeze_after_injection(tmp: Any) -> None:
    model = adapted()
    for p in model.parameters():
        p.requires_grad = False
    model.enable_input_require_grads()
    train(model, torch.optim.AdamW(model.parameters(), lr=1e-2))


@broken("LL103")
def module_freeze_after_injection(tmp: Any) -> None:
    model = adapted()
    model.base_model.requires_grad_(False)
    model.enable_input_require_grads()
    train(model, torch.optim.AdamW(model.parameters(), lr=1e-2))


@broken("LL101")
def config_never_applied(tmp: Any) -> None:
    model = llama()
    model.requires_grad_(False)
    model.enable_input_require_grads()
    lora()
    train(model, torch.optim.AdamW(model.parameters(), lr=1e-2))


@broken("LL105")
def loaded_frozen(tmp: Any) -> None:
    adapted().save_pretrained(tmp)
    model = PeftModel.from_pretrained(llama(), tmp)
    model.enable_input_require_grads()
    train(model, torch.optim.AdamW(model.parameters(), lr=1e-2))


@broken("LL107")
def inference_config(tmp: Any) -> None:
    model = get_peft_model(llama(), lora(inference_mode=True))
    model.enable_input_require_grads()
    train(model, torch.optim.AdamW(model.parameters(), lr=1e-2))


@broken("LL301")
def optimizer_before_adapter(tmp: Any) -> None:
    base = llama()
    optimizer = torch.optim.AdamW(base.parameters(), lr=1e-2)
    train(get_peft_model(base, lora()), optimizer)


@broken("LL301")
def optimizer_before_activation(tmp: Any) -> None:
    model = adapted()
    model.add_adapter("other", lora())
    optimizer = adamw(model)
    model.set_adapter("other")
    train(model, optimizer)


@broken("LL903", "LL904")
def optimizer_of_a_copy(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    train(copy.deepcopy(model), optimizer)


@broken("LL903")
def optimizer_misses_some(tmp: Any) -> None:
    model = adapted()
    held = [p for n, p in model.named_parameters() if "q_proj" in n and p.requires_grad]
    train(model, torch.optim.AdamW(held, lr=1e-2))


@broken("LL302")
def wiped_before_step(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    for step in range(3):
        model(**batch(step)).loss.backward()
        optimizer.zero_grad()
        optimizer.step()


@broken("LL202", "LL201")
def detached_with_hack(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    for step in range(3):
        loss = model(**batch(step)).loss.detach()
        loss.requires_grad_(True)
        (loss / 2).backward()
        optimizer.step()
        optimizer.zero_grad()


@broken("LL201", "LL202")
def rebuilt_loss(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    for step in range(3):
        loss = torch.tensor(model(**batch(step)).loss.item(), requires_grad=True)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@broken("LL203")
def under_no_grad(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    for step in range(3):
        with torch.no_grad():
            loss = model(**batch(step)).loss
        loss.requires_grad = True
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@broken("LL905")
def learning_rate_zero(tmp: Any) -> None:
    model = adapted()
    train(model, adamw(model, lr=0.0))


@broken("LL905")
def restored_after_each_step(tmp: Any) -> None:
    model = adapted()
    first = copy.deepcopy(get_peft_model_state_dict(model))
    optimizer = adamw(model)
    for _ in range(3):
        train(model, optimizer, 1)
        set_peft_model_state_dict(model, first)


@broken("LL905")
def rounded_away(tmp: Any) -> None:
    model = adapted(init_lora_weights=False).to(torch.bfloat16)
    train(model, torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-9))


@broken("LL906")
def nan_loss(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    for step in range(3):
        (model(**batch(step)).loss * float("nan")).backward()
        optimizer.step()
        optimizer.zero_grad()


@broken("LL908", "LL307")
def never_zeroed(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    for step in range(3):
        model(**batch(step)).loss.backward()
        optimizer.step()


@broken("LL909")
def base_written_in_the_loop(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    weight = model.base_model.model.model.layers[0].self_attn.q_proj.base_layer.weight
    for _ in range(3):
        train(model, optimizer, 1)
        weight.data.mul_(0.9)


@broken("LL911")
def all_labels_masked(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    for step in range(3):
        data = batch(step)
        data["labels"][:] = -100
        torch.nan_to_num(model(**data).loss).backward()
        optimizer.step()
        optimizer.zero_grad()


@broken("LL914", "LL109")
def adapters_disabled(tmp: Any) -> None:
    model = adapted(modules_to_save=["lm_head"])
    model.base_model.disable_adapter_layers()
    model.base_model.model.lm_head.modules_to_save["default"].requires_grad_(True)
    model.base_model.model.lm_head.enable_adapters(True)
    train(model, torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2))


@broken("LL902")
def checkpointing_cuts_the_adapters(tmp: Any) -> None:
    class Cut(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = adapted()
            self.head = torch.nn.Linear(64, 4)

        def forward(self, **data: Any) -> Any:
            return self.head(self.body(**data).logits.detach()).square().mean()

    model = Cut()
    optimizer = adamw(model)
    for step in range(3):
        model(**batch(step)).backward()
        optimizer.step()
        optimizer.zero_grad()


@broken("LL902")
def dead_start(tmp: Any) -> None:
    model = adapted()
    for name, p in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.zeros_(p)
    train(model, adamw(model))


@broken("LL902")
def alpha_zero(tmp: Any) -> None:
    model = adapted(lora_alpha=0)
    train(model, adamw(model))


@broken("LL304")
def never_steps(tmp: Any) -> None:
    model = adapted()
    adamw(model)
    for step in range(4):
        model(**batch(step)).loss.backward()


@broken("LL303")
def accumulation_wiped(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    for step in range(12):
        model.zero_grad()
        model(**batch(step)).loss.backward()
        if step % 4 == 3:
            optimizer.step()


@broken("LL910")
def scaler_skips_all(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=0.999)
    for step in range(40):
        scaler.scale(model(**batch(step)).loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()


@broken("LL503")
def clipped_before_unscale(tmp: Any) -> None:
    model = adapted()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for step in range(3):
        scaler.scale(model(**batch(step)).loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()


@broken("LL912")
def same_batch_of_a_loader(tmp: Any) -> None:
    loader = torch.utils.data.DataLoader([batch(i, 1)["input_ids"][0] for i in range(12)], batch_size=2)
    model = adapted()
    optimizer = adamw(model)
    for _ in range(4):
        ids = next(iter(loader))
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()


@broken("LL918")
def losses_kept(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    kept = []
    for step in range(5):
        loss = model(**batch(step)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        kept.append(loss)
    KEEP.extend(kept)


@broken("LL920")
def base_left_trainable(tmp: Any) -> None:
    model = adapted()
    for p in model.parameters():
        p.requires_grad = True
    train(model, adamw(model))


@broken("LL111")
def fresh_head_frozen(tmp: Any) -> None:
    model = get_peft_model(classifier(), LoraConfig(r=4, target_modules=["q_proj"]))
    train_classifier(model)


@broken("LL404")
def end_token_masked(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    for step in range(3):
        data = batch(step)
        data["input_ids"][:, 6:] = 2
        data["labels"] = data["input_ids"].masked_fill(data["input_ids"] == 2, -100)
        optimizer.zero_grad()
        model(**data).loss.backward()
        optimizer.step()


@broken("LL605")
def names_of_a_wrapped_model(tmp: Any) -> None:
    model = torch.nn.DataParallel(adapted(modules_to_save=["lm_head"]))
    chosen = [p for n, p in model.named_parameters() if n.startswith("base_model.") or "modules_to_save" in n]
    train(model, torch.optim.AdamW(chosen, lr=1e-2))


@broken("LL306")
def parameters_made_anew(tmp: Any) -> None:
    with torch.device("meta"):
        base = llama()
    model = get_peft_model(base, lora(), low_cpu_mem_usage=True)
    optimizer = adamw(model)
    model.to_empty(device="cpu")
    model.load_state_dict(adapted().state_dict())
    train(model, optimizer)


@broken("LL110")
def a_target_of_another_family(tmp: Any) -> None:
    model = adapted(target_modules=["q_proj", "out_proj"])
    train(model, adamw(model))


@broken("LL206")
def left_in_eval_mode(tmp: Any) -> None:
    model = adapted(lora_dropout=0.1)
    optimizer = adamw(model)
    train(model, optimizer, 2)
    model.eval()
    with torch.no_grad():
        model(**batch(9))
    train(model, optimizer, 2)


KEEP: list[Any] = []


@pytest.mark.parametrize(("program", "codes"), CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_broken(program: Callable[..., None], codes: set[str], tmp_path: Any) -> None:
    with observe(steps=4) as session:
        program(str(tmp_path))
    KEEP.clear()
    verdict = session.verdict
    assert not verdict.faults, verdict.faults[0]
    hard = [f for f in verdict.findings if f.severity is not Severity.INFO]
    assert hard, session.text()
    assert codes & {f.code for f in hard}, session.text()
    assert hard[0].location.path.endswith("test_broken.py") or hard[0].location.path.endswith("tiny.py"), session.text()


def test_cause_stands_before_symptom() -> None:
    with observe() as session:
        freeze_after_injection(None)
    assert session.verdict.findings[0].code == "LL103"
    assert any(r.message.startswith("LL901") for r in session.verdict.findings[0].related)
    assert "LL901" not in {f.code for f in session.verdict.findings}


def test_no_pass_on_a_crash() -> None:
    with observe() as session:
        model = adapted()
        train(model, adamw(model), 1)
    assert session.verdict.verdict == "INCONCLUSIVE"


def test_unknown_configs_are_no_cause() -> None:
    LoraConfig(r=2)
    with observe() as session:
        LoraConfig(r=2)
        model = adapted()
        train(model, adamw(model))
    assert session.verdict.verdict == "PASS", session.text()
