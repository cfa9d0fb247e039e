"""Use of the libraries' interfaces: LL116, LL701, LL702, LL703, LL705."""

from __future__ import annotations

from collections.abc import Iterator

from lora_lint.apis.renames import Rename
from lora_lint.apis.spec import Override
from lora_lint.checks.base import Report, check
from lora_lint.checks.values import given, literal
from lora_lint.findings import (
    AddParameter,
    Applicability,
    FixPlan,
    MoveStatement,
    RenameKeyword,
    SetKeyword,
    Severity,
)
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import Ev


@check("LL701", on=Ev.OUTDATED)
def removed_argument(event: Event, trace: Trace) -> Iterator[Report]:
    """The targeted version of a library lacks an argument or a name that the code uses."""
    row: Rename = event.args["row"]
    what = row.name.rsplit(".", 1)[-1]
    if row.argument:
        what = f"`{row.argument}=` of {_short(event.by)}"
    target = event.args["target"] or row.library
    certain = event.args["certain"]
    yield Report(
        event,
        f"{what} does not exist in {row.library}{row.gone}, "
        + (f"and the project targets {target}" if certain else f"which a new installation takes ({target})"),
        help=_instead(row, event.args["renamed"]),
        plan=_rename(event, row),
        severity=None if certain else Severity.INFO,
    )


def _short(call: str) -> str:
    """The last name of a call, with its class for methods."""
    parts = call.split(".")
    return ".".join(parts[-2:]) if not parts[-1][:1].isupper() and len(parts) > 2 else parts[-1]


def _instead(row: Rename, renamed: bool) -> str:
    if renamed:
        return f"use {row.new}=" if row.argument else f"use {row.new}"
    return {"leave it out": "leave it out", "": ""}.get(
        row.to, f"instead: {row.to}"
    ) or f"use a version of {row.library} that has it"


def _rename(event: Event, row: Rename) -> FixPlan | None:
    """Write the name that the targeted version has, where the value means the same."""
    call = event.args["call"]
    if not (row.argument and row.same and event.args["renamed"]) or call is None:
        return None
    intent = RenameKeyword(call, row.argument, row.new)
    return FixPlan(Applicability.SAFE, f"rename {row.argument} to {row.new}", (intent,))


@check("LL702", on=Ev.CONTRACT)
def compute_loss_contract(event: Event, trace: Trace) -> Iterator[Report]:
    """An override of a trainer's method does not take an argument that the trainer passes."""
    override: Override = event.args["override"]
    yield Report(
        event,
        f"{override.method} does not take `{override.parameter}`, which {_short(event.by)} passes: the first step fails",
        help=f"add {override.parameter}=None, or **kwargs",
        plan=FixPlan(
            Applicability.SAFE,
            f"take {override.parameter}",
            (AddParameter(event.args["place"], override.method, f"{override.parameter}=None"),),
        ),
        maybe=event.args["versions"],
    )


@check("LL116", on=Ev.NAMED)
def adapter_name_collides(event: Event, trace: Trace) -> Iterator[Report]:
    """An adapter is called like the prefix of its own parameters."""
    yield Report(
        event,
        f'the adapter name "{event.args["adapter"]}" is a part of the prefix of its parameters: it is saved under mangled '
        "keys, and loading gives a fresh one",
        help='choose another name, "default" for instance',
        maybe=event.versions if event.maybe else "",
    )


@check("LL703", on=Ev.LABEL_NAMES)
def peft_label_names_missing(event: Event, trace: Trace) -> Iterator[Report]:
    """The trainer looks for label names in a PeftModel without a task type, and will evaluate."""
    arguments, model, trainer = event.role("arguments"), event.model, event.role("trainer")
    if event.maybe or arguments is None or arguments.event is None or model is None or not _evaluates(arguments):
        return
    if trainer is not None and "label_names" in trainer.attrs:
        return  # the user's own trainer names them
    injections = [a.event for a in model.model.adapters if a.config is not None]
    untyped = [a for a in model.model.adapters if a.config is not None and not given(a.config.facts, "task_type")]
    if model.wraps is None or not untyped or len(untyped) != len(model.model.adapters) or untyped[0].loaded:
        return
    intent = SetKeyword(arguments.event.location, "label_names", '["labels"]')
    yield Report(
        arguments.event,
        "the trainer finds no label names in a PeftModel without task_type: evaluation reports no eval_loss",
        help='pass label_names=["labels"], or give the adapter config its task_type',
        story=((injections[0], "adapter without task type injected here"), (event, "trained here")),
        plan=FixPlan(Applicability.SAFE, "name the labels", (intent,)),
    )


def _evaluates(arguments: Obj) -> bool:
    """Whether the arguments ask for evaluation during training."""
    kwargs = getattr(arguments.facts.get("kwargs"), "items", {})
    strategies = [literal(kwargs[key]) for key in ("eval_strategy", "evaluation_strategy") if key in kwargs]
    return any(isinstance(one, str) and one != "no" for one in strategies)


@check("LL705", on=Ev.LATE_IMPORT)
def unsloth_imported_late(event: Event, trace: Trace) -> Iterator[Report]:
    """A library that patches others is imported after them."""
    others = ", ".join(event.args["after"])
    move = MoveStatement(event.location, event.args["first"], after=False)
    yield Report(
        event,
        f"{event.args['library']} is imported after {others}, which it patches: they may stay slow and take more memory",
        help=f"import {event.args['library']} first",
        plan=FixPlan(Applicability.SAFE, f"import {event.args['library']} first", (move,)),
    )
