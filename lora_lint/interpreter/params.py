"""Collections of parameters: `parameters()` and its kin, loops and comprehensions over them, name filters.

A loop over parameters is run once per representative parameter (an adapter matrix, a base weight, a norm, …) with its
realistic name, so any filter the user writes is simply evaluated: `"lora" in n`, `n.startswith(…)`, `continue` guards,
helper predicates. What cannot be evaluated makes the parts it decides unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import lora_lint.interpreter.conditions as conditions
import lora_lint.interpreter.elements as elements
import lora_lint.interpreter.evaluate as evaluation
import lora_lint.interpreter.execute as execution
import lora_lint.interpreter.iteration as iteration
from lora_lint.interpreter import filters, mentions
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.elements import element_attribute, element_is, element_method, representatives
from lora_lint.interpreter.run import ParamLoop, Run
from lora_lint.interpreter.values import (
    PARAMETERS,
    Capture,
    Choice,
    Const,
    DictVal,
    Element,
    Jump,
    LazyFilter,
    ParamIter,
    ParamName,
    ParamSet,
    Scope,
    SeqVal,
    Sym,
    Value,
)
from lora_lint.lifecycle.heap import Obj, trainable
from lora_lint.lifecycle.vocabulary import ADAPTER_PARTS, ALL_PARTS, BASE_PARTS, Ev, Part, Tri
from lora_lint.location import Location
from lora_lint.syntax import ir


def materialise(run: Run, value: ParamIter | ParamSet, node: ir.Node) -> ParamSet:
    """Consume an iterator over parameters now: what the model holds at this moment."""
    if isinstance(value, ParamSet):
        return value
    place = value.collected or run.loc(node)
    chosen = _apply_filter(run, value, node)
    captures = []
    for member in value.model.models():
        parts = {}
        for part in ALL_PARTS if value.parts is None else value.parts:
            answers = {answer for element, answer in chosen if element.part is part}
            if not chosen and value.keep is None:
                parts[part] = Tri.YES
            elif answers:
                parts[part] = answers.pop() if len(answers) == 1 else Tri.UNKNOWN
            else:
                parts[part] = Tri.YES if value.keep is None else Tri.NO
        adapters = tuple(member.model.adapters)
        told = _told_apart(chosen)
        captures.append(
            Capture(member, member.full_path, parts, adapters, len(run.trace.events), place, run.statement, told)
        )
    return ParamSet(captures)


def _told_apart(chosen: list[tuple[Element, Tri]]) -> dict[int, Tri]:
    """Which adapters a filter keeps, by their ids."""
    found: dict[int, Tri] = {}
    for element, answer in chosen:
        if element.adapter is not None:
            before = found.get(id(element.adapter), answer)
            found[id(element.adapter)] = answer if before is answer else Tri.UNKNOWN
    return found


def _apply_filter(run: Run, value: ParamIter, node: ir.Node) -> list[tuple[Element, Tri]]:
    """Each representative with whether the lazy filter keeps it."""
    out = []
    for element in representatives(run, value, ()):
        if value.keep is None:
            out.append((element, Tri.YES))
        elif value.keep.comp is not None and value.keep.scope is not None:
            out.append((element, _kept(run, value.keep.comp, element, value.named, value.keep.scope)[0]))
        else:
            import lora_lint.interpreter.calls as calls

            scope = value.keep.scope or run.module.scope
            item = _item(element, value.named)
            answer = calls.call_value(run, value.keep.predicate, Args([(item, None)]), node, scope)
            out.append((element, conditions.truth(run, answer)))
    filters.settle(run, value.model)
    return out


def _item(element: Element, named: bool) -> Value:
    if not named:
        return element
    return SeqVal("tuple", [ParamName(element.name, elements.name_prefixes(element.model)), element])


def _kept(run: Run, comp: ir.Comp, element: Element, named: bool, scope: Scope) -> tuple[Tri, Value]:
    """Whether a comprehension keeps an element, and what it makes of it."""
    local = Scope({}, scope.module, scope)
    clause = comp.clauses[0]
    execution.bind_target(run, clause.target, _item(element, named), local)
    answer = Tri.YES
    for condition in clause.conditions:
        one = conditions.truth(run, evaluation.evaluate(run, condition, local))
        if one.no:
            return Tri.NO, Const(None)
        if not one.known:
            answer = Tri.UNKNOWN
    if run.param_loops:
        run.param_loops[-1].doubt = not answer.yes
    return answer, evaluation.evaluate(run, comp.element, local)


def captures_of(run: Run, value: Value, node: ir.Node) -> list[Capture] | None:
    """All parameters in what an optimizer is given: an iterator, a list, groups. None when something is unknown."""
    if isinstance(value, (ParamIter, ParamSet)):
        return materialise(run, value, node).captures
    if isinstance(value, SeqVal):
        out: list[Capture] = []
        for item in value.items:
            inner = captures_of(run, item, node)
            if inner is None:
                return None
            out.extend(inner)
        return None if value.open else out
    if isinstance(value, DictVal):
        return captures_of(run, value.items["params"], node) if "params" in value.items else None
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
        ]
    )


# --- loops ------------------------------------------------------------------------------------------------------------


@contextmanager
def _gathered(run: Run, model: Obj, certain: bool) -> Iterator[tuple[ParamLoop, list[Element]]]:
    """Gather what is written to requires_grad inside, then make one event of it. certain: False when the elements are only
    some of the parameters, which ones is unknown."""
    state = ParamLoop(weak=0 if certain else 1)
    seen: list[Element] = []
    run.param_loops.append(state)
    try:
        yield state, seen
    finally:
        run.param_loops.pop()
    filters.settle(run, model)
    _clear(run, model, state)
    _finish(run, model, state, seen)


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


def loop(run: Run, node: ir.For, value: ParamIter | ParamSet, scope: Scope, by: str = "") -> None:
    """`for p in model.parameters(): …`: run the body once per representative, then make what it wrote happen.
    by: "place" when the loop counts, "name" when it goes over names, and its body reads the parameters there."""
    names = tuple(mentions.in_body(node.body, scope))
    for iterator, certain in _iterators(value):
        with _gathered(run, iterator.model, certain) as (state, seen):
            for element, sure in _iterate(run, iterator, node, names):
                seen.append(element)
                state.doubt = not sure
                item = _loop_item(node.target, element, iterator.named)
                if by == "place":
                    item = Sym(("place", element.name), "index")
                    run.places[item.key] = element
                elif by == "name":
                    item = ParamName(element.name, elements.name_prefixes(element.model))
                    run.places["name", element.name] = element
                execution.bind_target(run, node.target, item, scope)
                guards = len(run.guards)
                try:
                    execution.block(run, node.body, scope)
                except Jump as jump:
                    state.broke = jump.kind == "break"
                    if jump.kind != "continue":
                        break
                finally:
                    del run.guards[guards:]


def each(run: Run, function: Value, value: ParamIter | ParamSet, node: ir.Node, scope: Scope) -> None:
    """`map(function, model.parameters())`, consumed."""
    import lora_lint.interpreter.calls as calls

    over(run, value, node, lambda item: calls.call_value(run, function, Args([(item, None)]), node, scope))


def over(run: Run, value: ParamIter | ParamSet, node: ir.Node, act: Callable[[Value], object]) -> None:
    """Do something with every parameter or module; what it writes to requires_grad is one event."""
    for iterator, certain in _iterators(value):
        with _gathered(run, iterator.model, certain) as (state, seen):
            for element, sure in _iterate(run, iterator, node, ()):
                seen.append(element)
                state.doubt = not sure
                act(_item(element, iterator.named))


def _iterators(value: ParamIter | ParamSet) -> list[tuple[ParamIter, bool]]:
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
        out.append((ParamIter(capture.model, parts=parts), certain))
    return out


def _iterate(run: Run, iterator: ParamIter, node: ir.Node, names: tuple[str, ...]) -> Iterator[tuple[Element, bool]]:
    """The representatives that a filter lets through, each with whether it certainly does."""
    if iterator.keep is None:
        yield from ((element, True) for element in representatives(run, iterator, names))
        return
    for element, answer in _apply_filter(run, iterator, node):
        if not answer.no:
            yield element, answer.yes


def _loop_item(target: ir.Expr, element: Element, named: bool) -> Value:
    """What the loop variable holds: `for i, p in enumerate(...)` has a counter in front."""
    item = _item(element, named)
    if isinstance(target, ir.Seq) and len(target.items) == 2 and (not named or isinstance(target.items[1], ir.Seq)):
        return SeqVal("tuple", [Const(0), item])
    return item


def drop_gradient(run: Run, element: Element, node: ir.Node) -> None:
    """`p.grad = None` inside a loop over parameters."""
    state = run.param_loops[-1] if run.param_loops else None
    if state is not None and not (state.weak or state.doubt):
        state.cleared.add(element.name)
        state.cleared_at = (run.loc(node), run.statement)


def _clear(run: Run, model: Obj, state: ParamLoop) -> None:
    """Make one event of a loop that dropped the gradients of all adapters (without adapters: of all parameters)."""
    if state.cleared_at is None or state.broke:
        return
    whole = list(representatives(run, ParamIter(model), ()))
    wanted = [e for e in whole if e.part is Part.ADAPTER] or whole
    if all(element.name in state.cleared for element in wanted):
        where, statement = state.cleared_at
        saved, run.statement = run.statement, statement
        run.emit(Ev.ZERO_GRAD, None, {"model": model}, at=where)
        run.statement = saved


def _finish(run: Run, model: Obj, state: ParamLoop, seen: list[Element]) -> None:
    """Make one event of everything a loop wrote to requires_grad."""
    if not state.writes or state.where is None:
        return
    parts: dict[Part, Tri] = {}
    for part in {element.part for element in seen if not element.extra}:
        members = [e for e in seen if e.part is part and not e.extra]
        answers = [state.writes.get(e.name) for e in members]
        if all(a is None for a in answers):
            continue
        distinct = set(answers)
        answer = distinct.pop() if len(distinct) == 1 else Tri.UNKNOWN
        parts[part] = Tri.UNKNOWN if state.broke or answer is None else answer
    everywhere = set(parts.values()) if parts.keys() >= BASE_PARTS else set()
    inside = [e for e in seen if e.extra and e.part is Part.ADAPTER]
    if any(not state.writes.get(e.name, Tri.NO).no for e in inside) and not parts.get(Part.ADAPTER, Tri.NO).yes:
        if not all(trainable(model.model, adapter)[0].yes for adapter in model.model.adapters):
            parts[Part.ADAPTER] = Tri.UNKNOWN  # some of the adapter's parameters train again
    named = [e for e in seen if e.extra and e.part is not Part.ADAPTER]
    extras = {e.extra: state.writes[e.name] for e in named if e.name in state.writes}
    extras = {name: answer for name, answer in extras.items() if {answer} != everywhere}  # told apart from the others
    wrote = frozenset((e.part, state.writes[e.name]) for e in seen if not e.extra and e.name in state.writes)
    emit_parts(run, model, parts, extras, state.where, state.statement, wrote)


def emit_parts(
    run: Run,
    model: Obj,
    parts: dict[Part, Tri],
    extras: dict[str, Tri],
    where: Location,
    statement: Location | None,
    wrote: frozenset[tuple[Part, Tri]] = frozenset(),
) -> None:
    """Emit the freeze or thaw that a loop over parameters amounts to. wrote: what it wrote to some of each part."""
    adapter = parts.get(Part.ADAPTER)
    answers = [*parts.values(), *extras.values()]
    freezes = adapter.no if adapter is not None else not any(a.yes for a in answers)
    saved, run.statement = run.statement, statement
    run.emit(
        Ev.FREEZE if freezes else Ev.THAW,
        None,
        {"model": model},
        {"parts": parts, "extras": extras, "wrote": wrote, "loop": True},
        at=where,
    )
    run.statement = saved


def write_element(run: Run, element: Element, answer: Tri, node: ir.Node) -> None:
    """`p.requires_grad = …` inside a loop over parameters."""
    if not run.param_loops:
        emit_parts(run, element.model, {element.part: Tri.UNKNOWN}, {}, run.loc(node), run.statement)
        return
    state = run.param_loops[-1]
    before = state.writes.get(element.name)
    certain = before is answer or not (state.weak or state.doubt)
    state.writes[element.name] = answer if certain else Tri.UNKNOWN
    if state.where is None or answer.no:
        state.where, state.statement = run.statement or run.loc(node), run.statement


def write_all(run: Run, value: ParamIter | ParamSet, answer: Tri, node: ir.Node) -> None:
    """requires_grad written on a whole collection (module.parameters() in a loop over modules)."""
    for capture in materialise(run, value, node).captures:
        held = {part: answer if there.yes else Tri.UNKNOWN for part, there in capture.parts.items() if not there.no}
        emit_parts(run, capture.model, held, {}, run.loc(node), run.statement)


# --- comprehensions ---------------------------------------------------------------------------------------------------


def comprehension(run: Run, node: ir.Comp, scope: Scope) -> Value:
    """A comprehension: over parameters by representatives, over anything else by its first items."""
    first = evaluation.evaluate(run, node.clauses[0].iter, scope)
    if isinstance(first, ParamSet) and len(first.captures) == 1:
        first = _iterators(first)[0][0]
    if isinstance(first, ParamIter) and len(node.clauses) == 1:
        if node.kind == "generator":
            if first.keep is None:
                return ParamIter(
                    first.model, first.named, first.modules, first.parts, LazyFilter(node, scope), run.loc(node)
                )
        elif node.kind in ("list", "set"):
            return _collect(run, first, node, scope)
        elif node.kind == "dict":
            held = _collect(run, first, node, scope)
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
    return SeqVal("set" if node.kind == "set" else "list", [value for _, value in out], opened)


def _some_entries(run: Run, node: ir.Comp, items: Obj) -> Obj | None:
    """A dict of some entries of a model's state dict, under the names they have there; None for anything else."""
    whole, target = items.facts.get("entries"), node.clauses[0].target
    names = target.items if isinstance(target, ir.Seq) else ()
    first = names[0] if names else None
    plain = isinstance(first, ir.Name) and isinstance(node.key, ir.Name) and first.id == node.key.id
    if not isinstance(whole, Obj) or len(node.clauses) > 1 or not plain:
        return None
    some = run.make(whole.kind, whole.type, node)
    some.facts.update(whole.facts)
    return some


def _collect(run: Run, iterator: ParamIter, node: ir.Comp, scope: Scope) -> Value:
    names = tuple(s for c in (*node.clauses[0].conditions, node.element) for s in mentions.in_expression(c, scope))
    values: list[Value] = []
    parts: dict[Part, Tri] = {}
    chosen: list[tuple[Element, Tri]] = []
    with _gathered(run, iterator.model, certain=True) as (_, seen):
        for element in representatives(run, iterator, names):
            seen.append(element)
            answer, value = _kept(run, node, element, iterator.named, scope)
            if element.extra:
                continue
            before = parts.get(element.part)
            parts[element.part] = answer if before is None or before is answer else Tri.UNKNOWN
            chosen.append((element, answer))
            if not answer.no:
                values.append(value)
    if any(isinstance(v, Element) and not v.module for v in values) or not values:
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
            )
            for m in iterator.model.models()
        ]
        return ParamSet(captures)
    return SeqVal("list", values[:8], open=True)


def _clauses(
    run: Run, node: ir.Comp, index: int, iterable: Value, local: Scope, out: list[tuple[Value, Value]]
) -> bool:
    """Run the clauses from `index` on; whether there may be more items than collected."""
    clause = node.clauses[index]
    items, opened = iteration.items_for_loop(run, iterable, clause.iter, 3)
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


__all__ = [
    "captures_of",
    "comprehension",
    "element_attribute",
    "element_is",
    "element_method",
    "elements",
    "emit_parts",
    "loop",
    "materialise",
    "subset",
    "write_all",
    "write_element",
]
