"""What transformers and accelerate tell: loading, adapters of transformers itself, trainers, accumulation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lora_lint.lifecycle.vocabulary import Ev, Kind, Mode, Tri
from lora_lint.verify import columns
from lora_lint.verify.injection import activating, injecting
from lora_lint.verify.patching import wrap

if TYPE_CHECKING:
    from lora_lint.verify.slot import Slot


def patch_modeling(watch: Slot, module: ModuleType) -> None:
    """transformers.modeling_utils."""
    kind = module.PreTrainedModel
    recorder = watch.recorder

    def note(model: Any, info: Any) -> None:
        live = recorder.live(model)
        live.loaded = True
        live.fresh = tuple(info.get("missing_keys", ())) if isinstance(info, dict) else ()
        watch.ledger("after from_pretrained", recorder.frames.here(), live)

    noted = watch.guard(note)

    def load(original: Any, cls: Any, *args: Any, **kwargs: Any) -> Any:
        if recorder.quiet:
            return original(cls, *args, **kwargs)
        asked = bool(kwargs.pop("output_loading_info", False))
        with recorder.silently():
            result = original(cls, *args, output_loading_info=True, **kwargs)
        noted(*result)
        return result if asked else result[0]

    def resized(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        before = _vocabulary(self)
        result = original(self, *args, **kwargs)
        told(self, before)
        return result

    def tell_resize(model: Any, before: int | None) -> None:
        after = _vocabulary(model)
        if after != before:
            live = recorder.live(model)
            recorder.models.claim(live)
            watch.training.table.stale = True
            if before is not None and after is not None and after > before:
                live.resized_from, live.record.resized_at = before, recorder.frames.here()
            recorder.emit(Ev.RESIZE, {"model": live.obj}, {"before": before, "after": after})

    told = watch.guard(tell_resize)

    def tell_input_grads(model: Any) -> None:
        live = recorder.live(model)
        recorder.emit(Ev.INPUT_GRADS, {"model": live.obj}, {"value": Tri.YES})

    input_grads = watch.guard(tell_input_grads)

    def enable_inputs(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        input_grads(self)
        return result

    def tell_checkpointing(model: Any, options: Any) -> None:
        live = recorder.live(model)
        reentrant = (options or {}).get("use_reentrant")
        value = "default" if reentrant is None else "reentrant" if reentrant else "non-reentrant"
        recorder.emit(Ev.CHECKPOINTING, {"model": live.obj}, {"value": value})

    checkpointing = watch.guard(tell_checkpointing)

    def enable_checkpointing(
        original: Any, self: Any, gradient_checkpointing_kwargs: Any = None, *a: Any, **k: Any
    ) -> Any:
        result = original(self, gradient_checkpointing_kwargs, *a, **k)
        checkpointing(self, gradient_checkpointing_kwargs)
        return result

    wrap(kind, "from_pretrained", load)
    wrap(kind, "resize_token_embeddings", resized)
    wrap(kind, "enable_input_require_grads", enable_inputs)
    wrap(kind, "gradient_checkpointing_enable", enable_checkpointing)


def _vocabulary(model: Any) -> int | None:
    embedding = model.get_input_embeddings()
    weight = getattr(embedding, "weight", None)
    return None if weight is None else int(weight.shape[0])


def patch_integration(watch: Slot, module: ModuleType) -> None:
    """transformers.integrations.peft: add_adapter and load_adapter of the models themselves."""
    mixin = module.PeftAdapterMixin
    wrap(
        mixin,
        "add_adapter",
        injecting(
            watch,
            "transformers.PreTrainedModel.add_adapter",
            lambda self, *a, **k: self,
            lambda self, *a, **k: (
                a[0] if a else k.get("adapter_config"),
                a[1] if len(a) > 1 else k.get("adapter_name", "default"),
            ),
            stacks=False,
        ),
    )
    wrap(
        mixin,
        "load_adapter",
        injecting(
            watch,
            "transformers.PreTrainedModel.load_adapter",
            lambda self, *a, **k: self,
            lambda self, *a, **k: (None, a[1] if len(a) > 1 else k.get("adapter_name")),
            loaded=True,
            stacks=False,
        ),
    )
    wrap(mixin, "set_adapter", activating(watch, "transformers.PreTrainedModel.set_adapter"))


def patch_trainer(watch: Slot, module: ModuleType) -> None:
    """transformers.trainer."""
    kind = module.Trainer
    recorder = watch.recorder

    def made(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        noted(self)
        return result

    def note(trainer: Any) -> None:
        at = recorder.frames.here()
        obj = recorder.make(trainer, Kind.TRAINER, at)
        watch.trainers.append(trainer)
        roles = {"trainer": obj}
        if trainer.model is not None:
            live = recorder.live(trainer.model)
            roles["model"] = live.obj
        recorder.emit(Ev.TRAINER, roles, {}, obj.type, at)
        watch.ledger(f"after {type(trainer).__name__}(…)", at)

    noted = watch.guard(note)

    def tell_train(trainer: Any) -> None:
        roles = {"trainer": recorder.make(trainer, Kind.TRAINER)}
        if trainer.model is not None:
            live = recorder.live(trainer.model)
            roles["model"] = live.obj
            recorder.reconcile(live)
        at = recorder.frames.here()
        recorder.rank.trained_at = at
        recorder.rank.dropped_columns = columns.dropped(trainer, recorder.frames)
        recorder.emit(Ev.TRAIN, roles, {"mode": Mode.TRAIN}, f"{roles['trainer'].type}.train", at)

    told = watch.guard(tell_train)

    def train(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        told(self)
        before = dict(recorder.callers)
        obj = recorder.obj(self)
        if obj is not None:
            recorder.callers["trainer"] = obj
        try:
            return original(self, *args, **kwargs)
        finally:
            recorder.callers = before

    wrap(kind, "__init__", made)
    wrap(kind, "train", train)


def patch_accelerate(watch: Slot, module: ModuleType) -> None:
    """accelerate.accelerator: the accumulation context."""
    recorder = watch.recorder

    @contextmanager
    def inside(context: Any) -> Iterator[Any]:
        with context as value:
            recorder.contexts.append("accumulate")
            try:
                yield value
            finally:
                if "accumulate" in recorder.contexts:
                    recorder.contexts.remove("accumulate")

    def accumulate(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        context = original(self, *args, **kwargs)
        return inside(context) if self.gradient_accumulation_steps > 1 else context

    def backward(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        before = dict(recorder.callers)
        if recorder.active:
            recorder.callers["accelerator"] = recorder.make(self, Kind.ACCELERATOR)
        try:
            return original(self, *args, **kwargs)
        finally:
            recorder.callers = before

    wrap(module.Accelerator, "accumulate", accumulate)
    wrap(module.Accelerator, "backward", backward)


PATCHERS: dict[str, Callable[[Any, ModuleType], None]] = {
    "transformers.modeling_utils": patch_modeling,
    "transformers.integrations.peft": patch_integration,
    "transformers.trainer": patch_trainer,
    "accelerate.accelerator": patch_accelerate,
}
