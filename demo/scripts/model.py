"""A small language model, its data, and the adapter's configuration: shared by the scripts beside it."""

import torch
from peft import LoraConfig
from transformers import LlamaConfig, LlamaForCausalLM

VOCABULARY = 128


def build_base(seed: int = 0):
    """A tiny Llama with random weights, so that the scripts run anywhere, offline, in seconds."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(config)


def lora_config(rank: int = 8):
    """LoRA on the attention projections."""
    return LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
        lora_dropout=0.05,
        task_type="CAUSAL_LM",
    )


class Countdown(torch.utils.data.Dataset):
    """Sequences that count down: something that a tiny model can learn."""

    def __init__(self, size: int = 64, length: int = 24):
        generator = torch.Generator().manual_seed(1)
        starts = torch.randint(length, VOCABULARY, (size,), generator=generator)
        self.rows = starts[:, None] - torch.arange(length)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return {"input_ids": self.rows[index], "labels": self.rows[index]}
