"""Runtime verification: does this run learn, and if not, why?

The names below are imported on first use, so that `import lora_lint.verify` does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lora_lint.verify.api import (
        NotLearning,
        assert_trains,
        ensure_adapters_trainable,
        gradient_report,
        observe,
    )
    from lora_lint.verify.callbacks import LightningVerify, VerifyCallback

_API = ("NotLearning", "assert_trains", "ensure_adapters_trainable", "gradient_report", "observe")
_CALLBACKS = ("LightningVerify", "VerifyCallback")

__all__ = [
    "LightningVerify",
    "NotLearning",
    "VerifyCallback",
    "assert_trains",
    "ensure_adapters_trainable",
    "gradient_report",
    "observe",
]


def __getattr__(name: str) -> Any:
    if name in _API:
        from lora_lint.verify import api

        return getattr(api, name)
    if name in _CALLBACKS:
        from lora_lint.verify import callbacks

        return getattr(callbacks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
