"""Questions that several rules ask."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import islice, pairwise
from typing import Any

from lora_lint.apis.tables import architectures
from lora_lint.checks.values import MISSING, literal
from lora_lint.findings import Applicability, FixPlan, MoveStatement
from lora_lint.lifecycle.effects import frozen_by
from lora_lint.lifecycle.heap import (
    WHOLE_PATHS,
    Adapter,
    ModelState,
    Obj,
    TrainOp,
    adapters_of,
    apart,
    partial_freezes,
    trainable,
)
from lora_lint.lifecycle.trace import Event, Tensor, Trace
from lora_lint.lifecycle.vocabulary import BASE_PARTS, Ev, Graph, Part, Tri
from lora_lint.location import Location

STACKS = frozenset({"layers", "h", "blocks", "block", "layer"})  # the names that lists of blocks have
TRAINING = (Ev.TRAIN, Ev.BACKWARD, Ev.STEP)
# Witness: some adapter of the program requires gradients, or may, when its model is trained. With the place of an injection:
# one that was injected there does.
ADAPTERS_LEARN = "adapters-learn"


# Witness, with the place of a backward: on some path its loss comes from a model.
FROM_A_MODEL = "from-a-model"


# Witness, with the place where a model was made: the copies of modules that its adapters train (a head) learn at some time.
COPIES_LEARN = "copies-learn"


# Witness, with the place of a freeze of a submodule: the adapters in there, or others, were thawed behind it and trained.
PART_LEARNS = "part-learns"


# Witness, with the place where a model was made: a loss was computed from a forward of it that recorded gradients.
RECORDED = "recorded"


# Witness, with the place of a training and a class of configs: a model with an adapter of that kind is trained there.
ADAPTED = "adapted"


def witnesses(event: Event) -> Iterator[Hashable]:
    """What a training event witnesses for findings on other paths."""
    loss = loss_of(event) if event.kind is Ev.BACKWARD else None
    if event.kind is Ev.BACKWARD and loss is None and _is_unknown(event.args.get("loss")):
        yield FROM_A_MODEL, event.location
    may_record = loss is not None and (loss.graph is Graph.ATTACHED or (loss.graph is Graph.UNKNOWN and loss.sources))
    if loss is not None and may_record and loss.hack_at is None and not loss.leaf and loss.only is None:
        yield FROM_A_MODEL, event.location
        cut = {id(forward) for forward, _ in loss.behind}
        for source in loss.sources:
            if source.model is None or id(source) in cut:
                continue
            if source.args.get("grad") is Tri.YES and not stand_ins(source):
                yield RECORDED, source.model.root.site
    held = [each for model in trained(event) for each in adapters_of(model)]
    learning = [adapter for member, adapter in held if not trainable(member.model, adapter)[0].no]
    if learning:
        yield ADAPTERS_LEARN
    for adapter in learning:
        yield ADAPTERS_LEARN, adapter.event.location
    yield from {(ADAPTED, event.location, adapter.config.type) for _, adapter in held if adapter.config is not None}
    for member, adapter in held:
        if not copies_trainable(member.model, adapter)[0].no:
            yield COPIES_LEARN, member.root.site
        standing = {id(op) for op in partial_freezes(member.model, adapter)}
        for op in member.model.ops:
            if op.path and op.event.kind is Ev.FREEZE and op.event.seq > adapter.event.seq and id(op) not in standing:
                yield PART_LEARNS, op.event.location
        changes = pairwise(changes_since_injection(member, adapter))
        yield from ((PART_LEARNS, op.event.location) for op, later in changes if _learns_again(op, later))


def changes_since_injection(member: Obj, adapter: Adapter) -> list[TrainOp]:
    """What changed the trainability of adapters in a model after this one was injected, oldest first."""
    return [op for op in member.model.ops if Part.ADAPTER in op.parts and op.event.seq > adapter.event.seq]


def _learns_again(op: TrainOp, later: TrainOp) -> bool:
    """Whether some of the adapter's parameters that a loop froze by name may be trainable after another change."""
    if later.parts[Part.ADAPTER].no or apart(later.path, op.path):
        return False
    written = later.event.args.get("layers") or {}
    frozen = [name for name, answer in (op.event.args.get("layers") or {}).items() if answer is Tri.NO]
    return any(name not in written or written[name] not in (None, Tri.NO) for name in frozen)


def stand_ins(forward: Event) -> list[str]:
    """The parts of a model whose output a forward is given, so that it passes them by."""
    named = getattr(forward.args.get("named"), "items", {})
    return [part for name, part in architectures().stands_in.items() if isinstance(named.get(name), (Tensor, Obj))]


def trained(event: Event) -> list[Obj]:
    """The models that an event trains: a trainer's model, the sources of a loss, what an optimizer holds."""
    if event.kind is Ev.BACKWARD:
        return list(event.args.get("models", ()))
    if event.kind is Ev.TRAIN:
        return [event.model] if event.model is not None else []
    optimizer = event.role("optimizer")
    return held_models(optimizer) if optimizer is not None else []


def held_models(optimizer: Obj) -> list[Obj]:
    """The models whose parameters an optimizer holds."""
    found: dict[int, Obj] = {}
    for capture in optimizer.facts.get("captures") or ():
        found.setdefault(id(capture.model.root), capture.model)
    return list(found.values())


def clears(zero: Event, optimizer: Obj) -> bool:
    """Whether a zero_grad clears gradients of an optimizer: its own, or one of a model that it holds or of what contains
    that model, like a module of the user's whose parts have optimizers of their own."""
    if zero.role("optimizer") is optimizer:
        return True
    if zero.model is None:
        return False
    cleared = {id(member.root) for member in zero.model.models()}
    return any(id(model.root) in cleared for model in held_models(optimizer))


def learns(model: Obj) -> Tri:
    """Whether anything in the model requires gradients now."""
    unknown = False
    for answer in _trainable_parts(model):
        if answer.yes:
            return Tri.YES
        unknown = unknown or not answer.known
    return Tri.UNKNOWN if unknown else Tri.NO


def _trainable_parts(model: Obj) -> Iterator[Tri]:
    """Whether each adapter and each part of the base requires gradients, in a model and the models inside it."""
    for member in model.models():
        state = member.model
        yield from (trainable(state, adapter)[0] for adapter in state.adapters)
        if not state.ops:
            yield Tri.UNKNOWN
        for part in BASE_PARTS:
            op = next((o for o in reversed(state.ops) if part in o.parts and o.adapter is None), None)
            if op is not None:
                yield Tri.UNKNOWN if op.path else op.parts[part]


def not_beside_a_learner(models: list[Obj]) -> list[Obj]:
    """The models that are trained together with none that learns. One beside such a model (a teacher, an encoder under a
    head, the other net of a GAN) is meant to be as it is."""
    if len(models) < 2:
        return models
    learning = list(islice((model for model in dict.fromkeys(models) if not learns(model).no), 2))
    return [model for model in models if all(other is model for other in learning)]


def frozen_at_training(event: Event) -> Iterator[tuple[Obj, Adapter, Event]]:
    """Adapters that are certainly frozen in a model that this event trains, with the event that froze each."""
    for model in not_beside_a_learner(trained(event)):
        for adapter, cause in frozen_by(model):
            yield model, adapter, cause


def copies_trainable(state: ModelState, adapter: Adapter) -> tuple[Tri, Event | None]:
    """Whether the copies of modules that an adapter trains (a head) require gradients, and the event that made it so."""
    for op in reversed(state.ops):
        answer = op.parts.get(Part.COPY)
        if answer is None or (op.adapter is not None and op.adapter is not adapter):
            continue
        if op.path and not WHOLE_PATHS.issuperset(op.path.split(".")) and op.path != adapter.path:
            if answer.no:
                continue  # a freeze of some submodule: the copies may be outside
            return Tri.UNKNOWN, None
        return answer, op.event
    return Tri.UNKNOWN, None


def name_of(event: Event, role: str, fallback: str = "the model") -> str:
    """What the user calls the object in a role at this event, in backquotes."""
    text = event.args.get("names", {}).get(role) or event.args.get("text")
    if not text:
        obj = event.role(role)
        text = obj.name if obj is not None else ""
    return f"`{text}`" if text else fallback


def argument(arguments: Obj, name: str) -> Any:
    """The value of a keyword of the training arguments; None when it was not given."""
    if name in arguments.attrs:
        return arguments.attrs[name]
    given = getattr(arguments.facts.get("kwargs"), "items", None)
    return given.get(name) if isinstance(given, dict) else None


def _is_unknown(value: object) -> bool:
    """Whether nothing is known of a value: it is neither written down nor data."""
    return value is None or (literal(value) is MISSING and not getattr(value, "data", False))


def loss_of(event: Event) -> Tensor | None:
    """The loss of a backward, as far as it is known."""
    loss = event.args.get("loss")
    return loss if isinstance(loss, Tensor) else None


def feeds(backward: Event, optimizer: Obj) -> bool:
    """Whether a backward gives gradients to what the optimizer holds, as far as is known."""
    models, held = trained(backward), held_models(optimizer)
    if not models or not held:
        return True
    return not _roots_in(models).isdisjoint(_roots_in(held))


def _roots_in(models: list[Obj]) -> set[int]:
    """The identities of the roots of models and of all that is inside them. A list often has the parts of its first model, too."""
    found: set[int] = set()
    for model in models:
        if id(model.root) not in found:
            found.update(id(member.root) for member in model.models())
    return found


def on_condition(event: Event, *others: Event) -> bool:
    """Whether an event hangs on a condition that the others do not: it may be a special case, like a bad batch. The arm
    that the user's own default takes counts as none."""
    shared = {guard for other in others for guard in other.guards}
    return any(guard not in shared and not guard.default for guard in event.guards)


def only_when_set(*events: Event) -> bool:
    """Whether something happens only where a setting is given that is off without, by its fallback or in the project's own
    configuration files."""
    return any(guard.unset is False for event in events for guard in event.guards)


def variable_of(event: Event, role: str) -> str:
    """The variable in a role at this event, "" when it is not a plain one."""
    text = event.args.get("names", {}).get(role, "")
    return text if isinstance(text, str) else ""


def optimizers(trace: Trace) -> Iterator[Obj]:
    """All optimizers made so far."""
    for event in trace.of(Ev.OPTIMIZER):
        optimizer = event.role("optimizer")
        if optimizer is not None and not event.args.get("adds"):
            yield optimizer


def trained_between(trace: Trace, first: Event, last: Event) -> Iterator[Obj]:
    """The models that are trained after one event and before another."""
    return (model for e in trace.of(*TRAINING) if first.seq < e.seq < last.seq for model in trained(e))


def had_a_stage(trace: Trace, member: Obj, injection: Event, freeze: Event) -> bool:
    """Whether a model was trained before a part of it was frozen: the first of two stages."""
    return any(m.root is member.root for one in trained_between(trace, injection, freeze) for m in one.models())


def may_hold(optimizer: Obj, adapter: Adapter) -> bool:
    """Whether an optimizer holds the adapter, or may."""
    captures = optimizer.facts.get("captures")
    return captures is None or any(not c.holds(adapter).no for c in captures)


def only_used(adapter: Adapter) -> bool:
    """Whether an adapter was loaded to be used, not to be trained: beside one that is, set_adapter() is not meant to thaw it."""
    return adapter.loaded and adapter.event.args.get("trainable") is Tri.NO


def has_adapters(model: Obj) -> Tri:
    """Whether the model (or one inside it) has an adapter."""
    if adapters_of(model):
        return Tri.YES
    states = [member.model for member in model.models()]
    unknown = any(s.escaped or not s.adapters_known or not s.saved_adapter.no for s in states)
    return Tri.UNKNOWN if unknown else Tri.NO


def part_trainable(state: ModelState, part: Part) -> Tri:
    """Whether a part of the base model requires gradients now; unknown when a submodule was thawed or frozen apart."""
    for op in reversed(state.ops):
        if op.adapter is not None:
            continue
        if any(not answer.no for answer in op.event.args.get("extras", {}).values()):
            return Tri.UNKNOWN
        answer = op.parts.get(part)
        if answer is not None:
            return answer if not op.path else Tri.UNKNOWN
    return Tri.UNKNOWN


def call_site(event: Event, other: Event) -> Event | Location:
    """Where to show an event that is out of order with another one: when it happened inside a helper, the call of that
    helper in the function where the other one happened."""
    depth = len(other.chain)
    if len(event.chain) > depth and event.chain[:depth] == other.chain:
        return event.chain[depth]
    return event


def own_line(event: Event, others: Iterable[Event]) -> Location:
    """Where to show what a helper of the user's does to whatever it is given: the innermost line, out of it through its calls,
    that is this event's own. A line is not where other calls make one of the other events happen there."""
    lines, rest = (*event.chain, event.location), list(others)
    for depth in range(len(lines) - 1, -1, -1):
        if not any(_elsewhere(lines[depth], lines[:depth], other) for other in rest):
            return lines[depth]
    return event.location


def _elsewhere(line: Location, before: tuple[Location, ...], other: Event) -> bool:
    """Whether another event happens in or below a line, by other calls than these."""
    lines = (*other.chain, other.location)
    return any(here == line and lines[:depth] != before for depth, here in enumerate(lines))


def switch_line(event: Event, trace: Trace) -> Location:
    """The line of a freeze or a thaw that switches this part of a model this way: others are switched the other way, or are
    another part, or have their adapter still to come."""
    return own_line(event, [e for e in trace.of(Ev.FREEZE, Ev.THAW) if _switch(e) != _switch(event)])


def _switch(event: Event) -> tuple[Ev, str, bool]:
    return event.kind, event.model.full_path if event.model is not None else "", bool(event.adapters)


def maker(made: Obj) -> Location | None:
    """The call that took an object's settings, for a keyword more; None for a plain copy of another object."""
    return made.site if made.event is None or made.event.location == made.site else None


def order_sites(one: Event, other: Event) -> tuple[Location, Location] | None:
    """The two places, in the function where both events come about, whose order is the order of the events: the
    statements themselves, or the calls of helpers in which they happen. None when it is one and the same call."""
    depth = 0
    while depth < min(len(one.chain), len(other.chain)) and one.chain[depth] == other.chain[depth]:
        depth += 1
    sites = [e.chain[depth] if len(e.chain) > depth else e.statement for e in (one, other)]
    first, second = sites
    return (first, second) if first is not None and second is not None and first.path == second.path else None


def freeze_first(freeze: Event, injection: Event) -> FixPlan | None:
    """Move the freeze above the injection: only within one block, which `fix.build` checks."""
    sites = order_sites(freeze, injection)
    if sites is None:
        return None
    return FixPlan(Applicability.UNSAFE, "freeze before the adapter is injected", (MoveStatement(*sites, after=False),))
