"""What `lora-lint verify --model` is asked to try, checked as far as that goes without torch."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_lint.errors import InputError
from lora_lint.verify.rows import read_rows

NEEDED = ("torch", "transformers", "peft")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_LORA = {
    "r": "r",
    "rank": "r",
    "alpha": "lora_alpha",
    "lora_alpha": "lora_alpha",
    "target": "target_modules",
    "targets": "target_modules",
    "target_modules": "target_modules",
    "dropout": "lora_dropout",
    "lora_dropout": "lora_dropout",
    "save": "modules_to_save",
    "modules_to_save": "modules_to_save",
    "bias": "bias",
    "dora": "use_dora",
    "use_dora": "use_dora",
    "rslora": "use_rslora",
    "use_rslora": "use_rslora",
}
_LISTS = ("target_modules", "modules_to_save")


@dataclass(frozen=True, slots=True)
class ModelJob:
    """What to load and how to train it. lora: options of LoraConfig. quant: "", "4bit" or "8bit". data: a JSON-lines
    file, or "synthetic". grad_log_interval: print norms every n steps."""

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

    @property
    def rows_needed(self) -> int:
        """How many rows of the data the steps use; there is one step more than is watched, so that the end is ours."""
        return (self.steps + 1) * self.batch_size


def lora_options(text: str) -> dict[str, Any]:
    """Options of LoraConfig from "r=16,alpha=32,target=q_proj+v_proj,dropout=0.05". Raises InputError with what is wrong
    with it."""
    found: dict[str, Any] = {}
    name = ""
    for pair in filter(None, (part.strip() for part in text.split(","))):
        key, sign, value = (part.strip() for part in pair.partition("="))
        if not sign and name in _LISTS and isinstance(found[name], list):
            found[name].append(pair)  # target=q_proj,v_proj
            continue
        name = _LORA.get(key, "")
        if not sign or not name:
            names = "r, alpha, target, dropout, save, bias, dora, rslora"
            raise InputError(f"--lora: {pair!r} is none of {names}; for example r=16,alpha=32,target=q_proj+v_proj")
        found[name] = _value(name, value, pair)
    return found


def _value(name: str, value: str, pair: str) -> Any:
    if name in _LISTS:
        return value if value == "all-linear" else [part for part in re.split(r"[+|;]", value) if part]
    if name == "bias":
        if value not in ("none", "all", "lora_only"):
            raise InputError(f"--lora: {pair}: bias is none, all or lora_only")
        return value
    if name.startswith("use_"):
        if value.lower() not in ("1", "true", "yes", "0", "false", "no"):
            raise InputError(f"--lora: {pair}: true or false is wanted")
        return value.lower() in ("1", "true", "yes")
    try:
        number = float(value) if name == "lora_dropout" else int(value)
    except ValueError as error:
        wanted = "a number" if name == "lora_dropout" else "a whole number"
        raise InputError(f"--lora: {pair}: {wanted} is wanted") from error
    if (name == "r" and number < 1) or (name == "lora_dropout" and not 0 <= number < 1):
        raise InputError(f"--lora: {pair}: {'1 or more' if name == 'r' else 'from 0 to below 1'} is wanted")
    return number


def check_job(job: ModelJob) -> None:
    """Raise InputError for what can be seen to be wrong before minutes of loading."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"--model needs {', '.join(missing)}: pip install 'lora-lint[verify]'")
    if job.quant and importlib.util.find_spec("bitsandbytes") is None:
        raise InputError("--quant needs bitsandbytes: pip install bitsandbytes")
    _check_folder("--model", job.model, "config.json")
    if job.adapter:
        _check_folder("--adapter", job.adapter, "adapter_config.json")
    lora_options(job.lora)
    if job.data != "synthetic":
        read_rows(Path(job.data), job.rows_needed)


def _check_folder(option: str, value: str, file: str) -> None:
    """A folder with the file in it, or what may be an id on the hub."""
    path = Path(value)
    if path.is_dir():
        if (path / file).is_file():
            return
        other = "adapter_config.json" if file == "config.json" else "config.json"
        hint = ""
        if (path / other).is_file():
            hint = ": that is an adapter, give its base with --model and it with --adapter" * (option == "--model")
            hint = hint or ": that is a whole model, not an adapter"
        raise InputError(f"{option} {value}: there is no {file} in this folder{hint}")
    if path.exists():
        raise InputError(f"{option} {value}: a folder is wanted, this is a file")
    if not _HUB_ID.fullmatch(value) or value.startswith((".", "/", "~")):
        raise InputError(f"{option} {value}: no such folder")
