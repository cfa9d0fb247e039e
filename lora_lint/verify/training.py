"""Backward calls, optimizer steps and what lies between them; decides when enough was seen."""

from __future__ import annotations

import sys
import time
import weakref
from types import FrameType
from typing import TYPE_CHECKING, Any

from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.record import LossRecord
from lora_lint.lifecycle.trace import Tensor
from lora_lint.lifecycle.vocabulary import Cut, Ev, Graph, Kind, Tri
from lora_lint.location import Location
from lora_lint.verify.captures import captures_of, owners
from lora_lint.verify.meter import Meter, losses_alive
from lora_lint.verify.table import Table

if TYPE_CHECKING:
    from lora_lint.verify.watch import Watch

BACKWARDS_WITHOUT_STEP = 1000
SKIPS_TO_BEAR = 25
SMALL_GRAPH = 60  # nodes; the graph of a loss that hangs on nothing is a handful of divisions and sums


class Training:
    """The training loop as it is seen from torch.

    in_backward: depth of running backward calls. depth_optimizer: depth of running optimizer constructors. cycles: how
    often all optimizers have stepped.
    """

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.recorder = watch.recorder
        self.table = Table(self.recorder)
        self.meter = Meter(self.recorder, self.table)
        self.in_backward = 0
        self.depth_optimizer = 0
        self.losses: list[weakref.ref[Any]] = []
        self._hand: dict[int, tuple[weakref.ref[Any], Location]] = {}
        self._scaled: dict[int, weakref.ref[Any]] = {}
        self._unscaled_now: set[int] = set()
        self._steps_before = 0
        self._stepping: Obj | None = None
        guard = self.recorder.guard
        self.by_hand = guard(self._by_hand)
        self.optimizer_made = guard(self._optimizer_made)
        self.group_added = guard(self._group_added)
        self.scheduled = guard(self._scheduled)
        self.zero_grad = guard(self._zero_grad)
        self.scaled = guard(self._note_scaled)
        self.unscaled = guard(self._unscaled)
        self.scaler_step = guard(self._scaler_step)
        self.scaler_stepped = guard(self._scaler_stepped)
        self.scaler_updated = guard(self._scaler_updated)
        self.clipped = guard(self._clipped)
        self.before_backward = guard(self._before_backward)
        self.before_step = guard(self._before_step)
        self._measure_after = guard(self._after_step)

    # --- losses ---

    def _by_hand(self, tensor: Any) -> None:
        if tensor.numel() == 1:
            self._hand[id(tensor)] = (weakref.ref(tensor), self.recorder.frames.here(4))

    def _before_backward(self, tensors: Any) -> None:
        loss = tensors if not isinstance(tensors, (list, tuple)) else (tensors[0] if tensors else None)
        if loss is None:
            return
        if self.in_backward:
            return  # reentrant checkpointing runs a backward inside the backward
        self.watch.forwards.reset()
        rank = self.recorder.rank
        first = rank.backwards == 0
        rank.backwards += 1
        at = self.recorder.frames.here(4)
        graph, leaf = graph_of(loss)
        scaled = id(loss) in self._scaled and self._scaled[id(loss)]() is loss
        record = LossRecord(None, graph, at, scaled, rank.steps + 1)
        rank.losses.append(record)
        if loss.device.type != "meta":
            value = loss.detach().float().sum().reshape(1)
            self.recorder.later.ask(1, [([0], value)], lambda values: setattr(record, "value", values[0]))
        if loss.grad_fn is not None:
            self.losses.append(weakref.ref(loss))
        if first or self.table.stale:
            self.table.refresh()
        if first:
            self.watch.ledger("first backward", at)
        if rank.plain_backward is None and self.recorder.contexts and not self.recorder.callers:
            rank.plain_backward = at
            rank.plain_divided = type(loss.grad_fn).__name__.startswith(("DivBackward", "MulBackward"))
        if rank.half_backward_at is None and not scaled and self.watch.forwards.in_half():
            rank.half_backward_at = at
        self.watch.note_views()
        self.meter.before_backward()
        args = {"loss": self._tensor(leaf, graph, at), "models": self.watch.forwards.models_run()}
        self.recorder.emit(Ev.BACKWARD, args=args, by="torch.Tensor.backward", at=at)
        unsteady = rank.steps == 0 and rank.scaler_attempts == 0 and rank.backwards >= BACKWARDS_WITHOUT_STEP
        if unsteady:
            self.watch.finish(f"no optimizer step after {rank.backwards} backward calls")

    def _tensor(self, loss: Any, graph: str, at: Location) -> Tensor:
        sources = tuple(self.watch.forwards.recent)
        if graph == "full":
            return Tensor(Graph.ATTACHED, sources, scaler=self._scaler_of(loss))
        hand = self._hand.get(id(loss))
        if hand is None and sources and not self.watch.forwards.attached:
            return Tensor(Graph.PLAIN, sources)  # nothing in the model requires gradients: nobody cut anything off
        tensor = Tensor(Graph.DETACHED, sources, cut_at=at)
        if hand is not None and hand[0]() is loss:
            tensor.hack_at = tensor.hack_statement = hand[1]
        blind = self.watch.forwards.without_grad()
        if blind is not None:
            tensor.cut, tensor.cut_at, tensor.context_at = Cut.NO_GRAD, blind[0], blind[1]
        else:
            tensor.cut = Cut.DETACH if hand is not None else Cut.REBUILT
        return tensor

    def after_backward(self) -> None:
        """Nothing to do yet."""

    def _scaler_of(self, loss: Any) -> Any:
        scaler = self.watch.scaler() if self.watch.scaler is not None else None
        if scaler is None or id(loss) not in self._scaled:
            return None
        return self.recorder.obj(scaler)

    # --- optimizers ---

    def _optimizer_made(self, optimizer: Any) -> None:
        at = self.recorder.frames.here(4)
        obj = self.recorder.make(optimizer, Kind.OPTIMIZER, at)
        self.table.stale = True
        if self.recorder.trace.events and obj.event is not None:
            return
        obj.facts["captures"] = captures_of(self.recorder, optimizer, at)
        self.recorder.emit(Ev.OPTIMIZER, {"optimizer": obj, **self._model_role(optimizer)}, by=obj.type, at=at)
        self.meter.watch(optimizer)
        for live in owners(self.recorder, optimizer):
            self.watch.forwards.follow(live)
        self.watch.ledger("optimizer made", at)

    def _group_added(self, optimizer: Any) -> None:
        obj = self.recorder.obj(optimizer)
        if obj is not None:
            obj.facts["captures"] = captures_of(self.recorder, optimizer, self.recorder.frames.here(4))

    def _model_role(self, optimizer: Any) -> dict[str, Any]:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                live = self.recorder.models.owner(parameter)
                if live is not None:
                    return {"model": live.obj}
        return {}

    def _scheduled(self, scheduler: Any, optimizer: Any) -> None:
        inner = getattr(optimizer, "optimizer", optimizer)  # accelerate's wrapper
        self.meter.watch(inner).record.scheduled = True

    def _zero_grad(self, optimizer: Any, module: Any, parameters: list[Any]) -> None:
        at = self.recorder.frames.here(4)
        wiped = self.meter.cleared(optimizer, parameters)
        roles: dict[str, Any] = {}
        if optimizer is not None:
            obj = self.recorder.obj(optimizer)
            if obj is not None:
                roles["optimizer"] = obj
        else:
            live = self.recorder.models.known(module)
            if live is not None:
                roles["model"] = live.obj
        if roles:
            self.recorder.emit(Ev.ZERO_GRAD, roles, {"wiped": wiped}, at=at)

    # --- scalers and clipping ---

    def _note_scaled(self, scaler: Any, outputs: Any, result: Any) -> None:
        if scaler.is_enabled() and hasattr(result, "detach"):
            self._scaled = {id(result): weakref.ref(result)}
            self._unscaled_now.clear()
            self.watch.scaler = weakref.ref(scaler)
            self.recorder.make(scaler, Kind.SCALER).facts["enabled"] = Tri.YES

    def _unscaled(self, scaler: Any, optimizer: Any) -> None:
        if not scaler.is_enabled():
            return
        self._unscaled_now.add(id(optimizer))
        obj = self.recorder.obj(optimizer)
        if obj is not None:
            roles = {"optimizer": obj, "scaler": self.recorder.make(scaler, Kind.SCALER)}
            self.recorder.emit(Ev.UNSCALE, roles, by="torch.amp.GradScaler.unscale_")

    def _clipped(self, parameters: list[Any]) -> None:
        identities = {id(p) for p in parameters if p.grad is not None}
        if not identities:
            return
        at = self.recorder.frames.here(4)
        scaled = False
        roles: dict[str, Any] = {}
        for watched in self.meter.optimizers:
            optimizer = watched.reference()
            if optimizer is None:
                continue
            if any(id(p) in identities for group in optimizer.param_groups for p in group["params"]):
                obj = self.recorder.obj(optimizer)
                if obj is not None:
                    roles["optimizer"] = obj
                scaled = scaled or (bool(self._scaled) and id(optimizer) not in self._unscaled_now)
        self.recorder.emit(Ev.CLIP, roles, {"scaled": scaled}, by="torch.nn.utils.clip_grad_norm_", at=at)
        if scaled:
            self.recorder.rank.clipped_scaled_at = at

    def _scaler_step(self, scaler: Any, optimizer: Any) -> None:
        if scaler.is_enabled():
            self._steps_before = self.meter.watch(optimizer).record.steps
            self._stepping = self.recorder.obj(scaler)

    def _scaler_stepped(self, scaler: Any, optimizer: Any) -> None:
        if not scaler.is_enabled():
            return
        rank = self.recorder.rank
        rank.scaler_attempts += 1
        self._stepping = None
        watched = self.meter.watch(optimizer)
        if watched.record.steps == self._steps_before:
            rank.scaler_skips += 1
            watched.record.skipped += 1
            watched.record.stepped_at = watched.record.stepped_at or self.recorder.frames.here(4)
            watched.pending = False
            if rank.steps == 0 and rank.scaler_skips >= self.recorder.observation.steps + SKIPS_TO_BEAR:
                self.watch.finish("the gradient scaler skipped every step")

    def _scaler_updated(self, scaler: Any) -> None:
        self._scaled = {}
        obj = self.recorder.obj(scaler)
        if obj is not None:
            self.recorder.emit(Ev.SCALER_UPDATE, {"scaler": obj}, by="torch.amp.GradScaler.update")

    # --- steps ---

    def _before_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        watched = self.meter.watch(optimizer)
        if watched.record.stepped_at is None:
            watched.record.stepped_at = self.recorder.frames.here(4)
        self.meter.before_step(optimizer)
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            return None
        observed = self._observed(closure, optimizer)
        if "closure" in kwargs:
            return args, {**kwargs, "closure": observed}
        return (args[0], observed, *args[2:]), kwargs

    def _observed(self, closure: Any, optimizer: Any) -> Any:
        measure = self.recorder.guard(self.meter.first_closure)
        done = False

        def observed(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            result = closure(*args, **kwargs)
            if not done:
                done = True
                measure(optimizer)
            return result

        return observed

    def after_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Post-hook of every optimizer: measure, then stop when enough was seen."""
        if self._measure_after(optimizer):
            self.watch.finish("")

    def _after_step(self, optimizer: Any) -> bool:
        found = getattr(optimizer, "found_inf", None)
        skipped = found is not None and bool(float(found))
        self.meter.after_step(optimizer, skipped)
        rank = self.recorder.rank
        if skipped:
            return False
        rank.steps += 1
        self.watch.forwards.only_roots()
        obj = self.recorder.obj(optimizer)
        if obj is not None:
            roles = {"optimizer": obj, **({"scaler": self._stepping} if self._stepping is not None else {})}
            self.recorder.emit(Ev.STEP, roles, by=f"{obj.type}.step", at=self.recorder.frames.here(5))
        if rank.steps == 1:
            self.watch.ledger("first step", self.recorder.frames.here(5))
        if self.watch.trainers and rank.stepped_in_trainer is None and rank.steps <= 2:
            rank.stepped_in_trainer = self._in_training_step(optimizer)
        self.watch.forwards.recent = []
        rank.cycles = self._cycles()
        rank.seconds.append(time.time() - self.watch.started_at)
        rank.memory.append(self.watch.peak_memory())
        self.watch.progress()
        self.losses = self.losses[-64:]
        return self._enough()

    def _in_training_step(self, optimizer: Any) -> Location | None:
        """Where the user's own training_step of a trainer steps that trainer's optimizer."""
        frame: FrameType | None = sys._getframe(3)
        inner: FrameType | None = None
        while frame is not None:
            if self.recorder.frames.is_user(frame.f_code.co_filename):
                inner = inner or frame
                owner = frame.f_locals.get("self")
                if frame.f_code.co_name == "training_step" and any(owner is trainer for trainer in self.watch.trainers):
                    own = getattr(owner, "optimizer", None)
                    if getattr(own, "optimizer", own) is optimizer:
                        return self.recorder.frames.location(inner)
            frame = frame.f_back
        return None

    def _cycles(self) -> int:
        """How often every optimizer that steps has stepped; one that fell behind for good does not hold the others
        up."""
        counts = [w.record.steps for w in self.meter.optimizers if w.record.steps]
        return max(min(counts), max(counts) // 3) if counts else 0

    def _enough(self) -> bool:
        wanted = self.recorder.observation.steps
        counts = [w.record.steps for w in self.meter.optimizers if w.record.steps]
        waiting = [w for w in self.meter.optimizers if not w.record.steps and w.reference() is not None]
        if max(counts) >= 3 * wanted:
            return True
        if min(counts) < wanted:
            return False
        return not waiting or max(counts) >= 2 * wanted

    def count_losses_alive(self) -> int:
        """How many losses of earlier steps still hold their graphs."""
        return losses_alive(self.losses[:-1])


def graph_of(loss: Any) -> tuple[str, Any]:
    """Whether a graph hangs on the loss: "full", "leaf" when it ends at a number that was made to require gradients by
    hand, "none"; and that number, or the loss."""
    if loss.grad_fn is None:
        return ("leaf" if loss.requires_grad else "none"), loss
    seen: set[Any] = set()
    stack = [loss.grad_fn]
    leaf: Any = None
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if len(seen) > SMALL_GRAPH:
            return "full", loss
        variable = getattr(node, "variable", None)
        if variable is not None:
            if variable.numel() > 1 or type(variable).__name__ == "Parameter":
                return "full", loss
            leaf = variable
            continue
        following = [other for other, _ in node.next_functions if other is not None]
        if not following:
            return "full", loss  # a function whose inputs are hidden, e.g. of a compiled region
        stack.extend(following)
    return ("leaf", leaf) if leaf is not None else ("full", loss)
