"""The state of one run: one path through one entry, with its heap, trace, frames and budget."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from lora_lint.interpreter import connectors
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.describe import variable
from lora_lint.interpreter.frames import GradMode, ParamLoop, Place
from lora_lint.interpreter.parameter_values import Element, ParamIter
from lora_lint.interpreter.paths import Oracle
from lora_lint.interpreter.sharing import Import
from lora_lint.interpreter.values import ModuleVal, OutOfBudget, Setting, Sym, Value
from lora_lint.lifecycle import effects
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import GRADIENT_WRITTEN, ONE_OF, Entered, Event, Guard, Tensor, Trace
from lora_lint.lifecycle.vocabulary import Ev, Kind, Tri
from lora_lint.location import Location
from lora_lint.syntax import ir

if TYPE_CHECKING:
    from lora_lint.interpreter.program import Program

MAX_DEPTH = 40
MAX_STEPS = 40_000
DEEP_COST = 500
EACH_BATCH = "each-batch"  # the context in which API specs run what a trainer does with every batch
_NOTHING = nullcontext()


class Run:
    """One path through one entry.

    `witnesses` are facts that refute "never" findings of other paths ("this config was applied"), `alternatives` sets of
    them of which an option chose one: one stands for all.
    """

    def __init__(self, program: Program, oracle: Oracle, patience: int = MAX_STEPS) -> None:
        """patience: steps after which the run ends when nothing of the lifecycle has happened yet."""
        self.program = program
        self._places = program.places
        self.limit = min(patience, MAX_STEPS)
        self.store = program.store
        self.oracle = oracle
        self.trace = Trace()
        self.module: ModuleVal = program.nowhere
        self.modules: dict[str, ModuleVal] = {}
        self.chain: list[Location] = []
        self.stack: list[object] = []  # paths of modules, frames of functions
        self.callee: ir.FunctionDef | ir.Lambda | None = None  # the function called last that still runs
        self.guards: list[Guard] = []
        self.passed: list[Guard] = []  # conditions of this turn of a loop that matter to what loses its graph alone
        self.contexts: list[str] = []
        self.within: list[Obj] = []
        self.entered: Entered | None = None
        self.grad: list[GradMode] = [GradMode(Tri.YES)]
        self.param_loops: list[ParamLoop] = []
        self.places: dict[Hashable, Element] = {}  # the parameter that a counter over a list of them points at
        self.output_parts: dict[
            tuple[int, str], tuple[Tensor, Value]
        ] = {}  # by id and name: written to outputs of models
        self.drawn: dict[Hashable, ParamIter] = {}  # by key: parameters that `next` took from an iterator
        self.filters: dict[Location, tuple[set[str], set[str], tuple[str, str]]] = {}
        self.statement: Location | None = None
        self.process = Obj(Kind.PROCESS, "process")
        self.witnesses: set[Hashable] = set()
        self.alternatives: set[frozenset[Hashable]] = set()
        self.executed: set[int] = set()
        self.computed: dict[Hashable, tuple[Event, ...]] = {}  # forwards behind the results of unknown calls (`losses`)
        self.made_of_cuts: dict[Hashable, tuple[Tensor, ...]] = {}  # what such calls got that has no graph any more
        self.fallbacks: dict[Hashable, object] = {}  # by key of an unknown: what it is where nobody sets it
        self.cached: dict[Hashable, Value] = {}  # results of functions that remember them
        self.yields: list[Callable[[Value], None]] = []  # what takes the values of the generators that run
        self.awaited: list[tuple[str, ...]] = []  # names that the bodies of loops over running generators tell apart
        self.cleared: list[list[Hashable]] = []  # what is cleared in arms that may leave out the step of the turn
        # For each `__enter__` of the user's that runs: the contexts it entered by hand, where, and whose they are.
        self.by_hand: list[list[tuple[Obj, Location, Obj]]] = []
        self.loops: list[Location] = []  # all loops that run, outermost first, those of callers too
        self.turns = 0  # turns so far of loops of which nobody knows how many there are
        self.turn = 0  # the one that runs, of the innermost such loop
        self.counters: set[Hashable] = set()  # keys of the unknowns that count the turns of a loop
        self.loop: Location | None = None  # the innermost loop of the current function
        self.alone: ir.Stmt | None = None  # the only statement of the body of the loop that runs
        self.thorough = False  # every arm counts, and every parameter that a model may have
        self.hypothetical = False  # this path is one of another configuration than that in the project's files
        self.failed = False  # what ran last of the module or function it starts from raised an error
        self.steps = 0
        self.unfollowed = 0
        self.inspecting = False  # what is evaluated is only looked at
        self.last_condition: tuple[ir.Node, Value] | None = None
        # Tests in loops that found nothing yet (`sentinels`).
        self.unset: set[tuple[ir.Node, tuple[Location, ...]]] = set()
        self.imports: dict[str, dict[str, Location]] = {}  # file -> library -> place of its first import so far
        self._fresh: dict[Hashable, int] = {}
        self.importing: list[Import] = []  # modules whose body runs, outermost first
        self.promoted: list[Sym] = []  # unknowns that turned out to be objects
        self.written: list[tuple[dict[str, Value], str, Value | None]] = []  # attributes, and what they were
        self._globals: dict[int, tuple[ModuleVal, dict[str, Value]]] = {}

    # --- modules shared by runs ---

    def keep_globals(self, module: ModuleVal) -> None:
        """Remember the names of a module before this run changes them: other runs share it."""
        self._globals.setdefault(id(module), (module, dict(module.scope.names)))

    def keep(self, attrs: dict[str, Value], name: str) -> None:
        """Remember an attribute before this run changes it: its owner may belong to a shared module."""
        self.written.append((attrs, name, attrs.get(name)))

    def settle(self, modules: Iterable[ModuleVal], written: int) -> None:
        """Modules are shared from here on: what their own bodies did, all but the first `written` writes, is not undone."""
        for module in modules:
            if id(module) in self._globals:
                self._globals[id(module)] = (module, dict(module.scope.names))
        del self.written[written:]

    def restore(self) -> None:
        """Undo what this run did to modules and values that other runs share."""
        for module, names in self._globals.values():
            module.scope.names = names
        for symbol in self.promoted:
            symbol.obj = None
        for attrs, name, value in reversed(self.written):
            if value is None:
                attrs.pop(name, None)
            else:
                attrs[name] = value

    # --- places and identities ---

    def loc(self, node: ir.Node) -> Location:
        """Where a node of the current module stands."""
        found = self._places.get(node)
        if found is None or found.path != self.module.path:
            found = self._places[node] = Location(self.module.path, *node.loc)
        return found

    def inner(self, node: ir.Node) -> Location | None:
        """Where the receiver of a method call, the only argument of a call, or the owner of an attribute stands."""
        if isinstance(node, ir.Call):
            if isinstance(node.func, ir.Attr):
                return self.loc(node.func.value)
            return self.loc(node.args[0].value) if len(node.args) == 1 and not node.args[0].star else None
        return self.loc(node.value) if isinstance(node, ir.Attr) else None

    def step(self) -> None:
        """Count one step of work; OutOfBudget when this path had enough."""
        self.steps += 1
        if self.steps > self.limit:
            if self.importing or self.steps > MAX_STEPS or not self.program.is_eventful(self.trace):
                raise OutOfBudget
            self.limit = MAX_STEPS

    def begin_part(self, limit: int) -> tuple[int, int]:
        """What follows has its own limit of steps; gives what `end_part` needs."""
        before = self.steps, self.limit
        self.steps, self.limit = 0, limit
        return before

    def end_part(self, before: tuple[int, int]) -> int:
        """Go on with the steps of before the part; how many it took."""
        taken = self.steps
        self.steps, self.limit = before
        return taken

    def too_deep(self) -> None:
        """A statement is nested too deeply to follow: leave it out. It costs many steps, so that it cannot happen often."""
        self.unfollowed += 1
        self.steps += DEEP_COST
        self.step()

    def fresh(self, node: ir.Node | None, text: str = "", data: bool = False) -> Sym:
        """A new unknown value, with an identity that is the same in every run that comes here the same way."""
        place: Hashable = (self.module.path, node.loc) if node is not None else text
        count = self._fresh.get(place, 0)
        self._fresh[place] = count + 1
        return Sym(("at", place, count), text, data=data)

    def make(self, kind: Kind, type_name: str, node: ir.Node | None) -> Obj:
        """A new object, allocated at `node`."""
        obj = Obj(kind, type_name, self.loc(node) if node is not None else None, guards=tuple(self.guards))
        self.trace.objects.append(obj)
        return obj

    # --- events ---

    def emit(
        self,
        kind: Ev,
        node: ir.Node | None,
        roles: dict[str, Obj] | None = None,
        args: dict[str, Any] | None = None,
        by: str = "",
        maybe: str = "",
        at: Location | None = None,
        given: tuple[Guard, ...] = (),
    ) -> Event:
        """Make an event happen: state changes first, then the checks see it. `maybe` names the versions it needs when
        the target is unknown; such an event changes no state."""
        if kind is Ev.THAW and args is not None:
            args = connectors.thawed((roles or {}).get("model"), args)
        where = at or (self.loc(node) if node is not None else Location(self.module.path, 1, 1, 1, 1))
        event = Event(
            kind,
            len(self.trace.events),
            where,
            roles or {},
            args or {},
            by,
            tuple(self.chain),
            tuple(self.guards),
            tuple(self.contexts),
            maybe=bool(maybe),
            versions=maybe,
            statement=self.statement,
            within=tuple(self.within),
            loop=self.loop,
            given=given,
        )
        for obj in event.roles.values():
            if kind is not Ev.COUNTED:  # only looked at
                obj.last_use = event.seq
            self.witness(kind, obj.root.site or where.path)
        if kind is Ev.FORWARD:
            mode = self.grad[-1]
            event.args["grad"], event.args["grad_at"], event.args["grad_form"] = mode.on, mode.at, mode.form
            event.args["grad_guards"] = mode.guards
            event.args["entered"] = self.entered
        if "forked" in self.contexts:
            event.adapters = ()  # it happens to a copy of the objects
        elif not maybe:
            effects.apply(event)
        elif event.model is not None:
            event.adapters = tuple(event.model.model.adapters)
        return self.trace.emit(event)

    def witness(self, kind: Ev, place: Hashable) -> None:
        """Note that something happened to the objects made at a place (or, unknown ones, in a file): it refutes findings
        that it never does. Marked "again" when it may happen more than once: in a loop, for each batch of a trainer, or in a
        function that others call; and marked by each loop it happens in."""
        if kind is Ev.ZERO_GRAD and self.cleared:
            self.cleared[-1].append(place)
            return
        self.witnesses.add((kind.value, place))
        self.witnesses.update((kind.value, place, loop) for loop in self.loops)
        once = self.stack and isinstance(self.stack[0], str) and EACH_BATCH not in self.contexts
        if self.loops or not once:
            self.witnesses.add((kind.value, place, "again"))

    def gradient_given(self) -> None:
        """Note that the file puts gradients of its own in place."""
        self.witnesses.update(((GRADIENT_WRITTEN,), (GRADIENT_WRITTEN, self.module.path)))

    def by_default(self, value: Value) -> Value:
        """An option as what it is by default, on the path on which all of them are. One that is None or empty then is there
        to be set, and stays unknown; so does one that the commands set which are known to start the program."""
        default = value.default if isinstance(value, Sym) else None
        if not isinstance(value, Sym) or default is None or default.value in (None, ""):
            return value
        left = not value.option or self.trace.left(value.option) is not False
        return Setting(default.value, value) if left and self.oracle.settles(value.key) else value

    def use(self, value: Value) -> None:
        """Note that an object was used here."""
        if isinstance(value, Obj) and not self.inspecting:
            value.last_use = len(self.trace.events)

    @contextmanager
    def looking(self, only: bool) -> Iterator[None]:
        """What is evaluated inside is only looked at, if so."""
        before, self.inspecting = self.inspecting, self.inspecting or only
        try:
            yield
        finally:
            self.inspecting = before

    def touch_args(self, args: Args) -> None:
        """Note that the objects among these arguments were used."""
        for value in args.values():
            self.use(value)

    def conditions(self) -> tuple[Guard, ...]:
        """The conditions under which something loses its graph here."""
        chosen = () if self.grad[-1].on.yes else self.grad[-1].guards
        return tuple(dict.fromkeys((*self.guards, *self.passed, *chosen)))

    # --- nesting ---

    def guarded(self, guard: Guard | None) -> AbstractContextManager[None]:
        """Everything inside happens under this condition, if there is one."""
        return _NOTHING if guard is None else self._guarded(guard)

    @contextmanager
    def _guarded(self, guard: Guard) -> Iterator[None]:
        self.guards.append(guard)
        try:
            yield
        finally:
            # The last one: a function that calls itself meets its condition again, and what it leaves behind is cut off by
            # length. What was appended inside holds for the rest of the function, and stays.
            del self.guards[len(self.guards) - 1 - self.guards[::-1].index(guard)]

    @contextmanager
    def context(self, name: str) -> Iterator[None]:
        """Everything inside happens in this context ("worker", "accumulate", …)."""
        self.contexts.append(name)
        try:
            yield
        finally:
            self.contexts.pop()

    def one_of(self, values: Iterable[Value]) -> AbstractContextManager[None]:
        """Everything inside happens to one of these, and nobody knows to which."""
        several = sum(isinstance(value, Obj) for value in values) > 1
        return self.context(ONE_OF) if several else nullcontext()

    @contextmanager
    def inside(self, obj: Obj) -> Iterator[None]:
        """Everything inside happens within this object: an autocast or accumulate block, a trainer's own step."""
        self.within.append(obj)
        try:
            yield
        finally:
            self.within.remove(obj)

    @contextmanager
    def entering(self, module: Obj, node: ir.Node, itself: bool) -> Iterator[None]:
        """The user's module is called here, itself or a method of it; of modules in modules the outermost counts."""
        before = self.entered
        called = node.func if itself and isinstance(node, ir.Call) else None
        place = self.loc(called) if called is not None else None
        self.entered = before or Entered(module, self.loc(node), place, variable(called), tuple(self.chain))
        try:
            yield
        finally:
            self.entered = before

    @contextmanager
    def grad_mode(self, on: Tri, at: Location | None, form: str = "", guards: tuple[Guard, ...] = ()) -> Iterator[None]:
        """Everything inside runs with this grad mode. guards: the conditions under which it is this one."""
        self.grad.append(GradMode(on, at, form, guards))
        depth = len(self.grad)
        try:
            yield
        finally:
            del self.grad[depth - 1 :]

    @contextmanager
    def frame(self, module: ModuleVal, call: ir.Node | None, what: object) -> Iterator[None]:
        """A call: the callee's module is current, the call site joins the chain."""
        site = self.loc(call) if call is not None else None
        saved = (self.module, self.statement, len(self.guards), len(self.grad))
        loop, self.loop = self.loop, None
        if site is not None:
            self.chain.append(site)
        self.stack.append(what)
        self.module = module
        try:
            yield
        finally:
            self.module, self.statement, self.loop = saved[0], saved[1], loop
            del self.guards[saved[2] :]
            del self.grad[saved[3] :]
            self.stack.pop()
            if site is not None:
                self.chain.pop()

    def place(self) -> Place:
        """Where the interpretation stands: for coming back to it out of calls that were made since."""
        return Place(self.module, self.statement, tuple(self.chain), tuple(self.stack), self.loop, len(self.yields))

    @contextmanager
    def back_in(self, place: Place) -> Iterator[None]:
        """Code of an outer function that runs while a call of it is still open: the body of a with block, at the yield
        of its context manager.
        """
        here = self.place()
        takers = self.yields[place.yields :]
        self._go(place)
        del self.yields[place.yields :]
        try:
            yield
        finally:
            self._go(here)
            self.yields.extend(takers)

    def _go(self, place: Place) -> None:
        self.module, self.statement, self.loop = place.module, place.statement, place.loop
        self.chain[:], self.stack[:] = place.chain, place.stack

    @property
    def in_worker(self) -> bool:
        """Whether the code runs in a data loader worker, or in another process for the user."""
        return "worker" in self.contexts or "forked" in self.contexts
