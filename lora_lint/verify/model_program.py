"""The training program of `lora-lint verify --model`: loads a model, gives it an adapter, takes a few steps.

It runs in a child process under the same observation as a user's script, and knows nothing of it. What the user can mend
ends it with a Refusal, which the parent shows as one line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lora_lint.verify.job import ModelJob, lora_options
from lora_lint.verify.rows import Example, read_rows

_SHORT = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


class Refusal(Exception):  # noqa: N818 - not an error of the program
    """A mistake of the user's; the message is one line."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of model: transformers' class that loads it, and peft's task type."""

    loader: str
    task: str


_KINDS = {
    "causal": Kind("AutoModelForCausalLM", "CAUSAL_LM"),
    "seq2seq": Kind("AutoModelForSeq2SeqLM", "SEQ_2_SEQ_LM"),
    "sequence classification": Kind("AutoModelForSequenceClassification", "SEQ_CLS"),
    "token classification": Kind("AutoModelForTokenClassification", "TOKEN_CLS"),
    "vision language": Kind("AutoModelForImageTextToText", "CAUSAL_LM"),
}


def main(job: ModelJob) -> None:
    """Load, adapt, train."""
    import torch

    torch.manual_seed(job.seed)
    device = _device(job)
    torch.autograd.set_detect_anomaly(job.detect_anomaly)
    config = _config(job)
    name = _kind(job, config)
    model = _adapted(job, _load(job, _KINDS[name], device), name, device)
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=job.lr)
    amp = _dtype(job.amp_dtype)
    kind = torch.device(device).type
    scaler = torch.amp.GradScaler(kind, enabled=amp is torch.float16)
    for step, batch in enumerate(_batches(job, model, name)):
        optimizer.zero_grad()
        with torch.autocast(kind, dtype=amp, enabled=amp is not None):
            loss = model(**{name: value.to(device) for name, value in batch.items()}).loss
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        if job.clip_grad_norm:
            torch.nn.utils.clip_grad_norm_(model.parameters(), job.clip_grad_norm)
        if job.grad_log_interval and step < job.steps and step % job.grad_log_interval == 0:
            _log(step, model, float(loss.detach()))
        scaler.step(optimizer)
        scaler.update()


def _dtype(name: str) -> Any:
    import torch

    return getattr(torch, _SHORT.get(name, name)) if name else None


def _device(job: ModelJob) -> str:
    import torch

    if not job.device:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(job.device)
    except RuntimeError as error:
        raise Refusal(f"--device {job.device}: no such device; for example cuda, cuda:1, cpu") from error
    if kind.type == "cuda" and not torch.cuda.is_available():
        raise Refusal(f"--device {job.device}: torch {torch.__version__} sees no GPU here")
    if kind.type == "cuda" and (kind.index or 0) >= torch.cuda.device_count():
        raise Refusal(f"--device {job.device}: there are {torch.cuda.device_count()} GPUs here, counted from 0")
    return str(job.device)


# --- loading ---


@contextmanager
def _refusing(what: str, *kinds: type[Exception]) -> Iterator[None]:
    """Errors of a library about what the user gave become a Refusal with their first line."""
    try:
        yield
    except kinds as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise Refusal(f"{what}: {lines[0] if lines else type(error).__name__}") from error


def _config(job: ModelJob) -> Any:
    from transformers import AutoConfig

    hub = "" if Path(job.model).is_dir() else " is no folder here, nor to be had from the hub"
    with _refusing(f"--model {job.model}{hub}", OSError, ValueError):
        return AutoConfig.from_pretrained(job.model, trust_remote_code=job.trust_remote_code)


def _kind(job: ModelJob, config: Any) -> str:
    """What kind of model it is, by the class it was saved from."""
    saved = (getattr(config, "architectures", None) or [""])[0]
    if saved.endswith(("ForCausalLM", "LMHeadModel")) or not saved:
        return "causal"
    if saved.endswith("ForSequenceClassification"):
        return "sequence classification"
    if saved.endswith("ForTokenClassification"):
        return "token classification"
    if saved.endswith("ForConditionalGeneration"):
        if getattr(config, "vision_config", None) is not None:
            return "vision language"
        if getattr(config, "is_encoder_decoder", False) and not hasattr(config, "num_mel_bins"):
            return "seq2seq"
    raise Refusal(
        f"--model {job.model}: {saved} is not a kind that --model can try ({', '.join(_KINDS)}); "
        "verify a script that trains it instead"
    )


def _load(job: ModelJob, kind: Kind, device: str) -> Any:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    # transformers 5 calls it dtype; "auto" is its default, as it should have been: the dtype of the checkpoint.
    named = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
    dtype = _dtype(job.dtype)
    options: dict[str, Any] = {
        "trust_remote_code": job.trust_remote_code,
        "device_map": {"": device},
        named: dtype or "auto",
    }
    if job.quant == "4bit":
        options["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype or _dtype("bf16")
        )
    elif job.quant == "8bit":
        options["quantization_config"] = transformers.BitsAndBytesConfig(load_in_8bit=True)
    with _refusing(f"--model {job.model}", OSError, ValueError, ImportError):
        model = getattr(transformers, kind.loader).from_pretrained(job.model, **options)
    model.config.use_cache = False
    return model


def _adapted(job: ModelJob, model: Any, name: str, device: str) -> Any:
    from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training

    if job.quant:
        model = prepare_model_for_kbit_training(
            model,
            use_gradient_checkpointing=job.gradient_checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
        )
    elif job.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    if job.adapter:
        with _refusing(f"--adapter {job.adapter}", OSError, ValueError, RuntimeError):
            return PeftModel.from_pretrained(model, job.adapter, is_trainable=True)
    options = lora_options(job.lora)
    if name == "vision language" and options.get("target_modules") == "all-linear":
        options["exclude_modules"] = _unused_by_text(job, model, device)
    elif name == "token classification" and options.get("target_modules") == "all-linear":
        options["exclude_modules"] = ["classifier", "score"]  # peft trains a copy of the head
    try:
        return get_peft_model(model, LoraConfig(task_type=_KINDS[name].task, **options))
    except ValueError as error:
        raise Refusal(f"--lora {job.lora}: {str(error).splitlines()[0]} {_linear_layers(model)}") from error


def _linear_layers(model: Any) -> str:
    import torch

    names = sorted({path.rsplit(".", 1)[-1] for path, m in model.named_modules() if isinstance(m, torch.nn.Linear)})
    return f"(linear layers of this model: {', '.join(names)})"


def _unused_by_text(job: ModelJob, model: Any, device: str) -> list[str]:
    """Linear layers that a text without pictures does not run through: adapters there could not get a gradient."""
    import torch

    ran: set[str] = set()
    linear = {path: m for path, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    handles = [m.register_forward_hook(lambda *_, path=path: ran.add(path)) for path, m in linear.items()]
    try:
        with torch.no_grad():
            batch = next(_synthetic(job, model, "vision language"))
            model(**{name: value.to(device) for name, value in batch.items()})
    finally:
        for handle in handles:
            handle.remove()
    return [path for path in linear if path not in ran]


# --- data ---


def _batches(job: ModelJob, model: Any, name: str) -> Iterator[dict[str, Any]]:
    """Batches of the data, or of random tokens; one more than is watched, so that the end is ours to choose."""
    if job.data == "synthetic":
        yield from _synthetic(job, model, name)
        return
    rows = read_rows(Path(job.data), job.rows_needed)
    tokenizer = _tokenizer(job)
    for step in range(job.steps + 1):
        start = step * job.batch_size
        chosen = [rows[(start + i) % len(rows)] for i in range(job.batch_size)]
        yield _padded([_encoded(job, row, tokenizer, name, model) for row in chosen], tokenizer.pad_token_id)


def _tokenizer(job: ModelJob) -> Any:
    from transformers import AutoTokenizer

    with _refusing(f"--model {job.model}: --data needs its tokenizer", OSError, ValueError, ImportError):
        tokenizer = AutoTokenizer.from_pretrained(job.model, trust_remote_code=job.trust_remote_code)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def _encoded(job: ModelJob, row: Example, tokenizer: Any, name: str, model: Any) -> dict[str, list[int]]:
    """Tokens and labels of one row: the prompt carries no loss."""
    limit = _length(job, model)
    text = row.text
    if row.messages:
        if not getattr(tokenizer, "chat_template", None):
            raise Refusal(
                f"--data {job.data}: the rows are messages, but the tokenizer of {job.model} has no chat template"
            )
        text = str(tokenizer.apply_chat_template(list(row.messages), tokenize=False))
    if name in ("sequence classification", "token classification"):
        ids = tokenizer(row.prompt + text, truncation=True, max_length=limit)["input_ids"]
        return {"input_ids": ids, "labels": _classes(job, row, model, name, len(ids))}
    if name == "seq2seq":
        ids = tokenizer(row.prompt or text, truncation=True, max_length=limit)["input_ids"]
        return {"input_ids": ids, "labels": tokenizer(text, truncation=True, max_length=limit)["input_ids"]}
    given = tokenizer(row.prompt)["input_ids"] if row.prompt else []
    given = given[:-1] if given and given[-1] == tokenizer.eos_token_id else given
    ids = given + tokenizer(text, add_special_tokens=not given and not row.messages)["input_ids"]
    if tokenizer.eos_token_id is not None and ids[-1:] != [tokenizer.eos_token_id]:
        ids.append(tokenizer.eos_token_id)
    return {"input_ids": ids[:limit], "labels": [-100] * len(given[:limit]) + ids[len(given) : limit]}


def _classes(job: ModelJob, row: Example, model: Any, name: str, length: int) -> list[int]:
    number = int(model.config.num_labels)
    if name == "token classification":
        if isinstance(row.label, list) and all(isinstance(one, int) for one in row.label):
            return [*row.label[:length], *[-100] * max(0, length - len(row.label))]
        raise Refusal(f"--data {job.data}: a token classifier needs `labels`, a list of numbers from 0 to {number - 1}")
    if not isinstance(row.label, int) or not 0 <= row.label < number:
        raise Refusal(f"--data {job.data}: this classifier needs a `label` from 0 to {number - 1}, not {row.label!r}")
    return [row.label]


def _padded(rows: list[dict[str, list[int]]], pad: int) -> dict[str, Any]:
    import torch

    found = {}
    for key, filler in (("input_ids", pad), ("labels", -100)):
        longest = max(len(row[key]) for row in rows)
        found[key] = torch.tensor([row[key] + [filler] * (longest - len(row[key])) for row in rows])
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    found["attention_mask"] = (torch.arange(found["input_ids"].shape[1])[None] < lengths[:, None]).long()
    if all(len(row["labels"]) == 1 for row in rows):  # one class for each row
        found["labels"] = found["labels"][:, 0]
    return found


def _length(job: ModelJob, model: Any) -> int:
    """Tokens per row: no more than there are positions."""
    text = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    most = getattr(text, "max_position_embeddings", None)
    return min(job.seq_len, most) if isinstance(most, int) and most > 1 else job.seq_len


def _synthetic(job: ModelJob, model: Any, name: str) -> Iterator[dict[str, Any]]:
    """Random tokens. Not the last ones of the vocabulary, where placeholders for pictures live, nor the padding token."""
    import torch

    size = int(model.get_input_embeddings().weight.shape[0])
    special = {getattr(model.config, key, None) for key in ("pad_token_id", "image_token_id", "image_token_index")}
    allowed = torch.tensor([token for token in range(size) if token not in special])
    random = torch.Generator().manual_seed(job.seed)
    for _ in range(job.steps + 1):
        shape = (job.batch_size, _length(job, model))
        ids = allowed[torch.randint(0, len(allowed), shape, generator=random)]
        labels = ids.clone()
        if name in ("sequence classification", "token classification"):
            wanted = shape[:1] if name == "sequence classification" else shape
            labels = torch.randint(0, int(model.config.num_labels), wanted, generator=random)
        yield {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def _log(step: int, model: Any, loss: float) -> None:
    from lora_lint.verify.tensors import norms

    values = norms([p.grad for p in model.parameters() if p.grad is not None])
    total = sum(value**2 for value in values) ** 0.5
    sys.stdout.write(f"step {step + 1} loss {loss:.4f} grad norm {total:.4g}\n")


def run(words: list[str]) -> None:
    """Train as the JSON of the first word says."""
    given = json.loads(words[0])
    try:
        main(ModelJob(**{f.name: given[f.name] for f in fields(ModelJob) if f.name in given}))
    except Refusal:
        sys.tracebacklimit = 0
        raise


if __name__ == "__main__":
    run(sys.argv[1:])
