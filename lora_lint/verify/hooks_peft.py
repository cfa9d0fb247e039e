"""What peft tells: adapter configs, injection, loading, activation, merging, preparation for k-bit training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lora_lint.lifecycle.record import ProbeRecord
from lora_lint.lifecycle.vocabulary import Ev, Kind, Tri
from lora_lint.verify.injection import Injection, activating, injecting
from lora_lint.verify.known import known
from lora_lint.verify.models import Live
from lora_lint.verify.patching import wrap

if TYPE_CHECKING:
    from lora_lint.verify.slot import Slot


def patch_config(watch: Slot, module: ModuleType) -> None:
    """peft.config."""
    recorder = watch.recorder

    def note(config: Any, loaded: bool = False) -> None:
        at = recorder.frames.here()
        obj = recorder.make(config, Kind.ADAPTER_CONFIG, at)
        inference = bool(getattr(config, "inference_mode", False))
        given = {key: known(getattr(config, key, None)) for key in ("target_modules", "task_type", "modules_to_save")}
        # As in a program that is read: a fact that is there was given.
        obj.facts.update({key: value for key, value in given.items() if value is not None})
        obj.facts["inference"] = known("saved" if loaded else "yes" if inference else "no")
        if loaded:
            obj.facts["loaded"] = True
        if obj.event is None:
            watch.configs.append((config, at))
            recorder.emit(Ev.CONFIGURE, {"config": obj}, by=obj.type, at=at)

    note_guarded = watch.guard(note)

    def made(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        if not recorder.quiet:
            note_guarded(self)
        return result

    def loaded(original: Any, cls: Any, *args: Any, **kwargs: Any) -> Any:
        if recorder.quiet:
            return original(cls, *args, **kwargs)
        with recorder.silently():
            result = original(cls, *args, **kwargs)
        note_guarded(result, True)
        return result

    wrap(module.PeftConfigMixin, "__post_init__", made)
    wrap(module.PeftConfigMixin, "from_pretrained", loaded)


def patch_model(watch: Slot, module: ModuleType) -> None:
    """peft.peft_model."""
    kind = module.PeftModel
    recorder = watch.recorder

    def init(original: Any, self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        if recorder.quiet:
            return original(self, model, *args, **kwargs)
        config = args[0] if args else kwargs.get("peft_config")
        name = args[1] if len(args) > 1 else kwargs.get("adapter_name", "default")
        begin = watch.guard(lambda: Injection(watch, model, {}))
        injection = begin()
        with recorder.silently():
            result = original(self, model, *args, **kwargs)
        if injection is not None:
            watch.guard(injection.done)("peft.PeftModel", self, config, name, stacks=True)
        return result

    wrap(kind, "__init__", init)
    wrap(
        kind,
        "from_pretrained",
        injecting(
            watch,
            "peft.PeftModel.from_pretrained",
            lambda cls, model, *a, **k: model,
            lambda cls, model, *a, **k: (k.get("config"), a[1] if len(a) > 1 else k.get("adapter_name", "default")),
            loaded=True,
            stacks=True,
        ),
    )
    wrap(
        kind,
        "load_adapter",
        injecting(
            watch,
            "peft.PeftModel.load_adapter",
            lambda self, *a, **k: self,
            lambda self, *a, **k: (None, a[1] if len(a) > 1 else k.get("adapter_name")),
            loaded=True,
            stacks=False,
            base="keep",
        ),
    )
    wrap(
        kind,
        "add_adapter",
        injecting(
            watch,
            "peft.PeftModel.add_adapter",
            lambda self, *a, **k: self,
            lambda self, *a, **k: (
                a[1] if len(a) > 1 else k.get("peft_config"),
                a[0] if a else k.get("adapter_name"),
            ),
            stacks=False,
            base="keep",
        ),
    )
    wrap(kind, "set_adapter", activating(watch, "peft.PeftModel.set_adapter"))
    wrap(kind, "save_pretrained", saving(watch))


def saving(watch: Slot) -> Callable[..., Any]:
    """A wrapper for save_pretrained."""
    recorder = watch.recorder

    def note(model: Any) -> None:
        live = recorder.models.known(model)
        if live is not None:
            recorder.emit(Ev.SAVE, {"model": live.obj}, by="peft.PeftModel.save_pretrained")

    def look(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        folder = args[0] if args else kwargs.get("save_directory")
        if folder is None or not kwargs.get("is_main_process", True):
            return
        names = saved_names(Path(folder))
        if names is not None and not names:
            text = "save_pretrained() wrote an adapter file without a single tensor"
            recorder.rank.probes.append(ProbeRecord("saved-tensors", False, text, 0.0, at=recorder.frames.here()))

    guarded = watch.guard(note)
    looked = watch.guard(look)

    def around(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        guarded(self)
        result = original(self, *args, **kwargs)
        looked(self, args, kwargs)
        return result

    return around


def saved_names(folder: Path) -> set[str] | None:
    """Names of the tensors in a saved adapter, from the header of its file; None when there is no such file."""
    path = folder / "adapter_model.safetensors"
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        return set(json.loads(stream.read(size))) - {"__metadata__"}


def patch_mapping(watch: Slot, module: ModuleType) -> None:
    """peft.mapping and peft.mapping_func: the functions that inject."""
    wrap(
        module,
        "get_peft_model",
        injecting(
            watch,
            "peft.get_peft_model",
            lambda model, *a, **k: model,
            lambda model, *a, **k: (
                a[0] if a else k.get("peft_config"),
                a[1] if len(a) > 1 else k.get("adapter_name", "default"),
            ),
            stacks=True,
        ),
    )
    wrap(
        module,
        "inject_adapter_in_model",
        injecting(
            watch,
            "peft.inject_adapter_in_model",
            lambda *a, **k: a[1] if len(a) > 1 else k["model"],
            lambda *a, **k: (
                a[0] if a else k.get("peft_config"),
                a[2] if len(a) > 2 else k.get("adapter_name", "default"),
            ),
            stacks=True,
        ),
    )


def patch_tuners(watch: Slot, module: ModuleType) -> None:
    """peft.tuners.tuners_utils: switching layers on and off, merging."""
    recorder = watch.recorder

    def enable(original: Any, self: Any, enabled: bool, *args: Any, **kwargs: Any) -> Any:
        if not enabled and recorder.active:
            watch.current.disabled_at = recorder.frames.point()
        recorder.quiet += 1
        try:
            return original(self, enabled, *args, **kwargs)
        finally:
            recorder.quiet -= 1

    wrap(module.BaseTunerLayer, "enable_adapters", enable)
    for name in ("merge_and_unload", "unload", "merge_adapter"):
        wrap(module.BaseTuner, name, merging(watch, name))


def merging(watch: Slot, name: str) -> Callable[..., Any]:
    """A wrapper for a call that merges or takes out the adapters."""
    recorder = watch.recorder

    def note(tuner: Any, result: Any) -> None:
        live = recorder.models.known(tuner) or _live_of(watch, tuner)
        if live is None:
            return
        kind = Ev.UNLOAD if name == "unload" else Ev.MERGE
        live.record.switched_off_at = recorder.frames.here()
        watch.used(live)
        args = {
            "keeps_adapters": name == "merge_adapter",
            "needs_result": name != "merge_adapter",
            "discarded": name != "merge_adapter" and recorder.frames.result_discarded(),
        }
        recorder.emit(kind, {"model": live.obj}, args, f"peft.PeftModel.{name}")
        watch.training.table.stale = True

    guarded = watch.guard(note)

    def around(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if recorder.quiet:
            return original(self, *args, **kwargs)
        with recorder.silently():
            result = original(self, *args, **kwargs)
        guarded(self, result)
        return result

    return around


def _live_of(watch: Slot, module: Any) -> Live | None:
    for parameter in module.parameters():
        owner: Live | None = watch.recorder.models.owner(parameter)
        if owner is not None:
            return owner
    return None


def patch_lora_model(watch: Slot, module: ModuleType) -> None:
    """peft.tuners.lora.model: older releases merge here."""
    for name in ("merge_and_unload", "unload"):
        if name in module.LoraModel.__dict__:
            wrap(module.LoraModel, name, merging(watch, name))


def patch_other(watch: Slot, module: ModuleType) -> None:
    """peft.utils.other: preparation for k-bit training."""
    recorder = watch.recorder

    def note(model: Any, checkpointing: bool, options: Any) -> None:
        live = recorder.live(model)
        live_obj = live.obj
        roles = {"model": live_obj}
        trainer = watch.trainer_in_stack()
        if trainer is not None:
            roles["trainer"] = trainer
        args: dict[str, Any] = {"input_grads": Tri.UNKNOWN}
        if checkpointing:
            reentrant = (options or {}).get("use_reentrant")
            args["checkpointing"] = "default" if reentrant is None else "reentrant" if reentrant else "non-reentrant"
        by = "peft.prepare_model_for_kbit_training" if trainer is None else trainer.type
        recorder.emit(Ev.PREPARE, roles, args, by)
        recorder.reconcile(live)
        watch.ledger("after prepare_model_for_kbit_training", recorder.frames.here(), live)

    guarded = watch.guard(note)
    register = watch.guard(lambda model: recorder.live(model))

    def prepare(original: Any, model: Any, use_gradient_checkpointing: bool = True, *args: Any, **kwargs: Any) -> Any:
        if recorder.quiet:
            return original(model, use_gradient_checkpointing, *args, **kwargs)
        register(model)
        with recorder.silently():
            result = original(model, use_gradient_checkpointing, *args, **kwargs)
        guarded(result, use_gradient_checkpointing, args[0] if args else kwargs.get("gradient_checkpointing_kwargs"))
        return result

    wrap(module, "prepare_model_for_kbit_training", prepare)


PATCHERS: dict[str, Callable[[Any, ModuleType], None]] = {
    "peft.config": patch_config,
    "peft.peft_model": patch_model,
    "peft.mapping": patch_mapping,
    "peft.mapping_func": patch_mapping,
    "peft.tuners.tuners_utils": patch_tuners,
    "peft.tuners.lora.model": patch_lora_model,
    "peft.utils.other": patch_other,
}
