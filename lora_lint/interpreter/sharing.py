"""Which imported modules all runs may share: those whose body did nothing that a path can tell from another one.

Running every imported module again on every path would make the cost of a package grow with its square.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lora_lint.lifecycle.vocabulary import Ev, Kind
from lora_lint.syntax import ir

if TYPE_CHECKING:
    from lora_lint.interpreter.run import Run
    from lora_lint.interpreter.values import ModuleVal

# What is said of a definition is said once, in whichever run it comes up.
_OF_DEFINITIONS = frozenset({Ev.CONTRACT, Ev.OUTDATED, Ev.LATE_IMPORT})


@dataclass(slots=True)
class Import:
    """A module whose body is being run. first: its place among the modules of the run. open: whether it, or what it
    imports, uses a module from before it that is not shared."""

    first: int
    open: bool = False


@contextmanager
def importing(run: Run, module: ModuleVal, shared: dict[str, ModuleVal]) -> Iterator[None]:
    """Run the body of the newest module of the run: it is shared afterwards if it can be, and with it what it imports."""
    here = Import(module.place)
    events, objects, grad = len(run.trace.events), len(run.trace.objects), run.grad[-1]
    decided, written = (run.oracle.consulted, len(run.oracle.taken)), len(run.written)
    run.importing.append(here)
    try:
        yield
    finally:
        run.importing.pop()
    if (
        not here.open
        and run.grad[-1] is grad
        and decided == (run.oracle.consulted, len(run.oracle.taken))
        and all(event.kind in _OF_DEFINITIONS for event in run.trace.events[events:])
        and all(obj.kind is Kind.OBJECT for obj in run.trace.objects[objects:])
    ):
        finished = dict(list(run.modules.items())[here.first :])
        shared.update(finished)
        run.settle(finished.values(), written)


def use(run: Run, module: ModuleVal, shared: Mapping[str, ModuleVal]) -> None:
    """Note that the modules being imported use one that the run has already."""
    if module.path not in shared:
        for one in run.importing:
            one.open = one.open or module.place < one.first


def only_computes(run: Run) -> bool:
    """Whether the running function touches no object with a lifecycle. While a module is imported the value of such a
    function is unknown rather than decided by path: what is decided could not be shared."""
    callee = run.callee
    if callee is None or run.stack[-1] != id(callee) or isinstance(callee, ir.Lambda):
        return False
    return not run.program.hot_block(callee.body)
