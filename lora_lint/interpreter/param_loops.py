"""Loops over parameters, and what they write: everything that one loop does to requires_grad is one event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import lora_lint.interpreter.elements as elements
import lora_lint.interpreter.execute as execution
import lora_lint.interpreter.params as params
from lora_lint.interpreter import filters, mentions
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.frames import ParamLoop
from lora_lint.interpreter.parameter_values import Element, ParamIter, ParamName, ParamSet
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Jump, Scope, SeqVal, Sym, Value
from lora_lint.lifecycle.heap import Obj, adapters_of, trainable
from lora_lint.lifecycle.vocabulary import BASE_PARTS, Ev, Part, Tri
from lora_lint.location import Location
from lora_lint.syntax import ir


@contextmanager
def gathered(run: Run, model: Obj, certain: bool) -> Iterator[tuple[ParamLoop, list[Element]]]:
    """Gather what is written to requires_grad inside, then make one event of it. certain: False when the elements are only
    some of the parameters, which ones is unknown."""
    state = ParamLoop(weak=0 if certain else 1, model=model)
    seen: list[Element] = []
    run.param_loops.append(state)
    try:
        yield state, seen
    finally:
        run.param_loops.pop()
    for gathering in state.lists if state.broke else ():
        gathering.whole = None
    filters.settle(run, model)
    _clear(run, model, state)
    _finish(run, model, state, seen)


def loop(run: Run, node: ir.For, value: ParamIter | ParamSet, scope: Scope, by: str = "") -> None:
    """`for p in model.parameters(): …`: run the body once per representative, then make what it wrote happen.
    by: "place" when the loop counts, "name" when it goes over names, and its body reads the parameters there."""
    names = (*mentions.in_body(node.body, scope), *(name for names in run.awaited for name in names))
    for iterator, certain in params.iterators(value):
        with gathered(run, iterator.model, certain) as (state, seen):
            for element, answer in _iterate(run, iterator, node, names):
                seen.append(element)
                if answer.no:
                    continue
                state.turn(answer.yes)
                item = _loop_item(run, node.target, element, iterator.named)
                if by == "place":
                    item = place(run, element)
                elif by == "name":
                    item = ParamName(element.name, element.prefixes)
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
    for iterator, certain in params.iterators(value):
        with gathered(run, iterator.model, certain) as (state, seen):
            for element, answer in _iterate(run, iterator, node, ()):
                seen.append(element)
                if answer.no:
                    continue
                state.turn(answer.yes)
                act(params.item_of(element, iterator.named))


def _iterate(run: Run, iterator: ParamIter, node: ir.Node, names: tuple[str, ...]) -> Iterator[tuple[Element, Tri]]:
    """The representatives, each with whether a filter lets it through, or a list holds it."""
    if iterator.keep is None:
        for element in elements.representatives(run, iterator, names):
            yield element, params.listed(iterator, element)
    else:
        yield from params.filtered(run, iterator, node)


def _loop_item(run: Run, target: ir.Expr, element: Element, named: bool) -> Value:
    """What the loop variable holds: `for i, p in enumerate(...)` has a counter in front."""
    item = params.item_of(element, named)
    if isinstance(target, ir.Seq) and len(target.items) == 2 and (not named or isinstance(target.items[1], ir.Seq)):
        return SeqVal("tuple", [place(run, element), item])
    return item


def place(run: Run, element: Element) -> Sym:
    """What a counter says of a parameter: which one it is, by a number that nobody knows."""
    counter = Sym(("place", element.name), "index")
    run.places[counter.key] = element
    return counter


def drop_gradient(run: Run, name: str, node: ir.Node) -> None:
    """`p.grad = None` or `p.grad.zero_()` inside a loop over parameters."""
    state = run.param_loops[-1] if run.param_loops else None
    if state is not None and state.drops():
        state.cleared.add(name)
        state.cleared_at = (run.loc(node), run.statement)


def clip_gradient(run: Run, node: ir.Node) -> None:
    """`p.grad.clamp_(…)` inside a loop over parameters: one event of the loop."""
    state = run.param_loops[-1] if run.param_loops else None
    if state is not None and not state.clips and state.model is not None and state.drops():
        state.clips = True
        run.emit(Ev.CLIP, node, {"model": state.model}, {"loop": True}, "torch.nn.utils.clip_grad_value_")


def _clear(run: Run, model: Obj, state: ParamLoop) -> None:
    """Make one event of a loop that dropped the gradients of all adapters (without adapters: of all parameters)."""
    if state.cleared_at is None or state.broke:
        return
    whole = list(elements.representatives(run, ParamIter(model), ()))
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
    parts = _parts(model, state, seen)
    everywhere = set(parts.values()) if parts.keys() >= BASE_PARTS else set()
    named = [e for e in seen if e.extra and e.part is not Part.ADAPTER]
    extras = {e.extra: state.writes[e.name] for e in named if e.name in state.writes}
    extras = {name: answer for name, answer in extras.items() if {answer} != everywhere}  # told apart from the others
    wrote = frozenset((e.part, state.writes[e.name]) for e in seen if not e.extra and e.name in state.writes)
    layers = (
        {}
        if state.broke
        else {e.name: state.writes.get(e.name) for e in seen if e.part is Part.ADAPTER and not e.extra}
    )
    members = list(model.models())
    apart = {id(m.root): _parts(m, state, [e for e in seen if e.model.root is m.root]) for m in members[1:] and members}
    emit_parts(run, model, parts, extras, state.where, state.statement, wrote, layers, apart)


def _parts(model: Obj, state: ParamLoop, seen: list[Element]) -> dict[Part, Tri]:
    """What a loop wrote to the parts of a model, of which these are the representatives."""
    parts: dict[Part, Tri] = {}
    for part in {element.part for element in seen if not element.extra}:
        members = [e for e in seen if e.part is part and not e.extra]
        answers = [state.writes.get(e.name) for e in members]
        if all(a is None for a in answers):
            continue
        distinct = set(answers)
        answer = distinct.pop() if len(distinct) == 1 else Tri.UNKNOWN
        parts[part] = Tri.UNKNOWN if state.broke or answer is None else answer
    inside = [e for e in seen if e.extra and e.part is Part.ADAPTER]
    if any(not state.writes.get(e.name, Tri.NO).no for e in inside) and not parts.get(Part.ADAPTER, Tri.NO).yes:
        if Part.ADAPTER in parts or not all(trainable(m.model, a)[0].yes for m, a in adapters_of(model)):
            parts[Part.ADAPTER] = Tri.UNKNOWN  # some of the adapter's parameters train again
    elif any(e.name not in state.writes for e in inside) and parts.get(Part.ADAPTER, Tri.YES).no:
        parts[Part.ADAPTER] = Tri.UNKNOWN  # some may go on
    return parts


def emit_parts(
    run: Run,
    model: Obj,
    parts: dict[Part, Tri],
    extras: dict[str, Tri],
    where: Location,
    statement: Location | None,
    wrote: frozenset[tuple[Part, Tri]] = frozenset(),
    layers: dict[str, Tri | None] | None = None,
    apart: dict[int, dict[Part, Tri]] | None = None,
) -> None:
    """Emit the freeze or thaw that a loop over parameters amounts to. wrote: what it wrote to some of each part. layers: what
    it wrote to the adapter's parameters, by name. apart: what it wrote to the parts of each model in a model of models, by
    the identity of its root."""
    adapter = parts.get(Part.ADAPTER)
    answers = [*parts.values(), *extras.values()]
    freezes = adapter.no if adapter is not None else not any(a.yes for a in answers)
    saved, run.statement = run.statement, statement
    run.emit(
        Ev.FREEZE if freezes else Ev.THAW,
        None,
        {"model": model},
        {"parts": parts, "extras": extras, "wrote": wrote, "layers": layers or {}, "loop": True, "apart": apart or {}},
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
    certain = before is answer or state.certain(element.name, answer)
    state.writes[element.name] = answer if certain else Tri.UNKNOWN
    if state.where is None or answer.no:
        state.where, state.statement = run.statement or run.loc(node), run.statement


def draw(run: Run, iterator: ParamIter, node: ir.Node) -> Value:
    """`next(model.parameters())`: some parameter, nobody knows which."""
    drawn = run.fresh(node)
    run.drawn[drawn.key] = iterator
    return SeqVal("tuple", [run.fresh(node), drawn]) if iterator.named else drawn


def write_drawn(run: Run, value: Value, node: ir.Node) -> bool:
    """Whether a value was drawn from the parameters of a model: then what is written to its requires_grad may be written to
    any of them, or to all in turn."""
    iterator = run.drawn.get(value.key) if isinstance(value, Sym) else None
    if iterator is not None:
        parts = dict.fromkeys(iterator.parts or Part, Tri.UNKNOWN)
        emit_parts(run, iterator.model, parts, {}, run.loc(node), run.statement)
    return iterator is not None


def write_all(run: Run, value: ParamIter | ParamSet, answer: Tri, node: ir.Node) -> None:
    """requires_grad written on a whole collection (module.parameters() in a loop over modules)."""
    for capture in params.materialise(run, value, node).captures:
        held = {part: answer if there.yes else Tri.UNKNOWN for part, there in capture.parts.items() if not there.no}
        emit_parts(run, capture.model, held, {}, run.loc(node), run.statement)
