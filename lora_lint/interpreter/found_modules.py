"""Modules that a program picks out of `named_modules()` by their names: with next(), in a loop, from a dict or a list."""

from __future__ import annotations

import lora_lint.interpreter.elements as elements
import lora_lint.interpreter.params as params
from lora_lint.interpreter import filters, mentions
from lora_lint.interpreter.parameter_values import PARAMETERS, Element, ParamIter, ParamSet
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, DictVal, Value
from lora_lint.lifecycle.heap import Obj


def module_of(element: Element) -> Obj | None:
    """The module that a representative stands for alone; None where it stands for one in each block."""
    if not element.module or element.doubt:
        return None
    return _at(element.model, element.name.removeprefix(elements.name_prefix(element.model)))


def first_kept(run: Run, held: ParamIter) -> Value | None:
    """`next(m for name, m in model.named_modules() if name == "proj")`: the one module that the conditions let through, None
    where there may be several."""
    comp, scope = (held.keep.comp, held.keep.scope) if held.keep is not None else (None, None)
    if not held.modules or comp is None or scope is None or len(comp.clauses) > 1:
        return None
    names = tuple(name for condition in comp.clauses[0].conditions for name in mentions.in_expression(condition, scope))
    kept = []
    for element in elements.representatives(run, held, names):
        answer, item = params.keeps(run, comp, element, held.named, scope)
        if not answer.known:
            return None
        if answer.yes:
            kept.append(item)
    filters.settle(run, held.model)
    only = kept[0] if len(kept) == 1 else None
    return module_of(only) if isinstance(only, Element) else None


def named(value: DictVal, index: Value) -> Obj | None:
    """`dict(model.named_modules())["proj"]`."""
    held = value.items.get(PARAMETERS)
    if not isinstance(held, ParamSet) or not held.modules or not held.captures or not isinstance(index, Const):
        return None
    return _at(held.captures[0].model, index.value) if isinstance(index.value, str) else None


def only(value: ParamIter | ParamSet, index: Value) -> Obj | None:
    """`[m for name, m in model.named_modules() if name == "proj"][0]`: where the list certainly has that module alone."""
    if not isinstance(value, ParamSet) or not value.modules or not isinstance(index, Const) or not value.captures:
        return None
    first = value.captures[0]
    alone = len(first.extras) == 1 and all(answer.no for answer in first.parts.values())
    return _at(first.model, first.extras[0]) if alone and index.value in (0, -1) else None


def _at(model: Obj, path: str) -> Obj | None:
    """The module at a path; None where that is one of several blocks."""
    return model.part(path) if path and not any(step.isdigit() for step in path.split(".")) else None
