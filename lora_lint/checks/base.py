"""What a rule is made of: the @check decorator, the Report it yields, and nothing of any output format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lora_lint.findings import FixPlan, Severity
from lora_lint.lifecycle.trace import Event, Guard, Trace
from lora_lint.lifecycle.vocabulary import Ev
from lora_lint.location import Location


@dataclass(slots=True)
class Report:
    """What a check has to say about one event.

    at: the place to show; an Event means its location. message: lower case, no final period, names the variable and
    the consequence. story: the other events in program order, each with a note. maybe: versions that decide ("trl
    >=0.20.0,<0.23.1") when the target version is unknown: the finding becomes a warning that names the range.
    unless: witness keys; the finding is dropped when any other path through the program witnessed one of them
    ("this config was applied after all"). shown: the place to show instead, where the event is what a helper of the user's
    does to whatever it is given.
    """

    at: Event | Location
    message: str
    help: str = ""
    story: tuple[tuple[Event | Location, str], ...] = ()
    plan: FixPlan | None = None
    severity: Severity | None = None
    maybe: str = ""
    unless: frozenset[object] = frozenset()
    guards: tuple[Guard, ...] = ()
    shown: Location | None = None

    @property
    def location(self) -> Location:
        """Where to show it."""
        if self.shown is not None:
            return self.shown
        return self.at.location if isinstance(self.at, Event) else self.at

    def conditions(self) -> set[Guard]:
        """Every condition under which the events of this report happened. That the optimizer steps in some turns of the loop
        only (accumulation) is none: it does step."""
        found = set(self.guards)
        for where in (self.at, *(event for event, _ in self.story)):
            if isinstance(where, Event):
                steps = where.kind is Ev.STEP and where is not self.at
                found.update((g for g in where.guards if not (steps and g.turns)), where.given)
        return found


CheckFunction = Callable[[Event, Trace], Iterator[Report]]


@dataclass(frozen=True, slots=True)
class Check:
    """A rule's function with the events it wants to see."""

    code: str
    on: tuple[Ev, ...]
    function: CheckFunction = field(compare=False)


def check(code: str, *, on: Ev | tuple[Ev, ...]) -> Callable[[CheckFunction], CheckFunction]:
    """Mark a function as the check of a rule. It is found by `lora_lint.checks.registry` through this mark.

    code: for instance "LL103". on: the kinds of events at which it is called.
    """

    def mark(function: CheckFunction) -> CheckFunction:
        kinds = on if isinstance(on, tuple) else (on,)
        marks: tuple[Check, ...] = getattr(function, "lora_lint_checks", ())
        function.lora_lint_checks = (*marks, Check(code, kinds, function))  # type: ignore[attr-defined]
        return function

    return mark
