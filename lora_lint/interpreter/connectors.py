"""Modules that join the towers of a multimodal model: whether the adapters of a model reach into them."""

from __future__ import annotations

from typing import Any

from lora_lint.apis.tables import architectures
from lora_lint.interpreter.values import Const, SeqVal
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.vocabulary import ADAPTER_PARTS, ALL_PARTS, Tri


def free_of_adapters(model: Obj, module: str) -> bool:
    """Whether a module is one that joins two towers, and every adapter of the model certainly has its layers elsewhere:
    all of its targets are named, and none of them exists in there."""
    name = next((part for part in reversed(module.split(".")) if part in architectures().connectors), None)
    if name is None or not model.model.adapters or not model.model.adapters_known:
        return False
    layers = {name, *architectures().connectors[name]}
    return all(
        targets is not None and layers.isdisjoint(part for target in targets for part in target.split("."))
        for targets in (targets_of(adapter.config) for adapter in model.model.adapters)
    )


def thawed(model: Obj | None, args: dict[str, Any]) -> dict[str, Any]:
    """What a thaw of a submodule does: in a module that joins two towers, nothing to adapters that are all elsewhere."""
    if model is None or not model.path or not free_of_adapters(model, model.full_path):
        return args
    parts = args.get("parts")
    if parts is None:
        parts = dict.fromkeys(ALL_PARTS, args.get("value", Tri.YES))
    return {**args, "parts": {part: answer for part, answer in parts.items() if part not in ADAPTER_PARTS}}


def targets_of(config: Obj | None) -> list[str] | None:
    """The modules that a config names one by one, None when it does not."""
    found = config.facts.get("target_modules") if config is not None else None
    if not isinstance(found, SeqVal) or found.open or not found.items:
        return None
    texts = [item.value for item in found.items if isinstance(item, Const) and isinstance(item.value, str)]
    return texts if len(texts) == len(found.items) else None
