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
        found["cores"] = os.cpu_count() or 1
        group = sys.modules.get("torch.distributed")
        if group is not None and group.is_available():
            found["group"] = group.is_initialized()
        found["unused_gpu"] = _unused_gpu(torch)
    found["remarks"] = remarks(found)
    return found


def remarks(found: dict[str, Any]) -> list[str]:
    """What looks wrong in an environment."""
    variables = found["variables"]
    said = []
    if variables.get("CUDA_VISIBLE_DEVICES") == "" or variables.get("CUDA_VISIBLE_DEVICES") == "-1":
        said.append("CUDA_VISIBLE_DEVICES hides every GPU")
    world = variables.get("WORLD_SIZE", "1")
    if world not in ("", "1") and not {"MASTER_ADDR", "MASTER_PORT"} <= set(variables):
        said.append(f"WORLD_SIZE is {world}, but MASTER_ADDR or MASTER_PORT is missing")
    if world not in ("", "1") and "RANK" not in variables:
        said.append(f"WORLD_SIZE is {world}, but RANK is missing: every process takes itself for the first")
    rank = variables.get("RANK", "")
    if rank.isdigit() and world.isdigit() and int(rank) >= int(world):
        said.append(f"RANK is {rank}, but WORLD_SIZE is {world}: ranks count from 0")
    if world not in ("", "1") and found.get("group") is False:
        said.append(f"WORLD_SIZE is {world}, but no process group was made: every process trains alone")
    if found.get("unused_gpu"):
        said.append(f"there is an NVIDIA GPU here, but {found['unused_gpu']}")
    threads = variables.get("OMP_NUM_THREADS", "")
    if threads.isdigit() and int(threads) > found.get("cores", int(threads)):
        said.append(f"OMP_NUM_THREADS is {threads} on {found['cores']} cores: the threads are in each other's way")
    if threads == "1" and world in ("", "1") and not found["devices"]:
        said.append("OMP_NUM_THREADS is 1: torch uses one core on this CPU")
    for device in found["devices"]:
        if device["free_gb"] < 0.05 * device["total_gb"]:
            said.append(f"{device['name']} has only {device['free_gb']} GB free")
    if found.get("start_method") == "fork" and found["devices"]:
        said.append("processes are started with fork while CUDA is in use: workers must not touch it")
    return said


def _unused_gpu(torch: ModuleType) -> str:
    """Why torch does not see a GPU that the system has, "" when there is none or it is seen."""
    if not os.path.exists("/dev/nvidia0") or torch.cuda.is_available():
        return ""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return ""  # on purpose, and said already
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return f"torch {torch.__version__} (CUDA {torch.version.cuda}) cannot use it: is the driver too old?"


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
