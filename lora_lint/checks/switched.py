"""Adapters that take turns in a model of several processes: LL603."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lora_lint.checks.base import Report, check
from lora_lint.checks.distributed import REPLICAS, trained_through_wrapper, wraps_of
from lora_lint.lifecycle.heap import Adapter, ModelState, adapters_of, trainable
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import Ev, Tri


@check("LL603", on=(Ev.TRAIN, Ev.BACKWARD))
def adapter_switched_after_wrap(event: Event, trace: Trace) -> Iterator[Report]:
    """An adapter that was frozen when DDP registered the parameters is trained because set_adapter thawed it later."""
    for model in trained_through_wrapper(event):
        for member, adapter in adapters_of(model):
            wrap = next(reversed(wraps_of(member, REPLICAS)), None)
            if wrap is None or wrap.args.get("by") != "ddp" or adapter.event.seq > wrap.seq:
                continue
            answer, cause = trainable(member.model, adapter)
            switched = cause is not None and cause.kind is Ev.ACTIVATE and cause.seq > wrap.seq
            if cause is None or not (answer.yes and switched and _when(wrap, member.model, adapter).no):
                continue
            which = f'the adapter "{adapter.name}"' if isinstance(adapter.name, str) else "an adapter"
            yield Report(
                cause,
                f"activates {which} after the model was wrapped in DDP: its gradients are never reduced, the processes drift apart",
                help="activate the adapter first and wrap the model then, once for each adapter",
                story=((wrap, "wrapped here"), (event, "trained here")),
            )


def _when(wrap: Event, state: ModelState, adapter: Adapter) -> Tri:
    """Whether an adapter required gradients when its model was wrapped."""
    return trainable(replace(state, ops=[op for op in state.ops if op.event.seq < wrap.seq]), adapter)[0]
