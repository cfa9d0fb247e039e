"""What torch itself tells: requires_grad, forwards, backwards, optimizers, gradients, scalers, wrappers."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lora_lint.verify.patching import wrap

if TYPE_CHECKING:
    from lora_lint.verify.slot import Slot


def patch_torch(watch: Slot, torch: ModuleType) -> None:
    """Hook into torch right after its import."""
    _requires_grad(watch, torch)
    _modules(watch, torch)
    _autograd(watch, torch)
    _optimizers(watch, torch)
    _scaler(watch, torch)
    _functional(watch, torch)
    _loaders(watch, torch)


def _requires_grad(watch: Slot, torch: ModuleType) -> None:
    """`parameter.requires_grad = …` and `requires_grad_()`. Reading stays the C getter."""
    recorder = watch.recorder
    getset = torch._C.TensorBase.requires_grad
    method = torch._C.TensorBase.requires_grad_
    read = getset.__get__
    freeze_module = torch.nn.Module.requires_grad_.__code__

    def note(tensor: Any, value: bool) -> None:
        if torch.compiler.is_compiling() or not recorder.active or recorder.busy:
            return
        if isinstance(tensor, torch.nn.Parameter):
            if not recorder.quiet:
                by_module = sys._getframe(2).f_code is freeze_module
                recorder.flips.add(tensor, value, recorder.frames.point(3), by_module)
        elif value and tensor.is_floating_point():
            watch.training.by_hand(tensor)

    def write(self: Any, value: bool) -> None:
        before = read(self)
        getset.__set__(self, value)
        if before != value:
            note(self, bool(value))

    def requires_grad_(self: Any, requires_grad: bool = True) -> Any:
        before = read(self)
        result = method(self, requires_grad)
        if before != requires_grad or not isinstance(self, torch.nn.Parameter):
            note(self, bool(requires_grad))
        return result

    requires_grad_.__doc__ = method.__doc__
    torch.Tensor.requires_grad = property(read, write, doc=getset.__doc__)
    torch.Tensor.requires_grad_ = requires_grad_


def _modules(watch: Slot, torch: ModuleType) -> None:
    module = torch.nn.Module

    def mode(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        outer = not watch.structure.in_mode
        watch.structure.in_mode = True
        try:
            result = original(self, *args, **kwargs)
        finally:
            watch.structure.in_mode = not outer
        if outer:
            watch.structure.mode_changed(self)
        return result

    def zero_grad(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        watch.training.zero_grad(None, self, list(self.parameters()))
        return original(self, *args, **kwargs)

    def load_state_dict(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        watch.structure.state_loaded(self, result, args, kwargs)
        return result

    def moved(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        before = watch.structure.placement(self)
        result = original(self, *args, **kwargs)
        watch.structure.moved(self, before)
        return result

    wrap(module, "train", mode)
    wrap(module, "zero_grad", zero_grad)
    wrap(module, "load_state_dict", load_state_dict)
    for name in ("to", "cuda", "cpu", "half", "bfloat16", "float", "double", "to_empty"):
        wrap(module, name, moved)

    def ddp(original: Any, self: Any, module: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, module, *args, **kwargs)
        watch.structure.wrapped(self, module, "ddp")
        return result

    wrap(torch.nn.parallel.DistributedDataParallel, "__init__", ddp)
    wrap(
        torch.nn.parallel.DataParallel,
        "__init__",
        lambda original, self, module, *a, **k: (
            original(self, module, *a, **k),
            watch.structure.wrapped(self, module, "dp"),
        )[0],
    )

    def compile_(original: Any, model: Any = None, *args: Any, **kwargs: Any) -> Any:
        result = original(model, *args, **kwargs)
        if isinstance(model, torch.nn.Module):
            watch.structure.compiled(result, model)
        return result

    wrap(torch, "compile", compile_)


def _autograd(watch: Slot, torch: ModuleType) -> None:
    def backward(original: Any, tensors: Any, *args: Any, **kwargs: Any) -> Any:
        watch.training.before_backward(tensors)
        watch.training.in_backward += 1
        try:
            result = original(tensors, *args, **kwargs)
        finally:
            watch.training.in_backward -= 1
        watch.training.after_backward()
        return result

    wrap(torch.autograd, "backward", backward)


def _optimizers(watch: Slot, torch: ModuleType) -> None:
    base = torch.optim.Optimizer

    def made(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        watch.training.depth_optimizer += 1
        try:
            result = original(self, *args, **kwargs)
        finally:
            watch.training.depth_optimizer -= 1
        watch.training.optimizer_made(self)
        return result

    def add(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        if not watch.training.depth_optimizer:
            watch.training.group_added(self)
        return result

    def zero_grad(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        watch.training.zero_grad(self, None, [p for group in self.param_groups for p in group["params"]])
        return original(self, *args, **kwargs)

    wrap(base, "__init__", made)
    wrap(base, "add_param_group", add)
    wrap(base, "zero_grad", zero_grad)
    hooks = importlib.import_module("torch.optim.optimizer")
    hooks.register_optimizer_step_pre_hook(lambda *args: watch.training.before_step(*args))
    hooks.register_optimizer_step_post_hook(lambda *args: watch.training.after_step(*args))

    scheduler = getattr(torch.optim.lr_scheduler, "LRScheduler", None) or torch.optim.lr_scheduler._LRScheduler

    def scheduled(original: Any, self: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, optimizer, *args, **kwargs)
        watch.training.scheduled(self, optimizer)
        return result

    wrap(scheduler, "__init__", scheduled)


def _scaler(watch: Slot, torch: ModuleType) -> None:
    kind = torch.amp.GradScaler if hasattr(torch.amp, "GradScaler") else torch.cuda.amp.GradScaler

    def scale(original: Any, self: Any, outputs: Any) -> Any:
        result = original(self, outputs)
        watch.training.scaled(self, outputs, result)
        return result

    def unscale(original: Any, self: Any, optimizer: Any) -> Any:
        result = original(self, optimizer)
        watch.training.unscaled(self, optimizer)
        return result

    def step(original: Any, self: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        watch.training.scaler_step(self, optimizer)
        result = original(self, optimizer, *args, **kwargs)
        watch.training.scaler_stepped(self, optimizer)
        return result

    def update(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        watch.training.scaler_updated(self)
        return original(self, *args, **kwargs)

    wrap(kind, "scale", scale)
    wrap(kind, "unscale_", unscale)
    wrap(kind, "step", step)
    wrap(kind, "update", update)

    def clip(original: Any, parameters: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(parameters, torch.Tensor):
            parameters = list(parameters)
        watch.training.clipped([parameters] if isinstance(parameters, torch.Tensor) else parameters)
        return original(parameters, *args, **kwargs)

    for name in ("clip_grad_norm_", "clip_grad_value_"):
        wrap(torch.nn.utils, name, clip)
        original = getattr(torch.nn.utils, name)
        setattr(torch.nn.utils.clip_grad, name, original)


def _functional(watch: Slot, torch: ModuleType) -> None:
    def cross_entropy(original: Any, input: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return original(input, target, *args, **kwargs)
        watch.data.targets(target, kwargs.get("ignore_index", args[2] if len(args) > 2 else -100))
        return original(input, target, *args, **kwargs)

    wrap(torch.nn.functional, "cross_entropy", cross_entropy)


def _loaders(watch: Slot, torch: ModuleType) -> None:
    def made(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        watch.data.loader_made(self)
        return result

    wrap(torch.utils.data.DataLoader, "__init__", made)
    wrap(
        torch.utils.data.dataloader._BaseDataLoaderIter,
        "__next__",
        lambda original, self: watch.data.batch_drawn(original(self), self),
    )


def patch_fsdp1(watch: Slot, module: ModuleType) -> None:
    """torch.distributed.fsdp.fully_sharded_data_parallel."""

    def made(original: Any, self: Any, module: Any, *args: Any, **kwargs: Any) -> Any:
        watch.structure.wrapping += 1
        try:
            result = original(self, module, *args, **kwargs)
        finally:
            watch.structure.wrapping -= 1
        if not watch.structure.wrapping:
            watch.structure.wrapped(self, module, "fsdp")
        return result

    wrap(module.FullyShardedDataParallel, "__init__", made)


def patch_fsdp2(watch: Slot, module: ModuleType) -> None:
    """torch.distributed.fsdp (fully_shard) right after its import."""

    def shard(original: Any, module: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(module, *args, **kwargs)
        watch.structure.sharded(module)
        return result

    wrap(module, "fully_shard", shard)
