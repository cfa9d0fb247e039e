"""Results that are thrown away: LL108, LL115."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lora_lint.checks.base import Report, check
from lora_lint.checks.common import TRAINING, name_of, trained, variable_of
from lora_lint.checks.values import MISSING, literal
from lora_lint.findings import Applicability, BindResult, FixPlan
from lora_lint.lifecycle.heap import WHOLE_PATHS, Obj
from lora_lint.lifecycle.trace import Event, Tensor, Trace
from lora_lint.lifecycle.vocabulary import Ev, Kind, Tri


@check("LL108", on=Ev.END)
def merge_result_discarded(event: Event, trace: Trace) -> Iterator[Report]:
    """merge_and_unload() or unload() as a statement of its own, the receiver saved or trained later."""
    for merge in trace.of(Ev.MERGE, Ev.UNLOAD):
        model = merge.model
        if model is None or not merge.args.get("needs_result") or not _unused(merge, trace):
            continue
        later = next(
            (
                e
                for e in trace.of(Ev.SAVE, Ev.INJECT, *TRAINING)
                if e.seq > merge.seq and any(_is_view_of(m, model) for m in ([e.model] if e.model else trained(e)))
            ),
            None,
        )
        if later is not None:
            call = merge.by.rsplit(".", 1)[-1]
            name = _outer_name(variable_of(merge, "model"), model)
            if later.chain == merge.chain:
                name = variable_of(later, "model") or name
            yield Report(
                merge,
                f"the result of `{call}()` is discarded: {name_of(merge, 'model')} stays an emptied adapter model",
                help=f"{name or 'model'} = {name or 'model'}.{call}()",
                story=((later, "used here as if it were merged"),),
                plan=FixPlan(Applicability.SAFE, "keep the merged model", (BindResult(merge.location, name),))
                if name and merge.args.get("discarded")
                else None,
            )


def _unused(merge: Event, trace: Trace) -> bool:
    """Whether the result is thrown away: at once, or nothing ever asks for what it was bound to."""
    if merge.args.get("discarded"):
        return True
    made = [view for view in trace.made(Kind.MODEL) if view.event is merge and view.wraps is not None]
    return bool(made) and all(view.last_use < 0 for view in made)


def _outer_name(name: str, model: Obj) -> str:
    """What the user calls the whole model of which this is the name of the tuner inside; the merge gives the whole."""
    if model.parent is None or model.path not in WHOLE_PATHS:
        return name
    outer = name.removesuffix(f".{model.path}")
    return outer if outer != name else ""


def _is_view_of(model: Obj, receiver: Obj) -> bool:
    """Whether a reference goes through the object on which merge was called (the base itself was merged in place)."""
    while receiver.parent is not None and receiver.path in WHOLE_PATHS:
        receiver = receiver.parent  # the tuner inside of a PeftModel
    here: Obj | None = model
    while here is not None:
        if here is receiver:
            return True
        here = here.wraps
    return False


@check("LL115", on=Ev.END)
def adapted_model_discarded(event: Event, trace: Trace) -> Iterator[Report]:
    """get_peft_model mutated the base in place, its result went nowhere, the base was trained."""
    for view in trace.made(Kind.MODEL):
        injection = view.event
        if injection is None or injection.kind is not Ev.INJECT or view.wraps is None or view.last_use >= 0:
            continue
        if view.site != injection.location:
            continue  # another reference to what was made there: `model.get_base_model()`
        twice = ((later.event, first.event) for later in view.model.adapters for first in later.over)
        if any(injection in pair for pair in twice):
            continue  # injected again, or over an earlier one: LL106 says it
        training = next(
            (e for e in trace.of(*TRAINING) if e.seq > injection.seq and any(m.root is view.root for m in trained(e))),
            None,
        )
        if training is not None and not _saved_by_hand(view, trace):
            name = variable_of(injection, "model")
            # A name of a helper's own holds it until the helper ends.
            outlives = "." in name or training.chain[: len(injection.chain)] == injection.chain
            bare = bool(injection.args.get("discarded")) and outlives
            yield Report(
                injection,
                f"the PeftModel made of {name_of(injection, 'model')} is discarded: the adapter trains, but saving writes no adapter",
                help=f"{name or 'model'} = {injection.by.rsplit('.', 1)[-1]}({name or 'model'}, …)"
                + ("" if outlives else ", returned to the caller, who trains it"),
                story=((training, "the bare base model is trained here"),),
                plan=FixPlan(Applicability.SAFE, "keep the PeftModel", (BindResult(injection.location, name),))
                if name and bare
                else None,
            )


def _saved_by_hand(view: Obj, trace: Trace) -> bool:
    """Whether the adapter is saved without its PeftModel: its own entries, parameters picked out by a filter, or (where the
    base itself is never saved) something that is not known."""
    saves = list(trace.of(Ev.SAVE))
    whole = any(save.model is not None and save.model.root is view.root for save in saves)
    held = (_holds_adapter(save.args.get(name), view) for save in saves for name in ("content", "state"))
    return any(answer.yes or not (answer.known or whole) for answer in held)


def _holds_adapter(content: Any, view: Obj) -> Tri:
    """Whether what is saved holds entries of the adapter and no others of its model."""
    captures = getattr(content, "captures", None)
    if captures is not None:
        return Tri.of(any(capture.model.root is view.root for capture in captures))
    if isinstance(content, Obj):
        holder = content.facts.get("holder")
        return Tri.of(literal(content.facts.get("filtered")) is True and (holder is None or holder.root is view.root))
    inside = getattr(content, "items", None)
    if inside is None:
        known = content is None or literal(content) is not MISSING or isinstance(content, Tensor)
        return Tri.of(False if known else None)
    answers = {_holds_adapter(each, view) for each in (inside.values() if isinstance(inside, dict) else inside)}
    return Tri.YES if Tri.YES in answers else Tri.UNKNOWN if Tri.UNKNOWN in answers else Tri.NO
