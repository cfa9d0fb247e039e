"""Representative parameters and modules of a model, with the names they really have."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from dataclasses import replace
from typing import TypeAlias

import lora_lint.interpreter.param_loops as param_loops
from lora_lint.apis.tables import architectures
from lora_lint.interpreter import connectors, layer_names, module_classes, patterns, tensors
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.keys import put_together
from lora_lint.interpreter.parameter_values import Element, ParamIter
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, LibRef, SeqVal, Sym, Value, key_of
from lora_lint.lifecycle.heap import ModelState, Obj, trainable
from lora_lint.lifecycle.trace import GRADIENT_TAKEN, VALUES_HANDLED
from lora_lint.lifecycle.vocabulary import BASE_PARTS, Ev, Part, Tri
from lora_lint.syntax import ir

_BLOCK = layer_names.BLOCK
_PREFIXES = {
    "peft.PeftModel": "base_model.model.",
    "torch.nn.parallel.DistributedDataParallel": "module.",
    "torch.nn.DataParallel": "module.",
    "torch._dynamo.OptimizedModule": "_orig_mod.",
}

# A model, and what stands before its names.
_Member: TypeAlias = tuple[Obj, tuple[str, ...]]
# The whole name of a parameter of an adapter: only that one bears it, and in which blocks there are some, the user knows.
_ONE_OF_AN_ADAPTER = re.compile(r"[\w.]+\.\d+\.[\w.]+\.lora_\w+(\.\w+)?\.weight")


def representatives(run: Run, iterator: ParamIter, extra_names: tuple[str, ...]) -> Iterator[Element]:
    """Elements that stand for all parameters (or modules) of a model: each part under its realistic names. Names that
    the user's own conditions mention and no representative bears get one of their own (a projector, a tower)."""
    known: list[str] = []
    adapted: list[Element] = []
    members = list(_members(iterator.model))
    for member, prefixes in members:
        for element in _of_member(run, member, "".join(prefixes), iterator.modules):
            if iterator.parts is None or element.part in iterator.parts:
                element.prefixes = prefixes
                if element.part is Part.ADAPTER:
                    adapted.append(element)
                else:
                    known.append(element.name)
                yield element
    for spelled in dict.fromkeys((*extra_names, *iterator.extras, *iterator.inside)):
        if _ONE_OF_AN_ADAPTER.fullmatch(spelled) and adapted and not any(spelled in each.name for each in adapted):
            owner = adapted[0]
            yield replace(owner, name=spelled, module=iterator.modules)
            continue
        bare = patterns.literal_head(spelled).strip(".")
        if re.fullmatch(r"[A-Za-z_][\w.]*", bare) and "lora" not in bare.lower() and not any(bare in k for k in known):
            within = [] if iterator.modules else _spelled_with(members, bare)
            model, prefixes = (within or members)[0]
            suffix = "" if iterator.modules else ".weight"
            if spelled in extra_names or spelled in iterator.extras:
                name = f"{_full_name(prefixes, bare)}{suffix}"
                yield Element(model, Part.BASE, name, iterator.modules, "matrix", bare, prefixes=prefixes)
            adapters = iterator.parts is None or Part.ADAPTER in iterator.parts or bare in iterator.inside
            for model, prefixes in within or members if adapters and not iterator.modules else ():
                yield from _adapters_inside(model, prefixes, bare, adapted)


def _adapters_inside(model: Obj, prefixes: tuple[str, ...], bare: str, adapted: list[Element]) -> Iterator[Element]:
    """What adapters have in a module that the user's conditions name: `"layers.30" in name and "lora_" in name`. In a
    block with a number there are some for certain; whether in a module of another name, nobody knows (they have it as
    `extra`), unless the family of the model tells. prefixes: of the model's names. adapted: the representatives of adapters."""
    others = [each for each in adapted if each.model.root is model.root]
    inner = bare.removeprefix(_spelled(prefixes, bare))
    if any(bare in each.name for each in others) or connectors.free_of_adapters(model, inner):
        return
    apart = any(map(layer_names.is_apart, inner.split(".")))
    for adapter in model.model.adapters:
        label = adapter.name if isinstance(adapter.name, str) else "default"
        alike = layer_names.in_block(bare, [each.name for each in others if each.adapter is adapter])
        if not alike and not apart and not layer_names.are_known(model, adapter.config):
            name = _full_name(prefixes, bare)
            alike = [f"{name}.self_attn.q_proj.{matrix}.{label}.weight" for matrix in ("lora_A", "lora_B")]
        extra = "" if any(map(str.isdigit, bare)) else bare
        for path in alike:
            yield Element(model, Part.ADAPTER, path, False, "matrix", extra, adapter, prefixes=prefixes)


def _members(model: Obj) -> Iterator[_Member]:
    """A model and the models that its attributes hold, each with what stands before its names: attributes and wrappers."""
    outer = name_prefixes(model)
    yield model, outer
    for child, path in model.inside():
        yield child, (*outer, f"{path}.", *name_prefixes(child))


def name_prefixes(obj: Obj) -> tuple[str, ...]:
    """What each wrapper from here to the root puts before every name, outermost first."""
    found: list[str] = []
    here: Obj | None = obj
    while here is not None and not here.path:
        if here.wraps is not None and here.type in _PREFIXES:
            found.append(_PREFIXES[here.type])
        here = here.wraps
    return tuple(found)


def name_prefix(obj: Obj) -> str:
    """What the wrappers from here to the root put before every name."""
    return "".join(name_prefixes(obj))


def _full_name(prefixes: tuple[str, ...], name: str) -> str:
    """A name that the user spells with all, some or none of the prefixes, with all of them."""
    return "".join(prefixes) + name.removeprefix(_spelled(prefixes, name))


def _spelled(prefixes: tuple[str, ...], name: str) -> str:
    """Those of the prefixes with which the user spells a name, "" for none."""
    count = len(prefixes)
    runs = ("".join(prefixes[first:end]) for first in range(count) for end in range(count, first, -1))
    return next((run for run in runs if name.startswith(run)), "")


def _spelled_with(members: list[_Member], name: str) -> list[_Member]:
    """Of a model and those inside it, the innermost one whose attribute a name begins with; empty for any other name."""
    outer = members[0][1]
    rest = name.removeprefix(_spelled(outer, name))
    found = [member for member in members[1:] if rest.startswith(member[1][len(outer)])]
    return [max(found, key=lambda member: len(member[1][len(outer)]))] if found else []


def _of_member(run: Run, model: Obj, prefix: str, modules: bool) -> Iterator[Element]:
    state = model.model
    if state.adapters or not state.adapters_known:
        for adapter in state.adapters:
            name = adapter.name if isinstance(adapter.name, str) else "default"
            suffix = "" if modules else ".weight"
            first, *others = layer_names.adapted(model, adapter.config)
            for layer, matrix in ((first, "lora_A"), *((each, "lora_B") for each in (first, *others))):
                path = f"{prefix}{layer}.{matrix}.{name}{suffix}"
                yield Element(model, Part.ADAPTER, path, modules, "matrix", adapter=adapter)
            for module in _copied(adapter.config) if adapter.config is not None else ():
                path = f"{prefix}{module}.modules_to_save.{name}{'' if modules else '.weight'}"
                yield Element(model, Part.COPY, path, modules, "matrix")
        if not state.adapters and (state.escaped or run.thorough):
            yield Element(
                model, Part.ADAPTER, f"{prefix}{_BLOCK}self_attn.q_proj.lora_A.default.weight", modules, "matrix"
            )
        if state.adapters:
            yield Element(model, Part.BASE, f"{prefix}{_BLOCK}self_attn.q_proj.base_layer.weight", modules, "matrix")
    suffix = "" if modules else ".weight"
    yield Element(model, Part.BASE, f"{prefix}{_BLOCK}mlp.up_proj{suffix}", modules, "matrix")
    yield Element(model, Part.NORM, f"{prefix}{_BLOCK}input_layernorm{suffix}", modules, "vector")
    yield Element(model, Part.EMBED, f"{prefix}model.embed_tokens{suffix}", modules, "matrix")
    head = "score" if "Classification" in model.root.type else "lm_head"
    yield Element(model, Part.HEAD, f"{prefix}{head}{suffix}", modules, "matrix")


def _copied(config: Obj) -> list[str]:
    """Names of the modules that an adapter trains a copy of: as asked, or as the task has them. Of several names for the
    head that a task has, a model bears one; what is true of all is true of that."""
    asked, task = config.facts.get("modules_to_save"), config.facts.get("task_type")
    found: list[str] = []
    if isinstance(asked, SeqVal) and not asked.open:
        found = [str(each.value) for each in asked.items if isinstance(each, Const)]
    elif asked is not None and not (isinstance(asked, Const) and asked.value is None):
        found = ["lm_head"]
    name = task.value if isinstance(task, Const) else task.name.rsplit(".", 1)[-1] if isinstance(task, LibRef) else ""
    found.extend(architectures().task_types.get(str(name), ()))
    return found


def part_trainable(state: ModelState, part: Part) -> Tri:
    """Whether a part of the base model requires gradients now."""
    for op in reversed(state.ops):
        answer = op.parts.get(part)
        if answer is not None and op.adapter is None:
            return answer if not op.path else Tri.UNKNOWN
    return Tri.UNKNOWN


def element_attribute(run: Run, element: Element, name: str, node: ir.Node) -> Value:
    """An attribute of a representative parameter or module."""
    if name == "requires_grad":
        return _requires_grad(element)
    if name in ("ndim",):
        return Const(2 if element.shape == "matrix" else 1)
    if name in ("weight", "bias") or (element.module and _is_matrix(element, name)):
        return element
    if name == "data":
        run.witnesses.add((VALUES_HANDLED, element.model.root.site))
        return Sym(("element-data", element.name), "p.data")
    if name == "grad":
        run.witnesses.add((GRADIENT_TAKEN,))
    if name == "__class__":
        return module_classes.of(element)
    return Sym(("element", element.name, name), name, read_of=(element, name))


def asks_for_gradient(condition: Value) -> bool | None:
    """The arm of a condition in which a representative parameter has a gradient: `p.grad is not None`."""
    asked, holds = _asked(condition)
    if asked[:1] != ("==",) or asked[2:] != (key_of(Const(None)),):
        return None
    return not holds if gradient_of(asked[1]) else None


def asks_whether_trains(condition: Value) -> tuple[str, bool] | None:
    """The parameter of which a condition asks whether it requires gradients, and whether it does where the condition holds."""
    asked, holds = _asked(condition)
    return (str(asked[1]), holds) if asked[:1] == ("element",) and asked[2:] == ("requires_grad",) else None


def _asked(condition: Value) -> tuple[tuple[Hashable, ...], bool]:
    """The key of what a condition asks, and whether it holds where the condition does; empty for a condition without parts."""
    key = condition.key if isinstance(condition, Sym) else None
    negated = isinstance(key, tuple) and key[:1] == ("not",)
    asked = key[1] if isinstance(key, tuple) and negated else key
    return (asked if isinstance(asked, tuple) else ()), not negated


def gradient_of(key: Hashable) -> str:
    """The name of the representative parameter whose gradient an unknown is, or the data of that, "" for anything else."""
    if isinstance(key, tuple) and key[:1] == ("attr",) and key[2:] == ("data",):
        key = key[1]
    return str(key[1]) if isinstance(key, tuple) and key[:1] == ("element",) and key[2:] == ("grad",) else ""


def _is_matrix(element: Element, name: str) -> bool:
    """Whether a name leads from an adapter's layer to one of its matrices, or on to that of one adapter:
    `layer.lora_A`, `layer.lora_A.default`, `layer.lora_A["default"]`."""
    return element.part is Part.ADAPTER and bool(name) and f".{name}." in f"{element.name}."


def item_of_layer(element: Element, index: Value) -> Element | None:
    """`layer.lora_A["default"]`, also for the name of an adapter that is not known; None for anything else."""
    known = not isinstance(index, Const) or (isinstance(index.value, str) and _is_matrix(element, index.value))
    return element if element.module and element.part is Part.ADAPTER and known else None


def _requires_grad(element: Element) -> Value:
    state = element.model.model
    if element.extra and element.part is not Part.ADAPTER and any(m.model.adapters for m in element.model.models()):
        return Sym(("element", element.name, "requires_grad"), "requires_grad")  # stands for the adapters in there, too
    if element.part in (Part.ADAPTER, Part.COPY):
        adapters = state.adapters if element.adapter is None else [element.adapter]
        answers = {trainable(state, adapter)[0] for adapter in adapters}
        answer = answers.pop() if len(answers) == 1 else Tri.UNKNOWN
    else:
        answer = part_trainable(state, element.part)
    return Const(answer.yes) if answer.known else Sym(("element", element.name, "requires_grad"), "requires_grad")


def element_method(run: Run, element: Element, name: str, args: Args, node: ir.Node) -> Value:
    """A method of a representative parameter or module."""
    if name == "requires_grad_":
        value = args.first()
        answer = Tri.YES if value is None else Tri.of(bool(value.value)) if isinstance(value, Const) else Tri.UNKNOWN
        param_loops.write_element(run, element, answer, node)
        return element
    if name in ("dim", "ndimension"):
        return Const(2 if element.shape == "matrix" else 1)
    if name in ("parameters", "named_parameters", "modules", "named_modules", "children", "named_children"):
        held = replace(element, module=False) if name.endswith("parameters") else element
        called = _name_inside(element) if name == "named_parameters" else Const(element.name)
        return SeqVal("list", [SeqVal("tuple", [called, held]) if name.startswith("named") else held])
    if name in ("to", "cuda", "cpu", "float", "half", "bfloat16", "train", "eval", "detach", "clone"):
        return element if name != "detach" else Sym(("element-data", element.name))
    if name in _WRITES:
        run.witnesses.add((VALUES_HANDLED, element.model.root.site))
        note_write(run, element, node)
    made = Sym(("element-call", element.name, name), name)
    return tensors.of_parameter(run, element, name, args, made)


def _name_inside(element: Element) -> Value:
    """What a module calls a parameter in it. Of an adapter's matrix the end is known: the module may be the layer, or one
    around it."""
    before, matrix, rest = element.name.partition(".lora_")
    if element.part is not Part.ADAPTER or not matrix:
        return Const(element.name)
    known = Const(f"lora_{rest}.weight")
    return put_together((("inside", before), key_of(known)), [known])


def note_write(run: Run, element: Element, node: ir.Node) -> None:
    """Emit an event when a parameter that requires gradients is written in place while gradients are recorded."""
    if element.module or not run.grad[-1].on.yes or any(loop.weak for loop in run.param_loops):
        return
    answer = _requires_grad(element)
    if isinstance(answer, Const) and answer.value is True:
        run.emit(Ev.IN_PLACE, node, args={"leaf": True, "name": element.name})


def note_weight_write(run: Run, weight: Obj, node: ir.Node) -> None:
    """The same for `module.weight`, where the whole model certainly requires gradients."""
    state = weight.model
    if run.grad[-1].on.yes and state.ops and all(part_trainable(state, part).yes for part in BASE_PARTS):
        run.emit(Ev.IN_PLACE, node, args={"leaf": True, "name": weight.path})


_WRITES = frozenset(
    ["mul_", "add_", "sub_", "div_", "copy_", "fill_", "zero_", "clamp_", "normal_", "uniform_", "addcmul_", "lerp_"]
)
