"""Code that runs in worker processes: LL401, LL402."""

from __future__ import annotations

from collections.abc import Iterator

from lora_lint.checks.base import Report, check
from lora_lint.checks.values import tensors_in
from lora_lint.findings import Applicability, DropKeyword, FixPlan, Intent, NeedsGuard, SetKeyword, Unwrap
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import Ev, Tri
from lora_lint.location import Location

_ELSEWHERE = frozenset({"worker", "forked", "child"})


def _forks(event: Event) -> bool:
    """Whether the loader certainly has worker processes, and none of them is spawned afresh."""
    return event.args.get("workers") is Tri.YES and event.args.get("context", Tri.NO) is Tri.NO


@check("LL401", on=Ev.LOADER)
def cuda_in_dataloader_worker(event: Event, trace: Trace) -> Iterator[Report]:
    """Code that runs in forked workers moves tensors to CUDA."""
    if not _forks(event):
        return
    for touch in event.args.get("touches", ()):
        if touch.kind is Ev.TOUCH_CUDA and touch.args.get("move"):
            made = touch.role("object")
            yield Report(
                made.site if made is not None and made.site is not None else touch,
                "moves tensors to CUDA inside a data loader worker: a forked worker cannot use CUDA",
                help="return CPU tensors and move the batch in the training loop",
                story=((event, "this loader starts worker processes"),),
                plan=_stay_on_cpu(touch, made),
                guards=made.guards if made is not None else (),
            )


def _stay_on_cpu(touch: Event, format_: Obj | None) -> FixPlan | None:
    """Take the move out: the receiver stays where it is, the format of a dataset names no device."""
    title = "leave the tensors on the CPU"
    if format_ is not None and format_.site is not None:
        return FixPlan(Applicability.UNSAFE, title, (DropKeyword(format_.site, "device"),))
    inner = touch.args.get("inner")
    if not isinstance(inner, Location):
        return None
    return FixPlan(Applicability.UNSAFE, title, (Unwrap(touch.location, inner),))


@check("LL402", on=Ev.LOADER)
def cuda_workers_without_spawn(event: Event, trace: Trace) -> Iterator[Report]:
    """Forked workers use a model or tensors that live on CUDA."""
    if not _forks(event):
        return
    touch = next((t for t in event.args.get("touches", ()) if _uses_cuda(t)), None)
    if touch is None and not _holds_cuda(event):
        return
    plan = None
    if event.by.endswith("DataLoader"):
        intents: list[Intent] = [SetKeyword(event.location, "multiprocessing_context", '"spawn"')]
        if start := event.chain[0] if event.chain else event.statement:
            intents.append(NeedsGuard(start))
        plan = FixPlan(Applicability.UNSAFE, "start the workers with spawn", tuple(intents))
    yield Report(
        event,
        "starts forked workers that use CUDA objects of the parent process: the first batch fails or hangs",
        help='pass multiprocessing_context="spawn", or keep CUDA out of the dataset',
        story=((touch, "used in the worker here"),) if touch is not None else (),
        plan=plan,
    )


def _holds_cuda(loader: Event) -> bool:
    """Whether a dataset is made of tensors of which some are on the GPU, or returns such from its parent process."""
    dataset = loader.role("dataset")
    held = tensors_in(dataset.root.facts.get("tensors")) if dataset is not None else []
    return any(one.device == "cuda" for one in (*held, *tensors_in(loader.args.get("row"))))


@check("LL402", on=Ev.WORKERS)
def cuda_in_forked_processes(event: Event, trace: Trace) -> Iterator[Report]:
    """A function that runs in processes which the user or a library forks uses CUDA, which this process has initialised."""
    if not _forks(event):
        return
    pool = event.roles.get("object")
    made = next((e for e in trace.before(event, Ev.WORKERS) if pool and e.roles.get("object") is pool), event)
    before = (e for e in trace.before(made, Ev.MOVE, Ev.LOAD) if e.args.get("device") == "cuda" and _is_here(e))
    initialised = next(before, None)
    title = "map in this process"
    own = "dataset" not in event.roles  # the user starts the processes
    for touch in event.args.get("touches", ()):
        moves = touch.args.get("move") if touch.kind is Ev.TOUCH_CUDA else own and touch.args.get("device") == "cuda"
        if (_uses_cuda(touch) and not own) or (moves and not touch.maybe and initialised is not None):
            yield Report(
                event,
                "starts forked processes that use CUDA, which this process has initialised: they fail",
                help='start them by spawn: get_context("spawn"), or set_start_method("spawn") under `__main__`'
                if own
                else "map in this process (without num_proc), or let multiprocess spawn the processes",
                story=(
                    *(((initialised, "CUDA is initialised here"),) if initialised is not None else ()),
                    (touch, "used in the processes here"),
                ),
                plan=None if own else FixPlan(Applicability.UNSAFE, title, (DropKeyword(event.location, "num_proc"),)),
            )
            return


def _is_here(event: Event) -> bool:
    """Whether something certainly happens in this process."""
    return not event.maybe and _ELSEWHERE.isdisjoint(event.contexts)


def _uses_cuda(event: Event) -> bool:
    if event.kind is Ev.TOUCH_CUDA:
        return not event.args.get("move") and not event.args.get("handed")  # code we do not know may do without it
    return event.kind is Ev.FORWARD and event.model is not None and event.model.model.device == "cuda"
