"""What is written and read back: LL801, LL802, LL803."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from lora_lint.checks.base import Report, check
from lora_lint.checks.common import name_of, variable_of
from lora_lint.checks.sharding import partitions
from lora_lint.checks.values import literal, text_of
from lora_lint.findings import Applicability, FixPlan, FollowAttribute, Intent, RemoveStatement, ReplaceText
from lora_lint.lifecycle.heap import Obj, adapters_of
from lora_lint.lifecycle.trace import Event, Tensor, Trace
from lora_lint.lifecycle.vocabulary import Ev
from lora_lint.location import Location


@check("LL801", on=Ev.SAVE)
def state_dict_override_saves_nothing(event: Event, trace: Trace) -> Iterator[Report]:
    """The replaced state_dict of a PeftModel is filtered already, and saving filters once more."""
    own = event.args.get("own")
    if not isinstance(own, Obj) or literal(own.facts.get("filtered")) is not True or event.model is None:
        return
    override = next((e for e in trace.before(event, Ev.OVERRIDE) if _same(e.model, event.model)), None)
    if override is None:
        return
    yield Report(
        override,
        f"replaces state_dict of {name_of(override, 'model')} by the adapter's entries: they are filtered once more when "
        "saving, and the saved adapter is empty",
        help="remove the override: save_pretrained() of a PeftModel writes only the adapter by itself",
        story=((event, "saved here"),),
        plan=_remove(override),
        maybe=event.versions if event.maybe else "",
    )


def _remove(override: Event) -> FixPlan | None:
    if override.statement is None:
        return None
    intents: list[Intent] = [RemoveStatement(override.statement)]
    if override.args.get("kept") is not None:
        intents.insert(0, RemoveStatement(override.args["kept"]))
    return FixPlan(Applicability.SAFE, "remove the override", tuple(intents))


def _prefix(state: Any) -> str | None:
    """The prefix of the names in a state dict, None when it is not one whole state dict of a model."""
    prefix = state.facts.get("prefix") if isinstance(state, Obj) else None
    return prefix if isinstance(prefix, str) else None


@check("LL802", on=Ev.SAVE)
def wrapped_state_dict_saved(event: Event, trace: Trace) -> Iterator[Report]:
    """The state dict of a wrapper is saved as that of the model inside it."""
    state, model = event.args.get("state"), event.model
    prefix = _prefix(state)
    source = state.facts.get("model") if isinstance(state, Obj) else None
    if model is None:
        yield from _file_of_adapter(event)
    if model is None or prefix is None or not isinstance(source, Obj) or source.root is not model.root:
        return
    if not any(part in _INSIDE for part in prefix.split(".")):
        return  # FSDP takes its own prefix off the names
    if not isinstance(state, Obj) or source is model or not _wraps(source, model):
        return
    yield Report(
        event,
        f"saves the state dict of a wrapper: every name begins with `{prefix.split('.')[0]}.`, and a reload gives a fresh adapter",
        help="take the state dict of the model inside the wrapper",
        plan=_of_the_receiver(state, event) or _from_inside(state, event),
    )


def _of_the_receiver(state: Obj, save: Event) -> FixPlan | None:
    """Take the state dict of the model that saves, where another one's is written as the argument."""
    span, name = save.args.get("spans", {}).get("state"), variable_of(save, "model")
    if span is None or span != state.site or not name or save.model is None or save.model.name != name:
        return None
    return FixPlan(Applicability.SAFE, "save from the unwrapped model", (ReplaceText(span, f"{name}.state_dict()"),))


_INSIDE = ("_orig_mod", "module")


def _from_inside(state: Obj, save: Event) -> FixPlan | None:
    """Take the state dict of what the wrappers hold, where it is surely wrapped when it is saved."""
    place, holder, prefix = state.facts.get("held"), state.facts.get("holder"), _prefix(state) or ""
    if not isinstance(place, Location) or not isinstance(holder, Obj):
        return None
    given = {*save.guards, *save.given}
    here: Obj | None = holder
    while here is not None:
        if here.event is not None and not given.issuperset(here.event.guards):
            return None
        here = here.wraps
    path = ".".join(takewhile(lambda part: part in _INSIDE, prefix.split(".")))
    follow = FollowAttribute(place, path)
    return FixPlan(Applicability.SAFE, "save from the unwrapped model", (follow,)) if path else None


def _file_of_adapter(save: Event) -> Iterator[Report]:
    """What torch.save or save_file writes under a name that peft reads, or after peft has filtered it, by itself or as a part
    of a checkpoint: entries whose names begin with the prefix of a wrapper."""
    content, file = save.args.get("content"), text_of(save.args.get("file")) or ""
    for state in _parts(content):
        prefix = _prefix(state)
        if not prefix or not isinstance(state, Obj) or prefix.split(".")[0] not in _INSIDE:
            continue
        named = state is content and posixpath.basename(file).startswith("adapter_model.")
        if not named and literal(state.facts.get("filtered")) is not True:
            continue
        yield Report(
            save,
            f"saves the state dict of a wrapper: every name begins with `{prefix.split('.')[0]}.`, and a reload gives a fresh adapter",
            help="take the state dict of the model inside the wrapper",
            story=((state.site, "taken here"),) if state.site is not None else (),
            plan=_from_inside(state, save),
        )


@check("LL802", on=Ev.END)
def checkpoint_of_wrapper_loaded(event: Event, trace: Trace) -> Iterator[Report]:
    """A checkpoint has the names of a wrapper, and the same program loads all of it into a model that is not wrapped."""
    for load in trace.of(Ev.LOAD_STATE):
        state = _saved_later(load.args.get("state"), trace)
        theirs, ours = _prefix(state), load.args.get("prefix")
        if theirs is None or not isinstance(ours, str) or "try" in load.contexts:
            continue
        wrapper = theirs.split(".")[0]
        if (
            literal(load.args.get("strict")) not in (None, True)
            or wrapper not in _INSIDE
            or ours.split(".")[0] in _INSIDE
        ):
            continue
        save = next(
            (e for e in trace.of(Ev.SAVE) if any(each is state for each in _parts(e.args.get("content")))), None
        )
        if save is not None and isinstance(state, Obj):
            yield Report(
                save,
                f"saves the state dict of a wrapper: every name begins with `{wrapper}.`, and loading it into "
                f"{name_of(load, 'model')} fails, whose names {_have(ours)}",
                help="take the state dict of the model inside the wrapper",
                story=((load, "loaded here into a model that is not wrapped"),),
                plan=_from_inside(state, save),
            )


@check("LL802", on=Ev.SAVE)
def partitioned_adapter_saved(event: Event, trace: Trace) -> Iterator[Report]:
    """An adapter is written from the model itself under ZeRO-3, where its tensors are empty between the steps."""
    if event.role("trainer") is not None or event.role("accelerator") is not None:
        return  # they gather first
    content = event.args.get("content")
    model = event.model
    if model is None and isinstance(content, Obj) and literal(content.facts.get("filtered")) is True:
        model = content.facts.get("model")
    if not isinstance(model, Obj) or event.args.get("state") is not None or not adapters_of(model):
        return
    if any(literal(c.facts.get("context")) == "gathered" for c in event.within):
        return
    cause = next((e for e in trace.before(event, Ev.WRAP, Ev.TRAIN) if _same(e.model, model) and partitions(e)), None)
    if cause is not None:
        yield Report(
            event,
            f"saves {name_of(event, 'model', 'the adapter')} under ZeRO-3: each process holds shards, and the saved tensors "
            "are empty",
            help="gather first: trainer.save_model(), or state_dict=accelerator.get_state_dict(model)",
            story=((cause, "partitioned here"),),
        )


def _same(one: Obj | None, other: Obj) -> bool:
    return one is not None and one.root is other.root


def _wraps(outer: Obj, inner: Obj) -> bool:
    """Whether one view wraps the other for processes or the compiler."""
    here: Obj | None = outer
    changed = False
    while here is not None and here is not inner:
        changed = changed or (here.event is not None and here.event.kind in (Ev.WRAP, Ev.COMPILE))
        here = here.wraps
    return here is inner and changed


@check("LL803", on=Ev.END)
def load_mismatch_ignored(event: Event, trace: Trace) -> Iterator[Report]:
    """A whole state dict goes into a model whose names begin otherwise, and nobody looks at what did not match."""
    for load in trace.of(Ev.LOAD_STATE):
        state = _saved_later(load.args.get("state"), trace)
        theirs, ours = _prefix(state), load.args.get("prefix")
        if theirs is None or not isinstance(ours, str) or theirs == ours:
            continue
        if literal(load.args.get("strict")) is not False or not load.args.get("discarded"):
            continue
        yield Report(
            load,
            f"loads names {_begin(theirs)} into {name_of(load, 'model')}, whose names {_have(ours)}: "
            "strict=False hides that nothing matches",
            help="look at the keys that load_state_dict returns, or load into the same wrapping",
            story=((state.site, "taken here"),) if isinstance(state, Obj) and state.site is not None else (),
        )


def _saved_later(state: Any, trace: Trace) -> Any:
    """A state dict; of a file that the same program writes only later, for its next run, what it writes there."""
    if not isinstance(state, Tensor) or not state.file:
        return state
    contents = [e.args.get("content") for e in trace.of(Ev.SAVE) if e.args.get("file") == state.file]
    flat = [one for each in contents for one in _parts(each) if _prefix(one) is not None]
    return flat[0] if len({_prefix(one) for one in flat}) == 1 else state


def _parts(content: Any) -> list[Any]:
    """What is saved and, of a dict, what it holds."""
    items = getattr(content, "items", None)
    return [content, *(items.values() if isinstance(items, dict) else ())]


def _begin(prefix: str) -> str:
    return f"that begin with `{prefix}`" if prefix else "without a prefix"


def _have(prefix: str) -> str:
    return f"begin with `{prefix}`" if prefix else "have none"
