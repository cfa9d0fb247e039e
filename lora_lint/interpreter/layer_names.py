"""Names of the layers that an adapter has: as its model's family has them, else as most language models do.

A few stand for all. A filter that treats them alike treats all layers alike; where they differ, it picks some of them.
"""

from __future__ import annotations

import re

from lora_lint.apis.tables import Family, architectures
from lora_lint.interpreter.connectors import pattern_of, targets_of
from lora_lint.lifecycle.heap import HOLDERS, Obj

BLOCK = "model.layers.0."
_USUAL = ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj")  # where nothing is known of the layers
_FAR = "999"  # a block whose number no program names, beside block 0: a filter on numbers tells them apart
_MOST = 12
_FEW = 4
_ADAPTERS = frozenset({"adapter", "adapters", "peft"})
_HEADS = frozenset({"lm_head", "embed_out", "output_layer", "head", "classification_head", "cls", "pooler"})


def adapted(model: Obj, config: Obj | None) -> list[str]:
    """Paths of layers that stand for all that an adapter with this config has in the model, the first block first."""
    targets = targets_of(config)
    found = _in_family(model, config)
    if not found:
        listed = [f"{BLOCK}{name if '.' in name else f'self_attn.{name}'}" for name in targets or ()]
        found = listed[:_MOST] or [BLOCK + name for name in _USUAL]
    return [*found, *dict.fromkeys(_elsewhere(found))]


def are_known(model: Obj, config: Obj | None) -> bool:
    """Whether the family of the model tells in which layers an adapter is."""
    return bool(_in_family(model, config))


def is_apart(name: str) -> bool:
    """Whether no adapter is in a module of this name: it is called like a head, or as the adapters themselves are called by
    those who do not know what peft calls them."""
    return name in _HEADS or name in _ADAPTERS or any(name in head.modules for head in architectures().heads)


def in_block(name: str, adapted: list[str]) -> list[str]:
    """Of the names of parameters of an adapter, some as they are in the block that another name has a number of:
    `layers.0.self_attn.q_proj.lora_A.weight` in "layers.30" has a 30."""
    numbers = re.findall(r"\d+", name)
    if len(numbers) != 1:
        return []
    pattern = re.escape(name).replace(numbers[0], r"\d+", 1)
    alike = [each for each in adapted if re.search(pattern, each)]
    return list(dict.fromkeys(re.sub(r"\.\d+\.", f".{numbers[0]}.", each, count=1) for each in alike))[:_FEW]


def _in_family(model: Obj, config: Obj | None) -> list[str]:
    """The layers of the family whose names the targets are (without targets: all but embeddings and heads); empty when
    unknown."""
    root, targets, pattern = model.root, targets_of(config), pattern_of(config)
    family = architectures().family(root.type, root.model.architecture)
    if family is None:
        return []
    foreign = _of_other_classes(family, root)
    modules = [path for path in family.modules if path.split(".")[0] not in foreign]
    if "For" not in root.type.rsplit(".", 1)[-1]:
        modules = _without_head(modules, root)
    if pattern is not None:
        inside = list(filter(pattern.fullmatch, modules))
    elif targets is None:
        inside = sorted(filter(_may_be_linear, modules), key=_is_in_block)  # what joins two towers first
    else:
        inside = [path for path in modules if any(f".{path}".endswith(f".{target}") for target in targets)]
    if len(inside) <= _MOST:
        return inside
    return list({(_stack(path), path.rsplit(".", 1)[-1]): path for path in reversed(inside)}.values())[::-1][:_MOST]


def _without_head(modules: list[str], root: Obj) -> list[str]:
    """The modules of a family as they are named in its class without a head: what `bert.` or `model.` stands before in the
    others. None where the classes differ in more, and of a class that may have a head."""
    library, _, name = root.type.rpartition(".")
    if (
        not library.startswith("transformers")
        or not name.endswith("Model")
        or "Head" in name
        or name == "PreTrainedModel"
    ):
        return []
    if not all(path.split(".")[0] in HOLDERS for path in filter(_is_in_block, modules)):
        return []
    return [path.partition(".")[2] for path in modules if path.split(".")[0] in HOLDERS]


def _is_in_block(path: str) -> bool:
    return re.search(r"\.\d+\.", path) is not None


def _may_be_linear(path: str) -> bool:
    """Whether a module may be one of those that get an adapter when all linear ones do."""
    return _is_in_block(path) or not ("embed" in path or any(map(is_apart, path.split("."))))


def _of_other_classes(family: Family, root: Obj) -> set[str]:
    """First steps of paths that only other classes of a family have: `bert.encoder`, `roberta.encoder`. None where the model
    has none of them."""
    called = (root.type.rsplit(".", 1)[-1].lower(), root.model.architecture.rsplit("/", 1)[-1].lower())
    firsts = {path.split(".")[0] for path in family.modules}
    steps = {step for step in firsts if any(name.lower().startswith(step) for name in family.classes)}
    own = {step for step in steps if any(name.startswith(step) for name in called)}
    return steps - own if own else set()


def _stack(path: str) -> str:
    """The list of blocks that a path is in."""
    return re.split(r"\.\d+\.", path, maxsplit=1)[0]


def _elsewhere(paths: list[str]) -> list[str]:
    """One layer of each list of blocks, in a far block."""
    firsts = {_stack(path): path for path in reversed(paths)}
    return [far for path in firsts.values() if (far := re.sub(r"\.\d+\.", f".{_FAR}.", path, count=1)) != path]
