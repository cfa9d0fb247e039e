"""Collections of parameters: `parameters()` and its kin, loops and comprehensions over them, name filters.

A loop over parameters is run once per representative parameter (an adapter matrix, a base weight, a norm, …) with its
realistic name, so any filter the user writes is simply evaluated: `"lora" in n`, `n.startswith(…)`, `continue` guards,
helper predicates. What cannot be evaluated makes the parts it decides unknown.
"""

from __future__ import annotations

from dataclasses import replace

import lora_lint.interpreter.conditions as conditions
import lora_lint.interpreter.elements as elements
import lora_lint.interpreter.evaluate as evaluation
import lora_lint.interpreter.execute as execution
import lora_lint.interpreter.iteration as iteration
import lora_lint.interpreter.param_loops as param_loops
from lora_lint.interpreter import encodings, filters, gathering, generators, mentions
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.parameter_values import (
    PARAMETERS,
    Element,
    LazyFilter,
    ParamIter,
    ParamName,
    ParamSet,
)
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Choice, Const, DictVal, Generator, Scope, SeqVal, Sym, Value
from lora_lint.lifecycle.captures import Capture
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Tensor
from lora_lint.lifecycle.vocabulary import ADAPTER_PARTS, ALL_PARTS, Part, Tri
from lora_lint.syntax import ir

MAX_CONSTANTS = 40  # items of a known list that a comprehension goes over


def materialise(run: Run, value: ParamIter | ParamSet, node: ir.Node) -> ParamSet:
    """Consume an iterator over parameters now: what the model holds at this moment."""
    if isinstance(value, ParamSet):
        return value
    place = value.collected or run.loc(node)
    chosen = filtered(run, value, node)
    every = value.keep is None and value.listed is None
    captures = []
    for member in value.model.models():
        parts = {}
        for part in ALL_PARTS if value.parts is None else value.parts:
            answers = {answer for element, answer in chosen if element.part is part}
            if not chosen and every:
                parts[part] = Tri.YES
            elif answers:
                parts[part] = answers.pop() if len(answers) == 1 else Tri.UNKNOWN
            else:
                parts[part] = Tri.YES if every else Tri.NO
        adapters = tuple(member.model.adapters)
        told = _told_apart(chosen)
        captures.append(
            Capture(member, member.full_path, parts, adapters, len(run.trace.events), place, run.statement, told)
        )
    return ParamSet(captures, value.named, value.modules)


def _told_apart(chosen: list[tuple[Element, Tri]]) -> dict[int, Tri]:
    """Which adapters a filter keeps, by their ids."""
    found: dict[int, Tri] = {}
    for element, answer in chosen:
        if element.adapter is not None:
            before = found.get(id(element.adapter), answer)
            found[id(element.adapter)] = answer if before is answer else Tri.UNKNOWN
    return found


def filtered(run: Run, value: ParamIter, node: ir.Node) -> list[tuple[Element, Tri]]:
    """Each representative with whether the lazy filter keeps it."""
    out = []
    for element in elements.representatives(run, value, ()):
        there = listed(value, element)
        if value.keep is None or there.no:
            out.append((element, there))
        elif value.keep.comp is not None and value.keep.scope is not None:
            kept = keeps(run, value.keep.comp, element, value.named, value.keep.scope)[0]
            out.append((element, kept if there.yes or kept.no else there))
        else:
            import lora_lint.interpreter.calls as calls

            scope = value.keep.scope or run.module.scope
            item = item_of(element, value.named)
            answer = calls.call_value(run, value.keep.predicate, Args([(item, None)]), node, scope)
            kept = conditions.truth(run, answer)
            out.append((element, kept if there.yes or kept.no else there))
    filters.settle(run, value.model)
    return out


def item_of(element: Element, named: bool) -> Value:
    """What an iterator gives for a parameter: itself, or its name and itself."""
    if not named:
        return element
    return SeqVal("tuple", [ParamName(element.name, elements.name_prefixes(element.model)), element])


def keeps(run: Run, comp: ir.Comp, element: Element, named: bool, scope: Scope) -> tuple[Tri, Value]:
    """Whether a comprehension keeps an element, and what it makes of it. Clauses behind the first go over what a module
    holds: `[p for m in model.modules() if isinstance(m, LayerNorm) for p in m.parameters()]`."""
    local = Scope({}, scope.module, scope)
    item, answer = item_of(element, named), Tri.YES
    for number, clause in enumerate(comp.clauses):
        if number:
            inner = evaluation.evaluate(run, clause.iter, local)
            held = inner.items if isinstance(inner, SeqVal) and not inner.open else []
            item, answer = (held[0], answer) if len(held) == 1 else (run.fresh(comp), Tri.UNKNOWN)
        execution.bind_target(run, clause.target, item, local)
        for condition in clause.conditions:
            one = conditions.truth(run, evaluation.evaluate(run, condition, local))
            if one.no:
                return Tri.NO, Const(None)
            if not one.known:
                answer = Tri.UNKNOWN
    if run.param_loops:
        run.param_loops[-1].turn(answer.yes)
    return answer, evaluation.evaluate(run, comp.element, local)


def listed(iterator: ParamIter, element: Element) -> Tri:
    """Whether a representative is among those of the list that is gone over."""
    if iterator.listed is None:
        return Tri.YES
    found = [each for each in iterator.listed if each.name == element.name]
    if not found:
        return Tri.UNKNOWN if element.extra else Tri.NO
    return Tri.of(None if all(each.doubt for each in found) else True)


def gathered(run: Run, value: Value) -> ParamIter | None:
    """What a list goes over that was filled in a loop over parameters or modules, or by a comprehension; None for all other
    values."""
    whole = value.whole if isinstance(value, SeqVal) and value.items else None
    if not isinstance(whole, ParamIter):
        return None
    found = [gathering.element_in(item) for item in value.items]
    there = [element for element in found if element is not None]
    named = [isinstance(item, SeqVal) for item in value.items]
    if len(there) < len(found) or any(named) != all(named) or len({each.module for each in there}) > 1:
        return None
    extras = tuple(each.extra for each in there if each.extra and each.part is not Part.ADAPTER)
    inside = tuple(each.extra for each in there if each.extra and each.part is Part.ADAPTER)
    iterator = ParamIter(whole.model, named[0], there[0].module, extras=extras, inside=inside, listed=tuple(there))
    names = {element.name for element in elements.representatives(run, iterator, ())}
    return iterator if all(each.name in names for each in there) else None


def captures_of(run: Run, value: Value, node: ir.Node) -> list[Capture] | None:
    """All parameters in what an optimizer is given: an iterator, a list, groups. None when something is unknown."""
    if isinstance(value, (ParamIter, ParamSet)):
        return materialise(run, value, node).captures
    if (iterator := gathered(run, value)) is not None:
        return materialise(run, iterator, node).captures
    if isinstance(value, SeqVal):
        out: list[Capture] = []
        others = [item for item in value.items if not (isinstance(item, Tensor) and item.leaf)]
        for item in others:
            inner = captures_of(run, item, node)
            if inner is None:
                return None
            out.extend(inner)
        return None if value.open or (value.items and not others) else out  # weights on their own are of no model
    if isinstance(value, DictVal):
        return captures_of(run, value.items["params"], node) if "params" in value.items else None
    if isinstance(value, Generator):
        return captures_of(run, SeqVal("list", generators.collect(run, value, node, limit=50)), node)
    if isinstance(value, Element):
        return [
            Capture(value.model, "", {value.part: Tri.UNKNOWN}, tuple(value.model.model.adapters), 0, run.loc(node))
        ]
    if isinstance(value, Obj) and value.path:
        return [
            Capture(
                value,
                value.full_path,
                dict.fromkeys(ALL_PARTS, Tri.UNKNOWN),
                tuple(value.model.adapters),
                0,
                run.loc(node),
            )
        ]
    if isinstance(value, Choice):
        return None
    return None


def subset(run: Run, value: ParamIter | ParamSet, node: ir.Node) -> ParamSet:
    """Some of the parameters, which ones is unknown."""
    whole = materialise(run, value, node)
    return ParamSet(
        [
            Capture(c.model, c.path, dict.fromkeys(c.parts, Tri.UNKNOWN), c.adapters, c.seq, c.location, c.statement)
            for c in whole.captures
        ],
        value.named,
        value.modules,
    )


def counted(run: Run, node: ir.Expr, scope: Scope) -> ParamIter | ParamSet | None:
    """The collection of parameters in `range(len(collection))`, None when the expression is anything else."""
    inner = _only_argument(node, "range", scope)
    collection = _only_argument(inner, "len", scope) if inner is not None else None
    value = evaluation.evaluate(run, collection, scope) if isinstance(collection, ir.Name) else None
    return value if isinstance(value, (ParamIter, ParamSet)) else None


def _only_argument(node: ir.Expr, name: str, scope: Scope) -> ir.Expr | None:
    """The argument of a call of a builtin with one plain argument."""
    if not isinstance(node, ir.Call) or not isinstance(node.func, ir.Name) or node.func.id != name:
        return None
    plain = len(node.args) == 1 and not node.args[0].star and not node.args[0].name
    return node.args[0].value if plain and scope.lookup(name) is None else None


def at_place(run: Run, value: ParamIter | ParamSet, index: Value) -> Element | None:
    """The parameter that a counter points at in a collection of the same model's parameters."""
    element = run.places.get(index.key) if isinstance(index, Sym) else None
    models = [value.model] if isinstance(value, ParamIter) else [capture.model for capture in value.captures]
    return element if element is not None and any(m.root is element.model.root for m in models) else None


def named(run: Run, value: DictVal, name: Value) -> Element | None:
    """`parameters[name]` in a loop over the names of a dict of parameters."""
    held = value.items.get(PARAMETERS)
    element = run.places.get(("name", name.value)) if isinstance(name, ParamName) else None
    models = held.captures if isinstance(held, ParamSet) else [held] if isinstance(held, ParamIter) else []
    return element if element is not None and any(m.model.root is element.model.root for m in models) else None


def iterators(value: ParamIter | ParamSet) -> list[tuple[ParamIter, bool]]:
    """Iterators over what a collection holds, each with whether it certainly holds all of its parts."""
    if isinstance(value, ParamIter):
        return [(value, True)]
    out = []
    for capture in value.captures:
        parts = frozenset(p for p, answer in capture.parts.items() if not answer.no)
        certain = all(a.known for a in capture.parts.values())
        if any(adapter not in capture.adapters for adapter in capture.model.model.adapters):
            # It was collected before an adapter was injected: of that adapter it holds nothing.
            certain = certain and not capture.adapters
            parts = parts - ADAPTER_PARTS if not capture.adapters else parts
        held = ParamIter(capture.model, value.named, value.modules, parts, extras=capture.extras, inside=capture.inside)
        out.append((held, certain))
    return out


# --- comprehensions ---------------------------------------------------------------------------------------------------


def comprehension(run: Run, node: ir.Comp, scope: Scope) -> Value:
    """A comprehension: over parameters by representatives, over anything else by its first items."""
    first = evaluation.evaluate(run, node.clauses[0].iter, scope)
    if isinstance(first, ParamSet) and len(first.captures) == 1:
        first = iterators(first)[0][0]
    first = gathered(run, first) or first
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
    opened = _clauses(run, node, 0, first, local, out)
    if node.kind == "dict":
        items: dict[object, Value] = {}
        for key, value in out:
            items[
                key.value if isinstance(key, Const) and isinstance(key.value, (str, int)) else ("unknown", len(items))
            ] = value
        return DictVal(items, open=True)
    if (
        isinstance(first, Tensor)
        and (copy := encodings.rows_copied(first, node, [value for _, value in out])) is not None
    ):
        return copy
    whole = iteration.modules_of(first) if _unchanged(node) else None
    return SeqVal("set" if node.kind == "set" else "list", [value for _, value in out], opened, whole)


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
            there = listed(iterator, element)
            if there.no:
                answer, value = there, Const(None)
            else:
                answer, value = keeps(run, node, element, iterator.named, scope)
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
                _told_apart(chosen),
                tuple(dict.fromkeys(extras)),
                tuple(dict.fromkeys(inside)),
            )
            for m in iterator.model.models()
        ]
        return ParamSet(captures, paired, iterator.modules)
    if all(gathering.element_in(value) is not None for value in values):
        return SeqVal("list", values, open=True, whole=ParamIter(iterator.model))
    return SeqVal("list", values[:8], open=True)


def _under_names(held: SeqVal, node: ir.Comp) -> DictVal | None:
    """A dict of modules under their own names; None for anything else."""
    target = node.clauses[0].target
    name = target.items[0] if isinstance(target, ir.Seq) and target.items else None
    plain = isinstance(name, ir.Name) and isinstance(node.key, ir.Name) and name.id == node.key.id
    if not plain or not all(isinstance(value, Element) and value.module for value in held.items):
        return None
    pairs = SeqVal("list", [item_of(value, True) for value in held.items], held.open, held.whole)
    return DictVal({value.name: value for value in held.items}, open=True, listed=pairs)


def _is_pair(value: Value) -> bool:
    """Whether a comprehension keeps a parameter with its name."""
    items = value.items if isinstance(value, SeqVal) and value.kind == "tuple" else ()
    name, param = items if len(items) == 2 else (None, None)
    return isinstance(name, ParamName) and isinstance(param, Element) and not param.module and param.name == name.value


def _limit(iterable: Value) -> int:
    """How many items of an iterable a comprehension goes over: constants cost little."""
    if not isinstance(iterable, SeqVal):
        return MAX_CONSTANTS if isinstance(iterable, DictVal) else 3
    parts = [part for item in iterable.items for part in (item.items if isinstance(item, SeqVal) else (item,))]
    return MAX_CONSTANTS if all(isinstance(part, Const) for part in parts) else 3


def _clauses(
    run: Run, node: ir.Comp, index: int, iterable: Value, local: Scope, out: list[tuple[Value, Value]]
) -> bool:
    """Run the clauses from `index` on; whether there may be more items than collected."""
    clause = node.clauses[index]
    items, opened = iteration.items_for_loop(run, iterable, clause.iter, _limit(iterable))
    for item in items:
        execution.bind_target(run, clause.target, item, local)
        answers = [conditions.truth(run, evaluation.evaluate(run, c, local)) for c in clause.conditions]
        if any(a.no for a in answers):
            continue
        opened = opened or not all(a.yes for a in answers)
        if index + 1 < len(node.clauses):
            inner = evaluation.evaluate(run, node.clauses[index + 1].iter, local)
            opened = _clauses(run, node, index + 1, inner, local, out) or opened
            continue
        key = evaluation.evaluate(run, node.key, local) if node.key is not None else Const(None)
        out.append((key, evaluation.evaluate(run, node.element, local)))
    return opened
