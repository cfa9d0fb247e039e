"""Collections of parameters: `parameters()` and its kin, loops and comprehensions over them, name filters.

A loop over parameters is run once per representative parameter (an adapter matrix, a base weight, a norm, …) with its
realistic name, so any filter the user writes is simply evaluated: `"lora" in n`, `n.startswith(…)`, `continue` guards,
helper predicates. What cannot be evaluated makes the parts it decides unknown.
"""

from __future__ import annotations

from dataclasses import replace

import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.conditions as conditions
import lora_lint.interpreter.elements as elements
import lora_lint.interpreter.evaluate as evaluation
import lora_lint.interpreter.execute as execution
from lora_lint.interpreter import filters, gathering, generators
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.parameter_values import (
    PARAMETERS,
    Element,
    ParamIter,
    ParamName,
    ParamSet,
)
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Choice, Const, DictVal, Generator, Scope, SeqVal, Sym, Value
from lora_lint.lifecycle.captures import Capture
from lora_lint.lifecycle.heap import Adapter, Obj
from lora_lint.lifecycle.trace import Tensor
from lora_lint.lifecycle.vocabulary import ADAPTER_PARTS, ALL_PARTS, Kind, Part, Tri
from lora_lint.syntax import ir


def materialise(run: Run, value: ParamIter | ParamSet, node: ir.Node) -> ParamSet:
    """Consume an iterator over parameters now: what the model holds at this moment."""
    if isinstance(value, ParamSet):
        return value
    place = value.collected or run.loc(node)
    chosen = filtered(run, value, node)
    every = value.keep is None and value.listed is None
    given: dict[Part, set[Tri]] = {}
    for element, answer in chosen:
        given.setdefault(element.part, set()).add(answer)
    parts: dict[Part, Tri] = {}
    for part in ALL_PARTS if value.parts is None else value.parts:
        answers = given.get(part, set())
        if answers:
            parts[part] = next(iter(answers)) if len(answers) == 1 else Tri.UNKNOWN
        else:
            parts[part] = Tri.YES if every else Tri.NO
    told, now = told_apart(chosen), len(run.trace.events) if value.since is None else value.since
    statement = run.statement if value.since is None else None
    captures = [
        Capture(member, member.full_path, dict(parts), _by_then(member, now), now, place, statement, dict(told))
        for member in value.model.models()
    ]
    return ParamSet(captures, value.named, value.modules)


def _by_then(model: Obj, count: int) -> tuple[Adapter, ...]:
    """The adapters that a model had when there were so many events."""
    return tuple(adapter for adapter in model.model.adapters if adapter.event.seq < count)


def told_apart(chosen: list[tuple[Element, Tri]]) -> dict[int, Tri]:
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
    return SeqVal("tuple", [ParamName(element.name, element.prefixes), element])


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


def made(run: Run, iterator: ParamIter) -> list[Value]:
    """What a lazy comprehension over parameters makes of each that it keeps; nothing where there is none."""
    keep = iterator.keep
    if keep is None or keep.comp is None or keep.scope is None:
        return []
    found = (keeps(run, keep.comp, e, iterator.named, keep.scope) for e in elements.representatives(run, iterator, ()))
    return [value for answer, value in found if not answer.no]


def listed(iterator: ParamIter, element: Element) -> Tri:
    """Whether a representative is among those of the list that is gone over."""
    if iterator.listed is None:
        cut = iterator.perhaps and (element.part in iterator.perhaps or element.extra)
        return Tri.UNKNOWN if cut else Tri.YES
    found = [each for each in iterator.listed if each.name == element.name]
    if not found:
        return Tri.UNKNOWN if element.extra else Tri.NO
    return Tri.of(None if all(each.doubt for each in found) else True)


def of_list(run: Run, value: Value) -> ParamIter | None:
    """What a list holds that was filled in a loop over parameters or modules, or by a comprehension; None for all other
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
    iterator = replace(
        whole, named=named[0], modules=there[0].module, extras=extras, inside=inside, listed=tuple(there)
    )
    names = {element.name for element in elements.representatives(run, iterator, ())}
    return iterator if all(each.name in names for each in there) else None


def captures_of(run: Run, value: Value, node: ir.Node) -> list[Capture] | None:
    """All parameters in what an optimizer is given: an iterator, a list, groups. None when something is unknown."""
    if isinstance(value, (ParamIter, ParamSet)):
        return materialise(run, value, node).captures
    if (iterator := of_list(run, value)) is not None:
        return materialise(run, iterator, node).captures
    if isinstance(value, SeqVal):
        sets = [item for item in value.items if isinstance(item, ParamSet)]
        rest = [item for item in value.items if gathering.element_in(item) is not None]
        if sets and rest and len(sets) + len(rest) == len(value.items):  # filled by one loop after the other
            last = captures_of(run, SeqVal(value.kind, rest, value.open, value.whole), node)
            at, first = run.loc(node), [capture for each in sets for capture in each.captures]
            return None if last is None else [replace(c, location=at, statement=run.statement) for c in first] + last
        out: list[Capture] = []
        others = [item for item in value.items if not are_own(item)]
        for item in others:
            inner = captures_of(run, item, node)
            if inner is None:
                return None
            out.extend(inner)
        if value.open and gathering.grouped(value) is None:
            return None
        return None if value.items and not others else out  # weights on their own are of no model
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


def groups_of(optimizer: Obj) -> SeqVal | None:
    """`optimizer.param_groups`: what it holds, each collection in a group of its own; None where that is not known."""
    captures = optimizer.facts.get("captures") if optimizer.kind is Kind.OPTIMIZER else None
    if not captures:
        return None
    held = [ParamSet([each], group_of=optimizer) for each in captures]
    return SeqVal("list", [DictVal({"params": each}, open=True, group_of=optimizer) for each in held], open=True)


def after(value: ParamIter | ParamSet, method: str) -> ParamIter | ParamSet:
    """A list of parameters after a call of one of its methods: what is put into that of an optimizer is held by it."""
    if isinstance(value, ParamSet) and value.group_of is not None and method in _CHANGES:
        value.group_of.facts["escaped"] = True
    return value


_CHANGES = frozenset({"append", "extend", "insert", "clear", "pop", "remove", "__iadd__"})


def are_own(value: Value) -> bool:
    """Whether a parameter, a list or a group of them is of no model: weights on their own."""
    if isinstance(value, DictVal):
        return "params" in value.items and are_own(value.items["params"])
    if isinstance(value, SeqVal):
        return not value.open and bool(value.items) and all(map(are_own, value.items))
    return isinstance(value, Tensor) and value.leaf


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


_FEW = 8  # parameters at an end of a model's list: less than a block has, whose adapters are some of many
_FIRST = frozenset({Part.EMBED})
_LAST = frozenset({Part.HEAD, Part.NORM, Part.COPY})


def cut(run: Run, value: ParamIter | ParamSet, index: Value, node: ir.Node) -> ParamSet:
    """A slice of parameters. One that leaves out a few at an end of all that a model has, as `[:-4]` does, has the adapters of
    its blocks; which ones others have is unknown."""
    whole, some = materialise(run, value, node), subset(run, value, node)
    bounds = index.value if isinstance(index, Const) and isinstance(index.value, slice) else slice(None, None, 2)
    everything = len(whole.captures) == 1 and all(whole.captures[0].parts.get(part) is Tri.YES for part in ALL_PARTS)
    first, last = bounds.start or 0, 0 if bounds.stop is None else -bounds.stop or _FEW + 1
    forward = bounds.step in (None, 1) or (bounds.step == -1 and not first and not last)
    if everything and not whole.modules and forward and 0 <= first <= _FEW and 0 <= last <= _FEW:
        some.perhaps = (_FIRST if first else frozenset()) | (_LAST if last else frozenset())
    return some


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
        if value.perhaps is not None and capture.adapters == tuple(capture.model.model.adapters):
            held, certain = replace(held, perhaps=value.perhaps), True
        out.append((held, certain))
    return out
