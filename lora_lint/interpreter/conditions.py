"""Conditions: what is known of them, and which arm an unknown one takes on this path."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from functools import reduce

import lora_lint.interpreter.comparisons as comparisons
import lora_lint.interpreter.evaluate as evaluation
import lora_lint.interpreter.varying as varying
from lora_lint.interpreter import config_files, fallbacks, filters, masks, rows, sentinels, tensors
from lora_lint.interpreter.describe import describe
from lora_lint.interpreter.keys import compound, never_empty, question
from lora_lint.interpreter.parameter_values import ParamIter, ParamName, ParamSet
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
    ModuleVal,
    Partial,
    Scope,
    SeqVal,
    Setting,
    Sym,
    Value,
    join,
    key_of,
)
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Guard, Tensor
from lora_lint.lifecycle.vocabulary import Cut, Tri
from lora_lint.syntax import ir

COMPARISONS = frozenset({"==", "!=", "<", ">", "<=", ">=", "in", "not in", "is", "is not"})
_FALSE = key_of(Const(False))
_NEGATED = {"!=": "==", "not in": "in", "is not": "is"}


def truth(run: Run, value: Value) -> Tri:
    """Whether a value is true, from the value and from what was decided on this path."""
    if isinstance(value, Setting):
        decided_as = _known(run, value.symbol.key)
        return Tri.of(bool(value.value) if decided_as is None else decided_as)
    if isinstance(value, Const):
        return Tri.of(bool(value.value))
    if isinstance(value, (SeqVal, DictVal)):
        return Tri.YES if value.items else Tri.UNKNOWN if value.open else Tri.NO
    if isinstance(value, (Obj, FuncVal, ClassVal, LibRef, LibMethod, Bound, Partial, ModuleVal, ParamIter, ParamSet)):
        return Tri.YES
    if isinstance(value, Choice):
        answers = {truth(run, v) for v in value.values}
        return answers.pop() if len(answers) == 1 else Tri.UNKNOWN
    if isinstance(value, Sym):
        return Tri.YES if never_empty(value) else Tri.of(_known(run, value.key))
    return Tri.UNKNOWN


def _known(run: Run, key: Hashable) -> bool | None:
    """What is known of the truth of a key: decided itself, or following from decisions on its parts."""
    direct = run.oracle.known(key)
    if direct is not None:
        return direct
    if isinstance(key, tuple) and key and key[0] == "not":
        inner = _known(run, key[1])
        return None if inner is None else not inner
    if isinstance(key, tuple) and len(key) == 3 and key[0] == "==":
        fixed = run.oracle.value(key[1])
        if fixed is not None:
            return bool(fixed == key[2])
        if run.oracle.excludes(key[1], key[2]):
            return False
        if key[2] == ("const", "NoneType", None) and _known(run, key[1]):
            return False
    if isinstance(key, tuple) and key and key[0] in ("and", "or"):
        parts = [_known(run, part) for part in key[1]]
        stop = key[0] == "or"
        if not stop and _FALSE in key[1]:
            return False
        if stop in parts:
            return bool(stop)
        if None not in parts:
            return bool(not stop)
    fixed = run.oracle.value(key)
    if isinstance(fixed, tuple) and len(fixed) == 3 and fixed[0] == "const":
        return bool(fixed[2])
    return None


def behind(run: Run, owner: ir.Node) -> Guard | None:
    """The condition of this path behind what is known of the condition evaluated last for `owner`; None when its value is
    known by itself. Whatever happens under it happens under that condition, the second time as the first."""
    remembered = run.last_condition
    value = remembered[1] if remembered is not None and remembered[0] is owner else None
    guard = _behind(run, value.key) if isinstance(value, Sym) else None
    return None if guard in run.guards else guard


def _behind(run: Run, key: Hashable) -> Guard | None:
    guard = run.oracle.guards.get(key)
    if guard is not None or not isinstance(key, tuple) or not key:
        return guard
    if key[0] == "not":
        return _behind(run, key[1])
    if key[0] == "==" and len(key) == 3:
        fixed = run.oracle.value(key[1])
        return run.oracle.guards.get(("==", key[1], fixed)) if fixed is not None else run.oracle.guards.get(key[1])
    if key[0] in ("and", "or"):
        parts = [_behind(run, part) for part in key[1]]
        return next((guard for guard in parts if guard is not None), None)
    return None


def decide(
    run: Run,
    value: Value,
    node: ir.Node,
    default: bool | None = None,
    rank: int = 0,
    awaited: bool | None = None,
) -> tuple[bool, bool]:
    """The arm an unknown value takes on this path, and whether that is the default arm."""
    key = value.key if isinstance(value, Sym) else ("at", run.module.path, node.loc, run.fresh(node).key)
    natural = value.default if isinstance(value, Sym) else _agreed(value)
    preferred = default if natural is None else bool(natural.value)
    arm = run.oracle.decide(key, True if preferred is None else preferred, rank, id(node), awaited)
    if isinstance(value, Sym) and value.fixed and arm != preferred:
        run.hypothetical = True
    _note(run, key, arm)
    return arm, preferred is not None and arm == preferred


def _agreed(value: Value) -> Const | None:
    """Whether one of several values is true while options have their defaults, where that is the same for all of them."""
    known = [v.default if isinstance(v, Sym) else v for v in value.values] if isinstance(value, Choice) else []
    truths = {bool(v.value) if isinstance(v, Const) else None for v in known}
    return Const(truths.pop()) if len(truths) == 1 and None not in truths else None


def _note(run: Run, key: Hashable, arm: bool) -> None:
    """Note what follows from a decision for the parts of the condition."""
    if not isinstance(key, tuple) or not key:
        return
    if key[0] == "not":
        run.oracle.assume(key[1], not arm)
        _note(run, key[1], not arm)
    elif key[0] == "==" and len(key) == 3:
        if arm:
            run.oracle.fix(key[1], key[2])
        else:
            run.oracle.exclude(key[1], key[2])
    elif (key[0] == "and" and arm) or (key[0] == "or" and not arm):
        for part in key[1]:
            run.oracle.assume(part, arm)
            _note(run, part, arm)


def test(run: Run, node: ir.Expr, scope: Scope, owner: ir.Node) -> Tri:
    """Whether the condition is true here; remembers its value for `decided`."""
    value = as_condition(run, evaluation.evaluate(run, node, scope))
    answer = Tri.YES if sentinels.was_set(run, value, node) else truth(run, value)
    run.last_condition = (owner, value)
    return answer


def as_condition(run: Run, value: Value) -> Value:
    """The value as a condition sees it: a setting may be another one in another configuration, and a name of a module that
    nothing is known of may stand for anything."""
    if isinstance(value, LibRef) and value.name.split(".", 1)[0] not in run.store.libraries and "." in value.name:
        named = run.store.find_call(value.name) or run.store.type_of(value.name) or run.store.default(value.name)
        return value if named else Sym(key_of(value), value.name)
    return value.symbol if isinstance(value, Setting) else value


@contextmanager
def decided(run: Run, node: ir.Expr, scope: Scope, owner: ir.Node, default: bool | None = None) -> Iterator[bool]:
    """Take an arm of an unknown condition; everything inside happens under it."""
    guard = choose(run, node, owner, default)
    with run.guarded(guard):
        yield guard.arm


def choose(
    run: Run, node: ir.Expr, owner: ir.Node, default: bool | None = None, rank: int = 0, awaited: bool | None = None
) -> Guard:
    """The guard of the arm that the condition evaluated last for `owner` takes. rank: how late its other arm is tried;
    awaited: the arm that comes before those of other conditions."""
    remembered = run.last_condition
    value = remembered[1] if remembered is not None and remembered[0] is owner else run.fresh(owner)
    arm, natural = decide(run, value, owner, default, rank, awaited)
    key = value.key if isinstance(value, Sym) else ("at", run.module.path, owner.loc)
    unset = fallbacks.takes(run, value, arm)
    guard = Guard(key, describe(node), arm, natural, varying.counts(run, key), unset, varying.loop_of(run, node, key))
    remember(run, key, guard)
    return guard


def remember(run: Run, key: Hashable, guard: Guard) -> None:
    """Note the condition behind a key and behind the parts that follow from it."""
    run.oracle.guard(key, guard)
    if not isinstance(key, tuple) or not key:
        return
    if key[0] == "not":
        remember(run, key[1], guard)
    elif (key[0] == "and" and guard.arm) or (key[0] == "or" and not guard.arm):
        for part in key[1]:
            remember(run, part, guard)


def boolean(run: Run, node: ir.Op, scope: Scope) -> Value:
    """`a and b`, `a or b`: short-circuit where the truth is known, else a value that stands for the whole."""
    stop = node.op == "or"
    unknown: list[Value] = []
    last: Value = Const(not stop)
    for operand in node.operands:
        last = as_condition(run, evaluation.evaluate(run, operand, scope))
        answer = truth(run, last)
        if answer.known:
            if answer.yes == stop:
                return last if not unknown else _either(node.op, unknown, last)
            continue
        unknown.append(last)
    if not unknown:
        return last
    if len(unknown) == 1:
        return unknown[0] if truth(run, last) is Tri.UNKNOWN else _either(node.op, unknown, last)
    return _either(node.op, unknown, None)


def _either(op: str, unknown: list[Value], known: Value | None) -> Value:
    """The value of a boolean expression with unknown parts. As a value it may be any of them; as a condition it has the
    structure that decisions can use."""
    parts = [*unknown, *([known] if known is not None else [])]
    if known is not None and not isinstance(known, Const) and op == "or":
        return reduce(join, parts)
    key = (op, tuple(key_of(v) for v in unknown))
    default = None
    if all(isinstance(v, Sym) and v.default is not None for v in unknown):
        truths = [bool(v.default.value) for v in unknown]
        default = Const(any(truths) if op == "or" else all(truths))
    if known is not None and isinstance(known, Const) and bool(known.value) == (op == "or"):
        return _with_default(compound((op, (*key[1], key_of(known))), [*unknown, known]), default)
    whole = _with_default(compound(key, unknown, f" {op} ".join(getattr(v, "text", "") for v in unknown)), default)
    whole.fixed = all(isinstance(v, Sym) and v.fixed for v in unknown)
    return whole


def _with_default(value: Sym, default: Const | None) -> Sym:
    value.default = default
    return value


def compare(run: Run, op: str, values: list[Value], node: ir.Node) -> Value:
    """Comparisons and `not`."""
    if sentinels.asks_for_nothing(op, values) and sentinels.was_set(run, values[0], node):
        return Const(False)
    if op == "in" and isinstance(values[1], DictVal) and isinstance(values[0], Const):
        setting = config_files.holds(values[1], values[0].value)
        if setting is not None:
            return setting
    if any(isinstance(value, Setting) for value in values):
        result = compare(run, op, [as_condition(run, value) for value in values], node)
        if isinstance(result, Sym):
            result.fixed = all(isinstance(value, Const) or (isinstance(value, Sym) and value.fixed) for value in values)
        return result
    if op == "not":
        values = [as_condition(run, values[0])]
        answer = truth(run, values[0])
        if answer.known and not isinstance(values[0], Sym):  # what only this path decided keeps its structure, as in ==
            return Const(answer.no)
        if isinstance(values[0], Sym):
            inner = values[0]
            default = Const(not inner.default.value) if inner.default is not None else None
            if isinstance(inner.key, tuple) and inner.key and inner.key[0] == "not":
                return Sym(inner.key[1], inner.text, default, size=inner.size, fixed=inner.fixed)
            negated = _with_default(compound(("not", inner.key), [inner], f"not {inner.text}"), default)
            negated.fixed = inner.fixed
            return negated
        return run.fresh(node)
    if op in _NEGATED and not (op == "!=" and any(isinstance(value, Tensor) for value in values)):
        return compare(run, "not", [compare(run, _NEGATED[op], values, node)], node)
    left, right = values[0], values[1]
    if op == "in":
        rows.tested(right, left)
    if isinstance(left, ParamName) or isinstance(right, ParamName):
        left, right = filters.sides(left, right)
        filters.compared(run, op, left, right, node)
    if (known := comparisons.known(run, op, left, right, _turn(left))) is not None:
        return Const(known)
    if any(isinstance(v, Tensor) for v in values):
        return masks.compared(op, values, tensors.cut(run, tensors.combine(run, values, node), Cut.COMPARED, node))
    if op in ("==", "is") and isinstance(right, Const) and isinstance(left, Sym):
        key = ("==", left.key, key_of(right))
        default = Const(left.default.value == right.value) if left.default is not None else None
        return _with_default(compound(key, [left], describe(node) if isinstance(node, ir.Op) else ""), default)
    if op in ("==", "is") and isinstance(left, Const) and isinstance(right, Sym):
        return compare(run, op, [right, left], node)
    default = None
    if isinstance(left, Sym) and left.default is not None and isinstance(right, Const):
        outcome = comparisons.known(run, op, left.default, right)
        default = None if outcome is None else Const(outcome)
    asked = question(op, left, right)
    return _with_default(compound(asked, [left, right], describe(node) if isinstance(node, ir.Op) else ""), default)


def _turn(value: Value) -> Turn | None:
    return value.turn if isinstance(value, Sym) else None
