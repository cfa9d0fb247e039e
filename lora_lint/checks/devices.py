"""Where batches and their tensors are: LL408, LL409."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lora_lint.checks.base import Report, check
from lora_lint.checks.common import argument, maker, name_of
from lora_lint.checks.values import literal, tensors_in
from lora_lint.findings import Applicability, DropKeyword, FixPlan, InsertStatement, SetKeyword
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Event, Tensor, Trace
from lora_lint.lifecycle.vocabulary import Ev, Kind, Tri


@check("LL408", on=Ev.LOADER)
def pinning_cuda_tensors(event: Event, trace: Trace) -> Iterator[Report]:
    """A loader pins tensors that are on the GPU already."""
    trainer, arguments = event.role("trainer"), event.role("arguments")
    pinned = event.args.get("pin")
    if trainer is not None:  # a Trainer pins unless it is told not to
        told = argument(arguments, "dataloader_pin_memory") if arguments is not None else None
        pinned = told if told is not None else True
    if literal(pinned) is not True or not _makes_cuda(event):
        return
    if trainer is None:
        drop = DropKeyword(event.location, "pin_memory")
        plan = FixPlan(Applicability.SAFE, "drop pin_memory", (drop,))
    elif arguments is not None and (call := maker(arguments)) is not None:
        keyword = SetKeyword(call, "dataloader_pin_memory", "False")
        plan = FixPlan(Applicability.SAFE, "do not pin", (keyword,))
    else:
        return
    yield Report(
        event if trainer is None else arguments.event if arguments is not None and arguments.event else event,
        "pins tensors that are on the GPU already: the first batch fails",
        help="drop pin_memory=True"
        if trainer is None
        else "pass dataloader_pin_memory=False, or leave the tensors on the CPU",
        story=tuple((touch, "put on the GPU here") for touch in event.args.get("touches", ()) if _moves(touch))[:1],
        plan=plan,
    )


def _makes_cuda(loader: Event) -> bool:
    """Whether the rows of a loader are CUDA tensors for certain; in workers they fail in another way."""
    dataset = loader.role("dataset")
    if dataset is not None and any(one.device == "cuda" for one in tensors_in(dataset.root.facts.get("tensors"))):
        return True
    if loader.args.get("workers") is Tri.NO and any(one.device == "cuda" for one in tensors_in(loader.args.get("row"))):
        return True
    return loader.args.get("workers") is Tri.NO and any(_moves(touch) for touch in loader.args.get("touches", ()))


def _moves(touch: Event) -> bool:
    """Whether rows are certainly made on the GPU. The format of a dataset is not that of the batch: a collator that pads
    makes new tensors."""
    certain = bool(touch.args.get("move")) and not touch.guards and touch.role("object") is None
    return touch.kind is Ev.TOUCH_CUDA and certain


@check("LL409", on=Ev.BACKWARD)
def batch_left_on_cpu(event: Event, trace: Trace) -> Iterator[Report]:
    """A batch on the CPU goes into a model that was moved to the GPU, in a loop written by hand."""
    loss = event.args.get("loss")
    if not isinstance(loss, Tensor) or "trainer" in event.roles or "accelerator" in event.roles:
        return
    for forward in loss.sources:
        model = forward.model
        moved = _moved_to_cuda(model, trace) if model is not None and model.root.user_class is None else None
        batch = _cpu_batch(forward, trace) if moved is not None else None
        if moved is not None and batch is not None:
            yield Report(
                forward,
                f"{name_of(forward, 'model')} is on the GPU, but this batch stays on the CPU: the forward fails",
                help='move the batch first: batch = {k: v.to("cuda") for k, v in batch.items()}',
                story=((moved, "model moved to the GPU here"),),
                plan=_move_batch(forward, batch),
            )


def _moved_to_cuda(model: Obj, trace: Trace) -> Event | None:
    """The last move of a model, if the user moved it to the GPU."""
    if model.model.device != "cuda" or model.model.wraps:
        return None
    moves = [e for e in trace.of(Ev.MOVE) if e.model is not None and e.model.root is model.root]
    return moves[-1] if moves and moves[-1].args.get("device") == "cuda" and not moves[-1].maybe else None


def _cpu_batch(forward: Event, trace: Trace) -> str | None:
    """The name of a batch that a forward takes from the CPU ("" when it has none), None when there is no such batch."""
    named = forward.args.get("named")
    given = [*getattr(forward.args.get("inputs"), "items", ()), *_entries(named)]
    unpacked = getattr(named, "unpacked", ())
    for value, name in (*((value, "") for value in given), *unpacked):
        if _on_cpu(value, trace):
            return str(name)
    return None


def _entries(named: Any) -> list[Any]:
    items = getattr(named, "items", None)
    return list(items.values()) if isinstance(items, dict) else []


def _on_cpu(value: Any, trace: Trace) -> bool:
    """Whether a value is certainly on the CPU: a tokenizer made it, or a loader whose rows are CPU tensors."""
    if isinstance(value, Tensor):
        return value.device == "cpu" and (value.encoding is not None or value.ids is not None)
    loader = getattr(value, "loader", None)
    if not isinstance(loader, Obj) or "prepared" in loader.facts:
        return False
    made = next((e for e in trace.of(Ev.LOADER) if e.role("loader") is loader), None)
    if made is None or any(touch.kind is Ev.TOUCH_CUDA for touch in made.args.get("touches", ())):
        return False
    collate = made.args.get("collate")
    if collate is None:  # rows are stacked as they are
        return any(one.device == "cpu" for one in tensors_in(made.args.get("row")))
    return _makes_cpu(collate)


def _makes_cpu(collate: Any) -> bool:
    """Whether a collator is a function or an object of the user, which was followed, or one of a library, which makes CPU
    tensors."""
    while hasattr(collate, "func"):  # functools.partial, a bound method
        collate = collate.func
    if isinstance(collate, Obj):
        return collate.kind is Kind.COLLATOR or (
            collate.user_class is not None and bool(collate.user_class.find("__call__"))
        )
    return hasattr(collate, "node")


def _move_batch(forward: Event, name: str) -> FixPlan | None:
    """Move the batch in front of the forward."""
    if not name or forward.statement is None:
        return None
    line = f'{name} = {{k: v.to("cuda") for k, v in {name}.items()}}'
    intent = InsertStatement(forward.statement, line, after=False)
    return FixPlan(Applicability.UNSAFE, "move the batch to the GPU", (intent,))
