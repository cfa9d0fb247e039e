"""The program that is measured: a Llama with LoRA, by default of about 100 million parameters and on the CPU.

trainee.py STEPS           trains and ends
trainee.py STEPS --paced   waits for a line on stdin before each step and answers with its CPU and wall seconds
"""

from __future__ import annotations

import argparse
import os
import sys
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

SIZES = {
    "100M": {"vocab_size": 32000, "hidden_size": 640, "intermediate_size": 1728, "num_hidden_layers": 12},
    "tiny": {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2},
    "8B": {"vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32},
}
HEADS = {"8B": (32, 8)}


def config_of(name: str) -> LlamaConfig:
    """The architecture of a size."""
    heads, groups = HEADS.get(name, (4, 4))
    return LlamaConfig(
        **SIZES[name], num_attention_heads=heads, num_key_value_heads=groups, max_position_embeddings=8192
    )


def base_of(name: str, device: str, dtype: torch.dtype) -> LlamaForCausalLM:
    """A model with random weights, made on the device."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return LlamaForCausalLM(config_of(name))
    finally:
        torch.set_default_dtype(before)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("steps", type=int)
    parser.add_argument("--paced", action="store_true")
    parser.add_argument("--size", choices=SIZES, default="100M")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    given = parser.parse_args()
    torch.manual_seed(0)
    size = SIZES[given.size]
    base = base_of(given.size, given.device, getattr(torch, given.dtype))
    model = get_peft_model(base, LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    out = os.fdopen(os.dup(1), "w", buffering=1)
    if given.paced:
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        out.write(f"{sum(p.numel() for p in model.parameters())} {trainable}\n")
    for step in range(given.steps):
        if given.paced and not sys.stdin.readline().strip():
            break
        cpu, wall = now(given.device)
        ids = torch.randint(0, size["vocab_size"], (2, given.tokens), generator=torch.Generator().manual_seed(step))
        ids = ids.to(given.device)
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        if given.paced:
            later = now(given.device)
            out.write(f"{later[0] - cpu:.6f} {later[1] - wall:.6f}\n")
    if given.paced and given.device != "cpu":
        out.write(f"{torch.cuda.max_memory_allocated()}\n")


def now(device: str) -> tuple[float, float]:
    """CPU and wall seconds, when the device has done its work."""
    if device != "cpu":
        torch.cuda.synchronize()
    return time.process_time(), time.perf_counter()


if __name__ == "__main__":
    main()
