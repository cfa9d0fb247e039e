"""Modules that join the towers of a multimodal model, single embeddings and heads: whether the adapters of a model reach into
them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from lora_lint.apis.tables import architectures
from lora_lint.interpreter.regexes import compiled
from lora_lint.interpreter.values import NONE, Const, SeqVal, is_none
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.vocabulary import ADAPTER_PARTS, ALL_PARTS, Tri

_KEYWORDS = ("all-linear",)  # of peft: no regular expressions
_ROOTS = ("", "model.", "base_model.")  # what may stand in front of a module that the user names by itself


def free_of_adapters(model: Obj, module: str) -> bool:
    """Whether a module is one that joins two towers, or one embedding or head over the vocabulary, and every adapter
    of the model certainly has its layers elsewhere: all of its targets are named, and none of them exists in there."""
    if not model.model.adapters or not model.model.adapters_known:
        return False
    known, parts = architectures(), module.split(".")
    name = next((part for part in reversed(parts) if part in known.connectors), None)
    if name is None and (parts[-1] not in known.single_layers or any(_copies(a.config) for a in model.model.adapters)):
        return False
    inside = known.connectors[name] if name is not None else ()
    layers = {name, *inside} if name is not None else {parts[-1]}
    return all(_are_elsewhere(adapter.config, module, layers, inside) for adapter in model.model.adapters)


def _are_elsewhere(config: Obj | None, module: str, layers: set[str], inside: Iterable[str]) -> bool:
    """Whether no target of an adapter is one of these layers, or a layer inside the module."""
    pattern = pattern_of(config)
    if pattern is not None:
        steps = ["", *(f".{one}" for one in inside), *(f".{one}.{other}" for one in inside for other in inside)]
        return not any(pattern.fullmatch(f"{root}{module}{step}") for root in _ROOTS for step in steps)
    targets = targets_of(config)
    return targets is not None and layers.isdisjoint(part for target in targets for part in target.split("."))


def _copies(config: Obj | None) -> bool:
    """Whether an adapter may have modules or rows of an embedding of its own."""
    own = ("modules_to_save", "trainable_token_indices")
    return config is None or any(not is_none(config.facts.get(name) or NONE) for name in own)


def thawed(model: Obj | None, args: dict[str, Any]) -> dict[str, Any]:
    """What a thaw of a submodule does: in a module that joins two towers, nothing to adapters that are all elsewhere."""
    if model is None or not model.path or not free_of_adapters(model, model.full_path):
        return args
    parts = args.get("parts")
    if parts is None:
        parts = dict.fromkeys(ALL_PARTS, args.get("value", Tri.YES))
    return {**args, "parts": {part: answer for part, answer in parts.items() if part not in ADAPTER_PARTS}}


def pattern_of(config: Obj | None) -> re.Pattern[str] | None:
    """The regular expression that a config gives for its targets: peft takes the modules whose whole path it matches. None
    when it gives none that can be tried."""
    found = config.facts.get("target_modules") if config is not None else None
    return compiled(found) if isinstance(found, Const) and found.value not in _KEYWORDS else None


def targets_of(config: Obj | None) -> list[str] | None:
    """The modules that a config names one by one, None when it does not."""
    found = config.facts.get("target_modules") if config is not None else None
    if not isinstance(found, SeqVal) or found.open or not found.items:
        return None
    texts = [item.value for item in found.items if isinstance(item, Const) and isinstance(item.value, str)]
    return texts if len(texts) == len(found.items) else None
