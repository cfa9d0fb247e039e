"""Attributes of tensors, and of the outputs of models that stand for them."""

from __future__ import annotations

from lora_lint.interpreter import encodings, masks, tensors
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import LibMethod, Sym, Value
from lora_lint.lifecycle.trace import GRADIENT_READ, GRADIENT_TAKEN, Tensor
from lora_lint.lifecycle.vocabulary import Cut
from lora_lint.syntax import ir


def read(run: Run, value: Tensor, name: str, node: ir.Node) -> Value:
    """`tensor.name`: what was written there, or what an attribute of a tensor is."""
    if (written := run.output_parts.get((id(value), name))) is not None:
        return written[1]
    if name == "data":
        return tensors.cut(run, value, Cut.DATA, node)
    if name == "grad":
        run.witnesses.update(((GRADIENT_TAKEN,), (GRADIENT_READ, value.hack_at)))
    if name in ("grad", "shape", "device", "dtype", "ndim", "requires_grad", "grad_fn", "is_cuda"):
        return Sym(("tensor", name, id(value)), name, data=name != "grad")  # a gradient may have a graph of its own
    if value.encoding is not None:
        return encodings.item(value, name)
    of_ids = value.ids is not None and (name in masks.METHODS or name.endswith("_"))
    return LibMethod(value, name) if of_ids or run.store.find_method(tensors.TYPE, name) else value


def write(run: Run, value: Tensor, name: str, new: Value) -> None:
    """`output.loss = loss`: what stands there from now on."""
    run.output_parts[id(value), name] = (value, new)
