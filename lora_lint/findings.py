"""What the checks say: findings, the events beside them, and what a fix intends. Data only, without output format."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Union

from lora_lint.location import Location


class Severity(str, Enum):
    """How sure and how bad: an error is a run that is silently or surely wrong."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """2 for errors, 1 for warnings, 0 for infos."""
        return {"error": 2, "warning": 1, "info": 0}[self.value]


class Applicability(str, Enum):
    """Who may apply a fix: `--fix`, `--fix --unsafe-fixes`, or only a reader."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    DISPLAY = "display"


@dataclass(frozen=True, slots=True)
class Related:
    """Another event of the same story, for instance "adapter injected here"."""

    location: Location
    message: str


# --- Fix intents. A check says what should change in terms of statements and calls; `lora_lint.fix.build` turns that
# --- into edits of the text or refuses with a reason. A location names the statement or expression it spans.


@dataclass(frozen=True, slots=True)
class SetKeyword:
    """Give the call at `call` the keyword `name=value`, replacing the keyword if it is there."""

    call: Location
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class DropKeyword:
    """Take the keyword `name` out of the call at `call`."""

    call: Location
    name: str


@dataclass(frozen=True, slots=True)
class RenameKeyword:
    """Rename a keyword of the call at `call`, keeping its value."""

    call: Location
    name: str
    new_name: str


@dataclass(frozen=True, slots=True)
class MoveStatement:
    """Move the whole statement that contains `what` directly before or after the statement that contains `anchor`.

    Both must stand in the same block. `after` False moves it before the anchor.
    """

    what: Location
    anchor: Location
    after: bool


@dataclass(frozen=True, slots=True)
class InsertStatement:
    """Insert the line(s) `text` before or after the statement that contains `anchor`, at its indentation."""

    anchor: Location
    text: str
    after: bool


@dataclass(frozen=True, slots=True)
class RemoveStatement:
    """Remove the whole statement that contains `what`; a block left empty gets `pass`."""

    what: Location


@dataclass(frozen=True, slots=True)
class RemoveDecorator:
    """Remove the decorator whose expression stands at `what`."""

    what: Location


@dataclass(frozen=True, slots=True)
class BindResult:
    """Turn the bare expression statement at `what` into `target = <expression>`."""

    what: Location
    target: str


@dataclass(frozen=True, slots=True)
class ReplaceText:
    """Replace the expression that spans `what` by `text`."""

    what: Location
    text: str


@dataclass(frozen=True, slots=True)
class Unwrap:
    """Replace the expression at `what` by its own sub-expression at `inner`: `x.to(device)` by `x`."""

    what: Location
    inner: Location


@dataclass(frozen=True, slots=True)
class FollowAttribute:
    """Follow the attribute `path` of the expression at `what`: `model` becomes `model.module`."""

    what: Location
    path: str


@dataclass(frozen=True, slots=True)
class Rename:
    """In the statement that contains `what`, write for each dotted name `old` the name `new`; the longest `old` first.

    needed: an `old` that must occur there, or the plan is refused.
    """

    what: Location
    names: tuple[tuple[str, str], ...]
    needed: str = ""


@dataclass(frozen=True, slots=True)
class Postpone:
    """Take the call at `call` from around its argument at `argument`, and make it a statement of its own after the one
    that contains `anchor`: `m = wrap(load())` becomes `m = load()` and, there, `m = wrap(m)`."""

    call: Location
    argument: Location
    anchor: Location


@dataclass(frozen=True, slots=True)
class NeedsGuard:
    """Changes nothing: the plan is refused when the statement that contains `what` runs as soon as its file is imported,
    outside of functions and of `if __name__ == "__main__":`."""

    what: Location


@dataclass(frozen=True, slots=True)
class ReplaceComment:
    """Replace the comment (or part of one) that spans `what`; without `text` it goes, and its line if alone there."""

    what: Location
    text: str


@dataclass(frozen=True, slots=True)
class AddParameter:
    """Give the function `name`, defined at `function`, one more parameter `text` at the end."""

    function: Location
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class OutOfPlace:
    """Turn the augmented assignment at `what` into a plain one: `x *= y` into `x = x * y`."""

    what: Location


Intent = Union[
    OutOfPlace,
    AddParameter,
    SetKeyword,
    DropKeyword,
    RenameKeyword,
    MoveStatement,
    InsertStatement,
    RemoveStatement,
    RemoveDecorator,
    BindResult,
    ReplaceText,
    Unwrap,
    FollowAttribute,
    Rename,
    Postpone,
    NeedsGuard,
    ReplaceComment,
]


@dataclass(frozen=True, slots=True)
class FixPlan:
    """What a fix intends: all intents together or none, plus the names it needs imported.

    imports: pairs of module and name, for instance `("peft", "get_peft_model")`.
    """

    applicability: Applicability
    title: str
    intents: tuple[Intent, ...]
    imports: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the text of `location` by `text` (an empty range inserts)."""

    location: Location
    text: str


@dataclass(frozen=True, slots=True)
class Fix:
    """A plan that was built: edits of the original text, or the reason why it was refused (then `edits` is empty)."""

    applicability: Applicability
    title: str
    edits: tuple[Edit, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to tell the user.

    code, name: for instance "LL103", "freeze-after-injection".
    message: lower case, no final period, names the user's variable and the consequence.
    help: what to do, one line. related: the other events, in program order.
    plan: what a fix intends; fix: the same, built against the current text (set by `lora_lint.fix`), or without a plan
    why a rule that has a fix has none here.
    context: the stripped source line of the finding, for fingerprints that survive line moves.
    """

    code: str
    name: str
    severity: Severity
    message: str
    location: Location
    help: str = ""
    related: tuple[Related, ...] = ()
    plan: FixPlan | None = None
    fix: Fix | None = None
    context: str = field(default="", compare=False)
    url: str = ""

    @property
    def sort_key(self) -> tuple[str, int, int, str]:
        """Order of report: by place, then code."""
        return (self.location.path, self.location.line, self.location.column, self.code)
