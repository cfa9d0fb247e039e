"""Parameters that FSDP flattens, and those that ZeRO-3 partitions: LL606."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lora_lint.checks.base import Report, check
from lora_lint.checks.common import argument, name_of
from lora_lint.checks.distributed import before
from lora_lint.checks.values import given, literal
from lora_lint.findings import Applicability, FixPlan, SetKeyword
from lora_lint.lifecycle.heap import Obj, adapters_of, trainable
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import Ev, Part, Tri
from lora_lint.location import Location


@check("LL606", on=Ev.WRAP)
def fsdp_mixed_requires_grad(event: Event, trace: Trace) -> Iterator[Report]:
    """FSDP flattens frozen and trainable parameters into one."""
    model, asked = event.model, _asked_to_flatten(event)
    if model is None or asked is None:
        return
    for member, adapter in adapters_of(model):
        if trainable(member.model, adapter)[0].yes and before(member, Part.BASE, event).no:
            call, note = asked
            intent = SetKeyword(call, "use_orig_params", "True")
            story: tuple[tuple[Event | Location, str], ...] = ((adapter.event, "adapter injected here"),)
            yield Report(
                event,
                f"shards {name_of(event, 'model')} with use_orig_params=False, but only its adapter requires gradients: "
                "wrapping fails",
                help="pass use_orig_params=True, or peft's fsdp_auto_wrap_policy",
                story=(*story, (call, note)) if note else story,
                plan=FixPlan(Applicability.SAFE, "set use_orig_params=True", (intent,)),
            )
            return


def _asked_to_flatten(wrap: Event) -> tuple[Location, str] | None:
    """The call that asks FSDP to flatten whole units, and what a story says of it: the wrap itself, or the plugin that an
    accelerator was given; None where that is not certain, or adapters get units of their own."""
    if wrap.args.get("by") == "fsdp":
        mixed = wrap.args.get("original") is Tri.NO and wrap.args.get("apart") is Tri.NO
        return (wrap.location, "") if mixed else None
    accelerator = wrap.role("accelerator")
    plugin = accelerator.facts.get("fsdp_plugin") if accelerator is not None else None
    if not isinstance(plugin, Obj) or plugin.site is None or plugin.facts.get("apart") is not Tri.NO:
        return None
    if literal(plugin.facts.get("use_orig_params")) is not False or plugin.attrs:
        return None
    return plugin.site, "flattened as asked here"


def partitions(event: Event) -> bool:
    """Whether a wrap, or the start of a trainer, certainly puts a model under ZeRO-3."""
    trainer, accelerator = event.role("trainer"), event.role("accelerator")
    if trainer is not None:
        arguments = trainer.attrs.get("args")
        return isinstance(arguments, Obj) and _third(argument(arguments, "deepspeed"), arguments.facts.get("deepspeed"))
    if accelerator is None:
        return _third(event.args.get("settings"), event.args.get("read"))
    if literal(accelerator.facts.get("zero_stage")) == 3:
        return True  # the launcher's
    plugin = accelerator.facts.get("deepspeed_plugin")
    if not isinstance(plugin, Obj) or plugin.attrs:
        return False
    if given(plugin.facts, "settings"):
        return _third(plugin.facts["settings"], plugin.facts.get("read"))
    return bool(literal(plugin.facts.get("zero_stage")) == 3)


def _third(*configurations: Any) -> bool:
    """Whether one of what may be a DeepSpeed configuration asks for stage 3."""
    for value in configurations:
        for name in ("zero_optimization", "stage"):
            items = getattr(value, "items", None)
            value = items.get(name) if isinstance(items, dict) else None
        if literal(value) == 3:
            return True
    return False
