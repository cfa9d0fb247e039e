"""The observation of one process: its parts, its ledger, its end."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import weakref
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.record import LedgerRow, to_json
from lora_lint.lifecycle.vocabulary import Ev, Kind, Part
from lora_lint.location import Location
from lora_lint.verify.config import Observation
from lora_lint.verify.data import Data
from lora_lint.verify.forwards import Forwards
from lora_lint.verify.frames import Point
from lora_lint.verify.judge import Judge
from lora_lint.verify.models import Live
from lora_lint.verify.parts import elements
from lora_lint.verify.recorder import Recorder
from lora_lint.verify.structure import Structure
from lora_lint.verify.training import Training

WAIT_FOR_OTHERS = 20.0


class Watch:
    """Everything that observes this process. outcome: how the observation ended; "" while it runs. in_process: the
    observation was asked for by the program itself, which goes on when enough was seen."""

    def __init__(self, observation: Observation, in_process: bool = False) -> None:
        self.observation = observation
        self.started_at = time.time()
        self.recorder = Recorder(observation)
        self.judge = Judge(self.recorder.trace, self.recorder.faults)
        self.training = Training(self)
        self.forwards = Forwards(self)
        self.structure = Structure(self)
        self.data = Data(self)
        self.scaler: weakref.ref[Any] | None = None
        self.trainers: list[Any] = []
        self.error: dict[str, Any] | None = None
        self.outcome = ""
        self.configs: list[tuple[Any, Location]] = []
        self.held_back: list[str] = []  # uploads that did not happen
        self.disabled_at: Point | None = None
        self.views: list[tuple[weakref.ref[Any] | None, Obj]] = []
        self._torch: ModuleType | None = None
        self.started = False
        self._closed = False
        self.in_process = in_process
        self._main_thread = threading.main_thread()
        rank = self.recorder.rank
        rank.rank = int(os.environ.get("RANK") or 0)
        rank.world = int(os.environ.get("WORLD_SIZE") or 1)
        self.recorder.on_new_model = self._model_added
        self.recorder.on_change = self._changed

    def start(self, torch: ModuleType) -> None:
        """torch is there."""
        self._torch = torch
        self.started = True
        self.forwards.start(torch)

    def _changed(self, live: Live, frozen: bool, at: Location) -> None:
        """A line of the user's changed requires_grad: a row of the ledger, but no more than a few for a loop."""
        moment = "freeze" if frozen else "thaw"
        if sum(row.moment == moment and row.at.line == at.line for row in self.recorder.rank.ledger) < 2:
            self.ledger(moment, at, live)

    def _model_added(self, live: Live) -> None:
        """Optimizers that were made before their model was known get their captures now."""
        from lora_lint.verify.captures import captures_of

        for watched in self.training.meter.optimizers:
            optimizer = watched.reference()
            obj = self.recorder.obj(optimizer) if optimizer is not None else None
            if obj is not None and not obj.facts.get("captures"):
                seq = obj.event.seq if obj.event is not None else 0
                obj.facts["captures"] = captures_of(self.recorder, optimizer, watched.record.made_at, seq)

    def trainer_in_stack(self) -> Obj | None:
        """The trainer whose constructor is running."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_name == "__init__":
                owner = frame.f_locals.get("self")
                if type(owner).__name__.endswith("Trainer"):
                    return self.recorder.make(owner, Kind.TRAINER)
            frame = frame.f_back
        return None

    # --- the ledger ---

    def ledger(self, moment: str, at: Location, only: Live | None = None) -> None:
        """Count the trainable parameters of the models now."""
        tops = [only.top] if only is not None else [live for live in self.recorder.models.all if live.outer is None]
        for live in tops:
            if live.module is None:
                continue
            number = self.training.table.model_number(live)
            row = LedgerRow(moment, at, number, 0, 0, 0)
            for one in live.rows():
                count = elements(one.parameter)
                row.total += count
                if one.parameter.requires_grad:
                    row.trainable += count
                    row.tensors += 1
                    group = _group(one.part, one.adapter)
                    row.groups[group] = row.groups.get(group, 0) + count
            rows = [r for r in self.recorder.rank.ledger if r.model == number]
            if moment == "first step" and rows and not row.total:
                continue
            self.recorder.rank.ledger.append(row)
        self.progress(moment)

    # --- progress ---

    def progress(self, moment: str = "") -> None:
        """Tell the parent how far we are. moment: what happened last, while no step is done."""
        if self.in_process or not self.observation.folder:
            return
        rank = self.recorder.rank
        loss = next((entry.value for entry in reversed(rank.losses) if entry.value is not None), None)
        line = {"rank": rank.rank, "cycles": rank.cycles, "steps": rank.steps, "loss": loss, "moment": moment}
        with open(Path(self.observation.folder) / f"progress-{os.getpid()}", "w", encoding="utf-8") as stream:
            json.dump(line, stream)

    def peak_memory(self) -> float:
        """Peak megabytes: of the GPU when one is used, else of the process."""
        torch = self._torch
        if torch is not None and torch.backends.cuda.is_built() and torch.cuda.is_initialized():
            return float(torch.cuda.max_memory_allocated()) / 2**20
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 2**10

    # --- the end ---

    def finish(self, reason: str) -> None:
        """Enough was seen: write the report and end the process without running what follows the training."""
        if not self.recorder.active:
            return
        self.outcome = reason or "done"
        if self.in_process:
            self.close(probes=self.observation.probes and not reason)
            return
        on_main = threading.current_thread() is self._main_thread
        torch = self._torch
        if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.synchronize()
        self.write(probes=self.observation.probes and on_main and not reason)
        self._wait_for_others()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def _wait_for_others(self) -> None:
        """Other ranks may still need this one's half of a collective: end together, but do not wait for ever."""
        world = self.recorder.rank.world
        if world < 2:
            return
        limit = time.time() + WAIT_FOR_OTHERS
        folder = Path(self.observation.peers)
        (folder / f"done-{self.recorder.rank.rank}").touch()
        while time.time() < limit and len(list(folder.glob("done-*"))) < world:
            time.sleep(0.02)

    @property
    def relevant(self) -> bool:
        """Whether anything of a training was seen here; worker and launcher processes have nothing to report."""
        rank = self.recorder.rank
        return bool(rank.backwards or rank.steps or rank.optimizers or self.recorder.models.all or self.configs)

    def close(self, probes: bool) -> None:
        """Take the last measurements and stop observing, once."""
        if self._closed:
            return
        self._closed = True
        for last in (self._complete, self._probe if probes else None, self._end):
            if last is not None:
                self.recorder.guard(last)()
        self.recorder.active = False
        self.forwards.stop()

    def report(self) -> dict[str, Any]:
        """Everything this process has to tell, as plain data."""
        return {
            "pid": os.getpid(),
            "outcome": self.outcome or "ended",
            "relevant": self.relevant,
            "error": self.error,
            "rank": to_json(self.recorder.rank),
            "reports": self.judge.collected(),
            "faults": self.recorder.faults.found,
            "functions": sorted(
                [self.recorder.frames.shown(code.co_filename), code.co_firstlineno] for code in self.recorder.codes
            ),
            "events": [[e.kind.value, str(e.location), e.by] for e in self.recorder.trace.events[:500]],
            "environment": self._environment(),
        }

    def write(self, probes: bool = False) -> None:
        """Write the report of this process, once."""
        if self._closed:
            return
        self.close(probes)
        report = self.report()
        name = f"report-{self.recorder.rank.rank:05d}-{os.getpid()}.json"
        target = Path(self.observation.folder) / name
        partial = target.with_suffix(".partial")
        partial.write_text(json.dumps(report), encoding="utf-8")
        partial.rename(target)

    def _complete(self) -> None:
        from lora_lint.verify.closing import complete

        self.recorder.flush()
        complete(self)

    def _probe(self) -> None:
        from lora_lint.verify.probes import run_probes

        run_probes(self)

    def _end(self) -> None:
        if not self.recorder.rank.backwards:
            self.note_views()
        self.recorder.emit(Ev.END, {}, {})

    def used(self, live: Live) -> None:
        """The PeftModels around a model are put to use."""
        for _, view in self.views:
            if view.root is live.obj.root:
                view.last_use = len(self.recorder.trace.events)

    def note_views(self) -> None:
        """Training goes on: the PeftModels made before and still there are in use."""
        views, self.views = self.views, []
        for reference, view in views:
            if reference is None or reference() is not None:
                view.last_use = len(self.recorder.trace.events)

    def _environment(self) -> dict[str, Any]:
        from lora_lint.verify.environment import of_process

        found = of_process(self._torch)
        found["remarks"] += dict.fromkeys(self.held_back)
        return found


def _group(part: Part, adapter: str) -> str:
    if part in (Part.ADAPTER, Part.COPY):
        kind = "adapter" if part is Part.ADAPTER else "modules_to_save"
        return f"{kind} {adapter}"
    return str(part.value)
