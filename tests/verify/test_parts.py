"""Parts of a network, data and files: programs in which one of them is lost, and healthy ones that look alike."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from accelerate import Accelerator  # noqa: E402
from peft import LoraConfig, PeftModel, PrefixTuningConfig, get_peft_model  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402

from lora_lint.findings import Severity  # noqa: E402
from lora_lint.verify import observe  # noqa: E402
from tests.verify.tiny import adamw, adapted, batch, classifier, llama, lora, train, train_classifier  # noqa: E402

pytestmark = pytest.mark.torch
BROKEN: list[tuple[Callable[[Any], None], str]] = []
HEALTHY: list[Callable[[Any], None]] = []


def broken(code: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    def mark(function: Callable[[Any], None]) -> Callable[[Any], None]:
        BROKEN.append((function, code))
        return function

    return mark


def healthy(function: Callable[[Any], None]) -> Callable[[Any], None]:
    HEALTHY.append(function)
    return function


class Tower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Linear(8, 16)
        self.far = nn.Linear(16, 16)

    def forward(self, x: Any) -> Any:
        return self.far(torch.relu(self.near(x)))


class BlindTower(Tower):
    @torch.no_grad()
    def forward(self, x: Any) -> Any:
        return super().forward(x)


class Towers(nn.Module):
    """Two towers and an output; `blind` runs the first one in a block without gradients."""

    def __init__(self, first: nn.Module, blind: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.out = first, Tower(), nn.Linear(32, 4)
        self.blind = blind

    def forward(self, x: Any) -> Any:
        with torch.set_grad_enabled(not self.blind):
            seen = self.first(x)
        return self.out(torch.cat([seen, self.second(x)], -1))


def fit(model: Any, parameters: Any = None, steps: int = 4) -> None:
    optimizer = torch.optim.AdamW(parameters or [p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for step in range(steps):
        x = torch.randn(4, 8, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        F.cross_entropy(model(x), torch.arange(4)).backward()
        optimizer.step()


def towers(first: nn.Module, **more: Any) -> Any:
    return get_peft_model(Towers(first, **more), LoraConfig(r=2, target_modules=["near", "far"]))


@broken("LL203")
def tower_in_a_block_without_gradients(tmp: Any) -> None:
    fit(towers(Tower(), blind=True))


@broken("LL203")
def tower_with_a_decorated_forward(tmp: Any) -> None:
    fit(towers(BlindTower()))


@broken("LL203")
def features_from_a_model_without_gradients(tmp: Any) -> None:
    model = get_peft_model(Tower(), LoraConfig(r=2, target_modules=["near"]))
    head = nn.Linear(16, 4)
    optimizer = torch.optim.AdamW([*[p for p in model.parameters() if p.requires_grad], *head.parameters()], lr=1e-2)
    for _ in range(4):
        with torch.inference_mode():
            seen = model(torch.randn(4, 8))
        optimizer.zero_grad()
        F.cross_entropy(head(seen.clone()), torch.arange(4)).backward()
        optimizer.step()


@healthy
def tower_without_adapters_in_a_block_without_gradients(tmp: Any) -> None:
    fit(get_peft_model(Towers(BlindTower()), LoraConfig(r=2, target_modules=r"second\.(near|far)")))


@healthy
def teacher_with_adapters_of_its_own(tmp: Any) -> None:
    teacher, student = towers(Tower()), towers(Tower())
    optimizer = torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(4):
        x = torch.randn(4, 8)
        with torch.no_grad():
            wanted = teacher(x)
        optimizer.zero_grad()
        (student(x) - wanted).square().mean().backward()
        optimizer.step()


@broken("LL103")
def tower_frozen_after_injection(tmp: Any) -> None:
    model = towers(Tower())
    model.base_model.model.first.requires_grad_(False)
    fit(model)


@broken("LL901")
def all_but_the_head_frozen_by_name(tmp: Any) -> None:
    model = get_peft_model(classifier(), lora(task_type="SEQ_CLS"))
    for name, parameter in model.named_parameters():
        if "score" not in name:
            parameter.requires_grad = False
    train_classifier(model)


@healthy
def tower_frozen_before_injection(tmp: Any) -> None:
    model = Towers(Tower())
    model.first.requires_grad_(False)
    fit(get_peft_model(model, LoraConfig(r=2, target_modules=r"second\.(near|far)")))


@healthy
def only_one_factor_trained(tmp: Any) -> None:
    model = adapted()
    for name, parameter in model.named_parameters():
        if "lora_A" in name:
            parameter.requires_grad = False
    train(model, adamw(model))


def set_trainable(module: Any, flag: bool) -> None:
    for parameter in module.parameters():
        parameter.requires_grad = flag


@broken("LL117")
def projector_thawed_by_a_helper_before_injection(tmp: Any) -> None:
    model = Towers(Tower())
    set_trainable(model, False)
    set_trainable(model.out, True)
    fit(get_peft_model(model, LoraConfig(r=2, target_modules=["near", "far"])))


@healthy
def projector_thawed_by_a_helper_after_injection(tmp: Any) -> None:
    model = Towers(Tower())
    set_trainable(model, False)
    model = get_peft_model(model, LoraConfig(r=2, target_modules=["near", "far"]))
    set_trainable(model.base_model.model.out, True)
    fit(model)


@broken("LL109")
def merged_and_trained(tmp: Any) -> None:
    model = get_peft_model(classifier(), lora(task_type="SEQ_CLS"))
    model.merge_adapter()
    train_classifier(model)


@broken("LL109")
def disabled_around_the_training(tmp: Any) -> None:
    model = get_peft_model(classifier(), lora(task_type="SEQ_CLS"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    with model.disable_adapter():
        model.base_model.model.score.requires_grad_(True)
        for step in range(3):
            data = {**batch(step), "labels": torch.tensor([0, 1])}
            optimizer.zero_grad()
            model(**data).loss.backward()
            optimizer.step()


@broken("LL113")
def optimizer_of_the_adapter_that_is_not_active(tmp: Any) -> None:
    model = get_peft_model(llama(), lora(), adapter_name="one")
    model.add_adapter("two", lora())
    train(model, torch.optim.AdamW([p for n, p in model.named_parameters() if ".two." in n], lr=1e-2))


@healthy
def adapters_in_turns(tmp: Any) -> None:
    model = get_peft_model(llama(), lora(), adapter_name="one")
    model.add_adapter("two", lora(r=2))
    optimizers = {}
    for name in ("one", "two"):
        model.set_adapter(name)
        optimizers[name] = adamw(model)
    for step in range(8):
        name = ("one", "two")[step % 2]
        model.set_adapter(name)
        train(model, optimizers[name], 1)


@healthy
def merged_and_adapted_anew(tmp: Any) -> None:
    get_peft_model(llama(), lora(init_lora_weights=False)).save_pretrained(tmp)
    model = PeftModel.from_pretrained(llama(), tmp).merge_and_unload()
    model = get_peft_model(model, lora())
    train(model, adamw(model))


@healthy
def prefix_behind_a_projection(tmp: Any) -> None:
    config = PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, prefix_projection=True)
    model = get_peft_model(llama(), config)
    train(model, adamw(model))


# --- data -------------------------------------------------------------------------------------------------------------


def with_padding(step: int, masked: bool) -> dict[str, Any]:
    data = batch(step)
    data["input_ids"][:, 7:] = 3
    data["attention_mask"][:, 7:] = 0
    data["labels"] = data["input_ids"].masked_fill(data["attention_mask"] == 0, -100 if masked else 3)
    return data


def loop(model: Any, batches: Any) -> None:
    optimizer = adamw(model)
    for data in batches:
        optimizer.zero_grad()
        model(**data).loss.backward()
        optimizer.step()


@broken("LL405")
def padding_is_predicted(tmp: Any) -> None:
    loop(adapted(), (with_padding(step, masked=False) for step in range(4)))


@healthy
def padding_is_masked(tmp: Any) -> None:
    loop(adapted(), (with_padding(step, masked=True) for step in range(4)))


def resized(**more: Any) -> Any:
    model = llama()
    model.resize_token_embeddings(66)
    return get_peft_model(model, lora(**more))


def with_tokens(step: int, attended: int = 1) -> dict[str, Any]:
    data = batch(step)
    data["input_ids"][:, -1] = 64
    data["attention_mask"][:, -1] = attended
    data["labels"] = data["input_ids"].masked_fill(data["attention_mask"] == 0, -100)
    return data


@broken("LL112")
def new_tokens_in_frozen_rows(tmp: Any) -> None:
    loop(resized(), (with_tokens(step) for step in range(4)))


@healthy
def new_tokens_trained(tmp: Any) -> None:
    loop(resized(modules_to_save=["embed_tokens", "lm_head"]), (with_tokens(step) for step in range(4)))


@healthy
def new_token_is_padding(tmp: Any) -> None:
    loop(resized(), (with_tokens(step, attended=0) for step in range(4)))


class Noise(Dataset):  # type: ignore[type-arg]
    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict[str, Any]:
        ids = torch.randint(4, 60, (8,))
        return {"input_ids": ids, "labels": ids.clone()}


def _same_seed(worker: int) -> None:
    torch.manual_seed(0)


def noise(**more: Any) -> Iterator[Any]:
    context = multiprocessing.get_context("fork")
    yield from DataLoader(Noise(), batch_size=2, num_workers=2, multiprocessing_context=context, **more)


@broken("LL912")
def workers_with_one_seed(tmp: Any) -> None:
    loop(adapted(), noise(worker_init_fn=_same_seed))


@healthy
def workers_with_their_own_seeds(tmp: Any) -> None:
    loop(adapted(), noise())


def loader() -> Any:
    return DataLoader([{k: v[0] for k, v in batch(step).items()} for step in range(12)], batch_size=2)


@broken("LL912")
def first_batch_of_every_iterator(tmp: Any) -> None:
    data = loader()
    loop(adapted(), (next(iter(data)) for _ in range(5)))


@healthy
def one_batch_on_purpose(tmp: Any) -> None:
    first = next(iter(loader()))
    loop(adapted(), (first for _ in range(5)))


@healthy
def equal_rows_in_a_toy_data_set(tmp: Any) -> None:
    row = {k: v[0] for k, v in batch(1).items()}
    loop(adapted(), DataLoader([row] * 12, batch_size=2))


@healthy
def rewards_without_an_advantage_at_first(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model, weight_decay=0.0)
    for step in range(4):
        optimizer.zero_grad()
        (model(**batch(step)).loss * (0.0 if step < 2 else 1.0)).backward()
        optimizer.step()


@healthy
def weights_moved_there_and_back(tmp: Any) -> None:
    model = adapted(init_lora_weights="gaussian")
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=1e-2)
    for step in range(4):
        model(**batch(step)).loss.backward()
        moves = [0.05 * p.grad for p in parameters]
        torch._foreach_add_([p.data for p in parameters], moves)
        optimizer.zero_grad()
        model(**batch(step)).loss.backward()
        torch._foreach_sub_([p.data for p in parameters], moves)
        optimizer.step()
        optimizer.zero_grad()


@broken("LL704")
def backward_past_the_accelerator(tmp: Any) -> None:
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = adapted()
    model, optimizer, data = accelerator.prepare(model, adamw(model), loader())
    for _ in range(2):
        for rows in data:
            with accelerator.accumulate(model):
                model(**rows).loss.backward()
                optimizer.step()
                optimizer.zero_grad()


def test_a_loss_that_the_program_may_divide_itself_is_no_proof() -> None:
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    with observe(steps=3) as session:
        model = adapted()
        model, optimizer, data = accelerator.prepare(model, adamw(model), loader())
        for _ in range(4):
            for rows in data:
                with accelerator.accumulate(model):
                    (model(**rows).loss / 2).backward()
                    optimizer.step()
                    optimizer.zero_grad()
    assert session.verdict.verdict == "PASS", session.text()
    assert [f.severity for f in session.verdict.findings if f.code == "LL704"] == [Severity.WARNING]


# --- saving and loading -----------------------------------------------------------------------------------------------


@broken("LL803")
def state_of_a_wrapper_loaded(tmp: Any) -> None:
    state = torch.nn.DataParallel(adapted(init_lora_weights=False)).state_dict()
    model = adapted()
    model.load_state_dict(state, strict=False)
    train(model, adamw(model))


@broken("LL803")
def state_of_a_wrapper_loaded_for_a_second_stage(tmp: Any) -> None:
    first = adapted()
    train(first, adamw(first), 2)
    base = llama()
    base.load_state_dict(first.state_dict(), strict=False)
    second = get_peft_model(base, lora())
    train(second, adamw(second), 3)


@healthy
def state_of_a_wrapper_loaded_at_the_second_try(tmp: Any) -> None:
    state = torch.nn.DataParallel(adapted(init_lora_weights=False)).state_dict()
    model = adapted()
    if model.load_state_dict(state, strict=False).missing_keys:
        model.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    train(model, adamw(model))


@broken("LL915")
def empty_file_saved_after_each_step(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    for _ in range(3):
        train(model, optimizer, 1)
        model.save_pretrained(tmp, state_dict={n: v for n, v in model.state_dict().items() if v.requires_grad})


@healthy
def adapter_saved_after_each_step(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    for _ in range(3):
        train(model, optimizer, 1)
        model.save_pretrained(tmp)


@broken("LL917")
def dropout_that_ignores_eval(tmp: Any) -> None:
    class Restless(Tower):
        def forward(self, x: Any) -> Any:
            return F.dropout(super().forward(x), 0.2)

    fit(towers(Restless()))


@healthy
def noise_drawn_in_forward(tmp: Any) -> None:
    class Diffusion(Tower):
        def forward(self, x: Any) -> Any:
            return super().forward(x + 0.1 * torch.randn_like(x))

    fit(towers(Diffusion()))


@pytest.mark.parametrize(("program", "code"), BROKEN, ids=lambda v: getattr(v, "__name__", ""))
def test_broken(program: Callable[[Any], None], code: str, tmp_path: Any) -> None:
    with observe(steps=3, probes=True) as session:
        program(str(tmp_path))
    verdict = session.verdict
    assert not verdict.faults, verdict.faults[0]
    hard = [f for f in verdict.findings if f.severity is not Severity.INFO]
    assert code in {f.code for f in hard}, session.text()
    assert hard[0].code == code, session.text()
    assert hard[0].location.path.endswith("test_parts.py") or hard[0].location.path.endswith("tiny.py"), session.text()


@pytest.mark.parametrize("program", HEALTHY, ids=lambda f: f.__name__)
def test_healthy(program: Callable[[Any], None], tmp_path: Any) -> None:
    with observe(steps=3, probes=True) as session:
        program(str(tmp_path))
    verdict = session.verdict
    assert not verdict.faults, verdict.faults[0]
    assert verdict.verdict == "PASS", session.text()
    assert not [f for f in verdict.findings if f.severity is not Severity.INFO], session.text()
