"""Mixed precision in a hand-written loop: LL501 to LL505."""

from __future__ import annotations

from collections.abc import Iterator

from lora_lint.checks.accumulation import TRAINING_STEP
from lora_lint.checks.base import Report, check
from lora_lint.checks.common import (
    argument,
    feeds,
    loss_of,
    name_of,
    only_when_set,
    optimizers,
    trained,
    variable_of,
)
from lora_lint.checks.values import given, is_option, literal
from lora_lint.findings import Applicability, FixPlan, InsertStatement, MoveStatement, ReplaceText, SetKeyword, Severity
from lora_lint.lifecycle.captures import Capture
from lora_lint.lifecycle.heap import Obj, adapters_of, trainable
from lora_lint.lifecycle.trace import Event, Tensor, Trace
from lora_lint.lifecycle.vocabulary import BASE_PARTS, Ev, Graph, Kind, Tri


def _precision(forward: Event) -> str:
    """What autocast computes in around a forward, "" outside of it."""
    inner = next((c for c in reversed(forward.within) if "precision" in c.facts), None)
    return str(inner.facts["precision"]) if inner is not None else ""


def _precisions(backward: Event) -> set[str]:
    """The precisions of the forwards that a backward goes through."""
    return {_precision(source) for source in _recorded(loss_of(backward))}


def _recorded(loss: Tensor | None) -> list[Event]:
    """The forwards behind a loss whose graph the backward goes through: not those of a teacher under no_grad."""
    return [source for source in loss.sources if source.args.get("grad") is not Tri.NO] if loss is not None else []


def _scaler(backward: Event) -> Obj | None:
    """The scaler that multiplied the loss of a backward; None for one that is certainly disabled."""
    loss = loss_of(backward)
    scaler = loss.scaler if loss is not None else None
    return scaler if scaler is not None and scaler.facts.get("enabled") is not Tri.NO else None


def _backward_of(step: Event, trace: Trace) -> Event | None:
    """The backward whose gradients a step uses, as far back as the step before it."""
    optimizer = step.role("optimizer")
    for event in trace.before(step, Ev.BACKWARD, Ev.STEP):
        if event.kind is Ev.STEP:
            if event.role("optimizer") is optimizer:
                return None
        elif optimizer is not None and feeds(event, optimizer):
            return event
    return None


def _by_hand(step: Event) -> bool:
    """A step of the user's own loop, not of a library that scales by itself."""
    return not {"accelerator", "trainer"} & set(step.roles) and not step.args.get("scales")


@check("LL501", on=Ev.BACKWARD)
def scaler_with_bf16(event: Event, trace: Trace) -> Iterator[Report]:
    """The loss of a bf16 forward is scaled."""
    scaler = _scaler(event)
    if scaler is None or scaler.site is None or scaler.facts.get("enabled") is not Tri.YES:
        return
    if _precisions(event) == {"bf16"}:
        loss = loss_of(event)
        story = tuple((source, "forward in bfloat16") for source in _recorded(loss)[:1])
        yield Report(
            scaler.site,
            "the gradient scaler is enabled, but the forward runs in bfloat16, which needs no scaling",
            help="drop the scaler, or make it GradScaler(enabled=False)",
            story=(*story, (event, "scaled loss here")),
            plan=FixPlan(Applicability.UNSAFE, "switch the scaler off", (SetKeyword(scaler.site, "enabled", "False"),)),
        )


@check("LL502", on=Ev.STEP)
def fp16_without_scaler(event: Event, trace: Trace) -> Iterator[Report]:
    """The step uses gradients of an fp16 forward whose loss nobody scaled: there is no scaler, or it is switched off."""
    stepped = event.role("scaler")
    if (stepped is not None and stepped.facts.get("enabled") is not Tri.NO) or not _by_hand(event):
        return
    backward = _backward_of(event, trace)
    loss = loss_of(backward) if backward is not None else None
    if backward is None or loss is None or _scaler(backward) is not None or not _by_hand(backward):
        return
    if loss.graph is Graph.ATTACHED and "fp16" in _precisions(backward):
        source = next(s for s in _recorded(loss) if _precision(s) == "fp16")
        disabled = loss.scaler or stepped
        yield Report(
            backward if disabled is None or disabled.site is None else disabled.site,
            "backward of an fp16 forward without a gradient scaler: small gradients become zero"
            if disabled is None
            else "the gradient scaler is switched off, and the forward runs in fp16: small gradients become zero",
            help="use scaler.scale(loss).backward(), scaler.step(optimizer) and scaler.update(), or bfloat16"
            if disabled is None
            else "switch the scaler on, or run the forward in bfloat16",
            story=((source, "forward under fp16 autocast"), (event, "optimizer steps here")),
            plan=_scale(source, backward, event, trace) if disabled is None else _switch_on(disabled),
        )


def _switch_on(scaler: Obj) -> FixPlan | None:
    """Switch a scaler on, where no option says otherwise."""
    if scaler.site is None or is_option(scaler.facts.get("switch")):
        return None
    return FixPlan(Applicability.UNSAFE, "switch the scaler on", (SetKeyword(scaler.site, "enabled", "True"),))


def _scale(source: Event, backward: Event, step: Event, trace: Trace) -> FixPlan | None:
    """Put a scaler around backward and step, where the optimizer is made in the same function and no gradient is touched
    in between."""
    optimizer = step.role("optimizer")
    made = next((e for e in trace.of(Ev.OPTIMIZER) if e.role("optimizer") is optimizer), None)
    context = next((c for c in reversed(source.within) if "precision" in c.facts), None)
    device = literal(context.facts.get("device")) if context is not None else None
    loss, name = variable_of(backward, "loss"), variable_of(step, "optimizer")
    if made is None or made.statement is None or step.statement is None or device not in ("cuda", "cpu"):
        return None
    if not loss or not name or not made.chain == backward.chain == step.chain or made.loop is not None:
        return None
    others = [e for e in trace.of(Ev.BACKWARD, Ev.STEP) if e.location not in (backward.location, step.location)]
    if others or any(backward.seq < clip.seq < step.seq for clip in trace.of(Ev.CLIP)):
        return None
    intents = (
        InsertStatement(made.statement, f'scaler = GradScaler("{device}")', after=True),
        ReplaceText(backward.location, f"scaler.scale({loss}).backward()"),
        ReplaceText(step.location, f"scaler.step({name})"),
        InsertStatement(step.statement, "scaler.update()", after=True),
    )
    return FixPlan(Applicability.UNSAFE, "scale the loss with GradScaler", intents, (("torch.amp", "GradScaler"),))


@check("LL503", on=Ev.STEP)
def clip_before_unscale(event: Event, trace: Trace) -> Iterator[Report]:
    """Gradients were clipped between the backward of a scaled loss and their unscaling."""
    optimizer, scaler = event.role("optimizer"), event.role("scaler")
    if optimizer is None or scaler is None or (scaler.facts.get("enabled") is Tri.NO and not _off_by_default(scaler)):
        return
    clips: list[Event] = []
    unscaled: Event | None = None
    for other in trace.before(event, Ev.CLIP, Ev.UNSCALE, Ev.BACKWARD, Ev.STEP):
        if other.kind is Ev.STEP and other.role("optimizer") is optimizer:
            return
        if other.kind is Ev.UNSCALE and other.role("optimizer") in (optimizer, None):
            clips.clear()
            unscaled = other
        elif other.kind is Ev.CLIP and _clips(other, optimizer, trace):
            if event.location not in other.chain:  # a hook of the step runs when that has unscaled them
                clips.append(other)
        elif other.kind is Ev.BACKWARD and feeds(other, optimizer):
            loss = loss_of(other)
            if loss is None or loss.scaler is not scaler:
                return
            for clip in clips:
                yield Report(
                    clip,
                    "clips gradients that are still multiplied by the loss scale: almost nothing is left of them",
                    help="call scaler.unscale_(optimizer) before clipping",
                    story=((other, "backward of the scaled loss"), (event, "the scaler divides only here")),
                    plan=_unscale_first(clip, unscaled, event),
                    severity=Severity.WARNING if _off_unless_set(scaler) or only_when_set(clip, other, event) else None,
                )
            return


def _off_unless_set(scaler: Obj) -> bool:
    """Whether a scaler scales nothing as long as a setting is not given."""
    switch = scaler.facts.get("switch")
    unset = getattr(switch, "default", None) or getattr(switch, "fallback", None)
    never = literal(unset) is False or _off_by_default(scaler)
    return never or any(guard.unset is False for guard in scaler.guards)


def _off_by_default(scaler: Obj) -> bool:
    """Whether an option that is off by default switches a scaler: the code is written for those who switch it on."""
    switch = scaler.facts.get("switch")
    return is_option(switch) and not literal(switch)


def _clips(clip: Event, optimizer: Obj, trace: Trace) -> bool:
    """Whether a clip touches what the optimizer holds, as far as is known."""
    held, chosen = optimizer.facts.get("captures") or (), clip.args.get("captures")
    if chosen is not None and held:
        return any(_share(one, other) for one in held for other in chosen)
    if clip.model is None or not held:
        return not clip.args.get("unread") or len(list(optimizers(trace))) == 1
    clipped = {id(member.root) for member in clip.model.models()}
    return any(id(m.root) in clipped or m.root is clip.model.root for c in held for m in c.model.models())


def _share(one: Capture, other: Capture) -> bool:
    """Whether parameters of one model are in both collections for certain, or they were collected at one place."""
    if one.model.root is not other.model.root:
        return False
    if one.location == other.location or any(
        one.holds(adapter).yes and other.holds(adapter).yes for adapter in one.adapters
    ):
        return True
    known = (part for part in BASE_PARTS if one.parts.get(part) is Tri.YES)
    return any(other.parts.get(part) is Tri.YES for part in known)


def _unscale_first(clip: Event, unscaled: Event | None, step: Event) -> FixPlan | None:
    if clip.statement is None or clip.chain != step.chain or clip.args.get("loop"):
        return None
    title = "unscale the gradients before they are clipped"
    if unscaled is not None and unscaled.statement is not None and unscaled.chain == clip.chain:
        return FixPlan(Applicability.SAFE, title, (MoveStatement(unscaled.statement, clip.statement, after=False),))
    scaler, optimizer = variable_of(step, "scaler"), variable_of(step, "optimizer")
    if not scaler or not optimizer or unscaled is not None:
        return None
    line = InsertStatement(clip.statement, f"{scaler}.unscale_({optimizer})", after=False)
    return FixPlan(Applicability.SAFE, title, (line,))


@check("LL504", on=(Ev.STEP, Ev.TRAIN))
def fp16_trainable_parameters(event: Event, trace: Trace) -> Iterator[Report]:
    """What trains is in fp16, and the run scales its gradients as those of fp32 parameters."""
    if not _scales(event, trace):
        return
    for model in trained(event):
        for member, adapter in adapters_of(model):
            copies = given(adapter.config.facts, "modules_to_save") if adapter.config is not None else False
            half = adapter.dtype == "fp16" or (copies and adapter.copy_dtype == "fp16")
            cause = adapter.dtype_event
            if not half or cause is None or not trainable(member.model, adapter)[0].yes:
                continue
            what = "the adapter" if adapter.dtype == "fp16" else "the copies of modules_to_save"
            yield Report(
                cause,
                f"makes {what} of {name_of(cause, 'model')} fp16 and trainable: unscaling its gradients fails",
                help="cast what requires gradients to float32, or train in bfloat16",
                story=((event, "trained in fp16 here"),),
                plan=_cast_up(cause),
            )


def _scales(event: Event, trace: Trace) -> bool:
    """Whether a step or a trainer scales gradients for fp16."""
    if event.kind is Ev.TRAIN:
        trainer = event.role("trainer")
        arguments = trainer.attrs.get("args") if trainer is not None else None
        return isinstance(arguments, Obj) and literal(argument(arguments, "fp16")) is True
    scaler = event.role("scaler")
    if scaler is not None:
        return scaler.facts.get("enabled") is Tri.YES
    backward = _backward_of(event, trace)
    accelerator = backward.role("accelerator") if backward is not None else None
    return accelerator is not None and literal(accelerator.facts.get("mixed_precision")) == "fp16"


def _cast_up(cause: Event) -> FixPlan | None:
    """Cast what requires gradients to fp32 after the event that made it fp16."""
    name = variable_of(cause, "model")
    if not name or cause.statement is None:
        return None
    loop = f"for param in {name}.parameters():\n    if param.requires_grad:\n        param.data = param.data.float()"
    line = InsertStatement(cause.statement, loop, after=True)
    return FixPlan(Applicability.UNSAFE, "cast the trainable parameters to fp32", (line,))


@check("LL505", on=Ev.STEP)
def scaler_misused(event: Event, trace: Trace) -> Iterator[Report]:
    """The scaler's scale() and step() do not go together."""
    backward = _backward_of(event, trace) if _by_hand(event) else None
    loss = loss_of(backward) if backward is not None else None
    if backward is None or loss is None or not _by_hand(backward):
        return
    scaler = event.role("scaler")
    if scaler is None and _scaler(backward) is not None:
        between = [e for e in trace.before(event, Ev.UNSCALE) if e.seq > backward.seq]
        if not between:
            yield _steps_scaled(event, backward)
        elif set(event.guards) <= set(between[0].guards):  # a condition of its own may look for overflows
            yield _steps_unchecked(event, between[0], backward)
    elif scaler is not None and loss.scaler is None and scaler.facts.get("enabled") is Tri.YES:
        # A gradient that is passed on by hand may come out of the backward of a scaled loss.
        if loss.graph is Graph.ATTACHED and loss.sources and "gradient" not in backward.args.get("written", ()):
            yield Report(
                event,
                "the scaler steps, but the loss was not scaled: it raises `No inf checks were recorded`, or divides too much",
                help="call scaler.scale(loss).backward()",
                story=((backward, "backward of the plain loss"),),
            )


def _steps_scaled(step: Event, backward: Event) -> Report:
    """The optimizer steps on gradients that are still scaled."""
    return Report(
        step,
        "the optimizer steps on gradients that are still multiplied by the loss scale",
        help="call scaler.step(optimizer) instead of optimizer.step()",
        story=((backward, "backward of the scaled loss"),),
        plan=_through_scaler(step, backward),
    )


def _steps_unchecked(step: Event, unscale: Event, backward: Event) -> Report:
    """The optimizer steps by itself after the scaler has unscaled the gradients: nobody looks at what the scaler found."""
    return Report(
        step,
        "the optimizer steps past the scaler: a step whose gradients overflow is not skipped, and the weights become NaN",
        help="call scaler.step(optimizer) instead of optimizer.step()",
        story=((unscale, "overflows are counted here"),),
        plan=_through_scaler(step, backward),
    )


def _through_scaler(step: Event, backward: Event) -> FixPlan | None:
    scaler = _scaler(backward)
    name, optimizer = scaler.name if scaler is not None else "", variable_of(step, "optimizer")
    if not name or not optimizer or step.chain != backward.chain:
        return None
    line = ReplaceText(step.location, f"{name}.step({optimizer})")
    return FixPlan(Applicability.SAFE, "step through the scaler", (line,))


@check("LL505", on=Ev.END)
def scaler_never_updated(event: Event, trace: Trace) -> Iterator[Report]:
    """A scaler steps, and its update() is never called."""
    for scaler in trace.made(Kind.SCALER):
        steps = [e for e in trace.of(Ev.STEP) if e.role("scaler") is scaler]
        if not steps or scaler.site is None or scaler.facts.get("enabled") is Tri.NO:
            continue
        if any(e.role("scaler") is scaler for e in trace.of(Ev.SCALER_UPDATE)):
            continue
        name = variable_of(steps[-1], "scaler")
        plan = None
        if name and steps[-1].statement is not None:
            line = InsertStatement(steps[-1].statement, f"{name}.update()", after=True)
            plan = FixPlan(Applicability.SAFE, "update the scaler after the step", (line,))
        yield Report(
            steps[-1],
            "the scaler is never updated: the next step raises, and the loss scale never adapts",
            help="call scaler.update() after scaler.step(optimizer)",
            plan=plan,
            unless=frozenset({(Ev.SCALER_UPDATE.value, scaler.site), ("escaped", scaler.site)}),
        )


@check("LL505", on=Ev.END)
def scaler_inside_trainer(event: Event, trace: Trace) -> Iterator[Report]:
    """An override of a trainer's training_step scales the loss with a scaler of its own, and the trainer steps without."""
    for backward in trace.of(Ev.BACKWARD):
        inside = TRAINING_STEP in backward.contexts and any(o.kind is Kind.TRAINER for o in backward.within)
        scaler = _scaler(backward) if inside and _by_hand(backward) else None
        if scaler is None or scaler.facts.get("enabled") is not Tri.YES:
            continue
        if any(e.role("scaler") is scaler for e in trace.of(Ev.STEP, Ev.UNSCALE)):
            continue
        yield Report(
            backward,
            "scales the loss with a scaler of its own, and the trainer steps on gradients that are still multiplied",
            help="call self.accelerator.backward(loss), and ask for fp16 in the training arguments",
            story=((scaler.site, "scaler made here"),) if scaler.site is not None else (),
        )
        return
