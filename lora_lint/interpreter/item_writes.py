"""`value[index] = …` of abstract values."""

from __future__ import annotations

import lora_lint.interpreter.attributes as attributes
import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.elements as elements
import lora_lint.interpreter.evaluate as evaluation
import lora_lint.interpreter.items as item_access
import lora_lint.interpreter.iteration as iteration
from lora_lint.interpreter import encodings, gathering, rows, tensors
from lora_lint.interpreter.describe import variable
from lora_lint.interpreter.parameter_values import ParamIter
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, DictVal, FuncVal, Scope, SeqVal, Sym, Value, key_of
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Tensor
from lora_lint.lifecycle.vocabulary import Kind
from lora_lint.syntax import ir


def bind(run: Run, target: ir.Item, value: Value, scope: Scope) -> None:
    """`container[index] = value`."""
    container = evaluation.evaluate(run, target.value, scope)
    index = evaluation.evaluate(run, target.index, scope)
    if isinstance(container, Obj):
        _into_object(run, container, index, value, target)
    elif isinstance(container, Tensor):
        tensors.note_write(run, container, target)
        tensors.filled(run, container, value, target)
        encodings.bind(run, container, index, value, target)
    elif isinstance(container, DictVal):
        if isinstance(index, Const) and index.value == "labels":
            encodings.replaced(container.items.get("labels"), value)
            encodings.note_labels(run, value, target, variable(target.value))
        if container.group_of is not None and not (isinstance(index, Const) and index.value != "params"):
            container.group_of.facts["escaped"] = True  # it holds others from now on
        _into_dict(run, container, index, value)
    elif isinstance(container, SeqVal):
        _into_list(container, index, value)
    elif isinstance(container, Sym) and (isinstance(index, Const) or container.loader is not None):
        container.loader = None  # not the batch that came out of the loader any more
        container.attrs[f"[{key_of(index)}]"] = value
        if isinstance(index, Const) and isinstance(index.value, str):
            container.put = {**(container.put or {}), index.value: value}
    else:
        item_access.use_configs(run, [value])


def _into_object(run: Run, container: Obj, index: Value, value: Value, target: ir.Item) -> None:
    setter = container.user_class.find("__setitem__") if container.user_class is not None else None
    held = iteration.held_modules(container)
    if container.kind is Kind.ROW:
        if isinstance(index, Const) and index.value == "labels":
            encodings.note_labels(run, value, target, variable(target.value))
        rows.bind(container, index, value)
    elif container.kind is Kind.DATASET:
        rows.replaced(container)
    elif attributes.is_parameter(container):
        elements.note_weight_write(run, container, target)
    elif isinstance(setter, FuncVal):
        calls.call_function(run, setter, [(None, container), (None, index), (None, value)], target)
    elif held is not None:
        run.use(value)  # a part of the model from now on
        if isinstance(held, DictVal):
            _into_dict(run, held, index, value)
        else:
            _into_list(held, index, value)
    else:
        item_access.use_configs(run, [value])


def _into_dict(run: Run, container: DictVal, index: Value, value: Value) -> None:
    container.listed = None
    if not isinstance(index, Const):
        gathering.put_under(run, container, index, value)
        return
    try:
        container.items[index.value] = value
    except TypeError:
        container.open, container.keyed = True, False


def _into_list(container: SeqVal, index: Value, value: Value) -> None:
    place = index.value if isinstance(index, Const) else None
    if isinstance(place, int) and -len(container.items) <= place < len(container.items):
        container.items[place] = value
    else:
        for item in container.items:
            if isinstance(item, Tensor):
                encodings.escaped(item)  # it may be the one that gave way
    container.whole = None if isinstance(container.whole, ParamIter) else container.whole
