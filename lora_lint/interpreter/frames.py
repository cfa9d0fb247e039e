"""What a run remembers of the blocks it is in: gradient modes, loops over parameters, places to come back to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lora_lint.interpreter.values import ModuleVal, SeqVal
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Guard
from lora_lint.lifecycle.vocabulary import Tri
from lora_lint.location import Location


@dataclass(slots=True)
class GradMode:
    """Whether gradients are recorded here, the block or decorator that says so, and the conditions under which its context
    was made."""

    on: Tri
    at: Location | None = None
    form: str = ""  # "block" (a with block) or "decorator", "" for a statement
    guards: tuple[Guard, ...] = ()


@dataclass(slots=True)
class ParamLoop:
    """A running loop over parameters: what it wrote so far. weak: depth of conditions that cannot be read. doubt: such
    a condition may have ended this turn already. Those that ask whether there is a gradient do not matter to what drops it:
    lacking is how many of the depth ask that, and whether a turn may have ended for that alone. asked: at which depth a
    condition asks whether which parameter trains, and what this arm says.
    """

    writes: dict[Any, Tri] = field(default_factory=dict)
    where: Location | None = None
    statement: Location | None = None
    weak: int = 0
    broke: bool = False
    doubt: bool = False
    lacking: tuple[int, bool] = (0, False)
    asked: tuple[int, str, bool] | None = None
    model: Obj | None = None
    lists: list[SeqVal] = field(default_factory=list)  # to which it appended what it goes over
    clips: bool = False  # it clipped gradients
    cleared: set[str] = field(default_factory=set)  # names of the parameters whose gradient it dropped
    cleared_at: tuple[Location, Location | None] | None = None

    def turn(self, sure: bool) -> None:
        """Begin with the next parameter. sure: it certainly is one that the loop goes over."""
        self.doubt, self.lacking = not sure, (self.lacking[0], False)

    def certain(self, name: str, answer: Tri) -> bool:
        """Whether a parameter has what is written to it for certain behind this: it is written in every turn, or where it is
        not so already (`if not p.requires_grad: p.requires_grad = True`)."""
        missing = answer.known and self.asked == (self.weak, name, not answer.yes)
        return not self.doubt and (missing or not self.weak)

    def drops(self) -> bool:
        """Whether a gradient that there is would certainly be dropped here."""
        depth, ended = self.lacking
        return self.weak == depth and (ended or not self.doubt)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an interpretation stands: module, statement, open calls, loop, running generators."""

    module: ModuleVal
    statement: Location | None
    chain: tuple[Location, ...]
    stack: tuple[object, ...]
    loop: Location | None
    yields: int
