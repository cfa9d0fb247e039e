"""Installs all hooks, once per process."""

from __future__ import annotations

import os
from types import ModuleType

from lora_lint.verify import hooks_hf, hooks_peft, uploads
from lora_lint.verify.config import Observation
from lora_lint.verify.hooks_torch import patch_fsdp1, patch_fsdp2, patch_torch
from lora_lint.verify.patching import Patcher, PostImport
from lora_lint.verify.slot import Slot
from lora_lint.verify.watch import Watch


def _inactive() -> Watch:
    watch = Watch(Observation(folder="", cwd=os.getcwd()))
    watch.recorder.active = False
    watch.recorder.quiet = 1
    return watch


# One per process, like the patched libraries themselves.
slot = Slot(_inactive())
_installed: list[PostImport] = []


_more: dict[str, Patcher] = {}


def also(name: str, patch: object) -> None:
    """Patch one more module when the hooks are installed."""
    _more[name] = _bound(patch)


def _torch(module: ModuleType) -> None:
    patch_torch(slot, module)
    if slot.current.recorder.active:
        slot.current.start(module)


def _bound(patch: object) -> Patcher:
    return lambda module: patch(slot, module)  # type: ignore[operator]


def install_hooks() -> None:
    """Patch torch, peft, transformers and accelerate: what is imported already now, the rest after its import."""
    if _installed:
        return
    patchers: dict[str, Patcher] = {
        "torch": _torch,
        "torch.distributed.fsdp.fully_sharded_data_parallel": _bound(patch_fsdp1),
        "torch.distributed.fsdp": _bound(patch_fsdp2),
    }
    for table in (hooks_peft.PATCHERS, hooks_hf.PATCHERS, uploads.PATCHERS):
        patchers.update({name: _bound(patch) for name, patch in table.items()})
    patchers.update(_more)
    finder = PostImport(patchers)
    _installed.append(finder)
    finder.install()
