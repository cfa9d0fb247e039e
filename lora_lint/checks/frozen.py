"""Adapters that are frozen when training begins: LL103, LL104, LL105, LL107. One question, four causes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from lora_lint.apis.tables import architectures
from lora_lint.checks.base import Report, check
from lora_lint.checks.common import (
    ADAPTERS_LEARN,
    PART_LEARNS,
    STACKS,
    TRAINING,
    freeze_first,
    frozen_at_training,
    had_a_stage,
    learns,
    loss_of,
    maker,
    name_of,
    switch_line,
    trained,
    variable_of,
)
from lora_lint.checks.values import enum_member, given, literal, strings
from lora_lint.findings import (
    Applicability,
    FixPlan,
    InsertStatement,
    Intent,
    RemoveStatement,
    SetKeyword,
    Severity,
)
from lora_lint.lifecycle.effects import frozen_by
from lora_lint.lifecycle.heap import (
    EACH,
    HOLDERS,
    MAYBE_NONE,
    SOME,
    WHOLE_PATHS,
    Adapter,
    Obj,
    TrainOp,
    adapters_of,
    partial_freezes,
)
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import Ev, Part, Tri
from lora_lint.location import Location


@check("LL103", on=TRAINING)
def freeze_after_injection(event: Event, trace: Trace) -> Iterator[Report]:
    """A freeze that covers every adapter stands when training begins."""
    for model, adapter, cause in frozen_at_training(event):
        head = head_goes_on(adapter, cause)
        others = head or _opens(cause) or not learns(model).no
        if others and _came_frozen(model, adapter):
            continue  # a probe on what was loaded for inference
        if cause.kind is Ev.FREEZE and not (_thawed_in_vain(cause, trace) or (head and not _of_base_too(cause))):
            yield Report(
                cause,
                f"freezes the adapter of {name_of(cause, 'model', 'the model')} that was injected before: "
                + ("only other parts learn" if others else "nothing is trained"),
                help="freeze the base model before the adapter is injected, or leave adapter parameters out of the freeze",
                story=((adapter.event, "adapter injected here"), (event, "trained here")),
                plan=freeze_first(cause, adapter.event),
                shown=switch_line(cause, trace),
                unless=frozenset(
                    {(ADAPTERS_LEARN, adapter.event.location)} if head or _others_thawed(model, cause) else ()
                ),
            )
    for model in trained(event):
        yield from _partial(event, model, trace)
        yield from _frozen_children(event, model, trace)


def _came_frozen(model: Obj, adapter: Adapter) -> bool:
    """Whether an adapter was loaded frozen and nothing is known to have thawed it: a freeze changes nothing then."""
    if not adapter.loaded:
        return False
    ops = [op for member, one in adapters_of(model) if one is adapter for op in member.model.ops]
    since = [op for op in ops if op.event.seq >= adapter.event.seq and op.adapter in (None, adapter)]
    answers = [op.parts[Part.ADAPTER] for op in since if Part.ADAPTER in op.parts]
    return bool(answers) and answers[0].no and Tri.YES not in answers


def _others_thawed(model: Obj, freeze: Event) -> bool:
    """Whether something else was thawed by a freeze or after it: in the first of two stages it learns alone."""
    later = [op.event for op in model.model.ops if op.event.seq > freeze.seq]
    written = [answer for event in later for _, answer in event.args.get("wrote", ())]
    return _opens(freeze) or any(e.kind is Ev.THAW for e in later) or not all(answer.no for answer in written)


def _opens(freeze: Event) -> bool:
    """Whether a loop that freezes the adapters switches some other parameters on."""
    answers = {answer for _, answer in freeze.args.get("wrote", ())} | {*(freeze.args.get("extras") or {}).values()}
    return Tri.YES in answers


def _thawed_in_vain(freeze: Event, trace: Trace) -> bool:
    """Whether a filter on names was to thaw something after a freeze, and matches nothing: that is the mistake (LL605)."""
    filters = (e for e in trace.of(Ev.FILTER) if e.seq > freeze.seq and e.model is not None)
    return any(freeze.model is not None and e.model is not None and e.model.root is freeze.model.root for e in filters)


def head_goes_on(adapter: Adapter, freeze: Event) -> bool:
    """Whether a freeze picks the adapter's matrices out by name and leaves the trained copies of other modules (a head)
    as they are: a stage in which these alone learn."""
    parts = freeze.args.get("parts") or {}
    if not parts.get(Part.ADAPTER, Tri.YES).no or Part.BASE in parts or parts.get(Part.COPY, Tri.YES).no:
        return False
    facts = adapter.config.facts if adapter.config is not None else {}
    task = enum_member(facts["task_type"]) if given(facts, "task_type") else ""
    copied = architectures().task_types.get(task, ()) if task is not None else ("unknown",)
    return bool(copied) or adapter.config is None or given(facts, "modules_to_save") or given(facts, "loaded")


def _of_base_too(freeze: Event) -> bool:
    """Whether a freeze by a name that the user's condition has covers modules of the base, with the adapters in them."""
    return Tri.NO in (freeze.args.get("extras") or {}).values()


@check("LL103", on=Ev.BACKWARD)
def freeze_beside_a_head(event: Event, trace: Trace) -> Iterator[Report]:
    """A freeze of every adapter of a network whose head or other parts learn, in a program in which no adapter ever
    does. (Where some adapter learns, the frozen one is a target network, or the other half of an alternation.)"""
    models = trained(event)
    if not any(learns(model).yes and not frozen_by(model) for model in models):
        return
    for model in models:
        for adapter, cause in frozen_by(model):
            if cause.kind is Ev.FREEZE and not adapter.loaded:
                yield Report(
                    cause,
                    f"freezes the adapter of {name_of(cause, 'model')}, injected before: only other parts learn",
                    help="freeze the base model before the adapter is injected, or leave its parameters out",
                    story=((adapter.event, "adapter injected here"), (event, "trained here")),
                    plan=freeze_first(cause, adapter.event),
                    shown=switch_line(cause, trace),
                    unless=frozenset({ADAPTERS_LEARN}),
                )


def _partial(event: Event, model: Obj, trace: Trace) -> Iterator[Report]:
    """A freeze of a submodule that holds adapters."""
    for member, adapter in adapters_of(model):
        for op in partial_freezes(member.model, adapter):
            if op.event.kind is not Ev.FREEZE or _came_frozen(member, adapter):
                continue
            some = _as_all_blocks(adapter, op)
            whole = some or op
            if (
                _targets(adapter, op.path)
                or _in_family(adapter, member.root, whole, event)
                or _all_blocks(adapter, whole, event)
            ) and not had_a_stage(trace, member, adapter.event, op.event):
                shown = whole.path.removesuffix(f".{EACH}")
                if some is not None:
                    text = f"freezes the adapters in some blocks of `{shown}`, injected before: only those in the others learn"
                    advice = "leave adapter parameters out of the freeze; if these blocks are to have none, set layers_to_transform"
                    severity = Severity.INFO
                else:
                    text = (
                        f"freezes the adapters inside `{shown}`, which were injected before: that part is never trained"
                    )
                    advice = "freeze the submodule before the adapter is injected, or thaw its adapters again"
                    severity = Severity.ERROR if _language(op.path) else Severity.WARNING
                yield Report(
                    op.event,
                    text,
                    help=advice,
                    story=((adapter.event, "adapter injected here"), (event, "trained here")),
                    plan=freeze_first(op.event, adapter.event),
                    shown=switch_line(op.event, trace),
                    severity=severity,
                    unless=frozenset({(PART_LEARNS, op.event.location)}),
                )
                if some is not None:
                    break


def _as_all_blocks(adapter: Adapter, op: TrainOp) -> TrainOp | None:
    """A freeze of some blocks of a list, as if it were one of all of them; None for any other one, and where it may be that
    no block is frozen."""
    steps = op.path.split(".")
    here = op.event.model
    while here is not None and MAYBE_NONE not in here.facts:
        here = here.parent
    facts = adapter.config.facts if adapter.config is not None else {}
    if SOME not in steps or here is not None or given(facts, "layers_to_transform"):
        return None
    return replace(op, path=".".join(EACH if step == SOME else step for step in steps))


def _frozen_children(event: Event, model: Obj, trace: Trace) -> Iterator[Report]:
    """A freeze of a module held inside a user's model, after the adapter was injected into the whole."""
    for adapter in model.model.adapters:
        for child, path in model.inside():
            freeze = _last_freeze(child, adapter.event.seq)
            if (
                freeze is None
                or (freeze.model is not None and freeze.model.root is model.root)
                or not _targets(adapter, path)
                or _came_frozen(model, adapter)
            ):
                continue
            later = (o for o in model.model.ops if o.event.seq > freeze.seq)
            if not any(not o.parts.get(Part.ADAPTER, Tri.NO).no for o in later):
                yield Report(
                    freeze,
                    f"freezes the adapters inside `{path}`, which were injected before: that part is never trained",
                    help="freeze the module before the adapter is injected, or thaw its adapters again",
                    story=((adapter.event, "adapter injected here"), (event, "trained here")),
                    plan=freeze_first(freeze, adapter.event),
                    shown=switch_line(freeze, trace),
                )


def _last_freeze(child: Obj, since: int) -> Event | None:
    """The freeze of a whole module that stands, when it came after `since`."""
    for op in reversed(child.model.ops):
        answer = op.parts.get(Part.ADAPTER)
        if op.event.seq <= since:
            return None
        if answer is not None:
            return op.event if answer.no and op.event.kind is Ev.FREEZE and not op.path else None
    return None


def _language(path: str) -> bool:
    return not architectures().towers["language"].isdisjoint(path.split("."))


def _targets(adapter: Adapter, path: str) -> bool:
    """Whether the adapter certainly has layers inside a submodule."""
    if not {"*", EACH}.isdisjoint(path.split(".")):
        return False
    target = adapter.config.facts.get("target_modules") if adapter.config is not None else None
    pattern = getattr(target, "value", None)
    if pattern == "all-linear":
        return True
    if isinstance(pattern, str):
        return path.split(".")[-1] in pattern
    return _language(path) and adapter.config is not None


def _in_family(adapter: Adapter, root: Obj, op: TrainOp, training: Event) -> bool:
    """Whether one of the layers that the adapter names certainly exists in a submodule, or in what a loop froze in every
    block of a list, in models of this architecture. Where a tower for images or sound has an adapter only because the
    language model has layers of the same name, the freeze may be meant to take it out."""
    inside = _below(op.path)
    if EACH in inside and not set(op.event.guards) <= set(training.guards):
        return False
    family = architectures().family(root.type, root.model.architecture)
    listed = strings(adapter.config.facts.get("target_modules")) if adapter.config is not None else None
    if family is None:
        return False
    lies_in = {module: _starts(_below(module), inside) for module in family.modules}
    for name in listed or ():
        found = {answer for module, answer in lies_in.items() if f".{module}".endswith(f".{name}")}
        if True in found and (False not in found or architectures().towers["senses"].isdisjoint(inside)):
            return True
    return False


def _starts(module: list[str], inside: list[str]) -> bool:
    """Whether a module lies in a submodule, of which a step may stand for every item of a list."""
    return len(module) >= len(inside) and all(
        step == known or (step == EACH and known.isdigit()) for step, known in zip(inside, module, strict=False)
    )


def _below(path: str) -> list[str]:
    """The steps of a path after those that hold the whole network, or all but its head."""
    return list(itertools.dropwhile(HOLDERS.__contains__, path.split(".")))


def _all_blocks(adapter: Adapter, op: TrainOp, training: Event) -> bool:
    """Whether a loop froze every block of a language model, one after the other, and the adapter certainly has layers in
    there: adapters of embeddings and heads alone are all that has not."""
    *holders, stack, item = op.path.split(".") if op.path.count(".") else ("", "", "")
    if (
        item != EACH
        or stack not in STACKS
        or not (WHOLE_PATHS | architectures().towers["language"]).issuperset(holders)
    ):
        return False
    if not set(op.event.guards) <= set(training.guards):
        return False
    target = adapter.config.facts.get("target_modules") if adapter.config is not None else None
    listed = strings(target)
    outside = {*architectures().embeddings, "lm_head", "embed_out", "score"}
    return literal(target) == "all-linear" or any(name.split(".")[-1] not in outside for name in listed or ())


def _frozen_or_around(event: Event) -> tuple[list[tuple[Adapter, Event]], bool]:
    """Adapters that are frozen where a model is trained, with what froze each, and whether something learns beside them: a new
    adapter whose forward is trained is no teacher's, whatever else learns (a head around it)."""
    found = [(adapter, cause) for _, adapter, cause in frozen_at_training(event)]
    if found:
        return found, False
    loss = loss_of(event)
    for source in loss.sources if loss is not None else ():
        if source.model is not None and source.args.get("grad") is Tri.YES:
            found += [(adapter, cause) for adapter, cause in frozen_by(source.model) if not adapter.loaded]
    return found, True


@check("LL104", on=TRAINING)
def kbit_prepare_after_injection(event: Event, trace: Trace) -> Iterator[Report]:
    """The k-bit preparation ran on a model that already had its adapter."""
    for adapter, cause in _frozen_or_around(event)[0]:
        if cause.kind is Ev.PREPARE and "trainer" not in cause.roles:
            yield Report(
                cause,
                f"prepares {name_of(cause, 'model')} for k-bit training after its adapter was injected: "
                "every parameter is frozen, the adapter too",
                help="prepare the base model first, inject the adapter afterwards",
                story=((adapter.event, "adapter injected here"), (event, "trained here")),
                plan=freeze_first(cause, adapter.event) if not adapter.loaded else None,
            )


@check("LL105", on=TRAINING)
def adapter_loaded_frozen(event: Event, trace: Trace) -> Iterator[Report]:
    """A saved adapter was loaded for inference and is trained."""
    for model, adapter, cause in frozen_at_training(event):
        if cause is adapter.event and adapter.loaded and not adapter.active.no and not _newer_inactive(model, adapter):
            yield Report(
                cause,
                f"loads the adapter of {name_of(cause, 'model')} frozen: without `is_trainable=True` nothing is trained",
                help="pass is_trainable=True",
                story=((event, "trained here"),),
                plan=FixPlan(
                    Applicability.UNSAFE if "is_trainable" in cause.args.get("written", ()) else Applicability.SAFE,
                    "load the adapter with is_trainable=True",
                    (SetKeyword(cause.location, "is_trainable", "True"),),
                ),
            )


def _newer_inactive(model: Obj, loaded: Adapter) -> bool:
    """Whether an adapter was added after the loaded one and not made active: then that one was to be trained."""
    return any(a.active.no and not a.loaded and a.event.seq > loaded.event.seq for _, a in adapters_of(model))


@check("LL107", on=TRAINING)
def inference_mode_config_trained(event: Event, trace: Trace) -> Iterator[Report]:
    """An adapter was made from a config that says inference_mode."""
    found, beside = _frozen_or_around(event)
    filled = {e.model.root for e in trace.of(Ev.LOAD_STATE) if e.model is not None}  # with weights that may be kept
    for adapter, cause in found:
        if beside and (cause.model is None or cause.model.root in filled):
            continue
        if cause is adapter.event and not adapter.loaded and adapter.config is not None and not adapter.active.no:
            config = adapter.config
            saved = getattr(config.facts.get("inference"), "value", None) == "saved"
            yield Report(
                cause,
                f"injects an adapter with an inference config ({'a saved config has' if saved else 'it sets'} "
                f"inference_mode=True): the adapter is frozen and {'only other parts learn' if beside else 'nothing is trained'}",
                help="load the saved adapter with PeftModel.from_pretrained(…, is_trainable=True)"
                if saved
                else "leave inference_mode out of the config",
                story=((config.site, "config made here"), (event, "trained here"))
                if config.site
                else ((event, "trained here"),),
                plan=_switch_off(cause, config, saved),
            )


def _switch_off(injection: Event, config: Obj, saved: bool) -> FixPlan | None:
    title = "set inference_mode to False"
    written = config.event is not None and "inference_mode" in config.event.args.get("written", ())
    set_at = config.facts.get("set:inference")
    if isinstance(set_at, Location) and not given(config.facts, "loaded"):
        return FixPlan(Applicability.SAFE, "leave inference_mode as it is", (RemoveStatement(set_at),))
    call = maker(config)
    if not saved and call is not None and written:
        intents: tuple[Intent, ...] = (SetKeyword(call, "inference_mode", "False"),)
        return FixPlan(Applicability.SAFE, title, intents)
    name = variable_of(injection, "config")
    if name and injection.statement is not None:
        line = InsertStatement(injection.statement, f"{name}.inference_mode = False", after=False)
        return FixPlan(Applicability.SAFE, title, (line,))
    return None
