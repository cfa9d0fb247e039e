"""The training program of `lora-lint verify --model`: loads a model, gives it an adapter, takes a few steps.

It runs in a child process under the same observation as a user's script, and knows nothing of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class ModelJob:
    """What to load and how to train it. lora: options of LoraConfig. quant: "", "4bit" or "8bit". data: a JSON-lines
    file with `text`, `prompt` + `completion` or `messages`, or "synthetic". grad_log_interval: print norms every n
    steps."""

    model: str
    adapter: str = ""
    lora: str = "r=16,alpha=32,target=all-linear"
    quant: str = ""
    dtype: str = ""
    amp_dtype: str = ""
    data: str = "synthetic"
    steps: int = 3
    batch_size: int = 2
    seq_len: int = 512
    lr: float = 1e-4
    seed: int = 0
    device: str = ""
    clip_grad_norm: float = 0.0
    grad_log_interval: int = 0
    detect_anomaly: bool = False
    gradient_checkpointing: bool = False
    trust_remote_code: bool = False


def lora_options(text: str) -> dict[str, Any]:
    """Options of LoraConfig from "r=16,alpha=32,target=q_proj+v_proj,dropout=0.05". Raises ValueError on an unknown
    one."""
    names = {"alpha": "lora_alpha", "target": "target_modules", "dropout": "lora_dropout", "save": "modules_to_save"}
    found: dict[str, Any] = {}
    for pair in filter(None, text.split(",")):
        key, sign, value = pair.partition("=")
        name = names.get(key.strip(), key.strip())
        if not sign or name not in {*names.values(), "r", "use_dora", "use_rslora", "bias"}:
            raise ValueError(
                f"--lora: {pair!r} is not one of r, alpha, target, dropout, save, use_dora, use_rslora, bias"
            )
        if name in ("target_modules", "modules_to_save"):
            found[name] = value if value == "all-linear" else value.split("+")
        elif name == "bias":
            found[name] = value
        elif name.startswith("use_"):
            found[name] = value.lower() in ("1", "true", "yes")
        else:
            found[name] = float(value) if name == "lora_dropout" else int(value)
    return found


def main(job: ModelJob) -> None:
    """Load, adapt, train."""
    import torch

    torch.manual_seed(job.seed)
    device = job.device or ("cuda" if torch.cuda.is_available() else "cpu")
    torch.autograd.set_detect_anomaly(job.detect_anomaly)
    model = _adapted(job, _load(job, device), device)
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=job.lr)
    amp = getattr(torch, job.amp_dtype) if job.amp_dtype else None
    kind = torch.device(device).type
    scaler = torch.amp.GradScaler(kind, enabled=amp is torch.float16)
    for step, batch in enumerate(_batches(job, model)):
        optimizer.zero_grad()
        with torch.autocast(kind, dtype=amp, enabled=amp is not None):
            loss = model(**{name: value.to(device) for name, value in batch.items()}).loss
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        if job.clip_grad_norm:
            torch.nn.utils.clip_grad_norm_(model.parameters(), job.clip_grad_norm)
        if job.grad_log_interval and step % job.grad_log_interval == 0:
            _log(step, model, float(loss.detach()))
        scaler.step(optimizer)
        scaler.update()


def _dtype(name: str) -> Any:
    import torch

    short = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
    return getattr(torch, short.get(name, name)) if name else None


def _load(job: ModelJob, device: str) -> Any:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    options: dict[str, Any] = {"trust_remote_code": job.trust_remote_code, "device_map": {"": device}}
    dtype = _dtype(job.dtype)
    if dtype is not None:
        options["torch_dtype"] = dtype
    if job.quant == "4bit":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype or _dtype("bf16")
        )
    elif job.quant == "8bit":
        options["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True)
    model = AutoModelForCausalLM.from_pretrained(job.model, **options)
    model.config.use_cache = False
    return model


def _adapted(job: ModelJob, model: Any, device: str) -> Any:
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
        return PeftModel.from_pretrained(model, job.adapter, is_trainable=True)
    return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **lora_options(job.lora)))


def _batches(job: ModelJob, model: Any) -> Iterator[dict[str, Any]]:
    """`steps` batches of the data, or of random tokens; one more than is watched, so that the end is ours to choose."""
    if job.data == "synthetic":
        yield from _synthetic(job, model)
        return
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job.model, trust_remote_code=job.trust_remote_code)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    with open(job.data, encoding="utf-8") as stream:
        texts = [_text(json.loads(line), tokenizer) for line in stream if line.strip()]
    for step in range(job.steps + 1):
        start = step * job.batch_size
        chosen = [texts[(start + i) % len(texts)] for i in range(job.batch_size)]
        batch = tokenizer(chosen, return_tensors="pt", padding=True, truncation=True, max_length=job.seq_len)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        yield {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "labels": labels}


def _synthetic(job: ModelJob, model: Any) -> Iterator[dict[str, Any]]:
    import torch

    size = model.get_input_embeddings().weight.shape[0]
    random = torch.Generator().manual_seed(job.seed)
    for _ in range(job.steps + 1):
        ids = torch.randint(0, size, (job.batch_size, job.seq_len), generator=random)
        yield {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}


def _text(row: dict[str, Any], tokenizer: Any) -> str:
    if "messages" in row:
        return str(tokenizer.apply_chat_template(row["messages"], tokenize=False))
    if "text" in row:
        return str(row["text"])
    if "prompt" in row:
        return f"{row['prompt']}{row.get('completion', row.get('response', ''))}"
    raise ValueError(f"a row needs text, prompt + completion or messages; this one has {', '.join(row)}")


def _log(step: int, model: Any, loss: float) -> None:
    from lora_lint.verify.tensors import norms

    values = norms([p.grad for p in model.parameters() if p.grad is not None])
    total = sum(value**2 for value in values) ** 0.5
    sys.stdout.write(f"step {step + 1} loss {loss:.4f} grad norm {total:.4g}\n")


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    main(ModelJob(**{f.name: given[f.name] for f in fields(ModelJob) if f.name in given}))
