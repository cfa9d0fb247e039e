"""The program that is measured: a Llama of about 100 million parameters with LoRA, on the CPU.

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
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("steps", type=int)
    parser.add_argument("--paced", action="store_true")
    parser.add_argument("--size", choices=SIZES, default="100M")
    parser.add_argument("--tokens", type=int, default=64)
    given = parser.parse_args()
    torch.manual_seed(0)
    size = SIZES[given.size]
    config = LlamaConfig(**size, num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=1024)
    model = get_peft_model(
        LlamaForCausalLM(config), LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    out = os.fdopen(os.dup(1), "w", buffering=1)
    if given.paced:
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        out.write(f"{sum(p.numel() for p in model.parameters())} {trainable}\n")
    for step in range(given.steps):
        if given.paced and not sys.stdin.readline().strip():
            break
        cpu, wall = time.process_time(), time.perf_counter()
        ids = torch.randint(0, size["vocab_size"], (2, given.tokens), generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        if given.paced:
            out.write(f"{time.process_time() - cpu:.6f} {time.perf_counter() - wall:.6f}\n")


if __name__ == "__main__":
    main()
