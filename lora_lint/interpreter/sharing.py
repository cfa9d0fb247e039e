"""Which imported modules runs share: those whose body did nothing that a path can tell from another one, but for the
conditions that it decided. A run shares them if it decides these the same way.

Running every imported module again on every path would make the cost of a package grow with its square.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lora_lint.interpreter.journal import Conditions, Journal
from lora_lint.interpreter.values import ModuleVal, OutOfBudget
from lora_lint.lifecycle.vocabulary import Ev, Kind
from lora_lint.syntax import ir

if TYPE_CHECKING:
    from lora_lint.interpreter.run import Run

# What is said of a definition is said once, in whichever run it comes up.
_OF_DEFINITIONS = frozenset({Ev.CONTRACT, Ev.OUTDATED, Ev.LATE_IMPORT})

# Objects that are the same on every path: instances of the user's classes, and contexts made by decorators.
_WITHOUT_LIFECYCLE = frozenset({Kind.OBJECT, Kind.CONTEXT})

MAX_STEPS_PER_IMPORT = 60_000  # those of a shared module are no steps of the path that happened to import it first
MAX_VARIANTS = 8  # of one module; later paths that decide otherwise run it for themselves


@dataclass(slots=True)
class Import:
    """A module whose body is being run. first: its place among the modules of the run. open: whether it, or what it
    imports, uses a module from before it that is not shared."""

    first: int
    open: bool = False


class Variant:
    """Modules as one path made them, for all paths that decide the same conditions the same way."""

    def __init__(self, modules: dict[str, ModuleVal], journal: Journal) -> None:
        self.modules = modules
        self.journal = journal
        self._conditions = None if journal.is_empty() else Conditions(journal)

    def fits(self, run: Run) -> bool:
        """Whether the run would make the same modules."""
        has = run.modules
        return (self._conditions is None or run.oracle.repeats(self._conditions)) and all(
            has.get(path, module) is module for path, module in self.modules.items()
        )

    def enter(self, run: Run) -> None:
        """Make the modules those of a run."""
        run.modules.update(self.modules)
        if self._conditions is not None:
            run.oracle.repeat(self.journal)
            run.trace.skipped.extend(self.journal.skipped)
            run.hypothetical = run.hypothetical or self.journal.hypothetical


class Shared:
    """The modules that the runs of a program share."""

    def __init__(self) -> None:
        self._variants: dict[str, list[Variant]] = {}
        self._own: set[str] = set()  # modules that a run had to keep for itself

    def find(self, run: Run, path: str) -> ModuleVal | None:
        """The module as it was made on a path that decided as this one does; the run has it from now on."""
        for variant in self._variants.get(path, ()):
            if variant.fits(run):
                variant.enter(run)
                _depend(run, variant)
                return variant.modules[path]
        return None

    @contextmanager
    def importing(self, run: Run, module: ModuleVal) -> Iterator[None]:
        """Run the body of the newest module of the run: it is shared afterwards if it can be, and with it what it
        imports."""
        here = Import(module.place)
        events, objects, grad = len(run.trace.events), len(run.trace.objects), run.grad[-1]
        skipped, written, hypothetical = len(run.trace.skipped), len(run.written), run.hypothetical
        outer, journal = run.oracle.journal, Journal()
        run.importing.append(here)
        run.oracle.journal = journal
        spent = run.begin_part(MAX_STEPS_PER_IMPORT) if module.path not in self._own else None
        try:
            yield
        except OutOfBudget:  # what it has made so far is all that is known of it
            if spent is None:
                raise
            run.unfollowed += 1
        finally:
            taken = run.end_part(spent) if spent is not None else 0
            run.importing.pop()
            run.oracle.journal = outer
            journal.skipped = run.trace.skipped[skipped:]
            journal.hypothetical = run.hypothetical
            if outer is not None:
                outer.absorb(journal)
        if (
            not (here.open or hypothetical)
            and run.grad[-1] is grad
            and all(event.kind in _OF_DEFINITIONS for event in run.trace.events[events:])
            and all(obj.kind in _WITHOUT_LIFECYCLE for obj in run.trace.objects[objects:])
        ):
            self._add(run, dict(list(run.modules.items())[here.first :]), journal, written)
        else:
            self._own.add(module.path)
            run.steps += taken

    def _add(self, run: Run, finished: dict[str, ModuleVal], journal: Journal, written: int) -> None:
        variant = Variant({**journal.modules, **finished}, journal)
        run.settle(finished.values(), written)
        for path, module in finished.items():
            known = self._variants.setdefault(path, [])
            if module.variant is None and len(known) < MAX_VARIANTS:
                module.variant = variant
                known.append(variant)


def use(run: Run, module: ModuleVal) -> None:
    """Note that the modules being imported use one that the run has already."""
    if module.variant is not None:
        _depend(run, module.variant)
        return
    for one in run.importing:
        one.open = one.open or module.place < one.first


def _depend(run: Run, variant: Variant) -> None:
    """What is imported now depends on what a variant depends on."""
    if run.oracle.journal is not None:
        run.oracle.journal.absorb(variant.journal)
        run.oracle.journal.modules.update(variant.modules)


def only_computes(run: Run) -> bool:
    """Whether the running function touches no object with a lifecycle. While a module is imported the value of such a
    function is unknown rather than decided by path: each way to decide would make one more variant of the module (and of
    those that import it), and nothing with a lifecycle hangs on it."""
    callee = run.callee
    frame = run.stack[-1]
    if callee is None or isinstance(callee, ir.Lambda) or not isinstance(frame, tuple) or frame[0] != id(callee):
        return False
    return not run.program.hot_block(callee.body)
