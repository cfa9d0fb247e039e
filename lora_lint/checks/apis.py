"""Use of the libraries' interfaces: LL701, LL702."""

from __future__ import annotations

from collections.abc import Iterator

from lora_lint.apis.renames import Rename
from lora_lint.apis.spec import Override
from lora_lint.checks.base import Report, check
from lora_lint.findings import AddParameter, Applicability, FixPlan, RenameKeyword, Severity
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
