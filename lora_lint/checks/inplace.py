"""In-place writes that break the graph: LL205."""

from __future__ import annotations

from collections.abc import Iterator

from lora_lint.checks.base import Report, check
from lora_lint.findings import Applicability, FixPlan, OutOfPlace
from lora_lint.lifecycle.trace import Event, Tensor, Trace
from lora_lint.lifecycle.vocabulary import Ev


@check("LL205", on=Ev.IN_PLACE)
def inplace_op_on_parameter(event: Event, trace: Trace) -> Iterator[Report]:
    """A trainable parameter is written in place while gradients are recorded."""
    if event.args.get("leaf"):
        yield Report(
            event,
            "writes to a trainable parameter in place: torch refuses that for a leaf that requires gradients",
            help="write inside `with torch.no_grad():`",
        )


@check("LL205", on=Ev.BACKWARD)
def inplace_op_breaks_graph(event: Event, trace: Trace) -> Iterator[Report]:
    """The output of an operation is overwritten, and the backward of that operation needs it."""
    loss = event.args.get("loss")
    if not isinstance(loss, Tensor) or not loss.needs:
        return
    for write in trace.of(Ev.IN_PLACE):
        if write.args.get("kept") in loss.needs:
            name = f"`{write.args['name']}`" if write.args.get("name") else "a tensor"
            plan = None
            if write.args.get("augmented"):
                plan = FixPlan(Applicability.UNSAFE, "use the out-of-place operation", (OutOfPlace(write.location),))
            yield Report(
                write,
                f"changes {name} in place, which the backward needs as it was: backward() raises",
                help="use the out-of-place operation",
                story=((event, "backward here"),),
                plan=plan,
            )
