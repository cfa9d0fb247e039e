"""Healthy programs that look like broken ones: none may FAIL. The numbers are those of the trap list of the design."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

from peft import PeftModel, get_peft_model  # noqa: E402
from transformers import LlamaForSequenceClassification, get_scheduler  # noqa: E402

from lora_lint.findings import Severity  # noqa: E402
from lora_lint.verify import observe  # noqa: E402
from tests.verify.tiny import adamw, adapted, batch, classifier, llama, lora, train, train_classifier  # noqa: E402

pytestmark = pytest.mark.torch
CASES: list[Callable[..., None]] = []


def healthy(function: Callable[..., None]) -> Callable[..., None]:
    CASES.append(function)
    return function


@healthy
def trap_01_fresh_pair(tmp: Any) -> None:
    model = adapted()
    train(model, adamw(model, weight_decay=0.0))


@healthy
def trap_01_embedding_pair(tmp: Any) -> None:
    model = get_peft_model(llama(), lora(target_modules=["embed_tokens", "q_proj"]))
    train(model, adamw(model, weight_decay=0.0))


@healthy
def trap_02_warmup_from_zero(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    train(model, optimizer, 4, get_scheduler("linear", optimizer, 2, 20))


@healthy
def trap_03_accumulation(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    for step in range(16):
        (model(**batch(step)).loss / 4).backward()
        if step % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()


@healthy
def trap_04_zero_grad_forms(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    for step in range(5):
        model(**batch(step)).loss.backward()
        optimizer.step()
        if step % 2:
            optimizer.zero_grad(set_to_none=False)
        else:
            for p in model.parameters():
                p.grad = None


@healthy
def trap_04_gan(tmp: Any) -> None:
    torch.manual_seed(0)
    maker, judge = torch.nn.Linear(8, 8), torch.nn.Linear(8, 1)
    opt_m, opt_j = torch.optim.Adam(maker.parameters(), 1e-3), torch.optim.Adam(judge.parameters(), 1e-3)
    for _ in range(4):
        opt_j.zero_grad()
        (judge(maker(torch.randn(4, 8)).detach()).mean() - judge(torch.randn(4, 8)).mean()).backward()
        opt_j.step()
        opt_m.zero_grad()
        (-judge(maker(torch.randn(4, 8))).mean()).backward()
        opt_m.step()


@healthy
def trap_05_scaler_skips_the_first_steps(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=2.0**-60)
    for step in range(8):
        optimizer.zero_grad()
        scaler.scale(model(**batch(step)).loss * 4).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()


@healthy
def trap_06_clip_without_scaler(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    for step in range(3):
        optimizer.zero_grad()
        scaler.scale(model(**batch(step)).loss).backward()
        torch.nn.utils.clip_grad_norm_((p for p in model.parameters() if p.requires_grad), 1.0)
        scaler.step(optimizer)
        scaler.update()


@healthy
def trap_07_lbfgs(tmp: Any) -> None:
    model = adapted()
    optimizer = torch.optim.LBFGS([p for p in model.parameters() if p.requires_grad], lr=0.1, max_iter=2)
    for step in range(3):

        def closure(step: int = step) -> Any:
            optimizer.zero_grad()
            loss = model(**batch(step)).loss
            loss.backward()
            return loss

        optimizer.step(closure)


@healthy
def trap_08_optimizer_in_backward(tmp: Any) -> None:
    model = adapted()
    optimizers = {p: torch.optim.AdamW([p], lr=1e-2) for p in model.parameters() if p.requires_grad}

    def hook(p: Any) -> None:
        optimizers[p].step()
        optimizers[p].zero_grad()

    for p in optimizers:
        p.register_post_accumulate_grad_hook(hook)
    for step in range(3):
        model(**batch(step)).loss.backward()


@healthy
def trap_08_two_optimizers(tmp: Any) -> None:
    model = adapted(modules_to_save=["lm_head"])
    lora_part = [p for n, p in model.named_parameters() if "lora_" in n]
    head = [p for n, p in model.named_parameters() if "modules_to_save" in n]
    first, second = torch.optim.AdamW(lora_part, lr=1e-2), torch.optim.SGD(head, lr=1e-2)
    for step in range(4):
        model(**batch(step)).loss.backward()
        (first if step % 2 else second).step()
        model.zero_grad()


@healthy
def trap_09_expert_not_run(tmp: Any) -> None:
    class Experts(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(4))
            self.out = torch.nn.Linear(8, 1)

        def forward(self, x: Any, number: int) -> Any:
            return self.out(self.experts[number](x))

    model = get_peft_model(Experts(), peft.LoraConfig(r=2, target_modules=r"experts\.\d|out"))
    optimizer = adamw(model)
    for step in range(3):
        optimizer.zero_grad()
        model(torch.randn(2, 8), step % 2).square().mean().backward()
        optimizer.step()


@healthy
def trap_10_sparse_rows(tmp: Any) -> None:
    model = get_peft_model(llama(), lora(trainable_token_indices=[60, 61, 62]))
    train(model, adamw(model))


@healthy
def trap_11_second_adapter_inactive(tmp: Any) -> None:
    model = adapted()
    model.add_adapter("other", lora())
    train(model, adamw(model))


@healthy
def trap_11_reference_with_disabled_adapter(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    for step in range(3):
        with torch.no_grad(), model.disable_adapter():
            reference = model(**batch(step)).logits
        optimizer.zero_grad()
        logits = model(**batch(step)).logits
        torch.nn.functional.mse_loss(logits, reference + 1).backward()
        optimizer.step()


@healthy
def trap_11_layers_to_transform(tmp: Any) -> None:
    model = adapted(layers_to_transform=[1])
    train(model, adamw(model))


@healthy
def trap_12_optimizer_over_everything(tmp: Any) -> None:
    model = adapted()
    train(model, torch.optim.AdamW(model.parameters(), lr=1e-2))


@healthy
def trap_13_tied_weights(tmp: Any) -> None:
    model = get_peft_model(llama(tie_word_embeddings=True), lora(target_modules="all-linear"))
    train(model, adamw(model))


@healthy
def trap_14_bf16(tmp: Any) -> None:
    model = adapted().to(torch.bfloat16)
    train(model, adamw(model))


@healthy
def trap_15_modules_to_save(tmp: Any) -> None:
    model = adapted(modules_to_save=["lm_head", "embed_tokens"])
    train(model, adamw(model))


@healthy
def trap_16_evaluation_in_the_loop(tmp: Any) -> None:
    model = adapted(lora_dropout=0.1)
    optimizer = adamw(model)
    for step in range(4):
        model.train()
        train(model, optimizer, 1)
        model.eval()
        with torch.no_grad():
            model(**batch(100 + step))


@healthy
def trap_16_base_in_eval(tmp: Any) -> None:
    model = get_peft_model(llama().eval(), lora(lora_dropout=0.1))
    train(model, adamw(model))


@healthy
@pytest.mark.parametrize("reentrant", [True, False])
def trap_17_checkpointing(tmp: Any, reentrant: bool = True) -> None:
    base = llama()
    base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    base.enable_input_require_grads()
    model = get_peft_model(base, lora()).train()
    train(model, adamw(model))


@healthy
def trap_17_checkpointing_non_reentrant(tmp: Any) -> None:
    trap_17_checkpointing(tmp, reentrant=False)


@healthy
def trap_18_large_sparse_embedding(tmp: Any) -> None:
    model = get_peft_model(llama(vocab_size=9000), lora(modules_to_save=["embed_tokens"]))
    train(model, adamw(model))


@healthy
def trap_22_adafactor_without_rate(tmp: Any) -> None:
    from transformers.optimization import Adafactor

    model = adapted()
    optimizer = Adafactor([p for p in model.parameters() if p.requires_grad], relative_step=True, lr=None)
    train(model, optimizer)


@healthy
def trap_23_pissa(tmp: Any) -> None:
    model = adapted(init_lora_weights="pissa")
    train(model, adamw(model))


@healthy
def dora(tmp: Any) -> None:
    model = adapted(use_dora=True)
    train(model, adamw(model))


@healthy
def rslora_with_bias(tmp: Any) -> None:
    model = adapted(use_rslora=True, bias="lora_only")
    train(model, adamw(model))


def _method(config: Any) -> Callable[..., None]:
    def program(tmp: Any) -> None:
        model = get_peft_model(llama(), config)
        train(model, adamw(model))

    program.__name__ = type(config).__name__
    return program


_KINDS = {"task_type": "CAUSAL_LM", "target_modules": ["q_proj", "v_proj"]}
for _config in (
    peft.VeraConfig(r=4, save_projection=True, **_KINDS),
    peft.IA3Config(
        task_type="CAUSAL_LM", target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]
    ),
    peft.AdaLoraConfig(total_step=50, tinit=1, tfinal=5, **_KINDS),
    peft.LoHaConfig(r=4, **_KINDS),
    peft.LoKrConfig(r=4, **_KINDS),
    peft.OFTConfig(oft_block_size=8, r=0, **_KINDS),
    peft.FourierFTConfig(n_frequency=16, **_KINDS),
    peft.LNTuningConfig(task_type="CAUSAL_LM", target_modules=["input_layernorm"]),
    peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=4, encoder_hidden_size=16),
    peft.HRAConfig(r=4, **_KINDS),
):
    healthy(_method(_config))


@healthy
def loaded_trainable(tmp: Any) -> None:
    adapted().save_pretrained(tmp)
    model = PeftModel.from_pretrained(llama(), tmp, is_trainable=True).train()
    train(model, adamw(model))


@healthy
def frozen_then_thawed(tmp: Any) -> None:
    model = adapted()
    for p in model.parameters():
        p.requires_grad = False
    for name, p in model.named_parameters():
        if "lora_" in name:
            p.requires_grad = True
    train(model, adamw(model))


@healthy
def frozen_by_an_assigned_filter(tmp: Any) -> None:
    model = adapted()
    for name, p in model.named_parameters():
        if "lora" in name:
            p.requires_grad = True
        else:
            p.requires_grad = False
    train(model, adamw(model))


@healthy
def norms_thawed_after_injection(tmp: Any) -> None:
    model = adapted()
    for name, p in model.named_parameters():
        if "norm" in name:
            p.requires_grad_(True)
    train(model, adamw(model))


@healthy
def needless_requires_grad_on_the_loss(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    for step in range(3):
        loss = model(**batch(step)).loss
        loss.requires_grad_(True)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@healthy
def optimizer_rebuilt_after_the_adapter(tmp: Any) -> None:
    base = llama()
    torch.optim.AdamW(base.parameters(), lr=1e-2)
    model = get_peft_model(base, lora())
    train(model, adamw(model))


@healthy
def parameter_groups_and_lora_plus(tmp: Any) -> None:
    model = adapted()
    a = [p for n, p in model.named_parameters() if "lora_A" in n]
    b = [p for n, p in model.named_parameters() if "lora_B" in n]
    train(model, torch.optim.AdamW([{"params": a, "lr": 1e-3}, {"params": b, "lr": 1.6e-2}]))


@healthy
def teacher_and_student(tmp: Any) -> None:
    teacher, student = llama(1).eval(), adapted()
    teacher.requires_grad_(False)
    optimizer = adamw(student)
    for step in range(3):
        with torch.no_grad():
            target = teacher(**batch(step)).logits
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(student(**batch(step)).logits, target).backward()
        optimizer.step()


@healthy
def moving_average_copy(tmp: Any) -> None:
    model = adapted()
    average = copy.deepcopy(model)
    average.requires_grad_(False)
    optimizer = adamw(model)
    for _ in range(3):
        train(model, optimizer, 1)
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 0.1)


@healthy
def adapters_in_turns(tmp: Any) -> None:
    model = adapted()
    model.add_adapter("other", lora())
    for name in ("default", "other"):
        model.set_adapter(name)
        train(model, adamw(model), 2)


@healthy
def adapter_inside_a_module_of_the_user(tmp: Any) -> None:
    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = get_peft_model(llama().model, peft.LoraConfig(r=4, target_modules=["q_proj"]))
            self.head = torch.nn.Linear(32, 3)

        def forward(self, ids: Any) -> Any:
            return self.head(self.body(input_ids=ids).last_hidden_state[:, -1])

    model = Classifier()
    optimizer = adamw(model)
    for step in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(batch(step)["input_ids"]), torch.tensor([0, 2])).backward()
        optimizer.step()


@healthy
def features_from_a_frozen_body(tmp: Any) -> None:
    body, head = torch.nn.Linear(8, 8), torch.nn.Linear(8, 2)
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(3):
        with torch.no_grad():
            features = body(torch.randn(4, 8))
        optimizer.zero_grad()
        head(features).square().mean().backward()
        optimizer.step()


@healthy
def full_fine_tuning(tmp: Any) -> None:
    model = llama()
    train(model, torch.optim.AdamW(model.parameters(), lr=1e-3))


@healthy
def compiled(tmp: Any) -> None:
    model = torch.compile(adapted(), backend="eager")
    train(model, adamw(model))
    torch._dynamo.reset()


@healthy
def unused_pooler(tmp: Any) -> None:
    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(6))
            self.pooler = torch.nn.Linear(8, 8)

        def forward(self, x: Any) -> Any:
            for layer in self.layers:
                x = layer(x).tanh()
            return x, self.pooler(x)

    model = get_peft_model(Pooled(), peft.LoraConfig(r=2, target_modules=r"layers\.\d|pooler"))
    optimizer = adamw(model)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(2, 8))[0].square().mean().backward()
        optimizer.step()


@healthy
def overfits_one_batch(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    data = batch(0)
    for _ in range(5):
        optimizer.zero_grad()
        model(**data).loss.backward()
        optimizer.step()


@healthy
def some_rows_masked(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    for step in range(4):
        data = batch(step)
        data["labels"][0] = -100
        optimizer.zero_grad()
        model(**data).loss.backward()
        optimizer.step()


@healthy
def hand_written_adapter(tmp: Any) -> None:
    class LoraLinear(torch.nn.Module):
        def __init__(self, base: Any) -> None:
            super().__init__()
            self.base = base
            self.lora_a = torch.nn.Parameter(torch.randn(2, 8) * 0.1)
            self.lora_b = torch.nn.Parameter(torch.zeros(8, 2))

        def forward(self, x: Any) -> Any:
            return self.base(x) + x @ self.lora_a.T @ self.lora_b.T

    model = torch.nn.Sequential(LoraLinear(torch.nn.Linear(8, 8)), torch.nn.ReLU(), LoraLinear(torch.nn.Linear(8, 8)))
    for name, p in model.named_parameters():
        p.requires_grad_("lora" in name)
    optimizer = adamw(model)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(4, 8)).square().mean().backward()
        optimizer.step()


@healthy
def classifier_with_its_task_type(tmp: Any) -> None:
    model = get_peft_model(classifier(), peft.LoraConfig(r=4, target_modules=["q_proj"], task_type="SEQ_CLS"))
    train_classifier(model)


@healthy
def trained_head_stays_frozen(tmp: Any) -> None:
    classifier().save_pretrained(tmp)
    base = LlamaForSequenceClassification.from_pretrained(tmp)
    model = get_peft_model(base, peft.LoraConfig(r=4, target_modules=["q_proj"])).train()
    train_classifier(model)


@healthy
def head_thawed_by_hand(tmp: Any) -> None:
    model = get_peft_model(classifier(), peft.LoraConfig(r=4, target_modules=["q_proj"]))
    model.base_model.model.score.requires_grad_(True)
    train_classifier(model)


@healthy
def end_token_learned_and_padding_masked(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    for step in range(3):
        data = batch(step)
        data["input_ids"][:, 6:] = 2
        data["labels"] = data["input_ids"].clone()
        data["labels"][:, 7:] = -100
        optimizer.zero_grad()
        model(**data).loss.backward()
        optimizer.step()


@healthy
def padded_with_the_end_token(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    for step in range(3):
        data = batch(step)
        data["input_ids"][:, 6:] = 2
        data["attention_mask"][:, 6:] = 0
        data["labels"] = data["input_ids"].masked_fill(data["attention_mask"] == 0, -100)
        optimizer.zero_grad()
        model(**data).loss.backward()
        optimizer.step()


@healthy
def merged_for_generation(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    for _ in range(3):
        train(model, optimizer, 1)
        model.merge_adapter()
        with torch.no_grad():
            model(**batch(7))
        model.unmerge_adapter()


@healthy
def validated_in_between(tmp: Any) -> None:
    model = adapted(lora_dropout=0.1)
    optimizer = adamw(model)
    train(model, optimizer, 1)
    model.eval()
    with torch.no_grad():
        model(**batch(9))
    model.train()
    train(model, optimizer, 2)


@healthy
def in_eval_mode_with_nothing_to_drop(tmp: Any) -> None:
    model = adapted().eval()
    train(model, adamw(model))


@healthy
def gradient_measured_on_a_twin(tmp: Any) -> None:
    model = adapted()
    twin = copy.deepcopy(model)
    twin(**batch(9)).loss.backward()
    train(model, adamw(model))


@healthy
def targets_of_several_families(tmp: Any) -> None:
    model = adapted(target_modules=["q_proj", "v_proj", "query", "value", "query_key_value"])
    train(model, adamw(model))


@healthy
def materialised_before_the_optimizer(tmp: Any) -> None:
    with torch.device("meta"):
        base = llama()
    model = get_peft_model(base, lora(), low_cpu_mem_usage=True)
    model.to_empty(device="cpu")
    model.load_state_dict(adapted().state_dict())
    train(model, adamw(model))


@healthy
def two_stages(tmp: Any) -> None:
    first = adapted()
    train(first, adamw(first), 2)
    second = get_peft_model(first.merge_and_unload(), lora())
    train(second, adamw(second), 3)


@healthy
def moved_in_place_after_the_optimizer(tmp: Any) -> None:
    model = adapted()
    optimizer = adamw(model)
    model.to("cpu", torch.float64).to(torch.float32)
    train(model, optimizer)


@pytest.mark.parametrize("program", CASES, ids=lambda f: f.__name__)
def test_healthy(program: Callable[..., None], tmp_path: Any) -> None:
    with observe(steps=3, probes=True) as session:
        program(str(tmp_path))
    verdict = session.verdict
    assert not verdict.faults, verdict.faults[0]
    assert verdict.verdict == "PASS", session.text()
    assert not [f for f in verdict.findings if f.severity is not Severity.INFO], session.text()


def test_snapshot_adapter() -> None:
    """An adapter that keeps a copy of the first one, which another optimizer trains on: it is not meant to be active."""
    with observe(steps=6) as session:
        model = adapted()
        train(model, adamw(model), 2)
        model.add_adapter("snapshot", lora())
        weights = dict(model.named_parameters())
        for name, weight in weights.items():
            if ".snapshot." in name:
                weight.data.copy_(weights[name.replace(".snapshot.", ".default.")].data)
        train(model, adamw(model), 2)
    assert "LL113" not in {finding.code for finding in session.verdict.findings}, session.text()
