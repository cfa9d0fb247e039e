"""Injection itself: LL101, LL102, LL106."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import pairwise

from lora_lint.checks.base import Report, check
from lora_lint.checks.common import (
    ADAPTED,
    TRAINING,
    has_adapters,
    name_of,
    trained,
    variable_of,
)
from lora_lint.checks.values import literal
from lora_lint.findings import (
    Applicability,
    DropKeyword,
    FixPlan,
    InsertStatement,
    Intent,
    RemoveStatement,
    ReplaceText,
    SetKeyword,
    Severity,
)
from lora_lint.lifecycle.heap import Adapter, Obj
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import Ev, Kind, Tri
from lora_lint.location import Location


@check("LL101", on=Ev.END)
def adapter_config_never_applied(event: Event, trace: Trace) -> Iterator[Report]:
    """A PEFT config was made, a model without any adapter was trained."""
    for made in trace.of(Ev.CONFIGURE):
        config = made.role("config")
        if config is None or config.site is None or _passed_over(made, trace):
            continue
        for training in trace.of(*TRAINING):
            models = [model for model in trained(training) if not _beside_loaded(model, trace)]
            if models and all(has_adapters(model).no and not _holders(model, trace) for model in models):
                kind = config.type.rsplit(".", 1)[-1]
                switched_off = config.name in made.args.get("put_aside", ())  # what applied it is a comment now
                yield Report(
                    made,
                    f"{kind} {f'`{config.name}` ' if config.name else ''}is never applied: the model is trained without any adapter",
                    help="apply it with model = get_peft_model(model, config), or pass it as peft_config= to a TRL trainer",
                    story=((training, "trained here without an adapter"),),
                    plan=None if switched_off else _apply_config(made, config, models[0], training, trace),
                    severity=Severity.WARNING if switched_off else None,
                    unless=frozenset({("config-used", config.site), *_spare(made, config, training)}),
                )
                break


def _spare(made: Event, config: Obj, training: Event) -> set[Hashable]:
    """What shows that a config which is made on every path is a spare one: elsewhere one like it is what this training uses."""
    return set() if made.guards else {(ADAPTED, training.location, config.type)}


def _passed_over(made: Event, trace: Trace) -> bool:
    """Whether a config is one of several that one statement makes, like a table of recipes, and another one is to be told:
    the one that was picked by a name, or else the first."""
    if made.statement is None:
        return False
    together = [e for e in trace.of(Ev.CONFIGURE) if e.statement == made.statement and e.location != made.location]
    named = [e for e in (made, *together) if (config := e.role("config")) is not None and config.name]
    return any(e.seq < made.seq for e in together) if not named else made not in named


def _beside_loaded(model: Obj, trace: Trace) -> bool:
    """Whether a model is made of fresh layers of torch alone while the program loads another network (a probe on the states
    of that one, a head): an adapter config is for what was loaded."""
    for root in (member.root for member in model.models()):
        if root.user_class is not None or not root.type.startswith("torch.nn.") or not _fresh(root.event):
            return False
    return any(not _fresh(event) for event in trace.of(Ev.LOAD))


def _fresh(made: Event | None) -> bool:
    """Whether something that was made here has no pretrained weights."""
    return made is not None and made.kind is Ev.LOAD and bool(made.args.get("random"))


def _holders(model: Obj, trace: Trace) -> list[Obj]:
    """The models that hold this one inside and got an adapter: a loss may come from the layers of a user's module."""
    injected = [event.model.root for event in trace.of(Ev.INJECT) if event.model is not None]
    return [one for one in injected if any(child.root is model.root for child in one.children())]


def _apply_config(made: Event, config: Obj, model: Obj, training: Event, trace: Trace) -> FixPlan | None:
    """Insert the injection: after the config when the model exists by then, else before the optimizer or trainer."""
    user = next(
        (e for e in trace.of(Ev.OPTIMIZER, Ev.TRAINER) if e.model is not None and e.model.root is model.root), None
    )
    if made.statement is None or (user is not None and user.seq < made.seq):
        return None
    variable = (variable_of(user, "model") if user is not None else "") or model.root.name
    name, anchor, after = config.name, None, True
    wanted = user.model if user is not None and user.model is not None else model
    here = _bound_to(made, wanted)
    collected = _collected(user, model)
    if collected is not None and collected.path == made.location.path:
        anchor, after = collected, False
    elif "." in here:  # an attribute: it may be used in another method, which runs when the library likes
        variable, anchor = here, made.statement
    elif "." in variable and "." in name and _later(wanted, made):
        anchor = _later(wanted, made)
    elif user is not None and user.chain == made.chain and user.guards == made.guards:
        anchor, after = user.statement, False
    elif here:
        variable, anchor = here, made.statement
    elif user is not None and user.guards == made.guards:
        variable, name = _bound_to(user, wanted), _bound_to(user, config)
        anchor, after = user.statement, False
    if anchor is None or not variable or not name:
        return None
    line = InsertStatement(anchor, f"{variable} = get_peft_model({variable}, {name})", after)
    return FixPlan(Applicability.UNSAFE, "inject the adapter", (line,), (("peft", "get_peft_model"),))


def _later(model: Obj, made: Event) -> Location | None:
    """The statement that loads a model after the config was made, and in the same call."""
    loaded = model.root.event
    return loaded.statement if loaded is not None and loaded.chain == made.chain and loaded.seq > made.seq else None


def _bound_to(event: Event, wanted: Obj) -> str:
    """The variable that holds an object where an event happens, "" when none does."""
    bound = event.args.get("bound", {})
    return next((name for name, obj in bound.items() if obj.kind is wanted.kind and obj.root is wanted.root), "")


def _collected(user: Event | None, model: Obj) -> Location | None:
    """The statement that collects the parameters of a model for an optimizer, when it is not the optimizer's own."""
    optimizer = user.role("optimizer") if user is not None else None
    captures = optimizer.facts.get("captures") if optimizer is not None else None
    own = [c for c in captures or () if c.model.root is model.root and c.statement is not None]
    first = min(own, key=lambda c: c.seq).statement if own else None
    return first if user is not None and isinstance(first, Location) and first != user.statement else None


@check("LL102", on=Ev.PREPARE)
def peft_model_refrozen_by_trainer(event: Event, trace: Trace) -> Iterator[Report]:
    """A TRL trainer prepares the k-bit PeftModel it is given once more."""
    if "trainer" not in event.roles or not event.adapters:
        return
    adapter = event.adapters[-1]
    trainer = event.by.rsplit(".", 1)[-1]
    yield Report(
        event,
        f"{trainer} prepares {name_of(event, 'model')} for k-bit training again, which freezes its adapter: nothing is trained",
        help="pass peft_config= and let the trainer inject the adapter, or use trl>=0.23.1",
        story=((adapter.event, "adapter injected here"),),
        plan=_hand_over(event, trace),
        maybe=event.versions if event.maybe else "",
    )


def _hand_over(event: Event, trace: Trace) -> FixPlan | None:
    """Let the trainer inject: pass peft_config=, drop the manual preparation and injection."""
    injection = event.adapters[-1].event
    config = variable_of(injection, "config")
    if (
        not config
        or injection.statement is None
        or injection.chain != event.chain
        or injection.by != "peft.get_peft_model"
    ):
        return None
    intents: list[Intent] = [SetKeyword(event.location, "peft_config", config)]
    prepared = [e for e in trace.of(Ev.PREPARE) if e is not event and _same_model(e, event)]
    steps = sorted((injection, *prepared), key=lambda e: e.seq)
    for step, following in pairwise((*steps, event)):
        undo = _undone(step, following)
        if undo is None:
            return None
        intents.append(undo)
    for count in trace.of(Ev.COUNTED):
        if not _same_model(count, event):
            continue
        if count.statement is None or count.chain != event.chain or not count.args.get("discarded"):
            return None  # a method that the base model lacks
        intents.append(RemoveStatement(count.statement))
    return FixPlan(Applicability.UNSAFE, "let the trainer inject the adapter", tuple(intents))


def _same_model(one: Event, other: Event) -> bool:
    return one.model is not None and other.model is not None and one.model.root is other.model.root


def _undone(step: Event, following: Event) -> Intent | None:
    """Take out a call that returns its model: the statement, or the call alone when it gives the model another name."""
    name = variable_of(step, "model")
    if step.statement is None or step.chain != following.chain or not name:
        return None
    if name == variable_of(following, "model") or step.args.get("discarded"):
        return RemoveStatement(step.statement)
    return ReplaceText(step.location, name)


@check("LL106", on=(*TRAINING, Ev.TRAINER, Ev.END))
def adapter_injected_twice(event: Event, trace: Trace) -> Iterator[Report]:
    """A model that has an adapter got another full injection."""
    models = [event.model] if event.kind is Ev.TRAINER and event.model is not None else trained(event)
    if event.kind is Ev.END:  # only now is it known whether the first one was used again
        models = [model for training in trace.of(*TRAINING) for model in trained(training)]
    for model in models:
        for member in model.models():
            for adapter in member.model.adapters:
                if not adapter.over:
                    continue
                second, first = adapter.event, adapter.over[-1]
                by_trainer = "trainer" in second.roles
                if second.args.get("merges") is True and not first.loaded:
                    continue  # the trainer merges what learned nothing yet: that changes nothing
                if _virtual(first.config) or _virtual(second.role("config")):
                    continue
                if (event.kind is Ev.TRAINER and not by_trainer) or _refused(second, trace):
                    continue
                wrapped = second.args.get("peft", Tri.YES) is Tri.YES
                lost = (
                    "the adapter loaded before is reset" if first.loaded else "the first adapter is buried or replaced"
                )
                yield Report(
                    second,
                    f"injects a second adapter into {name_of(second, 'model')}: {lost}",
                    help="inject once: continue a saved adapter with PeftModel.from_pretrained(base, …, is_trainable=True), "
                    "or leave the injection to the trainer",
                    story=((first.event, "first adapter injected here"),),
                    plan=_drop_first(first.event, second, wrapped),
                    # Into a bare base, a fresh adapter over a fresh one of the same name just starts it again, unless what
                    # was made with the first is used afterwards: it has the weights of the second.
                    severity=None
                    if wrapped or (first.loaded and not by_trainer) or _used_after(first.event, second, trace)
                    else _of_a_fresh_start(first, second, trace),
                )


def _refused(injection: Event, trace: Trace) -> bool:
    """Whether a trainer was given a model as its own reference too, which it does not take: the program ends there."""
    trainer = injection.role("trainer")
    made = (e for e in trace.of(Ev.TRAINER) if trainer is not None and e.role("trainer") is trainer)
    return any(injection.model is not None and e.role("reference") is injection.model for e in made)


def _of_a_fresh_start(first: Adapter, second: Event, trace: Trace) -> Severity:
    """How bad it is to start an adapter again: where nothing was trained in between, and the config is the same, all is as if
    it had been injected once."""
    between = (e for e in trace.of(*TRAINING) if first.event.seq < e.seq < second.seq)
    again = not first.loaded and first.config is not None and first.config is second.role("config")
    return Severity.INFO if again and not any(between) else Severity.WARNING


def _used_after(first: Event, second: Event, trace: Trace) -> bool:
    """Whether the model that an injection made is used after another one into the same base."""
    made = (view for view in trace.made(Kind.MODEL) if view.event is first and view.wraps is not None)
    return any(view.last_use > second.seq for view in made)


def _virtual(config: Obj | None) -> bool:
    """Whether a config asks for virtual tokens: they live in the wrapper, and the base stays as it was."""
    return config is not None and literal(config.facts.get("prompt")) is True


def _drop_first(first: Event, second: Event, wrapped: bool) -> FixPlan | None:
    """Remove the first injection where the second one makes it pointless; a trainer is not to inject again. Where a saved
    adapter is loaded only sometimes, over a fresh one, the fresh one goes just before that."""
    if "trainer" in second.roles:
        return FixPlan(Applicability.UNSAFE, "leave out peft_config", (DropKeyword(second.location, "peft_config"),))
    if first.chain != second.chain or first.statement is None or first.by != "peft.get_peft_model":
        return None
    if first.statement == second.statement:
        return None  # one injection, in a loop
    if first.guards != second.guards:
        name = variable_of(second, "model")
        sometimes = first.guards == second.guards[: len(first.guards)] and second.args.get("loaded")
        if not (sometimes and wrapped and name and second.statement is not None):
            return None
        line = InsertStatement(second.statement, f"{name} = {name}.unload()", after=False)
        return FixPlan(Applicability.UNSAFE, "take the fresh adapter out before the saved one is loaded", (line,))
    return FixPlan(Applicability.UNSAFE, "drop the first injection", (RemoveStatement(first.statement),))
