"""Events in program order, and the trace that hands each to its subscribers the moment it happens.

The interpreter emits events while it follows a program, the runtime recorder emits the same ones from a live process.
Checks subscribe; they see the state of the heap as it is at that event, so "before" and "after" need no snapshots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from lora_lint.lifecycle.heap import Adapter, Obj
from lora_lint.lifecycle.vocabulary import Cut, Ev, Graph, Kind, Tri
from lora_lint.location import Location


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition under which an event happened: its text, the arm taken, and whether that is the default arm
    (the value the user's own defaults give it). turns: it asks which turn of a loop this is, so other turns of the same
    loop take the other arm. unset: whether it is the arm that is taken as long as nobody sets what it asks for, by a fallback
    or as a configuration file says; None where that is not known. varies: the loop whose turns may each answer otherwise."""

    key: object
    text: str
    arm: bool
    default: bool
    turns: bool = False
    unset: bool | None = field(default=None, compare=False)
    varies: Location | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Entered:
    """A call of a user's module, by which the program enters it. called: where it stands in the call, when the module
    itself is called and not one of its methods; name: the variable there."""

    module: Obj
    location: Location
    called: Location | None
    name: str
    chain: tuple[Location, ...]


@dataclass(eq=False, slots=True)
class Event:
    """One thing that happened.

    roles: the objects by role ("model", "config", "optimizer", "loader", "loss", …). args: plain facts of the call, by
    the names of the event's spec. by: qualified name of the call, e.g. "trl.SFTTrainer". chain: call sites from the
    entry to here, outermost first. guards: conditions it is nested in. maybe: it happens only for some of the library
    versions the project may use; `versions` then names the range.
    """

    kind: Ev
    seq: int
    location: Location
    roles: dict[str, Obj] = field(default_factory=dict)
    args: dict[str, Any] = field(default_factory=dict)
    by: str = ""
    chain: tuple[Location, ...] = ()
    guards: tuple[Guard, ...] = ()
    contexts: tuple[str, ...] = ()
    maybe: bool = False
    versions: str = ""
    statement: Location | None = None  # the statement it happened in
    loop: Location | None = None  # the innermost loop around it in its function
    adapters: tuple[Adapter, ...] = ()  # adapters in the model just before the event
    within: tuple[Obj, ...] = ()  # the context objects it is nested in, outermost first
    given: tuple[Guard, ...] = ()  # conditions under which its arguments were made what they are

    @property
    def model(self) -> Obj | None:
        """The model it happened to, if known."""
        return self.roles.get("model")

    def role(self, name: str) -> Obj | None:
        """The object in a role, None when unknown."""
        return self.roles.get(name)


@dataclass(eq=False, slots=True)
class Encoding:
    """A batch of texts as a tokenizer returned it. padded: whether rows were filled up. tensors: it holds tensors, not
    lists. collated: its rows are those of a batch that a data loader put together. fixed: rows have one length whatever is
    in them. text: what was encoded. parts: the encodings of single texts that it was put together of. end: the token that was
    put behind its ids. rewritten: other values than -100 were written over some of its ids."""

    padded: Tri
    tensors: bool
    location: Location
    entries: dict[str, Tensor] = field(default_factory=dict)
    collated: bool = False
    fixed: bool = False
    text: object = None
    parts: tuple[Encoding, ...] = ()
    end: object = None
    rewritten: bool = False


@dataclass(eq=False, slots=True)
class Labels:
    """What became labels, with the copies made of it since. masked: one of them was changed, or replaced by another value.
    taken: what took single tokens out of a copy that became the labels instead."""

    masked: bool = False
    taken: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Equal:
    """Where the ids of a batch are a token, or (there: False) where they are not."""

    ids: Encoding
    token: object
    there: bool = True


# Witness: the gradient of a tensor that was made to require one (at this place) is read: it is an input, no loss.
GRADIENT_READ = "gradient-read"
# Witness: gradients are written by hand, so an optimizer may step on those of other parameters than its own. With the file:
# they are written there, so what a backward left may have been kept elsewhere.
GRADIENT_WRITTEN = "gradient-written"
# Witness: gradients are read one by one, so what a backward left may be kept elsewhere before it is cleared.
GRADIENT_TAKEN = "gradient-taken"
# Witness, with the place of a loop: it may end with any of its turns (a `break`, a `while`), as one that tries again does.
BROKEN_OFF = "broken-off"
# Witness, with the place where a model was made: values of its parameters are read or written one by one, as when one
# adapter is copied into another.
VALUES_HANDLED = "values-handled"
# Witness, with the file: `training` of a module is written there, which may switch back to train mode.
MODE_WRITTEN = "mode-written"
# Witness, with the place of a config: it is for adapters of models of several kinds.
SHARED_CONFIG = "shared-config"
# Witness, with the files of the program: functions run as soon as a gradient is there; they may step an optimizer, or clear
# gradients.
GRADIENT_HOOKED = "gradient-hooked"
# The context of what happens to one of several objects, and nobody knows to which.
ONE_OF = "one-of"


@dataclass(eq=False, slots=True)
class Tensor:
    """A tensor-like value (loss, logits, batch entry, a Python number taken from one).

    sources: forward events it comes from. cut: what took the graph away, and the event or place where.
    hack: the place where requires_grad was set on it by hand.
    """

    graph: Graph = Graph.UNKNOWN
    sources: tuple[Event, ...] = ()
    cut: Cut | None = None
    cut_at: Location | None = None
    cut_statement: Location | None = None
    cut_guards: tuple[Guard, ...] = ()
    cut_inner: Location | None = None  # the expression that was cut, inside cut_at
    context_at: Location | None = None  # the no_grad block or decorator behind a NO_GRAD cut
    context_form: str = ""  # "block" (it is a with block), "decorator", "" for a statement
    made_at: Location | None = None  # of a leaf: the expression that made it
    hack_at: Location | None = None
    hack_statement: Location | None = None
    hack_inner: Location | None = None  # the expression that a call set it on, inside hack_at
    number: bool = False  # a Python number, no tensor any more
    outputs_of: tuple[Event, ...] = ()  # it is made of what these forwards gave, and of data alone
    computed: bool = False  # an operation made it: one tensor, and no output of many parts
    leaf: bool = False  # data that gradients are wanted for: no model computed it
    scaler: Obj | None = None  # the gradient scaler that multiplied it
    device: str = "unknown"
    name: str = ""
    file: str = ""  # it is what a file of this name holds
    encoding: Encoding | None = None  # it is the batch that a tokenizer returned
    ids: Encoding | None = None  # it holds the token ids of such a batch
    labels: Labels | None = None  # it became labels, or was copied from what did
    masked: bool = False  # some of its positions were overwritten
    taken: tuple[Event, ...] = ()  # what took single tokens out of it
    fill: object = None  # the number that it holds everywhere
    equals: Equal | None = None  # it tells where the ids of a batch are one token
    kept: object = None  # it is the output of an operation whose backward needs this output
    needs: frozenset[object] = frozenset()  # such outputs that its graph hangs on
    only: Tensor | None = None  # what was cut, where all else that it is a sum of is computed from parameters alone
    behind: tuple[
        tuple[Event, Tensor], ...
    ] = ()  # forwards that have a part in it through a cut only, with what was cut


Subscriber = Callable[[Event], None]


class Trace:
    """The events of one path through the program, newest last. left: whether one of the commands that start it leaves an
    option at its default; None when none is known. ends: whether its code may put an end token behind texts."""

    def __init__(self) -> None:
        self.left: Callable[[str], bool | None] = lambda option: None
        self.ends: Callable[[], bool] = lambda: True
        self.events: list[Event] = []
        self.objects: list[Obj] = []
        self.skipped: list[Guard] = []  # conditions whose other arm does something to the lifecycle
        self._subscribers: dict[Ev, list[Subscriber]] = {}

    def subscribe(self, kinds: tuple[Ev, ...], subscriber: Subscriber) -> None:
        """Have `subscriber` called at every event of these kinds."""
        for kind in kinds:
            self._subscribers.setdefault(kind, []).append(subscriber)

    def emit(self, event: Event) -> Event:
        """Append an event and let the subscribers see it."""
        self.events.append(event)
        for subscriber in self._subscribers.get(event.kind, ()):
            subscriber(event)
        return event

    def of(self, *kinds: Ev) -> Iterator[Event]:
        """Events of these kinds so far, oldest first."""
        return (e for e in self.events if e.kind in kinds)

    def digest(self) -> int:
        """A number that is the same for paths on which the same happened, at the same places and with the same facts. What
        is read of a dataset is not told: not every path reads it again."""
        return hash(tuple(_told(event) for event in self.events if event.kind is not Ev.FIELD))

    def before(self, event: Event, *kinds: Ev) -> Iterator[Event]:
        """Events of these kinds before `event`, newest first."""
        for other in reversed(self.events):
            if other.seq < event.seq and other.kind in kinds:
                yield other

    def made(self, *kinds: Kind) -> Iterator[Obj]:
        """Objects of these kinds made on this path."""
        return (o for o in self.objects if o.kind in kinds)


def _told(event: Event) -> tuple[object, ...]:
    roles = tuple((role, obj.root.site, obj.type) for role, obj in event.roles.items())
    facts = tuple((k, v) for k, v in event.args.items() if v is None or isinstance(v, (str, bool, int, float, Enum)))
    return event.kind, event.location, event.by, event.maybe, event.contexts, roles, facts


def same_model(a: Obj | None, b: Obj | None) -> Tri:
    """Whether two references are (views of, parts of, or contain) one model."""
    if a is None or b is None:
        return Tri.UNKNOWN
    if a.root is b.root:
        return Tri.YES
    if any(m.root is b.root for m in a.models()) or any(m.root is a.root for m in b.models()):
        return Tri.YES
    return Tri.NO
