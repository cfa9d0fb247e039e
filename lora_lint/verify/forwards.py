"""Forward passes: which models run, with or without gradients, and which of their modules take part."""

from __future__ import annotations

import ast
import os
import sys
import weakref
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.record import BatchRecord
from lora_lint.lifecycle.trace import Event
from lora_lint.lifecycle.vocabulary import Ev, Kind, Mode, Tri
from lora_lint.location import Location
from lora_lint.verify.frames import Point
from lora_lint.verify.models import Live
from lora_lint.verify.parts import adapter_layers, is_copy

if TYPE_CHECKING:
    from lora_lint.verify.watch import Watch

MAX_BATCHES = 64


class Forwards:
    """Module hooks: on every module until the first optimizer step, then only on the outermost ones.

    recent: FORWARD events with gradients since the last backward. ran: identities of modules that ran with gradients.
    blind_layers: adapted modules that ran without gradients inside a forward with them, and what turned them off there;
    sighted: those that ran with them. attached: the last forward with gradients gave something that has a graph.
    """

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.recorder = watch.recorder
        self.recent: list[Event] = []
        self.ran: set[int] = set()
        self._depth = 0
        self._recording = False
        self._roots: dict[int, weakref.ref[Any]] = {}
        self._handles: list[Any] = []
        self._root_handles: list[Any] = []
        self._blind: tuple[Location, tuple[Point, ...], Obj] | None = None
        self.blind_layers: dict[int, Location] = {}
        self.sighted: set[int] = set()
        self.attached = True
        self._outermost = self.recorder.guard(self._root_ran)

    def start(self, torch: Any) -> None:
        """Hook into every module."""
        self._torch = torch
        modules = torch.nn.modules.module
        self._handles = [
            modules.register_module_forward_pre_hook(self._enter),
            modules.register_module_forward_hook(self._leave, with_kwargs=True, always_call=True),
        ]

    def only_roots(self, extra: Any = None) -> None:
        """From now on hook only into the modules that were called from outside, and into `extra`: a compiled module,
        which does not bear hooks on everything."""
        if extra is not None:
            self._roots.setdefault(id(extra), weakref.ref(extra))
        if not self._handles:
            return
        for handle in self._handles:
            handle.remove()
        self._handles = []
        for reference in self._roots.values():
            module = reference()
            if module is not None:
                self._hook_into(module)

    def _hook_into(self, module: Any) -> None:
        self._root_handles.append(module.register_forward_pre_hook(self._enter))
        self._root_handles.append(module.register_forward_hook(self._leave, with_kwargs=True, always_call=True))

    def follow(self, live: Live) -> None:
        """Hook into a model that an optimizer is made for after the first step: a second stage of the training."""
        module = live.top.named
        known = self._roots.get(id(module))
        if self._root_handles and module is not None and (known is None or known() is not module):
            self._roots[id(module)] = weakref.ref(module)
            self._hook_into(module)

    def stop(self) -> None:
        """Take all hooks off."""
        for handle in (*self._handles, *self._root_handles):
            handle.remove()
        self._handles = []
        self._root_handles = []

    def _enter(self, module: Any, args: Any) -> None:
        if self._torch.compiler.is_compiling() or self.recorder.busy:
            return
        if self._depth == 0:
            self._recording = self._torch.is_grad_enabled() and not self.watch.training.in_backward
        self._depth += 1
        if self._handles and self._recording:  # reentrant checkpointing runs its modules without gradients first
            self.ran.add(id(module))
            if self._depth > 1 and getattr(module, "adapter_layer_names", None):
                self._note_sight(module)

    def _note_sight(self, module: Any) -> None:
        if self._torch.is_grad_enabled():
            self.sighted.add(id(module))
        elif id(module) not in self.blind_layers and not _in_checkpoint():
            self.blind_layers[id(module)] = self._switch(self._points()) or self.recorder.frames.here(3)

    def _leave(self, module: Any, args: Any, *rest: Any) -> None:
        """rest: keyword arguments and output; only the output when torch calls it because the forward failed."""
        if self._torch.compiler.is_compiling() or self.recorder.busy:
            return
        self._depth = max(0, self._depth - 1)
        if self._depth == 0 and not self.watch.training.in_backward and len(rest) == 2:
            self._outermost(module, args, *rest)

    def _root_ran(self, module: Any, args: Any, kwargs: Any, output: Any) -> None:
        if next(module.parameters(), None) is None:
            return
        self._roots.setdefault(id(module), weakref.ref(module))
        known = self.recorder.models.known(module)
        live = known if known is not None else self.recorder.live(module)
        at = self.recorder.frames.here()
        grad = self._torch.is_grad_enabled()
        first = not live.record.forwards
        live.record.forwards += 1
        for part in (live.top, *live.inner):
            part.record.forwards = max(part.record.forwards, 1)
        if first:
            self.watch.training.table.stale = True
            self._describe(live)
        if not grad:
            live.record.role = "used" if live.record.role == "idle" else live.record.role
            points = self._points()
            self._blind = (at, points, live.obj)
            if live.record.blind_at is None:
                live.record.blind_at = self._switch(points) or at
            return
        self.attached = _has_graph(self._torch, output)
        self._with_grad(live, module, args, kwargs, at)

    def _with_grad(self, live: Live, module: Any, args: Any, kwargs: Any, at: Location) -> None:
        record = live.record
        record.grad_forwards += 1
        record.role = "trained"
        record.forward_at = record.forward_at or at
        for part in (live.top, *live.inner):
            part.record.role = "trained"
        live.forward_input = (args, dict(kwargs))
        if record.grad_forwards == 1 and record.forwards > 1:
            self._describe(live)  # it may have been adapted since its first forward
        if record.grad_forwards <= 4:
            self._look_at(live)
        self._note_batch(live, args, kwargs, at)
        state = live.obj.model
        quiet = not module.training and state.mode is Mode.EVAL and any(not d.training for d in self._dropouts(live))
        args = {
            "grad": Tri.YES,
            "mode": Mode.EVAL if quiet else Mode.TRAIN,
            "mode_event": state.mode_event,
        }
        view = self.watch.structure.view_of(module) if record.wrapped else None
        event = self.recorder.emit(Ev.FORWARD, {"model": view or live.obj}, args, at=at, within=self._autocast())
        self.recent = [*self.recent[-15:], event]
        self._blind = None

    def _ends(self, live: Live, ids: Any, mask: Any, labels: Any) -> dict[str, Any]:
        """End tokens that follow a supervised token, and those of them that are masked. Where the attention is masked too
        there is padding, and no end."""
        config = getattr(live.module, "config", None)
        end = getattr(config, "eos_token_id", None)
        end = end[0] if isinstance(end, (list, tuple)) and end else end
        if not isinstance(end, int) or not self._alike(labels, ids):
            return {}
        after = (ids[:, 1:] == end) & (labels[:, :-1] != -100)
        if self._alike(labels, mask):
            after &= mask[:, 1:] != 0
        return {"ends": after, "ends_masked": after & (labels[:, 1:] == -100)}

    def _autocast(self) -> tuple[Obj, ...]:
        """The autocast context around a forward, as an object with its precision."""
        torch = self._torch
        for device in ("cuda", "cpu"):
            on = torch.is_autocast_enabled(device) if _takes_device(torch) else torch.is_autocast_enabled()
            if on:
                dtype = torch.get_autocast_dtype(device) if _takes_device(torch) else torch.get_autocast_gpu_dtype()
                precision = {"torch.float16": "fp16", "torch.bfloat16": "bf16"}.get(str(dtype), "")
                return (Obj(Kind.CONTEXT, "torch.autocast", facts={"precision": precision}),)
        return ()

    def _describe(self, live: Live) -> None:
        module = live.named
        record = live.record
        layers = adapter_layers(module)
        record.adapter_layers = sum(not is_copy(layer) for _, layer in layers)
        record.adapters = sorted({row.adapter for row in live.rows() if row.adapter})

    def _look_at(self, live: Live) -> None:
        """Adapters that take part."""
        module = live.named
        record = live.record
        layers = ran = 0
        for child in module.modules():
            if (
                getattr(child, "adapter_layer_names", None)
                and hasattr(child, "disable_adapters")
                and not is_copy(child)
            ):
                layers += 1
                ran += not child.disable_adapters and not getattr(child, "merged", False)
        record.adapter_layers = max(record.adapter_layers, layers)
        record.adapter_layers_ran = max(record.adapter_layers_ran, ran)
        record.disabled = layers > 0 and record.adapter_layers_ran == 0

    def _dropouts(self, live: Live) -> Iterator[Any]:
        """The dropout modules of a model that drop something when they are on."""
        kind = self._torch.nn.modules.dropout._DropoutNd
        return (child for child in live.named.modules() if isinstance(child, kind) and child.p > 0)

    def _note_batch(self, live: Live, args: Any, kwargs: Any, at: Location) -> None:
        batches = self.recorder.rank.batches
        if len(batches) >= MAX_BATCHES:
            return
        tensors = [v for v in (*args, *kwargs.values()) if isinstance(v, self._torch.Tensor) and v.numel()]
        if not tensors and args and hasattr(args[0], "items"):
            tensors = [v for v in args[0].values() if isinstance(v, self._torch.Tensor) and v.numel()]
        if not tensors:
            return
        data = self.watch.data
        batch = BatchRecord("", at, data.loader_size, device=str(tensors[0].device))
        data.mark(tensors, batch)
        batch.first, batch.worker_turn = data.take_turn()
        masks: dict[str, Any] = {}
        labels, ids, mask = (kwargs.get(name) for name in ("labels", "input_ids", "attention_mask"))
        if isinstance(labels, self._torch.Tensor) and not labels.is_floating_point() and labels.dim() > 1:
            batch.labels = labels.numel()
            masks["supervised"] = labels != -100
            masks.update(self._ends(live, ids, mask, labels))
            masks.update(self._padding(ids, mask, labels))
        if live.resized_from is not None and isinstance(ids, self._torch.Tensor):
            fresh = ids >= live.resized_from
            same = isinstance(mask, self._torch.Tensor) and mask.shape == ids.shape
            masks["new_tokens"] = fresh & (mask != 0) if same else fresh
        self.recorder.later.count(masks, batch)
        batches.append(batch)

    def _padding(self, ids: Any, mask: Any, labels: Any) -> dict[str, Any]:
        """Padding in sequences that predict themselves: positions, and those whose label counts."""
        if not self._alike(labels, ids, mask):
            return {}
        out = mask == 0
        return {"padding": out, "padding_supervised": out & (labels != -100) & (labels == ids)}

    def _alike(self, labels: Any, *others: Any) -> bool:
        """Whether they are tensors of the labels' shape and device."""
        return all(
            isinstance(t, self._torch.Tensor) and t.shape == labels.shape and t.device == labels.device for t in others
        )

    def in_half(self) -> bool:
        """Whether a forward since the last backward ran under fp16 autocast."""
        return any(one.facts.get("precision") == "fp16" for event in self.recent for one in event.within)

    def reset(self) -> None:
        """No forward is running now: forget what a failed one left."""
        self._depth = 0

    def models_run(self) -> list[Obj]:
        """The models that ran with gradients lately, newest last, each once."""
        found: dict[int, Obj] = {}
        for event in self.recent:
            if event.model is not None:
                found[id(event.model)] = event.model
        if not found and self._blind is not None:
            return [self._blind[2]]
        return list(found.values())

    def _points(self) -> tuple[Point, ...]:
        """Frames of the user's and of torch's context decorators, innermost first."""
        found: list[Point] = []
        frame = sys._getframe(1)
        here: Any = frame
        while here is not None and len(found) < 40:
            code = here.f_code
            if self.recorder.frames.is_user(code.co_filename) or code.co_name == "decorate_context":
                found.append((code, here.f_lasti, here.f_lineno))
            here = here.f_back
        return tuple(found)

    def without_grad(self) -> tuple[Location, Location | None] | None:
        """The last forward, when it ran without gradients, and the block or decorator that turned them off."""
        if self._blind is None or self.recent:
            return None
        at, points, _ = self._blind
        return at, self._switch(points)

    def _switch(self, points: tuple[Point, ...]) -> Location | None:
        inner: Point | None = None
        for point in points:
            code = point[0]
            if code.co_name == "decorate_context":
                if inner is not None:
                    line = inner[0].co_firstlineno
                    return Location(self.recorder.frames.shown(inner[0].co_filename), line, 1, line, 1)
                continue
            line = _with_line(code.co_filename, point[2])
            if line:
                return Location(self.recorder.frames.shown(code.co_filename), line, 1, line, 1)
            inner = point
        return None


def _in_checkpoint() -> bool:
    """Whether reentrant checkpointing turned the gradients off: it computes them later."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_name == "forward" and frame.f_code.co_filename.endswith(
            os.path.join("utils", "checkpoint.py")
        ):
            return True
        frame = frame.f_back
    return False


def _has_graph(torch: Any, output: Any) -> bool:
    """Whether some tensor of an output requires gradients; True for an output of an unknown form."""
    if isinstance(output, torch.Tensor):
        return bool(output.requires_grad)
    values = output.values() if hasattr(output, "values") else output if isinstance(output, (list, tuple)) else ()
    tensors = [v for v in values if isinstance(v, torch.Tensor)]
    return not tensors or any(v.requires_grad for v in tensors)


def _takes_device(torch: Any) -> bool:
    """Whether autocast's state is asked for by device (torch 2.4 and later)."""
    return hasattr(torch, "get_autocast_dtype")


@lru_cache(maxsize=32)
def _with_blocks(filename: str) -> tuple[tuple[int, int], ...]:
    """Lines of `with no_grad():` blocks and the like in a file: first line and last."""
    try:
        with open(filename, encoding="utf-8") as stream:
            tree = ast.parse(stream.read())
    except (OSError, SyntaxError, ValueError):
        return ()
    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.With, ast.AsyncWith)):
            text = " ".join(ast.dump(item.context_expr) for item in node.items)
            if "no_grad" in text or "inference_mode" in text or "set_grad_enabled" in text:
                found.append((node.lineno, node.end_lineno or node.lineno))
    return tuple(found)


def _with_line(filename: str, line: int) -> int:
    """The line of the innermost grad-switching `with` around a line, 0 when there is none."""
    around = [start for start, end in _with_blocks(filename) if start <= line <= end]
    return max(around, default=0)
