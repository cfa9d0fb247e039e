"""Trainers of transformers and trl on tiny models: healthy ones pass, broken ones fail with their cause."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")

from datasets import Dataset  # noqa: E402
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers, trainers  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainingArguments,
)

from lora_lint.findings import Severity  # noqa: E402
from lora_lint.verify import observe  # noqa: E402
from tests.verify.tiny import batch, llama, lora  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]

TEXTS = [
    "hello world this is a tiny corpus",
    "the quick brown fox jumps over the lazy dog",
    "lora adapters should receive gradients",
    "training must change the weights",
] * 6


def tokenizer() -> Any:
    inner = Tokenizer(models.WordLevel(unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["<unk>", "<s>", "</s>", "<pad>"]
    inner.train_from_iterator(TEXTS, trainers.WordLevelTrainer(special_tokens=special))
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=inner, **names)


def arguments(kind: Any, tmp: Any, **more: Any) -> Any:
    given = {
        "output_dir": str(tmp),
        "max_steps": 4,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-2,
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
    }
    return kind(**{**given, **more})


def rows(count: int = 16) -> Any:
    return Dataset.from_list([{k: v[0].tolist() for k, v in batch(i).items()} for i in range(count)])


HEALTHY: list[Callable[[Any], None]] = []
BROKEN: list[tuple[Callable[[Any], None], set[str]]] = []


def healthy(function: Callable[[Any], None]) -> Callable[[Any], None]:
    HEALTHY.append(function)
    return function


def broken(*codes: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    def mark(function: Callable[[Any], None]) -> Callable[[Any], None]:
        BROKEN.append((function, set(codes)))
        return function

    return mark


def text_rows() -> Any:
    return Dataset.from_dict({"text": TEXTS})


@healthy
def sft_with_peft_config(tmp: Any) -> None:
    trl.SFTTrainer(
        model=llama(),
        args=arguments(trl.SFTConfig, tmp),
        train_dataset=text_rows(),
        processing_class=tokenizer(),
        peft_config=lora(),
    ).train()


@healthy
def sft_with_a_peft_model(tmp: Any) -> None:
    model = get_peft_model(llama(), lora())
    args = arguments(trl.SFTConfig, tmp, gradient_accumulation_steps=2)
    trl.SFTTrainer(model=model, args=args, train_dataset=text_rows(), processing_class=tokenizer()).train()


@healthy
def sft_packed(tmp: Any) -> None:
    args = arguments(trl.SFTConfig, tmp, packing=True, max_length=16)
    trl.SFTTrainer(
        model=llama(), args=args, train_dataset=text_rows(), processing_class=tokenizer(), peft_config=lora()
    ).train()


@healthy
def sft_on_prompts_and_completions(tmp: Any) -> None:
    data = Dataset.from_dict({"prompt": TEXTS, "completion": [" lazy dog", " hello world"] * 12})
    args = arguments(trl.SFTConfig, tmp, completion_only_loss=True)
    trl.SFTTrainer(
        model=llama(), args=args, train_dataset=data, processing_class=tokenizer(), peft_config=lora()
    ).train()


@healthy
def dpo(tmp: Any) -> None:
    data = Dataset.from_dict({"prompt": TEXTS, "chosen": ["hello world"] * 24, "rejected": ["lazy dog"] * 24})
    args = arguments(trl.DPOConfig, tmp)
    trl.DPOTrainer(
        model=llama(), args=args, train_dataset=data, processing_class=tokenizer(), peft_config=lora()
    ).train()


@healthy
def grpo(tmp: Any) -> None:
    args = arguments(
        trl.GRPOConfig, tmp, num_generations=2, max_completion_length=4, per_device_train_batch_size=2, temperature=1.0
    )
    trl.GRPOTrainer(
        model=llama(),
        reward_funcs=lambda completions, **more: [float(i % 2) for i, _ in enumerate(completions)],
        args=args,
        train_dataset=Dataset.from_dict({"prompt": TEXTS}),
        processing_class=tokenizer(),
        peft_config=lora(),
    ).train()


@healthy
def trainer_with_evaluation(tmp: Any) -> None:
    model = get_peft_model(llama(), lora(lora_dropout=0.1))
    args = arguments(TrainingArguments, tmp, eval_strategy="steps", eval_steps=1, warmup_steps=2)
    Trainer(model=model, args=args, train_dataset=rows(), eval_dataset=rows(4)).train()


@healthy
def trainer_with_checkpointing_and_saving(tmp: Any) -> None:
    model = get_peft_model(llama(), lora())
    args = arguments(TrainingArguments, tmp, gradient_checkpointing=True, save_strategy="steps", save_steps=1)
    Trainer(model=model, args=args, train_dataset=rows()).train()


@healthy
def trainer_with_the_language_modeling_collator(tmp: Any) -> None:
    tok = tokenizer()
    data = text_rows().map(lambda row: tok(row["text"] + " </s>"), remove_columns=["text"])
    model = get_peft_model(llama(), lora())
    collator = DataCollatorForLanguageModeling(tok, mlm=False)
    args = arguments(TrainingArguments, tmp)
    Trainer(model=model, args=args, train_dataset=data, data_collator=collator).train()


@healthy
def seq2seq(tmp: Any) -> None:
    torch.manual_seed(0)
    config = T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=0)
    model = get_peft_model(
        T5ForConditionalGeneration(config), LoraConfig(r=4, target_modules=["q", "v"], task_type="SEQ_2_SEQ_LM")
    )
    Trainer(model=model, args=arguments(TrainingArguments, tmp), train_dataset=rows()).train()


@healthy
def quantized_in_8_bit(tmp: Any) -> None:
    _quantized(tmp, BitsAndBytesConfig(load_in_8bit=True))


@healthy
def quantized_in_4_bit(tmp: Any) -> None:
    _quantized(tmp, BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32))


def _quantized(tmp: Any, config: Any) -> None:
    pytest.importorskip("bitsandbytes")
    llama().save_pretrained(tmp / "base")
    model = AutoModelForCausalLM.from_pretrained(tmp / "base", quantization_config=config)
    model = get_peft_model(prepare_model_for_kbit_training(model), lora())
    Trainer(model=model, args=arguments(TrainingArguments, tmp), train_dataset=rows()).train()


@healthy
def resumed_training(tmp: Any) -> None:
    model = get_peft_model(llama(), lora())
    Trainer(
        model=model,
        args=arguments(TrainingArguments, tmp, save_strategy="steps", save_steps=2, max_steps=2),
        train_dataset=rows(),
    ).train()
    again = get_peft_model(llama(), lora())
    trainer = Trainer(model=again, args=arguments(TrainingArguments, tmp, max_steps=6), train_dataset=rows())
    trainer.train(resume_from_checkpoint=True)


@healthy
def neftune_and_label_smoothing(tmp: Any) -> None:
    model = get_peft_model(llama(), lora())
    args = arguments(TrainingArguments, tmp, neftune_noise_alpha=5, label_smoothing_factor=0.1)
    Trainer(model=model, args=args, train_dataset=rows()).train()


@broken("LL105")
def sft_on_an_adapter_loaded_for_inference(tmp: Any) -> None:
    get_peft_model(llama(), lora()).save_pretrained(tmp / "adapter")
    model = PeftModel.from_pretrained(llama(), tmp / "adapter")
    trl.SFTTrainer(
        model=model, args=arguments(trl.SFTConfig, tmp), train_dataset=text_rows(), processing_class=tokenizer()
    ).train()


@broken("LL104")
def prepared_after_injection(tmp: Any) -> None:
    pytest.importorskip("bitsandbytes")
    llama().save_pretrained(tmp / "base")
    config = BitsAndBytesConfig(load_in_8bit=True)
    model = AutoModelForCausalLM.from_pretrained(tmp / "base", quantization_config=config)
    model = prepare_model_for_kbit_training(get_peft_model(model, lora()))
    Trainer(model=model, args=arguments(TrainingArguments, tmp), train_dataset=rows()).train()


@broken("LL911")
def every_label_masked(tmp: Any) -> None:
    masked = rows().map(lambda row: {"labels": [-100] * len(row["input_ids"])})
    model = get_peft_model(llama(), lora())
    Trainer(model=model, args=arguments(TrainingArguments, tmp), train_dataset=masked).train()


@broken("LL404")
def end_token_is_padding(tmp: Any) -> None:
    tok = tokenizer()
    tok.pad_token = tok.eos_token
    data = text_rows().map(lambda row: tok(row["text"] + " </s>"), remove_columns=["text"])
    model = get_peft_model(llama(), lora())
    collator = DataCollatorForLanguageModeling(tok, mlm=False)
    args = arguments(TrainingArguments, tmp)
    Trainer(model=model, args=args, train_dataset=data, data_collator=collator).train()


@broken("LL303")
def zero_grad_in_training_step(tmp: Any) -> None:
    class Wiping(Trainer):
        def training_step(self, model: Any, *rest: Any, **more: Any) -> Any:
            model.zero_grad()
            return super().training_step(model, *rest, **more)

    model = get_peft_model(llama(), lora())
    args = arguments(TrainingArguments, tmp, gradient_accumulation_steps=4, max_steps=3)
    Wiping(model=model, args=args, train_dataset=rows(32)).train()


@broken("LL905")
def learning_rate_zero(tmp: Any) -> None:
    model = get_peft_model(llama(), lora())
    args = arguments(TrainingArguments, tmp, learning_rate=0.0)
    Trainer(model=model, args=args, train_dataset=rows()).train()


@broken("LL903", "LL301", "LL904")
def own_optimizer_of_the_base(tmp: Any) -> None:
    base = llama()
    optimizer = torch.optim.AdamW(base.parameters(), lr=1e-2)
    model = get_peft_model(base, lora())
    args = arguments(TrainingArguments, tmp)
    Trainer(model=model, args=args, train_dataset=rows(), optimizers=(optimizer, None)).train()


@broken("LL202", "LL201")
def compute_loss_that_detaches(tmp: Any) -> None:
    class Detaching(Trainer):
        def compute_loss(self, model: Any, inputs: Any, **more: Any) -> Any:
            return torch.tensor(model(**inputs).loss.item(), requires_grad=True)

    model = get_peft_model(llama(), lora())
    Detaching(model=model, args=arguments(TrainingArguments, tmp), train_dataset=rows()).train()


@broken("LL308")
def step_inside_training_step(tmp: Any) -> None:
    class Stepping(Trainer):
        def training_step(self, model: Any, inputs: Any, *more: Any) -> Any:
            loss = super().training_step(model, inputs, *more)
            self.optimizer.step()
            return loss

    model = get_peft_model(llama(), lora())
    Stepping(model=model, args=arguments(TrainingArguments, tmp), train_dataset=rows()).train()


def _weighted(features: list[dict[str, Any]]) -> dict[str, Any]:
    made = {key: torch.tensor([f[key] for f in features]) for key in ("input_ids", "labels")}
    return {**made, "labels": made["labels"] + int(sum(f.get("weight", 0) for f in features))}


@broken("LL407")
def collator_reads_a_dropped_column(tmp: Any) -> None:
    data = rows().add_column("weight", [0] * 16)
    model = get_peft_model(llama(), lora())
    Trainer(model=model, args=arguments(TrainingArguments, tmp), train_dataset=data, data_collator=_weighted).train()


@healthy
def collator_reads_a_kept_column(tmp: Any) -> None:
    data = rows().add_column("weight", [0] * 16)
    args = arguments(TrainingArguments, tmp, remove_unused_columns=False)
    Trainer(model=get_peft_model(llama(), lora()), args=args, train_dataset=data, data_collator=_weighted).train()


@pytest.mark.parametrize("program", HEALTHY, ids=lambda f: f.__name__)
def test_healthy(program: Callable[[Any], None], tmp_path: Any) -> None:
    with observe(steps=3, probes=True) as session:
        program(tmp_path)
    verdict = session.verdict
    assert not verdict.faults, verdict.faults[0]
    assert verdict.verdict == "PASS", session.text()
    assert not [f for f in verdict.findings if f.severity is not Severity.INFO], session.text()


@pytest.mark.parametrize(("program", "codes"), BROKEN, ids=lambda v: getattr(v, "__name__", ""))
def test_broken(program: Callable[[Any], None], codes: set[str], tmp_path: Any) -> None:
    with observe(steps=3) as session:
        program(tmp_path)
    verdict = session.verdict
    assert not verdict.faults, verdict.faults[0]
    hard = {f.code for f in verdict.findings if f.severity is not Severity.INFO}
    assert codes & hard, session.text()
