"""What needs a GPU: verify of an 8B Llama with LoRA in bf16 and 4 bit, its overhead, and facts about CUDA.

    python benchmarks/gpu_verify.py facts      what the API specs assume of CUDA, each tried out
    python benchmarks/gpu_verify.py verify     `lora-lint verify --model` in bf16 and in 4 bit: time, verdict, memory
    python benchmarks/gpu_verify.py overhead   plain and observed steps in turns, two processes on one GPU
    python benchmarks/gpu_verify.py all

A model with random weights of the given --size is written to --folder first (16 GB for 8B) and stays there.
`--size tiny --device cpu` tries the script itself where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from overhead import environment, steps
from trainee import base_of, config_of


def saved(folder: Path, size: str, device: str) -> Path:
    """The model's folder, made on first use."""
    place = folder / f"llama-{size}"
    if not (place / "config.json").exists():
        start = time.perf_counter()
        base_of(size, device, torch.bfloat16).save_pretrained(place, max_shard_size="4GB")
        print(f"model written to {place} in {time.perf_counter() - start:.0f} s")
    return place


def verified(folder: Path, size: str, device: str, tokens: int) -> None:
    """A verdict for bf16 and for 4 bit."""
    place = saved(folder, size, device)
    if device == "cuda":
        torch.cuda.empty_cache()
    for name, options in (("bf16", ["--dtype", "bf16"]), ("4bit", ["--dtype", "bf16", "--quant", "4bit"])):
        words = [sys.executable, "-m", "lora_lint", "verify", "--model", str(place), "--device", device, *options]
        words += ["--batch-size", "2", "--seq-len", str(tokens), "--gradient-checkpointing", "--format", "json"]
        start = time.perf_counter()
        done = subprocess.run(words, env=environment(None), capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        if done.returncode == 2 and not done.stdout:
            print(f"{name}: {done.stderr.strip()}")
            continue
        report = json.loads(done.stdout)
        peak = max(report["memory_mb"], default=0)
        print(
            f"{name}: {report['verdict']} in {seconds:.1f} s ({report['steps']} steps, peak {peak:.0f} MB, "
            f"steps at {report['step_seconds']} s) {report['chain']} {[f['code'] for f in report['findings']]}"
        )
        print(f"  memory after each step: {report['memory_mb']} MB")


# --- facts ---


def kept_identity(device: str) -> str:
    """Does `.to("cuda")` keep the Parameter objects, so that an optimizer made before goes on holding them?"""
    model = torch.nn.Linear(4, 4)
    before = [id(p) for p in model.parameters()]
    model.to(device)
    return "kept" if before == [id(p) for p in model.parameters()] else "replaced"


def scaler_with_bf16(device: str) -> str:
    """What does GradScaler do with bf16 parameters?"""
    model = torch.nn.Linear(4, 4, device=device, dtype=torch.bfloat16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler(device)
    before = model.weight.detach().clone()
    try:
        scaler.scale(model(torch.ones(2, 4, device=device, dtype=torch.bfloat16)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    except (RuntimeError, NotImplementedError, ValueError) as error:
        return f"raises {type(error).__name__}: {error}"
    return "steps" if not torch.equal(before, model.weight) else "skips the step"


def _touch() -> None:
    try:
        torch.zeros(1, device="cuda")
    except RuntimeError as error:
        print(f"  in the child: {type(error).__name__}: {error}", flush=True)
        sys.exit(3)


def fork_with_cuda(device: str) -> str:
    """What does a forked child that touches CUDA see?"""
    if device != "cuda":
        return "not tried without CUDA"
    torch.zeros(1, device="cuda")
    child = multiprocessing.get_context("fork").Process(target=_touch)
    child.start()
    child.join(60)
    return f"the child's exit code is {child.exitcode}"


def refreeze_in_4bit(device: str) -> str:
    """Are a 4-bit base's parameters frozen after prepare_model_for_kbit_training, and does a thaw of one raise?"""
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from transformers import BitsAndBytesConfig, LlamaForCausalLM

    folder = Path(os.environ.get("TMPDIR", "/tmp")) / "lora-lint-gpu-tiny"
    LlamaForCausalLM(config_of("tiny")).save_pretrained(folder)
    quantized = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model = LlamaForCausalLM.from_pretrained(folder, quantization_config=quantized, device_map={"": device})
    prepared = prepare_model_for_kbit_training(model)
    thawed = sum(p.requires_grad for p in prepared.parameters())
    adapted = get_peft_model(prepared, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    prepare_model_for_kbit_training(adapted)
    left = sum(p.requires_grad for p in adapted.parameters())
    packed = next(p for p in adapted.parameters() if not p.is_floating_point())
    try:
        packed.requires_grad_(True)
        thaw = "can be thawed"
    except RuntimeError as error:
        thaw = f"cannot be thawed: {error}"
    return f"{thawed} trainable after prepare; {left} trainable when prepared again after the injection; packed {thaw}"


FACTS: tuple[Callable[[str], str], ...] = (kept_identity, scaler_with_bf16, fork_with_cuda, refreeze_in_4bit)


def facts(device: str) -> None:
    for fact in FACTS:
        print(f"{fact.__name__}: {fact(device)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["facts", "verify", "overhead", "all"])
    parser.add_argument("--size", choices=["8B", "100M", "tiny"], default="8B")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("TMPDIR", "/tmp")))
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=23)
    given: Any = parser.parse_args()
    name = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}")
    if given.what in ("facts", "all"):
        facts(given.device)
    if given.what in ("overhead", "all"):
        precision = "bfloat16" if given.device == "cuda" else "float32"
        steps(given.rounds, given.tokens, "--size", given.size, "--device", given.device, "--dtype", precision)
    if given.what in ("verify", "all"):
        verified(given.folder, given.size, given.device, given.tokens)


if __name__ == "__main__":
    main()
