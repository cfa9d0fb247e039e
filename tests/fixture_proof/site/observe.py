"""The observer inside the child process: which parameters were trained, from torch's own optimizer hooks.

It writes one JSON report when the process ends. Nothing here knows any rule, any fixture or any adapter library;
parameters are found by walking the live modules, and are named as the outermost module names them.
"""

from __future__ import annotations

import atexit
import gc
import json
import math
import sys
from types import TracebackType
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook


def live_roots() -> list[torch.nn.Module]:
    """Every live module that has parameters and stands inside no other live module."""
    modules = [o for o in gc.get_objects() if issubclass(type(o), torch.nn.Module)]
    inner = {id(child) for module in modules for child in module.children()}
    return [m for m in modules if id(m) not in inner and next(m.parameters(), None) is not None]


class Observer:
    """Evidence of one run: the parameters at the first optimizer step, their gradients at each, and what changed."""

    def __init__(self) -> None:
        self.roots: list[torch.nn.Module] = []
        self.parameters: dict[str, torch.nn.Parameter] = {}
        self.before: dict[str, torch.Tensor] = {}
        self.tensors: dict[str, dict[str, Any]] = {}
        self.losses: list[dict[str, Any]] = []
        self.dropout: list[dict[str, int]] = []
        self.targets: dict[str, int] = {}
        self.steps = 0
        self.error: dict[str, str] | None = None

    def census(self) -> None:
        """Find the parameters and keep a copy of each: the state of the run before it trains."""
        self.roots = live_roots()
        for number, root in enumerate(self.roots):
            prefix = f"{number}:{type(root).__name__}."
            for name, parameter in root.named_parameters():
                if not parameter.is_meta:  # offloaded: its value is somewhere else
                    self.parameters[prefix + name] = parameter
        for name, parameter in self.parameters.items():
            value = parameter.detach()
            self.before[name] = value.clone()
            self.tensors[name] = {
                "trainable": parameter.requires_grad,
                "zero_at_start": not bool(value.any()),
                "in_optimizer": False,
                "grad": False,
                "nonzero_grad": False,
                "changed": False,
            }

    def before_step(self, optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        """Note, for the step about to be taken, who owns which parameter and which gradient is there."""
        if not self.tensors:
            self.census()
        owned = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for name, parameter in self.parameters.items():
            entry = self.tensors[name]
            entry["in_optimizer"] |= id(parameter) in owned
            entry["grad"] |= parameter.grad is not None
            entry["nonzero_grad"] |= parameter.grad is not None and bool(parameter.grad.any())
        self.dropout.append(self._dropout_modes())
        self.steps += 1

    def _dropout_modes(self) -> dict[str, int]:
        modes = {"train": 0, "eval": 0}
        for root in self.roots:
            for name, module in root.named_modules():
                if "lora_dropout" in name and isinstance(module, torch.nn.Dropout) and module.p > 0:
                    modes["train" if module.training else "eval"] += 1
        return modes

    def before_backward(self, loss: torch.Tensor) -> None:
        """Note the value of the loss and whether anything hangs on it."""
        value = float(loss.detach().float().sum())
        self.losses.append({"value": value, "graph": loss.grad_fn is not None})

    def before_cross_entropy(self, target: torch.Tensor, ignored: int) -> None:
        """Count the class ids that a loss asks for; what it is told to ignore is left out."""
        if torch.is_grad_enabled() and not target.is_floating_point():
            for value, count in zip(*target.unique(return_counts=True), strict=True):
                if int(value) != ignored:
                    self.targets[str(int(value))] = self.targets.get(str(int(value)), 0) + int(count)

    def failed(self, kind: type[BaseException], error: BaseException) -> None:
        """Note the exception that ended the run; its frames still hold the model, so count now if no step was taken."""
        self.error = {"type": kind.__name__, "text": str(error)}
        if not self.tensors:
            self.census()

    def report(self) -> dict[str, Any]:
        """The evidence as plain data."""
        for name, old in self.before.items():
            new = self.parameters[name].detach()
            finite = not new.is_floating_point() or bool(torch.isfinite(new).all())
            self.tensors[name]["changed"] = finite and not torch.equal(old, new)
        return {
            "tensors": self.tensors,
            "losses": [entry for entry in self.losses if not math.isnan(entry["value"])],
            "dropout": self.dropout,
            "targets": self.targets,
            "steps": self.steps,
            "error": self.error,
        }


def install(path: str) -> None:
    """Observe this process and write the report to `path` when it ends."""
    observer = Observer()
    register_optimizer_step_pre_hook(observer.before_step)
    real_backward = torch.Tensor.backward
    real_cross_entropy = torch.nn.functional.cross_entropy
    real_excepthook = sys.excepthook

    def backward(self: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        observer.before_backward(self)
        real_backward(self, *args, **kwargs)

    def cross_entropy(input: torch.Tensor, target: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        observer.before_cross_entropy(target, kwargs.get("ignore_index", -100))
        return real_cross_entropy(input, target, *args, **kwargs)

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        observer.failed(kind, error)
        real_excepthook(kind, error, trace)

    def write() -> None:
        with open(path, "w", encoding="utf-8") as stream:
            json.dump(observer.report(), stream)

    torch.Tensor.backward = backward
    torch.nn.functional.cross_entropy = cross_entropy
    sys.excepthook = excepthook
    atexit.register(write)
