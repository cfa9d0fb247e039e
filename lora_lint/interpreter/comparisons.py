"""What a comparison gives where both sides are known well enough."""

from __future__ import annotations

import lora_lint.interpreter.items as item_access
from lora_lint.interpreter import gathering, module_classes
from lora_lint.interpreter.keys import never_none
from lora_lint.interpreter.parameter_values import Element, ParamIter, ParamSet, among
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.turns import Turn
from lora_lint.interpreter.values import (
    Bound,
    Choice,
    ClassVal,
    Const,
    DictVal,
    FuncVal,
    LibMethod,
    LibRef,
    Partial,
    SeqVal,
    Sym,
    Value,
    key_of,
)
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Tensor


def known(run: Run, op: str, left: Value, right: Value, turn: Turn | None = None) -> bool | None:
    """What `left op right` gives, None where that is not known. turn: of a counter on the left, the turn it counts."""
    if isinstance(left, Const) and isinstance(right, Const):
        return constants(op, left.value, right.value)
    if (asked := module_classes.compared(op, left, right)).known:
        return asked.yes
    if op in ("==", "is"):
        for one, other in ((left, right), (right, left)):
            if isinstance(other, Const) and other.value is None and _never_none(one):
                return False
        if isinstance(left, Choice) or isinstance(right, Choice):
            answers = {known(run, op, a, b) for a in _values(left) for b in _values(right)}
            return answers.pop() if len(answers) == 1 else None
        if isinstance(left, Obj) and isinstance(right, Obj):
            return left is right
        if isinstance(left, (ClassVal, FuncVal, LibRef)) and isinstance(right, (ClassVal, FuncVal, LibRef)):
            return key_of(left) == key_of(right)
    if op == "in":
        if isinstance(right, SeqVal) and not right.open and isinstance(left, Const):
            if (answer := among(left, right.items)) is not None:
                return answer
        if isinstance(right, DictVal) and isinstance(left, Sym):
            if (planned := item_access.planned(right, left)) is not None:
                return bool(planned)
            if run.param_loops and gathering.are_groups(right):
                return ("unknown", key_of(left)) in right.items
            # In another turn of a loop the same unknown may stand for another key.
            return None if right.items or right.open else False
        if isinstance(right, DictVal) and isinstance(left, Const):
            try:
                return True if left.value in right.items else None if right.open else False
            except TypeError:
                return None
    return turn.compared(op, key_of(right)) if turn is not None else None


def _values(value: Value) -> tuple[Value, ...]:
    return value.values if isinstance(value, Choice) else (value,)


def _never_none(value: Value) -> bool:
    if isinstance(value, Sym):
        return never_none(value)
    return isinstance(
        value,
        (
            Obj,
            FuncVal,
            ClassVal,
            LibRef,
            Bound,
            LibMethod,
            SeqVal,
            DictVal,
            Tensor,
            ParamIter,
            ParamSet,
            Element,
            Partial,
        ),
    )


def constants(op: str, left: object, right: object) -> bool | None:
    """What a comparison of two constants gives, None where they cannot be compared."""
    try:
        if op == "==":
            return left == right
        if op == "is":
            return (
                left is right
                if isinstance(left, (bool, type(None))) or isinstance(right, (bool, type(None)))
                else left == right
            )
        if op == "in":
            return bool(left in right)  # type: ignore[operator]
        if op == "<":
            return bool(left < right)  # type: ignore[operator]
        if op == ">":
            return bool(left > right)  # type: ignore[operator]
        if op == "<=":
            return bool(left <= right)  # type: ignore[operator]
        if op == ">=":
            return bool(left >= right)  # type: ignore[operator]
    except TypeError:
        return None
    return None
