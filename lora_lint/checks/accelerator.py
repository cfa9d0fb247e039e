"""Backward and clipping beside accelerate: LL704."""

from __future__ import annotations

from collections.abc import Iterator

from lora_lint.checks.base import Report, check
from lora_lint.checks.values import given, literal
from lora_lint.checks.wrappers import around
from lora_lint.findings import Applicability, FixPlan, ReplaceText
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Event, Tensor, Trace
from lora_lint.lifecycle.vocabulary import Ev


@check("LL704", on=Ev.BACKWARD)
def backward_past_accelerator(event: Event, trace: Trace) -> Iterator[Report]:
    """`loss.backward()` on a prepared model."""
    loss = event.args.get("loss")
    if not isinstance(loss, Tensor) or "trainer" in event.roles or event.role("accelerator") is not None:
        return
    forwards = [(source.model, around(source)) for source in loss.sources]
    models = [model for inner, call in forwards for model in (inner, call.module if call is not None else None)]
    accelerator = next((found for model in models if (found := _preparer(model)) is not None), None)
    if accelerator is None or _plain(accelerator):
        return
    name = event.args.get("names", {}).get("loss")
    text = f"{accelerator.name}.backward({name})" if name and _in_reach(accelerator, event, trace) else ""
    yield Report(
        event,
        "backward() goes past the accelerator that prepared the model: the loss is neither scaled nor divided",
        help=f"{accelerator.name or 'accelerator'}.backward({name or 'loss'})",
        plan=_replace(text, event),
    )


@check("LL704", on=Ev.CLIP)
def clip_past_accelerator(event: Event, trace: Trace) -> Iterator[Report]:
    """Clipping by torch while the gradients are scaled for fp16."""
    model = getattr(event.args.get("object_value"), "model", None) or event.model
    accelerator = _preparer(model) if isinstance(model, Obj) and event.role("accelerator") is None else None
    if accelerator is None or literal(accelerator.facts.get("mixed_precision")) != "fp16":
        return
    last = next(trace.before(event, Ev.UNSCALE, Ev.BACKWARD, Ev.STEP), None)
    if last is not None and last.kind is Ev.UNSCALE:
        return
    func = event.args.get("func")
    plan = None
    if func is not None and _in_reach(accelerator, event, trace):
        text = f"{accelerator.name}.{event.by.rsplit('.', 1)[-1]}"
        plan = FixPlan(Applicability.SAFE, "clip through the accelerator", (ReplaceText(func, text),))
    yield Report(
        event,
        "clips gradients that are still scaled for fp16: the accelerator that prepared the model would unscale them first",
        help=f"{accelerator.name or 'accelerator'}.{event.by.rsplit('.', 1)[-1]}(…)",
        plan=plan,
    )


def _in_reach(accelerator: Obj, event: Event, trace: Trace) -> bool:
    """Whether the accelerator's name means the accelerator where an event happens: in the function that prepared the
    model, or everywhere in a file that did so at its top. An attribute of `self` is taken to be there in the same file."""
    prepared = next((e for e in trace.of(Ev.WRAP) if e.role("accelerator") is accelerator), None)
    if not accelerator.name or prepared is None or prepared.location.path != event.location.path:
        return False
    return accelerator.name.startswith("self.") or not prepared.chain or prepared.chain == event.chain


def _preparer(model: Obj | None) -> Obj | None:
    """The accelerator that prepared a model, through its wrappers."""
    here = model
    while here is not None:
        found = here.facts.get("prepared")
        if isinstance(found, Obj):
            return found
        here = here.wraps
    return None


def _plain(accelerator: Obj) -> bool:
    """Whether an accelerator certainly neither scales nor accumulates."""
    facts = accelerator.facts
    whole = literal(facts.get("mixed_precision")) in ("no", "bf16", "fp8") and not given(facts, "deepspeed_plugin")
    return whole and literal(facts.get("gradient_accumulation_steps")) in (None, 1)


def _replace(text: str, event: Event) -> FixPlan | None:
    if not text:
        return None
    return FixPlan(Applicability.SAFE, "call the accelerator's backward", (ReplaceText(event.location, text),))
