"""The autograd graph between forward and backward: LL201, LL202, LL203, LL206."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator

from lora_lint.checks.base import Report, check
from lora_lint.checks.common import (
    FROM_A_MODEL,
    RECORDED,
    call_site,
    held_models,
    learns,
    stand_ins,
    trained,
    variable_of,
)
from lora_lint.checks.targets import finds_targets, only_inside
from lora_lint.findings import (
    Applicability,
    FixPlan,
    InsertStatement,
    RemoveDecorator,
    RemoveStatement,
    ReplaceText,
    Severity,
    Unwrap,
)
from lora_lint.lifecycle.heap import Copy, Obj, trainable
from lora_lint.lifecycle.trace import GRADIENT_READ, MODE_WRITTEN, Event, Guard, Tensor, Trace
from lora_lint.lifecycle.vocabulary import Cut, Ev, Graph, Mode, Tri
from lora_lint.location import Location

_HOW = {
    Cut.DETACH: "is detached",
    Cut.ITEM: "is turned into a number",
    Cut.DATA: "is taken out of the graph through `.data`",
    Cut.NUMPY: "goes through numpy",
    Cut.REBUILT: "is rebuilt as a new tensor",
    Cut.COMPARED: "is made of comparisons, which have no gradient,",
    Cut.WHOLE: "is made of whole numbers, which have no gradient,",
    Cut.INFERENCE: "comes from a method for inference, which records no gradients,",
}
_HELP = {Cut.INFERENCE: "call the model itself for what is trained; this method is for evaluation"}


def _loss(event: Event) -> Tensor | None:
    loss = event.args.get("loss")
    return loss if isinstance(loss, Tensor) else None


@check("LL201", on=Ev.BACKWARD)
def loss_detached(event: Event, trace: Trace) -> Iterator[Report]:
    """Backward on a loss whose graph was cut by the user's own code."""
    loss = _loss(event)
    if loss is None or loss.graph is not Graph.DETACHED or loss.cut_at is None or loss.hack_at is not None:
        return
    if loss.cut in _HOW and not _of_one_turn(loss.cut_guards, event):
        name = f"`{loss.name}`" if loss.name else "the loss"
        story: list[tuple[Event, str]] = [(source, "forward here") for source in loss.sources[:1]]
        yield Report(
            loss.cut_at,
            f"{name} {_HOW[loss.cut]} before the backward: no gradient reaches the model",
            help=_HELP.get(loss.cut, "keep the loss attached for backward(); detach a copy for logging"),
            story=(
                *story,
                (event, "backward here" if not event.args.get("implicit") else "the trainer's backward uses it here"),
            ),
            plan=_keep_attached(loss),
            guards=loss.cut_guards,
        )


def _of_one_turn(guards: Iterable[Guard], backward: Event) -> bool:
    """Whether something happens in some turns only of a loop that is over when the backward comes: the turn whose values
    are left, the last one, may be another (a sampler that records gradients in its last step alone)."""
    places = (backward.location, *backward.chain)
    loops = (guard.varies for guard in guards if guard.varies is not None)
    return any(not any(map(loop.covers, places)) for loop in loops)


@check("LL201", on=Ev.END)
def only_a_penalty_learns(event: Event, trace: Trace) -> Iterator[Report]:
    """What all backwards of a program start from is a sum whose terms of a forward were cut, beside terms that are computed
    from the parameters alone."""
    backwards = [(backward, _loss(backward)) for backward in trace.of(Ev.BACKWARD)]
    if all(loss is not None and loss.only is not None for _, loss in backwards):
        for backward, loss in backwards:
            cut = loss.only if loss is not None else None
            if cut is not None and cut.cut_at is not None and cut.cut in _HOW:
                yield Report(
                    cut.cut_at,
                    f"{f'`{cut.name}`' if cut.name else 'the loss'} {_HOW[cut.cut]} before the backward: only the penalty on the "
                    "parameters has a gradient, the model learns nothing from the data",
                    help="keep the loss attached for backward(); detach a copy for logging",
                    story=(*((source, "forward here") for source in cut.sources[:1]), (backward, "backward here")),
                    plan=_keep_attached(cut),
                    guards=cut.cut_guards,
                    unless=frozenset({(FROM_A_MODEL, backward.location)}),
                )


@check("LL201", on=Ev.STEP)
def adapters_behind_a_cut(event: Event, trace: Trace) -> Iterator[Report]:
    """Adapters in a part of the network whose output was cut from its graph wherever the loss is made of it, while the rest
    of the network learns."""
    optimizer = event.role("optimizer")
    backward = next(trace.before(event, Ev.BACKWARD), None)
    loss = _loss(backward) if backward is not None else None
    if optimizer is None or backward is None or loss is None or loss.graph is not Graph.ATTACHED or not loss.behind:
        return
    cut = {id(forward): tensor for forward, tensor in loss.behind}
    for part, certain, forwards in _adapted_forwards(event, backward, optimizer, trace):
        forwards = [forward for forward in forwards if forward.args.get("grad") is not Tri.NO]
        last = cut.get(id(forwards[-1])) if forwards else None
        if last is None or last.cut_at is None or not all(id(forward) in cut for forward in forwards):
            continue
        yield Report(
            last.cut_at,
            f"the output of the part of the network that holds adapters {_HOW[last.cut or Cut.DETACH]} before the loss: its "
            "adapters never learn",
            help="keep the output attached where it goes into the loss",
            story=((forwards[-1], "forward through the adapters here"), (event, "optimizer steps here")),
            plan=_keep_attached(last),
            severity=None if certain else Severity.WARNING,
            guards=last.cut_guards,
            unless=frozenset({(RECORDED, part.root.site)}),
        )


def _adapted_forwards(
    step: Event, backward: Event, optimizer: Obj, trace: Trace
) -> Iterator[tuple[Obj, bool, list[Event]]]:
    """The parts with adapters of what an optimizer holds, each with the forwards of it since the step before; not where other
    turns of the loop go another way."""
    start = next((e.seq for e in trace.before(step, Ev.STEP) if e.role("optimizer") is optimizer), -1)
    for model in held_models(optimizer):
        for part, certain in _adapted_parts(model):
            forwards = [
                e
                for e in trace.of(Ev.FORWARD)
                if start < e.seq < backward.seq and e.model and e.model.root is part.root and not _passes_by(e, part)
            ]
            in_turns = any(guard.turns and not guard.default for e in forwards for guard in e.guards)
            chosen = [guard for e in forwards for guard in e.args.get("grad_guards", ())]
            if not in_turns and not _of_one_turn(chosen, backward):
                yield part, certain, forwards


def _keep_attached(loss: Tensor) -> FixPlan | None:
    """Take out the call that cuts the graph."""
    if loss.cut not in (Cut.DETACH, Cut.ITEM, Cut.DATA) or loss.cut_at is None or loss.cut_inner is None:
        return None
    return FixPlan(Applicability.UNSAFE, "keep the loss attached", (Unwrap(loss.cut_at, loss.cut_inner),))


@check("LL202", on=Ev.BACKWARD)
def loss_requires_grad_hack(event: Event, trace: Trace) -> Iterator[Report]:
    """requires_grad was set on the loss by hand, so that a backward without a graph does not fail."""
    loss = _loss(event)
    if loss is None or loss.hack_at is None:
        return
    story: list[tuple[Event, str]] = [(event, "backward here")]
    certain = loss.graph is not Graph.ATTACHED or loss.leaf
    yield Report(
        loss.hack_at,
        "requires_grad is set on the loss by hand: backward() runs, but no gradient reaches the model"
        if certain
        else "requires_grad is set on the loss by hand: it does nothing here, and it hides the error when the graph is missing",
        help="remove it and find out why the loss has no graph",
        story=tuple(story),
        plan=_drop_hack(loss),
        severity=None if certain else Severity.WARNING,
        unless=_meant(loss, event),
    )


def _meant(loss: Tensor, backward: Event) -> frozenset[Hashable]:
    """What would show that requires_grad was set on purpose: a tensor of its own takes the place of the loss in a step that
    is left out."""
    return _as_input(loss) | frozenset({(FROM_A_MODEL, backward.location)} if loss.leaf else ())


def _as_input(loss: Tensor) -> frozenset[Hashable]:
    """What would show that requires_grad was set for the gradient of this very tensor: what was computed without a graph is
    an input then, and its gradient is passed on by hand."""
    return frozenset({(GRADIENT_READ, loss.hack_at)}) if loss.hack_at is not None else frozenset()


def _drop_hack(loss: Tensor) -> FixPlan | None:
    """Take the hack out. Where it hides that there is no graph, the program would fail without it: that is for a
    reader."""
    if loss.hack_statement is None or loss.hack_at is None or loss.hack_statement.line != loss.hack_at.line:
        return None
    if loss.cut is Cut.REBUILT or loss.leaf:
        return None
    inner = loss.hack_inner  # of a call; an assignment to the attribute goes as a whole
    drop = RemoveStatement(loss.hack_statement) if inner is None else Unwrap(loss.hack_at, inner)
    if loss.graph is Graph.ATTACHED:
        return FixPlan(Applicability.UNSAFE, "remove the hack", (drop,))
    attached = _keep_attached(loss)
    if attached is not None and loss.cut_at is not None and loss.cut_at.path == loss.hack_at.path:
        if not loss.hack_statement.line <= loss.cut_at.line <= loss.hack_statement.end_line:
            return FixPlan(
                Applicability.UNSAFE, "keep the loss attached and remove the hack", (*attached.intents, drop)
            )
    return FixPlan(Applicability.DISPLAY, "remove the hack", (drop,))


@check("LL203", on=Ev.BACKWARD)
def training_under_no_grad(event: Event, trace: Trace) -> Iterator[Report]:
    """The forward that the loss comes from ran without recording gradients."""
    loss = _loss(event)
    if loss is None or loss.cut is not Cut.NO_GRAD or loss.graph is not Graph.DETACHED or loss.cut_at is None:
        return
    if _of_one_turn(loss.cut_guards, event):
        return
    yield Report(
        loss.context_at or loss.cut_at,
        "the training forward runs without gradients: the loss has no graph and nothing is trained",
        help="take the forward out of torch.no_grad() / inference_mode()",
        story=((loss.cut_at, "the loss is computed here"), (event, "backward here")),
        plan=_with_gradients(loss),
        guards=loss.cut_guards,
        unless=_as_input(loss),
    )


def _with_gradients(loss: Tensor) -> FixPlan | None:
    """Turn the block or the decorator into one that records gradients."""
    return _recording(loss.context_at, loss.context_form)


def _recording(place: Location | None, form: str) -> FixPlan | None:
    """Record gradients where a block or a decorator switches them off."""
    if place is None or not form:
        return None
    intent = ReplaceText(place, "torch.enable_grad()") if form == "block" else RemoveDecorator(place)
    return FixPlan(Applicability.UNSAFE, "record gradients here", (intent,))


@check("LL203", on=Ev.STEP)
def adapters_under_no_grad(event: Event, trace: Trace) -> Iterator[Report]:
    """Adapters in a part of the network (a tower, an encoder) whose every training forward ran without gradients, while
    the rest of the network learns."""
    optimizer = event.role("optimizer")
    backward = next(trace.before(event, Ev.BACKWARD), None)
    loss = _loss(backward) if backward is not None else None
    if (
        optimizer is None
        or backward is None
        or not (trained(backward) or (loss is not None and loss.sources))
        or (loss is not None and loss.graph is Graph.DETACHED)
    ):
        return
    for part, certain, forwards in _adapted_forwards(event, backward, optimizer, trace):
        if forwards and all(e.args.get("grad") is Tri.NO for e in forwards):
            last = forwards[-1]
            yield Report(
                last.args.get("grad_at") or last,
                "the part of the network that holds adapters runs without gradients: its adapters never learn",
                help="take its forward out of torch.no_grad() / inference_mode()",
                story=((last, "forward through the adapters here"), (event, "optimizer steps here")),
                plan=_recording(last.args.get("grad_at"), last.args.get("grad_form", "")),
                severity=None if certain else Severity.WARNING,
                guards=last.guards,
                unless=frozenset({(RECORDED, part.root.site)}),
            )


def _passes_by(forward: Event, model: Obj) -> bool:
    """Whether a forward is given what a part of the model would compute, and that part has all of the model's adapters."""
    adapters = [a for a in model.model.adapters if not trainable(model.model, a)[0].no]
    return any(all(only_inside(adapter, model.root, part) for adapter in adapters) for part in stand_ins(forward)[:1])


def _adapted_parts(model: Obj) -> Iterator[tuple[Obj, bool]]:
    """Models that hold trainable adapters: their own (True), or those of an adapter that was injected into the user's model
    around them and finds its targets in them (False: perhaps not on purpose)."""
    for member in model.models():
        if any(trainable(member.model, adapter)[0].yes for adapter in member.model.adapters):
            yield member, True
    for child, path in model.inside():
        if any(trainable(model.model, a)[0].yes and finds_targets(a, child, path) for a in model.model.adapters):
            yield child, False


@check("LL206", on=Ev.STEP)
def training_in_eval_mode(event: Event, trace: Trace) -> Iterator[Report]:
    """A training step whose forward ran while `.eval()` stood."""
    optimizer = event.role("optimizer")
    backward = next(trace.before(event, Ev.BACKWARD), None)
    if optimizer is None or backward is None:
        return
    held = [model.root for model in held_models(optimizer)]
    loss = _loss(backward)
    for source in loss.sources if loss is not None else ():
        model = source.model
        if model is None or source.args.get("mode") is not Mode.EVAL or not learns(model).yes:
            continue
        if source.args.get("grad") is Tri.NO:
            continue  # a reference beside the training forward: eval mode is right for it
        roots = {id(m.root) for m in model.models()}
        if not any(id(root) in roots or any(m.root is model.root for m in root.models()) for root in held):
            continue
        cause = source.args.get("mode_event")
        if not isinstance(cause, Event) or cause.kind is Ev.LOAD or _chosen(cause, source, trace):
            continue
        copied = model.root.facts.get("copy")
        if isinstance(copied, Copy) and copied.path and cause.model is not None and cause.model.root is copied.of:
            continue  # a layer taken out of a model that stays as it is, to be fitted to what it gives there
        yield Report(
            cause,
            "leaves the model in eval mode, and it is trained like that: dropout stays off"
            if cause.kind is Ev.MODE
            else "loads the adapter in eval mode, and it is trained like that: its dropout stays off",
            help="call model.train() before the training steps (after every validation)",
            story=((source, "training forward here"), (event, "optimizer step here")),
            plan=_switch_itself(source, cause, trace) or _train_again(source, cause, event),
            unless=frozenset({(MODE_WRITTEN, cause.location.path)}),
        )


def _chosen(cause: Event, forward: Event, trace: Trace) -> bool:
    """Whether eval mode is wanted for this very forward: the same turn of the loop switches to it from the train mode that
    the program had set, and nothing else runs in it."""
    if cause.kind is not Ev.MODE or forward.loop is None or cause.loop != forward.loop or cause.chain != forward.chain:
        return False
    between = (e for e in trace.of(Ev.FORWARD) if cause.seq < e.seq < forward.seq)
    switched = cause.model.root if cause.model is not None else None
    before = (e for e in trace.before(cause, Ev.MODE) if e.model is not None and e.model.root is switched)
    return not any(e.args.get("mode_event") is cause for e in between) and any(
        e.args.get("mode") is Mode.TRAIN for e in before
    )


def _switch_itself(forward: Event, cause: Event, trace: Trace) -> FixPlan | None:
    """Let `.train(False)` say `.train()`, where nothing runs in eval mode but the training forward."""
    text = variable_of(cause, "model")
    between = (e for e in trace.of(Ev.FORWARD) if cause.seq < e.seq < forward.seq)
    if not text or not cause.by.endswith(".train") or any(e.args.get("mode_event") is cause for e in between):
        return None
    return FixPlan(Applicability.SAFE, "switch to train mode", (ReplaceText(cause.location, f"{text}.train()"),))


def _train_again(forward: Event, cause: Event, step: Event) -> FixPlan | None:
    """Insert `.train()` before the training forward: inside the loop when it is in there that the mode is switched."""
    text = variable_of(forward, "model")
    if not text or forward.statement is None or forward.chain != step.chain:
        return None
    place = forward.loop or forward.statement
    site = call_site(cause, forward)
    switched = site.location if isinstance(site, Event) else site
    if place.path == switched.path and place.line <= switched.line <= place.end_line:
        place = forward.statement
    return FixPlan(
        Applicability.SAFE, "switch back to train mode", (InsertStatement(place, f"{text}.train()", after=False),)
    )
