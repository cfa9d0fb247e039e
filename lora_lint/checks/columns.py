"""Fields and splits of datasets: LL403, LL407."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lora_lint.apis.known_datasets import KnownDataset, known_dataset
from lora_lint.apis.tables import architectures
from lora_lint.checks.base import Report, check
from lora_lint.checks.common import maker
from lora_lint.checks.values import is_option, literal
from lora_lint.findings import Applicability, FixPlan, ReplaceText, SetKeyword
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import Ev, Tri
from lora_lint.location import Location

_OWN_COLUMNS = ("_remove_unused_columns", "_set_signature_columns_if_needed", "get_train_dataloader")


@check("LL403", on=Ev.FIELD)
def dataset_field_mismatch(event: Event, trace: Trace) -> Iterator[Report]:
    """A split or a field that a well-known dataset does not have."""
    dataset = event.role("dataset")
    known = _known(dataset) if dataset is not None else None
    if known is None or dataset is None or "fallback" in event.contexts:
        return
    if "split" in event.args:
        if not _marked(dataset, "resplit"):
            yield from _wrong_split(event, known, _asked(dataset, "splits"))
    elif event.args["certain"] and not event.args["row"].facts.get("tested") and not _marked(dataset, "changed"):
        name = event.args["name"]
        if name not in known.fields and not {name, None} & _asked(dataset, "fields"):
            yield Report(
                event,
                f'{known.name} has no field "{name}": its fields are {", ".join(sorted(known.fields))}',
                help=_meant(known, name),
                plan=_rename(known, name, event.args["key"]),
            )


def _known(dataset: Obj) -> KnownDataset | None:
    path, config = dataset.root.facts.get("path"), dataset.root.facts.get("config")
    return None if is_option(path) or is_option(config) else known_dataset(literal(path), literal(config))


def _marked(dataset: Obj, mark: str) -> bool:
    """Whether something was done to it since it was loaded: its fields changed, its rows split anew."""
    here: Obj | None = dataset
    while here is not None:
        if here.facts.get(mark):
            return True
        here = here.wraps
    return False


def _asked(dataset: Obj, kind: str) -> set[str | None]:
    """The splits or fields that the program asks for before it takes them, None for one that it computes."""
    asked: set[str | None] = dataset.root.facts.get(f"asked {kind}", set())
    return asked


def _wrong_split(event: Event, known: KnownDataset, asked: set[str | None]) -> Iterator[Report]:
    text = literal(event.args["split"])
    if not isinstance(text, str) or text == "all":
        return
    for name in (part.partition("[")[0].strip() for part in re.split(r"\+", text)):
        if re.fullmatch(r"\w+", name) and name not in known.splits and not {name, None} & asked:
            place = event.args.get("spans", {}).get("split")
            yield Report(
                event,
                f'{known.name} has no split "{name}": its splits are {", ".join(sorted(known.splits))}',
                help=_meant(known, name),
                plan=_rename(known, name, place) if name == text and isinstance(place, Location) else None,
            )


def _meant(known: KnownDataset, name: str) -> str:
    meant = known.instead.get(name)
    return f'use "{meant}"' if meant else "use a name that it has"


def _rename(known: KnownDataset, name: str, place: Location) -> FixPlan | None:
    """Write the name that is meant, where there is only one candidate."""
    meant = known.instead.get(name)
    if not meant:
        return None
    return FixPlan(Applicability.UNSAFE, "use the name that the dataset has", (ReplaceText(place, f'"{meant}"'),))


# --- columns that the trainer removes ---------------------------------------------------------------------------------


@check("LL407", on=Ev.LOADER)
def columns_dropped_before_collator(event: Event, trace: Trace) -> Iterator[Report]:
    """The trainer drops the columns that the model's forward does not take, and the collator reads one of them."""
    trainer = event.role("trainer")
    if trainer is None or event.args.get("drops") is not Tri.YES or _chooses_columns(trainer):
        return
    read = [e for e in event.args.get("touches", ()) if e.kind is Ev.FIELD and e.args.get("certain")]
    read = [e for e in read if not e.args["row"].facts.get("tested") and _handlers(e) <= _handlers(event)]
    dropped = [e for e in read if e.args["name"] not in _kept(trainer)]
    if not dropped:
        return
    arguments = event.role("arguments")
    where = arguments.event if arguments is not None and arguments.event is not None else event
    names = ", ".join(f'"{name}"' for name in dict.fromkeys(str(e.args["name"]) for e in dropped))
    yield Report(
        where,
        f"the trainer removes {names} before the collator reads it: the model's forward does not take it",
        help="pass remove_unused_columns=False",
        story=((dropped[0], "read in the collator here"),),
        plan=_keep_columns(arguments),
    )


def _handlers(event: Event) -> int:
    """How many handlers of exceptions an event stands in: the collator may handle that a row has no such field."""
    return sum(context in ("try", "fallback") for context in event.contexts)


def _chooses_columns(trainer: Obj) -> bool:
    cls = trainer.user_class
    return cls is not None and any(cls.find(name) is not None for name in _OWN_COLUMNS)


def _kept(trainer: Obj) -> frozenset[str]:
    """Columns that a model's forward may take: the names that models of the library have, and those of a user's own."""
    model = trainer.attrs.get("model")
    forward = (
        model.root.user_class.find("forward") if isinstance(model, Obj) and model.root.user_class is not None else None
    )
    own = {param.name for param in getattr(getattr(forward, "node", None), "params", ())}
    return architectures().forward_arguments | own


def _keep_columns(arguments: Obj | None) -> FixPlan | None:
    call = maker(arguments) if arguments is not None else None
    if call is None:
        return None
    intent = SetKeyword(call, "remove_unused_columns", "False")
    return FixPlan(Applicability.SAFE, "keep the columns", (intent,))
