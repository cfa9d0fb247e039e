"""The environment of an observed process: versions, variables, devices."""

from __future__ import annotations

import os
import platform
import sys
from types import ModuleType
from typing import Any

VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "TOKENIZERS_PARALLELISM",
    "OMP_NUM_THREADS",
    "PYTORCH_CUDA_ALLOC_CONF",
    "NCCL_DEBUG",
    "HF_HUB_OFFLINE",
    "ACCELERATE_USE_FSDP",
    "ACCELERATE_USE_DEEPSPEED",
    "ACCELERATE_MIXED_PRECISION",
)
LIBRARIES = (
    "torch",
    "transformers",
    "peft",
    "trl",
    "accelerate",
    "bitsandbytes",
    "datasets",
    "diffusers",
    "lightning",
    "deepspeed",
)


def of_process(torch: ModuleType | None) -> dict[str, Any]:
    """What the process runs on. Only libraries that it imported are named."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "executable": sys.executable,
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "versions": {name: _version(name) for name in LIBRARIES if name in sys.modules},
        "devices": [],
    }
    if torch is not None:
        import multiprocessing

        found["start_method"] = multiprocessing.get_start_method(allow_none=True) or "default"
        found["threads"] = torch.get_num_threads()
        found["devices"] = _devices(torch)
    return found


def _version(name: str) -> str:
    return str(getattr(sys.modules[name], "__version__", "unknown"))


def _devices(torch: ModuleType) -> list[dict[str, Any]]:
    if not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        found.append(
            {
                "name": torch.cuda.get_device_name(index),
                "free_gb": round(free / 2**30, 1),
                "total_gb": round(total / 2**30, 1),
            }
        )
    return found
