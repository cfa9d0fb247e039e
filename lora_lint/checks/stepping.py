"""When things step, and on what: LL305, LL306, LL308."""

from __future__ import annotations

from collections.abc import Iterator

from lora_lint.checks.accumulation import TRAINING_STEP, inside
from lora_lint.checks.base import Report, check
from lora_lint.checks.common import held_models, name_of
from lora_lint.findings import Applicability, FixPlan, MoveStatement, RemoveStatement
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import Ev, Kind

_REPLACING = frozenset({"xla", "meta"})  # devices to which parameters cannot move: they are made anew


@check("LL305", on=Ev.SCHEDULER_STEP)
def scheduler_before_optimizer(event: Event, trace: Trace) -> Iterator[Report]:
    """A scheduler steps at the same place in two turns, with the first step of its optimizer only in between."""
    scheduler = event.role("scheduler")
    optimizer = _scheduled(scheduler, trace)
    if scheduler is None or optimizer is None:
        return
    first = next((e for e in trace.of(Ev.STEP) if e.role("optimizer") is optimizer), None)
    early = next((e for e in trace.of(Ev.SCHEDULER_STEP) if e.role("scheduler") is scheduler), None)
    if first is None or early is None or early.seq > first.seq or early.location != event.location:
        return
    if early is event or first.args.get("implicit") or not set(early.guards) <= set(first.guards):
        return
    if _may_have_stepped(early, first, trace):
        return
    yield Report(
        early,
        f"{name_of(early, 'scheduler', 'the scheduler')} steps before the optimizer: the first value of the schedule is skipped",
        help="call scheduler.step() after optimizer.step()",
        story=((first, "the optimizer steps only here"),),
        plan=_after(early, first),
    )


def _may_have_stepped(early: Event, step: Event, trace: Trace) -> bool:
    """Whether a loop was over before whose turns step now and then: the turns that we follow need not be those that do."""
    loop = step.loop
    if loop is None or inside(early, loop) or not any(guard.turns for guard in {*step.guards} - {*early.guards}):
        return False
    return any(inside(backward, loop) for backward in trace.before(early, Ev.BACKWARD))


def _scheduled(scheduler: Obj | None, trace: Trace) -> Obj | None:
    """The optimizer that a scheduler drives."""
    made = next((e for e in trace.of(Ev.SCHEDULE) if scheduler is not None and e.role("scheduler") is scheduler), None)
    return made.role("optimizer") if made is not None else None


def _after(early: Event, step: Event) -> FixPlan | None:
    if early.statement is None or step.statement is None or early.chain != step.chain:
        return None
    move = MoveStatement(early.statement, step.statement, after=True)
    return FixPlan(Applicability.SAFE, "step the scheduler after the optimizer", (move,))


@check("LL306", on=Ev.MOVE)
def model_moved_after_optimizer(event: Event, trace: Trace) -> Iterator[Report]:
    """A model moves to another device after its optimizer was built, where that leaves something behind."""
    model = event.model
    if model is None or model.full_path:
        return
    for made in trace.of(Ev.OPTIMIZER):
        optimizer = made.role("optimizer")
        if optimizer is None or not any(m.root is model.root for held in held_models(optimizer) for m in held.models()):
            continue
        state = next((e for e in trace.of(Ev.LOAD_STATE) if e.role("optimizer") is optimizer), None)
        replaced = str(event.args.get("device")) in _REPLACING or event.args.get("anew") is True
        stepped = any(e.role("optimizer") is optimizer for e in trace.of(Ev.STEP))
        if not replaced and (stepped or (state is None and not _leaves_cpu(event, trace))):
            continue
        if replaced:
            what = "its parameters are made anew, and the optimizer holds the old ones"
        elif state is not None:
            what = "the state that the optimizer loaded stays on the old device"
        else:
            what = "harmless for a plain move to the GPU, wrong for XLA, FSDP or quantized weights"
        yield Report(
            event,
            f"moves {name_of(event, 'model')} after its optimizer was built: {what}",
            help="move the model first, then build the optimizer",
            story=(
                (made, "optimizer built here"),
                *(((state, "its state is loaded here"),) if state is not None else ()),
            ),
            plan=_before(event, made),
        )
        return


def _leaves_cpu(move: Event, trace: Trace) -> bool:
    """Whether this is the first move of a model, to the GPU."""
    moves = (e for e in trace.of(Ev.MOVE) if move.model is not None and e.model is not None)
    first = next((e for e in moves if e.model is not None and e.model.root is move.model.root), None)  # type: ignore[union-attr]
    return first is move and move.args.get("device") == "cuda" and not move.maybe


def _before(move: Event, made: Event) -> FixPlan | None:
    if move.statement is None or made.statement is None or move.chain != made.chain:
        return None
    intent = MoveStatement(move.statement, made.statement, after=False)
    return FixPlan(Applicability.UNSAFE, "move the model before the optimizer is built", (intent,))


@check("LL308", on=Ev.STEP)
def trainer_steps_twice(event: Event, trace: Trace) -> Iterator[Report]:
    """An override of a trainer's training_step steps the trainer's own optimizer."""
    trainer = next((o for o in reversed(event.within) if o.kind is Kind.TRAINER), None)
    if TRAINING_STEP not in event.contexts or trainer is None or event.args.get("implicit"):
        return
    own = trainer.attrs.get("optimizer")
    if event.role("optimizer") is not (own if isinstance(own, Obj) else getattr(own, "obj", None)):
        return
    plan = None
    if event.statement is not None:
        plan = FixPlan(Applicability.UNSAFE, "leave the step to the Trainer", (RemoveStatement(event.statement),))
    yield Report(
        event,
        "training_step steps the trainer's optimizer, and the trainer steps it again: every batch moves the weights twice",
        help="return the loss and leave the step to the trainer",
        plan=plan,
    )
