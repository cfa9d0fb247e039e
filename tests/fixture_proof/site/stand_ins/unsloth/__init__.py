"""What matters of unsloth for the order of imports: it replaces names of trl when it is imported, and says when it comes
late. Its kernels are not here; the trainer that it puts in place only says that it is one."""

from __future__ import annotations

import sys
import warnings
from typing import Any

_LATE = [name for name in ("trl", "transformers", "peft") if name in sys.modules]
if _LATE:
    warnings.warn(
        f"WARNING: Unsloth should be imported before {', '.join(_LATE)} to ensure all optimizations are applied.",
        stacklevel=2,
    )

import peft  # noqa: E402
import transformers  # noqa: E402
import trl  # noqa: E402


class UnslothSFTTrainer(trl.SFTTrainer):
    """The trainer that programs are to get under the name SFTTrainer."""

    def train(self, *args: Any, **kwargs: Any) -> Any:
        sys.stdout.write("Unsloth: optimized trainer in use\n")
        return super().train(*args, **kwargs)


trl.SFTTrainer = UnslothSFTTrainer


class FastLanguageModel:
    """The two entry points that programs call, without the optimizations."""

    @staticmethod
    def from_pretrained(model_name: str, max_seq_length: int = 2048, load_in_4bit: bool = True, **kwargs: Any) -> Any:
        """Model and tokenizer; nothing is quantized here."""
        model = transformers.AutoModelForCausalLM.from_pretrained(model_name, **kwargs)
        return model, transformers.AutoTokenizer.from_pretrained(model_name)

    @staticmethod
    def get_peft_model(
        model: Any, use_gradient_checkpointing: Any = "unsloth", random_state: int = 0, **kwargs: Any
    ) -> Any:
        """The model with an adapter."""
        return peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **kwargs))
