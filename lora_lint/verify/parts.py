"""Which parameter of a live model belongs to what: adapter, trained copy, head, norm, embedding, base."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lora_lint.lifecycle.vocabulary import Part

# Names of adapter parameters written by hand or by libraries whose layers do not say so themselves.
_ADAPTER_NAME = re.compile(
    r"(^|[._])(lora|loha|lokr|hada|ia3|vera|adapters?|adaption|prompt|prefix)([._]|$|[AB]\b)", re.IGNORECASE
)
_HEAD_NAME = re.compile(
    r"(^|\.)(lm_head|score|classifier|classification_head|qa_outputs|v_head|value_head|fc|head|cls)(\.|$)"
)
_NORM_NAME = re.compile(r"(^|[._])(norm|ln|layernorm|layer_norm|rmsnorm|ln_f|ln_\d|bn\d*)([._]|$|\d)", re.IGNORECASE)
_EMBED_NAME = re.compile(r"(^|[._])(embed|embeddings?|embed_tokens|wte|wpe|shared)([._]|$)", re.IGNORECASE)


@dataclass(eq=False, slots=True)
class Row:
    """One parameter of a model. layer, module: path and module that own it; for adapters those of the adapted
    module."""

    name: str
    parameter: Any
    part: Part
    adapter: str
    layer: str
    module: Any


def walk(root: Any) -> Iterator[Row]:
    """Every parameter of a module once, in the order of its modules."""
    places = _adapter_places(root)
    prompts = _is_peft(root)
    seen: set[int] = set()
    for path, module in root.named_modules():
        for key, parameter in module._parameters.items():
            if parameter is None or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            name = f"{path}.{key}" if path else key
            part, adapter, layer, owner = _classify(name, path, module, places, prompts)
            yield Row(name, parameter, part, adapter, layer, owner)


def _is_peft(root: Any) -> bool:
    return any(kind.__name__ == "PeftModel" for kind in type(root).__mro__)


def adapter_layers(root: Any) -> list[tuple[str, Any]]:
    """The adapted modules: path and the layer that holds the adapters."""
    return [(path, m) for path, m in root.named_modules() if getattr(m, "adapter_layer_names", None)]


Places = dict[str, tuple[str, Part, Any]]


def is_copy(layer: Any) -> bool:
    """Whether an adapter layer is a ModulesToSaveWrapper, which holds a trained copy of a module."""
    return any(kind.__name__ == "ModulesToSaveWrapper" for kind in type(layer).__mro__)


def _adapter_places(root: Any) -> Places:
    """Prefixes of parameter names that are adapters: path of the adapted module, the part, the adapted module."""
    places: Places = {}
    for path, layer in adapter_layers(root):
        copies = is_copy(layer)
        for attribute in layer.adapter_layer_names:
            prefix = f"{path}.{attribute}" if path else attribute
            places[prefix] = (path, Part.COPY if copies else Part.ADAPTER, layer)
    return places


def _classify(name: str, path: str, module: Any, places: Places, peft: bool) -> tuple[Part, str, str, Any]:
    steps = name.split(".")
    for end in range(len(steps) - 1, 0, -1):
        found = places.get(".".join(steps[:end]))
        if found is not None:
            return found[1], steps[end], found[0], found[2]
    if peft and steps[0] == "prompt_encoder" and len(steps) > 1:
        return Part.ADAPTER, steps[1], "prompt_encoder", None
    if _ADAPTER_NAME.search(name) and ".base_layer." not in f".{name}." and ".original_module." not in f".{name}.":
        return Part.ADAPTER, "default", _without_adapter(path), module
    return _base_part(name, module), "", path, module


def _without_adapter(path: str) -> str:
    """The adapted module of a hand-written adapter: the path up to the step that names the adapter."""
    steps = path.split(".")
    for position, step in enumerate(steps):
        if _ADAPTER_NAME.search(step):
            return ".".join(steps[:position])
    return path


def _base_part(name: str, module: Any) -> Part:
    kind = type(module).__name__.lower()
    if "norm" in kind or _NORM_NAME.search(name):
        return Part.NORM
    if _HEAD_NAME.search(name):
        return Part.HEAD
    if "embedding" in kind or _EMBED_NAME.search(name):
        return Part.EMBED
    return Part.BASE


def elements(parameter: Any) -> int:
    """How many numbers a parameter stands for: packed 4-bit weights count unpacked."""
    state = getattr(parameter, "quant_state", None)
    shape = getattr(state, "shape", None)
    if shape is not None:
        total = 1
        for size in shape:
            total *= int(size)
        return total
    return int(parameter.numel())
