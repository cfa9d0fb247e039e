"""Output heads beside an adapter: LL111, and LL103 where the head is frozen."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lora_lint.apis.tables import Head, architectures
from lora_lint.checks.base import Report, check
from lora_lint.checks.common import (
    COPIES_LEARN,
    TRAINING,
    copies_trainable,
    freeze_first,
    maker,
    name_of,
    trained,
    variable_of,
)
from lora_lint.checks.values import MISSING, enum_member, given, literal, strings
from lora_lint.findings import Applicability, FixPlan, ReplaceText, SetKeyword, Severity
from lora_lint.lifecycle.heap import Adapter, Obj, adapters_of, trainable
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import Ev, Part, Tri

_WRAPPED = ("", "module", "_orig_mod")  # where DDP and torch.compile hold the whole model


@check("LL111", on=TRAINING)
def task_head_frozen(event: Event, trace: Trace) -> Iterator[Report]:
    """A model class with a fresh head got an adapter whose config neither trains nor saves the head."""
    for model in trained(event):
        for member in model.models():
            head = _head_of(member)
            for adapter in member.model.adapters if head is not None else ():
                config = adapter.config
                if config is None or config.event is None or head is None or _covered(head, config, member.root):
                    continue
                if adapter.path.removeprefix("base_model.model").rpartition(".")[2] not in _WRAPPED:
                    continue  # injected into a part beside the head, which trains as it did before
                if _thawed(member, adapter) or _replaced(member, head):
                    continue
                yield Report(
                    config.event,
                    f"the head of {member.root.type.rsplit('.', 1)[-1]} is neither trained nor saved: {_because(config)}",
                    help=_advice(head),
                    story=((adapter.event, "adapter injected here"), (event, "trained here")),
                    plan=_name_task(config, head),
                    severity=None if _fresh(member.root).yes else Severity.WARNING,
                )


def _head_of(model: Obj) -> Head | None:
    """The head of a library model that was loaded with a head of its own: not a user's class, not remote code, not one
    that was trained before."""
    root = model.root
    if root.user_class is not None or root.model.escaped or root.event is None or root.event.kind is not Ev.LOAD:
        return None
    if root.event.args.get("remote") not in (None, False) or _fresh(root).no:
        return None
    return architectures().head(root.type)


def _fresh(root: Obj) -> Tri:
    """Whether the head starts from random numbers: labels are given, or the checkpoint is not known to have one. Who lets the
    sizes differ from those of a trained head has most likely other labels than that."""
    load = root.event
    if load is None or load.args.get("random"):
        return Tri.NO
    name = "" if root.model.architecture == root.type else root.model.architecture.lower()
    words = re.split(r"[/_\-.]", name)
    if any(
        word in words if word.isalnum() and len(word) < 5 else word in name for word in architectures().trained_heads
    ):
        return Tri.UNKNOWN if load.args.get("resized") is Tri.YES else Tri.NO
    labelled = load.args.get("labelled")
    if labelled is Tri.YES:
        return Tri.YES
    head = architectures().head(root.type)
    # The network of such a checkpoint answers already, and whoever gives no labels wants its answers.
    published = head is not None and head.published and load.args.get("resized") is not Tri.YES
    return Tri.NO if published and (labelled is None or labelled is Tri.NO) else Tri.UNKNOWN


def _covered(head: Head, config: Obj, root: Obj) -> bool:
    """Whether the config trains the head, or may."""
    facts = config.facts
    if given(facts, "task_type"):
        task = enum_member(facts["task_type"])
        trains = architectures().task_types.get(task) if task is not None else None
        if trains is None or not set(trains).isdisjoint(head.modules):
            return True
    return any(given(facts, key) for key in ("modules_to_save", "loaded", "layers_to_save")) or _targeted(
        head, config, root
    )


def trains_head(config: Obj, name: str) -> bool:
    """Whether a config certainly trains a copy of the module that a name ends in: for its task, or as asked."""
    task = enum_member(config.facts["task_type"]) if given(config.facts, "task_type") else None
    saved = strings(config.facts["modules_to_save"]) if given(config.facts, "modules_to_save") else None
    return name.split(".")[-1] in (*architectures().task_types.get(task or "", ()), *(saved or ()))


def _targeted(head: Head, config: Obj, root: Obj) -> bool:
    """Whether the head has an adapter of its own, or may: by its name, or by that of a layer inside it."""
    if not given(config.facts, "target_modules"):
        return False
    targets = config.facts["target_modules"]
    pattern = literal(targets)
    if isinstance(pattern, str):
        return pattern == "all-linear" or any(name in pattern for name in head.modules) or pattern in (".*", ".+")
    listed = strings(targets)
    inside = head.inside(root.type, "" if root.model.architecture == root.type else root.model.architecture)
    return listed is None or any(name.split(".")[-1] in head.modules or name in inside for name in listed)


def _thawed(model: Obj, adapter: Adapter) -> bool:
    """Whether the head was unfrozen after the injection, or may have been."""
    for op in model.model.ops:
        if op.event.seq <= adapter.event.seq or op.adapter is not None:
            continue
        if not op.parts.get(Part.HEAD, Tri.NO).no or any(
            not answer.no for answer in op.event.args.get("extras", {}).values()
        ):
            return True
    return False


def _replaced(model: Obj, head: Head) -> bool:
    """Whether the user put a head of their own in place."""
    return any(name in holder.attrs for holder in (model, model.root) for name in head.modules)


def _because(config: Obj) -> str:
    task = enum_member(config.facts["task_type"]) if given(config.facts, "task_type") else None
    why = (
        f"task_type {task} is for models without such a head"
        if task
        else "the config has no task_type and no modules_to_save"
    )
    return f"{why}, so it stays random and a reload draws another one"


def _advice(head: Head) -> str:
    if head.task:
        return f'pass task_type="{head.task}"'
    return f'pass modules_to_save=["{head.modules[0]}"]'


def _name_task(config: Obj, head: Head) -> FixPlan | None:
    written = config.event.args.get("written", ()) if config.event is not None else ()
    name = "task_type" if head.task else "modules_to_save"
    call = maker(config)
    if call is None or (name in config.facts and name not in written):
        return None  # it comes out of a dict: a second one would raise
    if head.task:
        # A member of an enumeration stays one: the import of that is used on.
        holder = variable_of(config.event, "task_type").rpartition(".")[0] if config.event is not None else ""
        intent = SetKeyword(
            call, "task_type", f"{holder}.{head.task}" if holder and _member(config) else f'"{head.task}"'
        )
        return FixPlan(Applicability.SAFE, f"set task_type to {head.task}", (intent,))
    intent = SetKeyword(call, "modules_to_save", f'["{head.modules[0]}"]')
    return FixPlan(Applicability.UNSAFE, "save and train the head", (intent,))


def _member(config: Obj) -> bool:
    """Whether a config names its task by a member of an enumeration."""
    return type(config.facts.get("task_type")).__name__ == "LibRef"


@check("LL111", on=Ev.CONFIGURE)
def modules_lost_in_mutator(event: Event, trace: Trace) -> Iterator[Report]:
    """`modules_to_save=names.append("score")` passes None."""
    config = event.role("config")
    for name, value in config.facts.items() if config is not None else ():
        method = getattr(value, "method", "")
        if not method or literal(value) is MISSING:
            continue
        yield Report(
            event,
            f"`{name}` is None: `{method}()` changes the list and returns nothing, so no further module is trained or saved",
            help=f"change the list first, or pass {value.receiver or 'list'} + [{value.argument or '…'}]",
            plan=_add_instead(value),
        )


_CHOSEN = (Ev.FREEZE, Ev.THAW)  # a loop that thaws the adapter may freeze what is beside it


@check("LL103", on=TRAINING)
def head_refrozen(event: Event, trace: Trace) -> Iterator[Report]:
    """The copies of modules that an adapter trains (a fresh head, modules_to_save) were frozen after the injection, while
    the adapter itself learns. In a program that trains them at another time that is a stage."""
    for model in trained(event):
        for member, adapter in adapters_of(model):
            config, (answer, freeze) = adapter.config, copies_trainable(member.model, adapter)
            if config is None or adapter.loaded or not answer.no or freeze is None or freeze.kind not in _CHOSEN:
                continue
            what = _copies(member.root, config)
            if not what or not trainable(member.model, adapter)[0].yes or _filled(member, trace):
                continue
            yield Report(
                freeze,
                f"freezes {what} of {name_of(freeze, 'model')}, which the adapter was to train: never trained",
                help='keep these trainable: `"lora_" in name or "modules_to_save" in name`, or freeze before the injection',
                story=((adapter.event, "adapter injected here"), (event, "trained here")),
                plan=freeze_first(freeze, adapter.event),
                severity=Severity.ERROR if "random" in what else Severity.WARNING,
                unless=frozenset({(COPIES_LEARN, member.root.site)}),
            )


def _copies(root: Obj, config: Obj) -> str:
    """What an adapter trains a copy of: modules that the config asks for, or the head that its task brings, when that
    starts from random numbers; "" for anything else."""
    saved = strings(config.facts["modules_to_save"]) if given(config.facts, "modules_to_save") else []
    if saved is None:
        return ""
    if saved:
        return f"the copies of {', '.join(f'`{name}`' for name in saved)}"
    head = architectures().head(root.type)
    task = enum_member(config.facts["task_type"]) if given(config.facts, "task_type") else None
    copied = architectures().task_types.get(task or "", ())
    fresh = head is not None and not set(copied).isdisjoint(head.modules) and _fresh(root).yes
    return "the random head" if fresh and root.user_class is None else ""


def _filled(model: Obj, trace: Trace) -> bool:
    """Whether weights were loaded into the model by hand: what is frozen may be trained already."""
    return any(e.model is None or e.model.root is model.root for e in trace.of(Ev.LOAD_STATE))


def _add_instead(value: object) -> FixPlan | None:
    """Write the sum that was meant."""
    receiver, argument = getattr(value, "receiver", ""), getattr(value, "argument", "")
    if not receiver or not argument or getattr(value, "method", "") not in ("append", "extend"):
        return None
    added = f"[{argument}]" if getattr(value, "method", "") == "append" else argument
    replace = ReplaceText(getattr(value, "place"), f"{receiver} + {added}")  # noqa: B009
    return FixPlan(Applicability.SAFE, "pass the longer list", (replace,))
