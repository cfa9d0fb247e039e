"""Comprehensions: over parameters by representatives, as loops over them, over anything else by their first items."""

from __future__ import annotations

from dataclasses import replace

import lora_lint.interpreter.conditions as conditions
import lora_lint.interpreter.elements as elements
import lora_lint.interpreter.evaluate as evaluation
import lora_lint.interpreter.execute as execution
import lora_lint.interpreter.iteration as iteration
import lora_lint.interpreter.param_loops as param_loops
import lora_lint.interpreter.params as params
from lora_lint.interpreter import encodings, gathering, looks, mentions, records
from lora_lint.interpreter.parameter_values import PARAMETERS, Element, LazyFilter, ParamIter, ParamName, ParamSet
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, DictVal, Scope, SeqVal, Sym, Value
from lora_lint.interpreter.walk import nodes_in
from lora_lint.lifecycle.captures import Capture
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Tensor
from lora_lint.lifecycle.vocabulary import Part, Tri
from lora_lint.syntax import ir

MAX_CONSTANTS = 40  # items of a known list that a comprehension goes over


def comprehension(run: Run, node: ir.Comp, scope: Scope) -> Value:
    """A comprehension: over parameters by representatives, over anything else by its first items."""
    clause = node.clauses[0]
    counts = node.kind == "generator" and len(node.clauses) == 1
    with run.looking(
        counts and looks.only_measures(run, clause.target, clause.iter, (node.element, *clause.conditions))
    ):
        first = evaluation.evaluate(run, node.clauses[0].iter, scope)
    if isinstance(first, ParamSet) and len(first.captures) == 1:
        first = params.iterators(first)[0][0]
    first = params.of_list(run, first) or first
    inside = isinstance(first, ParamIter) and first.modules and node.kind in ("list", "set")
    if isinstance(first, ParamIter) and (len(node.clauses) == 1 or inside):
        if node.kind == "generator":
            if first.keep is None:
                return replace(first, keep=LazyFilter(node, scope), collected=run.loc(node))
        elif node.kind in ("list", "set"):
            return _collect(run, first, node, scope)
        elif node.kind == "dict":
            held = _collect(run, first, node, scope)
            if isinstance(held, SeqVal):
                return _under_names(held, node) or run.fresh(node)
            return DictVal({PARAMETERS: held}, open=True) if isinstance(held, ParamSet) else run.fresh(node)
        return run.fresh(node)
    if node.kind == "dict" and isinstance(first, Obj) and (some := _some_entries(run, node, first)) is not None:
        return some
    local = Scope({}, scope.module, scope)
    out: list[tuple[Value, Value]] = []
    numbers = SeqVal("list", _numbers(first, node))
    opened = not numbers.items or _clauses(run, node, 0, numbers, local, out)
    if opened or not all(iteration.is_known(value) for _, value in out):
        out.clear()
        opened = _clauses(run, node, 0, first, local, out)
    else:
        first = numbers
    if node.kind == "dict":
        items: dict[object, Value] = {}
        for key, value in out:
            known = isinstance(key, Const) and isinstance(key.value, (str, int))
            items[key.value if isinstance(key, Const) and known else ("unknown", len(items))] = value
        return DictVal(items, open=True)
    values = [value for _, value in out]
    if isinstance(first, Tensor) and (copy := encodings.rows_copied(first, node, values)) is not None:
        return copy
    whole: Value | None = iteration.modules_of(first) if _unchanged(node) else None
    if len(node.clauses) == 1 and not node.clauses[0].conditions:
        whole = whole or gathering.grouped(first)
    return SeqVal("set" if node.kind == "set" else "list", values, opened, whole)


def _numbers(iterable: Value, node: ir.Comp) -> list[Value]:
    """The numbers that a comprehension counts through (`range(12)`), where it only computes with them; none elsewhere."""
    counter = iterable.items[0] if isinstance(iterable, SeqVal) and iterable.items else None
    turn = counter.turn if isinstance(counter, Sym) else None
    called = [
        each.func for part in (node.key, node.element) for each in nodes_in(part or ()) if isinstance(each, ir.Call)
    ]
    if turn is None or not all(isinstance(func, ir.Name) and func.id in _ARITHMETIC for func in called):
        return []
    return [Const(number) for number in turn.numbers()[: MAX_CONSTANTS + 1]]


_ARITHMETIC = frozenset({"abs", "float", "int", "len", "max", "min", "pow", "round", "str"})


def _unchanged(node: ir.Comp) -> bool:
    """Whether a comprehension only makes a list of what it goes over: `[layer for layer in layers]`."""
    target = node.clauses[0].target
    plain = isinstance(target, ir.Name) and isinstance(node.element, ir.Name) and target.id == node.element.id
    return plain and len(node.clauses) == 1 and not node.clauses[0].conditions


def _some_entries(run: Run, node: ir.Comp, items: Obj) -> Obj | None:
    """A dict of some entries of a model's state dict, under names that begin as they do there; None for anything else."""
    whole, target = items.facts.get("entries"), node.clauses[0].target
    names = target.items if isinstance(target, ir.Seq) else ()
    if not isinstance(whole, Obj) or len(node.clauses) > 1 or not names or node.key is None:
        return None
    if not _begins_like(node.key, names[0], str(whole.facts.get("prefix", ""))):
        return None
    some = run.make(whole.kind, whole.type, node)
    some.facts.update(whole.facts)
    return some


def _begins_like(key: ir.Expr, name: ir.Expr, prefix: str) -> bool:
    """Whether a key is the name, or the name with something replaced that is not in its prefix: `name.replace(".default", "")`."""
    if isinstance(key, ir.Name):
        return isinstance(name, ir.Name) and key.id == name.id
    if not isinstance(key, ir.Call) or not isinstance(key.func, ir.Attr) or key.func.name != "replace":
        return False
    old = key.args[0].value if key.args else None
    text = old.value if isinstance(old, ir.Const) and isinstance(old.value, str) else ""
    apart = bool(text and prefix) and text not in prefix and prefix.split(".")[0] not in text
    return apart and _begins_like(key.func.value, name, prefix)


def _collect(run: Run, iterator: ParamIter, node: ir.Comp, scope: Scope) -> Value:
    told = [condition for clause in node.clauses for condition in clause.conditions]
    names = tuple(s for c in (*told, node.element) for s in mentions.in_expression(c, scope))
    values: list[Value] = []
    parts: dict[Part, Tri] = {}
    chosen: list[tuple[Element, Tri]] = []
    extras: list[str] = []
    inside: list[str] = []
    with param_loops.gathered(run, iterator.model, certain=True) as (_, seen):
        for element in elements.representatives(run, iterator, names):
            seen.append(element)
            there = params.listed(iterator, element)
            if there.no:
                answer, value = there, Const(None)
            else:
                answer, value = params.keeps(run, node, element, iterator.named, scope)
                answer = answer if there.yes or answer.no else there
            if element.extra:
                if element.part is Part.ADAPTER and not answer.no:
                    inside.append(element.extra)
                elif answer.yes:
                    extras.append(element.extra)
                continue
            before = parts.get(element.part)
            parts[element.part] = answer if before is None or before is answer else Tri.UNKNOWN
            chosen.append((element, answer))
            if not answer.no:
                values.append(value if answer.yes else gathering.in_doubt(value))
    paired = bool(values) and all(_is_pair(v) for v in values)
    if paired or any(isinstance(v, Element) and not v.module for v in values) or not values:
        captures = [
            Capture(
                m,
                m.full_path,
                dict(parts),
                tuple(m.model.adapters),
                len(run.trace.events),
                run.loc(node),
                run.statement,
                params.told_apart(chosen),
                tuple(dict.fromkeys(extras)),
                tuple(dict.fromkeys(inside)),
            )
            for m in iterator.model.models()
        ]
        return ParamSet(captures, paired, iterator.modules)
    if all(gathering.element_in(value) is not None for value in values):
        return SeqVal(
            "list",
            values,
            open=True,
            whole=ParamIter(iterator.model, collected=run.loc(node), since=len(run.trace.events)),
        )
    return SeqVal("list", values[:8], open=True)


def _under_names(held: SeqVal, node: ir.Comp) -> DictVal | None:
    """A dict of modules under their own names; None for anything else."""
    target = node.clauses[0].target
    name = target.items[0] if isinstance(target, ir.Seq) and target.items else None
    plain = isinstance(name, ir.Name) and isinstance(node.key, ir.Name) and name.id == node.key.id
    if not plain or not all(isinstance(value, Element) and value.module for value in held.items):
        return None
    pairs = SeqVal("list", [params.item_of(value, True) for value in held.items], held.open, held.whole)
    return DictVal({value.name: value for value in held.items}, open=True, listed=pairs)


def _is_pair(value: Value) -> bool:
    """Whether a comprehension keeps a parameter with its name."""
    items = value.items if isinstance(value, SeqVal) and value.kind == "tuple" else ()
    name, param = items if len(items) == 2 else (None, None)
    return isinstance(name, ParamName) and isinstance(param, Element) and not param.module and param.name == name.value


def _by_default(condition: Value, answer: Tri) -> bool:
    """Whether a condition holds, at least while options have the user's defaults."""
    default = condition.default if isinstance(condition, Sym) else None
    return answer.yes or (default is not None and bool(default.value))


def _limit(iterable: Value) -> int:
    """How many items of an iterable a comprehension goes over: constants cost little."""
    if not isinstance(iterable, SeqVal):
        return MAX_CONSTANTS if isinstance(iterable, DictVal) else 3
    if gathering.grouped(iterable) is not None:
        return MAX_CONSTANTS
    pairs = (item.items if isinstance(item, SeqVal) else [item] for item in iterable.items)
    parts = [part for pair in pairs for part in (pair[:1] if len(pair) == 2 else pair)]  # of an entry, its key
    return MAX_CONSTANTS if all(map(records.is_known, parts)) else 3


def _clauses(
    run: Run, node: ir.Comp, index: int, iterable: Value, local: Scope, out: list[tuple[Value, Value]]
) -> bool:
    """Run the clauses from `index` on; whether there may be more items than collected."""
    clause = node.clauses[index]
    items, opened = iteration.items_for_loop(run, iterable, clause.iter, _limit(iterable))
    for item in items:
        execution.bind_target(run, clause.target, item, local)
        told = [evaluation.evaluate(run, c, local) for c in clause.conditions]
        answers = [conditions.truth(run, value) for value in told]
        if any(a.no for a in answers):
            continue
        opened = opened or not all(a.yes for a in answers)
        if index + 1 < len(node.clauses):
            inner = evaluation.evaluate(run, node.clauses[index + 1].iter, local)
            opened = _clauses(run, node, index + 1, inner, local, out) or opened
            continue
        key = evaluation.evaluate(run, node.key, local) if node.key is not None else Const(None)
        if isinstance(key, Const) and node.kind == "dict" and not all(map(_by_default, told, answers)):
            continue  # nobody knows whether there is an entry of this name
        out.append((key, evaluation.evaluate(run, node.element, local)))
    return opened
