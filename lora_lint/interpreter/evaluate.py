"""Expressions: IR in, abstract value out."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable
from typing import Any

import lora_lint.interpreter.attributes as attributes
import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.conditions as conditions
import lora_lint.interpreter.items as items
import lora_lint.interpreter.iteration as iteration
import lora_lint.interpreter.params as params
import lora_lint.interpreter.specs as specs
from lora_lint.interpreter import (
    comprehensions,
    definitions,
    encodings,
    fallbacks,
    generators,
    masks,
    padding,
    special_tokens,
    tensors,
    texts,
)
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.describe import describe
from lora_lint.interpreter.keys import MAX_CONSTANT, compound, joined, parts_of, put_together
from lora_lint.interpreter.parameter_values import ParamIter, ParamSet
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import (
    Const,
    DictVal,
    FuncVal,
    LibMethod,
    LibRef,
    Scope,
    SeqVal,
    Sym,
    Value,
    constant,
    join,
    key_of,
)
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Tensor
from lora_lint.syntax import ir


def evaluate(run: Run, node: ir.Expr | None, scope: Scope) -> Value:
    """The value of an expression."""
    if node is None:
        return Const(None)
    run.steps += 1  # as `Run.step` does, for what is by far the most frequent step
    if run.steps > run.limit:
        run.step()
    return _HANDLERS[type(node)](run, node, scope)


def _const(run: Run, node: ir.Const, scope: Scope) -> Value:
    return Const(node.value)


def _name(run: Run, node: ir.Name, scope: Scope) -> Value:
    value = scope.lookup(node.id)
    if value is None:
        if node.id in BUILTINS:
            return LibRef(f"builtins.{node.id}")
        starred = definitions.from_star(run, scope.module, node.id)
        return starred if starred is not None else Sym(("name", run.module.path, node.id), node.id)
    if isinstance(value, Sym) and value.obj is not None:
        value = value.obj
    run.use(value)
    return value


def _attr(run: Run, node: ir.Attr, scope: Scope) -> Value:
    return attributes.read(run, evaluate(run, node.value, scope), node.name, node, scope)


def _item(run: Run, node: ir.Item, scope: Scope) -> Value:
    value = evaluate(run, node.value, scope)
    index = evaluate(run, node.index, scope)
    return items.read_item(run, value, index, node)


def _slice(run: Run, node: ir.Slice, scope: Scope) -> Value:
    parts = [
        Const(None) if part is None else evaluate(run, part, scope) for part in (node.lower, node.upper, node.step)
    ]
    bounds = [constant(part) for part in parts]
    if all(bound is None or type(bound) is int for bound in bounds):
        return Const(slice(*bounds))
    return Sym(("slice", tuple(map(key_of, parts))), "slice")


def _call(run: Run, node: ir.Call, scope: Scope) -> Value:
    return fallbacks.asked(run, node, calls.call(run, node, scope))


def _power(base: float, exponent: float) -> float:
    """A power of numbers, unless its digits would be without end."""
    if abs(base) > 1e6 or abs(exponent) > 64:
        raise OverflowError
    value = base**exponent
    if isinstance(value, complex):
        raise ValueError
    return float(value) if isinstance(value, float) else int(value)


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": _power,
    "//": operator.floordiv,
    "%": operator.mod,
    "|": operator.or_,
    "&": operator.and_,
}


def _op(run: Run, node: ir.Op, scope: Scope) -> Value:
    op = node.op
    if op in ("and", "or"):
        return conditions.boolean(run, node, scope)
    if op in ("await", "yield", "yield from"):
        value = evaluate(run, node.operands[0], scope) if node.operands else Const(None)
        return value if op == "await" else generators.yielded(run, value, node, each=op == "yield from")
    values = [evaluate(run, operand, scope) for operand in node.operands]
    fallbacks.note(run, values)
    if op == "fstring":
        return _fstring(values)
    if op in conditions.COMPARISONS or op == "not":
        return conditions.compare(run, op, values, node)
    return binary(run, op, values, node)


def _fstring(values: list[Value]) -> Value:
    """An f-string: its text when all is known, else an unknown that keeps its beginning (`f"cuda:{rank}"`)."""
    known = [str(v.value) if isinstance(v, Const) else None for v in values]
    whole = "".join(text for text in known if text is not None)
    if None not in known and len(whole) <= MAX_CONSTANT:
        return Const(whole)
    return put_together(tuple(key_of(v) for v in values), values, f"{known[0] or ''}…")


def texts_joined(values: list[Value]) -> Value:
    """Texts one after the other, of which not all are known: like an f-string."""
    parts = (parts_of(value) or (key_of(value),) for value in values)
    return put_together(tuple(part for some in parts for part in some), values)


def _is_text(value: Value) -> bool:
    known = isinstance(value, Const) and isinstance(value.value, str)
    return known or parts_of(value) is not None or special_tokens.is_text(value)


def binary(run: Run, op: str, values: list[Value], node: ir.Node) -> Value:
    """An arithmetic operation."""
    if op == "+" and any(_is_text(v) for v in values) and not all(isinstance(v, Const) for v in values):
        return texts_joined(values)
    if op == "%" and (text := texts.formatted(values)) is not None:
        return text
    if (ids := padding.operated(run, op, values, node)) is not None:
        return ids
    if any(isinstance(v, Tensor) for v in values):
        return masks.operated(op, values, tensors.combine(run, values, node))
    if all(isinstance(v, Const) for v in values):
        constants = [v.value for v in values]
        if len(constants) == 2 and op in _BINARY and _small(constants):
            try:
                return Const(_BINARY[op](*constants))
            except items.CONSTANT_ERRORS:
                return run.fresh(node)
        if op == "u-" and isinstance(constants[0], (int, float)):
            return Const(-constants[0])
    if op == "+" and len(values) == 2 and any(isinstance(v, (SeqVal, ParamSet)) for v in values):
        return SeqVal(
            "list", *joined(SeqVal("list", [v]) if isinstance(v, (ParamSet, ParamIter)) else v for v in values)
        )
    if op == "*" and (repeated := _repeated(values)) is not None:
        return repeated
    if op == "|" and all(isinstance(v, DictVal) for v in values):
        return DictVal({**values[0].items, **values[1].items}, values[0].open or values[1].open)
    if op == "/" and isinstance(values[0], Obj) and (found := run.store.find_method(values[0].type, "__truediv__")):
        return specs.apply_call(
            run, found, values[0].type, values[0], Args([(values[1], None)]), node, run.module.scope
        )
    keys = tuple(key_of(v) for v in values)
    if all(isinstance(v, (Const, Sym)) for v in values):
        # A graph may hang on an unknown operand: `weights[i] * penalty(x)` is no data.
        unknowns = [v for v in values if isinstance(v, Sym)]
        data = bool(unknowns) and all(v.data for v in unknowns)
        result = compound(("op", op, keys), values, describe(node) if isinstance(node, ir.Op) else "", data=data)
        if op in ("+", "-") and len(values) == 2 and isinstance(values[0], Sym) and values[0].turn is not None:
            added = constant(values[1])
            result.turn = values[0].turn.shifted(-added if op == "-" and type(added) is int else added)
        return result
    return tensors.made_of_weights(run, values, node)


def _repeated(values: list[Value]) -> SeqVal | None:
    """`[0.5] * 4`: constants written down once for several; None for anything else."""
    held = next((v for v in values if isinstance(v, SeqVal)), None)
    times = next((v.value for v in values if isinstance(v, Const) and type(v.value) is int), 0)
    if held is None or held.open or not all(isinstance(item, Const) for item in held.items):
        return None
    return SeqVal(held.kind, held.items * times) if 0 < times * len(held.items) <= iteration.MAX_STORED else None


def _small(constants: list[Any]) -> bool:
    """Whether computing with these constants is harmless (no huge strings or numbers)."""
    return all(
        (isinstance(c, (int, float, bool)) and abs(c) < 1e12) or (isinstance(c, (str, bytes)) and len(c) < MAX_CONSTANT)
        for c in constants
    ) and not (len(constants) == 2 and {type(c) for c in constants} >= {str, int})


def _star(run: Run, node: ir.Star, scope: Scope) -> Value:
    return evaluate(run, node.value, scope)


def _seq(run: Run, node: ir.Seq, scope: Scope) -> Value:
    items: list[Value] = []
    opened = False
    spliced: list[Obj] = []
    for item in node.items[:500]:
        if isinstance(item, ir.Star):
            inner = iteration.unpacked(run, evaluate(run, item.value, scope), item)
            modules = iteration.modules_of(inner)
            if modules is not None:
                spliced.append(modules)
            if isinstance(inner, SeqVal):
                items.extend(inner.items)
                opened = opened or inner.open
            elif isinstance(inner, (ParamIter, ParamSet)):
                items.append(params.materialise(run, inner, item))
            else:
                items.extend([] if modules is None else [iteration.item_of(run, modules, item)])
                opened = True
        else:
            items.append(evaluate(run, item, scope))
    whole = spliced[0] if spliced and len(node.items) == 1 else None
    return SeqVal(node.kind, items, opened or len(node.items) > 500, whole, tuple(spliced), born=run.turns)


def _mapping(run: Run, node: ir.Mapping, scope: Scope) -> Value:
    out = DictVal({})
    for key_node, value_node in node.pairs[:500]:
        value = evaluate(run, value_node, scope)
        if key_node is None:
            if isinstance(value, Tensor) and value.encoding is not None:
                value = encodings.mapping(value)
            if isinstance(value, DictVal):
                out.items.update(value.items)
                out.open = out.open or value.open
            else:
                out.open = True
            continue
        key = evaluate(run, key_node, scope)
        if isinstance(key, Const):
            if key.value == "labels":
                encodings.note_labels(run, value, value_node)
            try:
                out.items[key.value] = value
                continue
            except TypeError:
                pass
        out.items[("unknown", key_of(key))] = value
        out.open = True
    return out


def _cond(run: Run, node: ir.Cond, scope: Scope) -> Value:
    answer = conditions.test(run, node.test, scope, node)
    if answer.known:
        with run.guarded(conditions.behind(run, node)):
            return evaluate(run, node.body if answer.yes else node.orelse, scope)
    if run.program.is_hot(node):
        with conditions.decided(run, node.test, scope, node) as arm:
            return evaluate(run, node.body if arm else node.orelse, scope)
    mask = run.last_condition[1] if run.last_condition is not None else None
    first = evaluate(run, node.body, scope)
    second = evaluate(run, node.orelse, scope)
    if isinstance(mask, Tensor) and (labels := masks.chosen(run, mask, first, second, node)) is not None:
        return labels
    if any(isinstance(_owner(v), (Obj, FuncVal, ParamIter, ParamSet)) for v in (first, second)):
        with conditions.decided(run, node.test, scope, node) as arm:
            return first if arm else second
    return join(first, second)


def _owner(value: Value) -> Value:
    """Whose method a value is, else the value."""
    return value.receiver if isinstance(value, LibMethod) else value


def _lambda(run: Run, node: ir.Lambda, scope: Scope) -> Value:
    return FuncVal(node, scope, defaults=calls.evaluate_defaults(run, node.params, scope))


def _comp(run: Run, node: ir.Comp, scope: Scope) -> Value:
    return comprehensions.comprehension(run, node, scope)


def counts(target: ir.Expr, computed: ir.Expr, value: Value) -> bool:
    """Whether a known number goes back to where it was computed from: `step = step + 1`."""
    if not isinstance(value, Const) or not isinstance(value.value, (int, float)) or not isinstance(computed, ir.Op):
        return False
    return computed.op in _BINARY and any(_is_place(operand, target) for operand in computed.operands)


def _is_place(one: ir.Expr, other: ir.Expr) -> bool:
    if isinstance(one, ir.Name):
        return isinstance(other, ir.Name) and one.id == other.id
    if not isinstance(one, ir.Attr) or not isinstance(other, ir.Attr):
        return False
    return one.name == other.name and _is_place(one.value, other.value)


def _walrus(run: Run, node: ir.Walrus, scope: Scope) -> Value:
    value = evaluate(run, node.value, scope)
    if run.loops and counts(node.target, node.value, value):
        value = run.fresh(node)  # like `step += 1` in a loop
    if isinstance(node.target, ir.Name):
        scope.bind(node.target.id, value)
    return value


_HANDLERS: dict[type, Callable[[Run, Any, Scope], Value]] = {
    ir.Const: _const,
    ir.Name: _name,
    ir.Attr: _attr,
    ir.Item: _item,
    ir.Slice: _slice,
    ir.Call: _call,
    ir.Op: _op,
    ir.Star: _star,
    ir.Seq: _seq,
    ir.Mapping: _mapping,
    ir.Cond: _cond,
    ir.Lambda: _lambda,
    ir.Comp: _comp,
    ir.Walrus: _walrus,
}

BUILTINS = frozenset(dir(builtins))
