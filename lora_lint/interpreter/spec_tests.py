"""Conditions of API specs: what they answer for the values of their operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lora_lint.interpreter.conditions as conditions
import lora_lint.interpreter.derive as derive
from lora_lint.interpreter import rows
from lora_lint.interpreter.environment import UNSET
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Bound, Choice, Const, FuncVal, LibRef, Partial, SeqVal, Sym, Value
from lora_lint.lifecycle.heap import ModelState, Obj
from lora_lint.lifecycle.vocabulary import Kind, Quant, Tri

_PLAIN = (str, int, float, bool, type(None))


def answer(run: Run, op: str, values: list[Any]) -> Tri:
    """The answer of a condition on values."""
    first = values[0]
    wanted = str(values[1].value) if len(values) > 1 and isinstance(values[1], Const) else ""
    if op in _VALUE_TESTS:
        return _VALUE_TESTS[op](run, first)
    if op == "equals":
        return _equal(first, values[1])
    if op == "defined" and wanted == "__call__" and isinstance(first, (FuncVal, Bound)):
        return Tri.YES
    if op == "defined":
        several = isinstance(first, SeqVal) and bool(owners(first, wanted))
        return Tri.of(
            several
            or (
                isinstance(first, Obj)
                and first.user_class is not None
                and isinstance(first.user_class.find(wanted), FuncVal)
            )
        )
    if op == "type" and isinstance(first, Obj):
        return derive.is_of_type(run, first, wanted)
    if op == "type":
        while isinstance(first, Partial):
            first = first.func
        return Tri.of(run.store.is_a(first.name, wanted) if isinstance(first, LibRef) else None)
    if op == "kind":
        if isinstance(first, (Sym, Choice)):
            return Tri.UNKNOWN
        return Tri.of(isinstance(first, Obj) and first.kind.value == wanted)
    if not isinstance(first, Obj) or first.kind is not Kind.MODEL:
        return Tri.UNKNOWN
    return derive.is_peft_model(run, first) if op == "peft" else _of_state(op, first.model)


def combined(op: str, answers: list[Tri]) -> Tri:
    """The answer of `not`, `all` or `any`."""
    if op == "not":
        return _negated(answers[0])
    stop = Tri.NO if op == "all" else Tri.YES
    if stop in answers:
        return stop
    return Tri.UNKNOWN if Tri.UNKNOWN in answers else _negated(stop)


def _negated(answer: Tri) -> Tri:
    return Tri.NO if answer.yes else Tri.YES if answer.no else Tri.UNKNOWN


def _equal(first: Value, second: Value) -> Tri:
    left, right = (v.value if isinstance(v, Const) else v for v in (first, second))
    if isinstance(left, _PLAIN) and isinstance(right, _PLAIN):
        return Tri.of(left == right)
    return Tri.NO if first is UNSET else Tri.UNKNOWN


def _is_true(run: Run, value: Value) -> Tri:
    if value is UNSET:
        return Tri.NO
    return value if isinstance(value, Tri) else conditions.truth(run, value)


def _is_text(run: Run, value: Value) -> Tri:
    """Whether a value is a string; an unknown is what its default is."""
    known = value.default if isinstance(value, Sym) else value
    if isinstance(known, Const):
        return Tri.of(isinstance(known.value, str))
    return Tri.UNKNOWN if isinstance(value, Sym) else Tri.NO


def _of_state(op: str, state: ModelState) -> Tri:
    """The answer of a condition on the state of a model."""
    if op == "quantized":
        return Tri.UNKNOWN if state.quantization is Quant.UNKNOWN else Tri.of(state.quantization.bnb)
    if op == "adapted":
        return Tri.YES if state.adapters else Tri.of(False if state.adapters_known and not state.escaped else None)
    return Tri.UNKNOWN if state.checkpointing == "unknown" else Tri.of(state.checkpointing != "off")


def _is_set(run: Run, value: Value) -> Tri:
    if value is UNSET:
        return Tri.NO
    if isinstance(value, Const):
        return Tri.of(value.value is not None)
    if isinstance(value, Sym):
        return Tri.of(run.oracle.known(value.key))
    if hasattr(value, "values") and isinstance(value.values, tuple):
        answers = {_is_set(run, v) for v in value.values}
        return answers.pop() if len(answers) == 1 else Tri.UNKNOWN
    return Tri.YES


_VALUE_TESTS: dict[str, Callable[[Run, Value], Tri]] = {
    "set": _is_set,
    "unset": lambda run, value: _negated(_is_set(run, value)),
    "undecided": lambda run, value: Tri.of(not _is_set(run, value).known),
    "true": _is_true,
    "text": _is_text,
    "cold": rows.is_cold,
}


def owners(value: Value, method: str) -> list[tuple[Obj, FuncVal]]:
    """The user's objects behind a value that define a method: itself, what it wraps, what it is made of."""
    found: list[tuple[Obj, FuncVal]] = []
    stack: list[Value] = [value]
    budget = 30  # a dataset of datasets of datasets
    while stack and budget:
        budget -= 1
        here = stack.pop()
        if isinstance(here, SeqVal):
            stack.extend(here.items)
        elif isinstance(here, Choice):
            stack.extend(here.values)
        elif isinstance(here, Obj):
            function = here.user_class.find(method) if here.user_class is not None else None
            if isinstance(function, FuncVal):
                found.append((here, function))
            else:
                stack.extend((here.wraps, here.facts.get("inner")))
    return found
