"""A pretended GPU, for the one question whether worker processes may touch CUDA.

Emulated: the answer of `torch.cuda.is_available()` to the program itself (libraries hear the truth, they would look
for kernels), and moves to `cuda`, which initialise CUDA and leave the data where it is. Not emulated: the verdict. A
process that was forked from one with CUDA initialised is a "bad fork" (libtorch sets that flag in a fork handler, so
do we), and the check and its exception are torch's own `_lazy_init`.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch

_bad_fork = False


def _mark_child() -> None:
    global _bad_fork
    _bad_fork = bool(torch.cuda._initialized)


def _touch() -> None:
    """Use CUDA once: the first use in a healthy process initialises it, torch's own code judges every other one."""
    if not torch.cuda._initialized and not _bad_fork:
        torch.cuda._initialized = True
    torch.cuda._lazy_init()


def _is_cuda(value: Any) -> bool:
    return (isinstance(value, str) and value.startswith("cuda")) or (
        isinstance(value, torch.device) and value.type == "cuda"
    )


_LIBRARIES = ("site-packages", os.path.join("lora_lint", "verify"))  # the observer is none of the program, either


def _is_available() -> bool:
    asking = sys._getframe(1).f_code.co_filename
    return not any(library in asking for library in _LIBRARIES)


def install() -> None:
    """Pretend one GPU in this process and in every process forked from it."""
    real_to = torch.Tensor.to

    def to(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if any(map(_is_cuda, args)) or _is_cuda(kwargs.get("device")):
            _touch()
            args = tuple("cpu" if _is_cuda(a) else a for a in args)
            if "device" in kwargs:
                kwargs["device"] = "cpu"
        return real_to(self, *args, **kwargs)

    def cuda(self: torch.Tensor, *_args: Any, **_kwargs: Any) -> torch.Tensor:
        _touch()
        return self

    torch.Tensor.to = to
    torch.Tensor.cuda = cuda
    torch.cuda.is_available = _is_available
    torch.cuda._is_in_bad_fork = lambda: _bad_fork
    os.register_at_fork(after_in_child=_mark_child)
