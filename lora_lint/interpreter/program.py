"""A project under analysis: its modules, the entries from which it is interpreted, and the findings of all paths."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from lora_lint.apis.store import ApiStore
from lora_lint.checks.base import Check, Report
from lora_lint.checks.common import TRAINING, witnesses
from lora_lint.findings import Finding, Severity
from lora_lint.interpreter import entry, launching, sharing
from lora_lint.interpreter.execute import block
from lora_lint.interpreter.linking import Linker
from lora_lint.interpreter.mapped import Mapped
from lora_lint.interpreter.paths import Contradicted, Flips, Oracle, Outcome, explore
from lora_lint.interpreter.relevance import Heat, Relevance
from lora_lint.interpreter.run import MAX_STEPS, Run
from lora_lint.interpreter.survey import survey
from lora_lint.interpreter.targets import Targets, Versions
from lora_lint.interpreter.values import Const, Jump, ModuleVal, OutOfBudget, Returned, Sym, Value
from lora_lint.launches import Launch
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import Ev
from lora_lint.location import Location
from lora_lint.syntax import ir

MAX_PATHS = 24
# Steps of all paths through an entry: to look for findings, and to refute those there are. With 18,000 for both, 35 public
# repositories gave two advices more to 240 findings.
MAX_STEPS_PER_ENTRY = 9_000, 18_000
MAX_STEPS_PER_ORPHAN = 6_000, 10_000  # for functions that others mention, but that no followed call reached
MAX_STEPS_PER_SCRIPT = 12_000  # from then on functions that a module did not call start without what its body does
# Steps that a path gets before its first event: code that a framework calls is mostly about something else.
PATIENCE = 10_000
PATIENCE_FOR_ORPHANS = 3_000
MAX_STEPS_PER_FILE = 200_000  # from then on only one path per function, on a module that just defines things
RECURSION_LIMIT = 4_000  # an interpreted call takes some twenty frames of ours
MAX_CONDITIONS = 1

# A path with none of these has nothing that rules report on.
_EVENTFUL = frozenset(
    {
        Ev.CONFIGURE,
        Ev.INJECT,
        Ev.PREPARE,
        Ev.BACKWARD,
        Ev.TRAIN,
        Ev.TRAINER,
        Ev.OPTIMIZER,
        Ev.LOADER,
        Ev.WORKERS,
        Ev.MERGE,
        Ev.STEP,
        Ev.ARGUMENTS,
    }
)


class Program:
    """The files of one project, linked.

    units: path -> module. checks: the rules to run. versions_for: path -> target versions of the project it belongs to.
    read_data: the mapping in a configuration file, by script, name and kind (see `DataFiles.load`).
    launches: the commands that are known to start a script (see `DataFiles.launches`).
    `run` analyses one file, `finish` what only shows when all files were seen.
    """

    def __init__(
        self,
        units: Mapping[str, ir.Module],
        store: ApiStore,
        checks: Sequence[Check],
        versions_for: Callable[[str], Versions],
        render: Callable[[str, Report], Finding] | None = None,
        read_data: Callable[[str, str, str], dict[str, Any] | None] = lambda script, name, kind: None,
        launches: Callable[[str], Sequence[Launch]] = lambda script: (),
    ) -> None:
        self.units = dict(units)
        self.store = store
        self._watching: dict[Ev, list[Check]] = {}  # which checks see events of a kind
        for check in checks:
            for kind in check.on:
                self._watching.setdefault(kind, []).append(check)
        self.read_data = read_data
        self._launches = launches
        heat = Heat(store)
        self._surveys = {path: survey(unit, heat) for path, unit in self.units.items()}
        self.linker = Linker(units, self._surveys, store)
        self.relevance = Relevance(heat, store, self._surveys.values())
        self.nowhere = ModuleVal("", "", ir.Module("", ()))
        self.statistics: dict[str, int] = {"files": 0, "entries": 0, "paths": 0, "not-followed": 0, "out-of-budget": 0}
        self.targets = Targets(self._surveys, store, self.linker, versions_for)
        if render is None:
            from lora_lint.checks.registry import render_finding

            render = render_finding
        self._render = render
        self.mapped = Mapped()
        self._shared = sharing.Shared()
        self._executed: set[int] = set()
        self._witnesses: set[Hashable] = set()
        # What methods do that nothing names: it refutes nothing of a script that runs.
        self._unnamed: set[Hashable] = set()
        # By code and place: what would refute each of the reasons that were seen for a finding, whether a script that
        # runs has it, and the finding.
        self._candidates: dict[tuple[str, object], dict[tuple[frozenset[Hashable], bool], Finding]] = {}
        self._postponed: list[tuple[str, entry.Entry]] = []
        self._steps: Counter[str] = Counter()  # taken so far, by the file that was started from
        self.places: dict[ir.Node, Location] = {}  # of nodes that a run asked for
        self.arms: dict[ir.If, tuple[tuple[str, ...], tuple[str, ...]]] = {}  # names in conditions' arms (branches.py)
        self.sets: dict[Location, frozenset[str]] = {}  # names that loops set (varying.py)
        self._flips = Flips()
        self._outlines: dict[str, ModuleVal] = {}
        self._tests: dict[str, bool] = {}

    # --- what the interpreter asks ---

    def holds(self, path: str, versions: Mapping[str, str]) -> bool | None:
        """Whether a range holds for the versions the file's project targets. An unknown version is taken to be a new
        one: a range open above holds, one that ended is None (maybe)."""
        return self.targets.holds(path, versions) if versions else True

    def is_hot(self, node: ir.Node) -> bool:
        """Whether code can matter to the lifecycle."""
        return self.relevance.node(node)

    def was_run(self, node: ir.Node) -> bool:
        """Whether some path has interpreted this function."""
        return id(node) in self._executed

    def hot_block(self, body: tuple[ir.Stmt, ...]) -> bool:
        """Whether statements can matter to the lifecycle."""
        return self.relevance.block(body)

    def resolve(self, run: Run, module: str, level: int) -> ModuleVal | None:
        """The project module that an import in the current module names; its body is run on first import."""
        path = self.linker.find(run.module.path, module, level)
        return self.module(run, path) if path is not None else None

    def module(self, run: Run, path: str) -> ModuleVal:
        """A module of the project. One that does nothing but define things is shared by runs."""
        found = run.modules.get(path)
        if found is not None:
            sharing.use(run, found)
            return found
        shared = self._shared.find(run, path)
        if shared is not None:
            return shared
        module = self._fresh_module(run, path)
        with self._shared.importing(run, module):
            self._execute_module(run, module, "module")
        return module

    def _is_cold(self, path: str) -> bool:
        """Whether the body of a module only defines things."""
        return not any(
            self.relevance.node(s)
            for s in self.units[path].body
            if not isinstance(s, (ir.FunctionDef, ir.ClassDef, ir.Import)) and not _is_main_guard(s)
        )

    def _execute_module(self, run: Run, module: ModuleVal, name: str) -> None:
        module.started = True
        module.scope.names["__name__"] = Const(name)
        module.scope.names["__file__"] = Const(module.path)
        with run.frame(module, None, module.path):
            try:
                block(run, module.node.body, module.scope)
            except (Jump, Returned) as end:
                run.failed = isinstance(end, Jump) and end.kind == "raise"

    def member(self, run: Run, module: ModuleVal, name: str, node: ir.Node) -> Value:
        """A name of a project module, or its submodule."""
        if name in module.scope.names:
            return module.scope.names[name]
        path = self.linker.submodule(module.path, name)
        if path is not None:
            return self.module(run, path)
        return Sym(("member", module.path, name), name)

    # --- running ---

    def run(self, path: str) -> list[Finding]:
        """Analyse one file: its module body, then what nothing else can call. Findings that another path may still
        refute come from `finish`."""
        self.statistics["files"] += 1
        unit = self.units[path]
        launches = self._launches(path)

        def start(run: Run) -> None:
            module = self._fresh_module(run, path)
            launching.started(run, launches, Location(path, 1, 1, 1, 1))
            self._execute_module(run, module, "__main__")

        self.explore(path, start)
        found = entry.entries(unit, self._surveys[path], self.relevance)
        # What a framework does with a class that others name comes before its methods each alone.
        later = {c.name for c in found if isinstance(c.node, ir.ClassDef) and self._named_elsewhere(path, c)}
        for one in sorted(found, key=lambda each: each.owner in later):
            if one.owner in later or self._named_elsewhere(path, one):
                self._postponed.append((path, one))
            else:
                self._run_entry(path, one)
        return []

    def _named_elsewhere(self, path: str, one: entry.Entry) -> bool:
        return self.linker.referenced_elsewhere(path, one.name)

    def finish(self) -> list[Finding]:
        """Run what no other file turned out to call, then give every finding that no path refuted."""
        for path, one in self._postponed:
            self._run_entry(path, one, MAX_STEPS_PER_ORPHAN)
        self._postponed = []
        every = self._witnesses | self._unnamed
        standing = (
            [one for (unless, runs), one in reasons.items() if unless.isdisjoint(self._witnesses if runs else every)]
            for reasons in self._candidates.values()
        )
        return [findings[0] for findings in standing if findings]

    def _run_entry(self, path: str, one: entry.Entry, max_steps: tuple[int, int] = MAX_STEPS_PER_ENTRY) -> None:
        if id(one.node) in self._executed:
            return

        outline = self._steps[path] > MAX_STEPS_PER_SCRIPT and not self._is_cold(path)
        frugal = self._steps[path] > MAX_STEPS_PER_FILE

        def go(run: Run) -> None:
            entry.start(run, self._outline(run, path) if outline or frugal else self.module(run, path), one)

        patience = PATIENCE_FOR_ORPHANS if frugal or max_steps < MAX_STEPS_PER_ENTRY else PATIENCE
        unnamed = one.named and self.linker.unnamed(one.name)
        into = self._unnamed if unnamed else self._witnesses
        self.explore(path, go, (1, 1) if frugal else max_steps, patience, into)
        self._executed.add(id(one.node))

    def _outline(self, run: Run, path: str) -> ModuleVal:
        """A module with what its body defines, but none of what it does; shared by all runs."""
        module = self._outlines.get(path)
        if module is None:
            defines = (ir.FunctionDef, ir.ClassDef, ir.Import)
            body = [s for s in self.units[path].body if isinstance(s, defines) or not self.relevance.node(s)]
            module = self._outlines[path] = ModuleVal(path, PurePosixPath(path).stem, ir.Module(path, tuple(body)))
            self._execute_module(run, module, "module")
        return module

    def _fresh_module(self, run: Run, path: str) -> ModuleVal:
        module = ModuleVal(path, PurePosixPath(path).stem, self.units[path])
        module.place = len(run.modules)
        run.modules[path] = module
        return module

    def explore(
        self,
        path: str,
        body: Callable[[Run], None],
        max_steps: tuple[int, int] = MAX_STEPS_PER_ENTRY,
        patience: int = MAX_STEPS,
        into: set[Hashable] | None = None,
    ) -> None:
        """Run a body of a file once for each path through it. into: the witnesses, where it is no script that runs."""
        self.statistics["entries"] += 1
        refutable: list[frozenset[Hashable]] = []  # what other paths would have to do

        def follow(oracle: Oracle) -> Outcome:
            run = Run(self, oracle, patience)
            run.trace.ends = lambda: self.linker.may_end_texts(path)
            reports = self._subscribe(run)
            try:
                body(run)
                run.module = ModuleVal(path, "", self.units[path])
                run.emit(Ev.END, None)
            except Contradicted:
                run.restore()
                raise
            except OutOfBudget:
                self.statistics["out-of-budget"] += 1
            except (Jump, Returned) as end:
                run.failed = isinstance(end, Jump) and end.kind == "raise"
                run.emit(Ev.END, None)
            run.restore()
            self._executed |= run.executed
            chosen = (others for others in run.alternatives if not others.isdisjoint(run.witnesses))
            (self._witnesses if into is None else into).update(run.witnesses.union(*chosen))
            self.statistics["not-followed"] += run.unfollowed
            # Of what one path tells of a place, the worst counts: its end knows more than its middle.
            worst_first = sorted(reports, key=lambda found: found[1].severity is not None)
            for code, report in worst_first if not run.hypothetical else ():
                if self._consider(code, report, into is None) and report.unless:
                    refutable.append(report.unless)
            self._steps[path] += run.steps
            oracle.trail = None if run.thorough else run.trace.digest()
            return Outcome(
                run.steps, None if run.thorough else _kinds(run.trace), run.failed and len(run.trace.events) > 1
            )

        def combine() -> bool:
            return any(keys.isdisjoint(self._witnesses) for keys in refutable)

        with _deep_recursion():
            for _ in explore(follow, MAX_PATHS, max_steps, combine, self._flips):
                self.statistics["paths"] += 1

    def is_eventful(self, trace: Trace) -> bool:
        """Whether anything happened that rules report on."""
        return bool(_kinds(trace))

    def _subscribe(self, run: Run) -> list[tuple[str, Report]]:
        reports: list[tuple[str, Report]] = []

        def see(event: Event) -> None:
            for check in self._watching[event.kind]:
                for report in check.function(event, run.trace):
                    reports.append((check.code, report))

        run.trace.subscribe(tuple(self._watching), see)
        run.trace.subscribe(TRAINING, lambda event: run.witnesses.update(witnesses(event)))
        return reports

    def _consider(self, code: str, report: Report, runs: bool) -> bool:
        """Keep a report unless it needs several independent conditions that nothing says go together."""
        free = {guard.key for guard in report.conditions() if not guard.default}
        if len(free) > MAX_CONDITIONS:
            return False
        reasons = self._candidates.setdefault((code, report.location), {})
        if (report.unless, runs) not in reasons:
            finding = self._render(code, report)
            if self._is_test(report.location.path):
                finding = replace(finding, severity=Severity.INFO)
            reasons[report.unless, runs] = finding
        return True

    def _is_test(self, path: str) -> bool:
        """Whether a file holds tests of a test runner: they do wrong things on purpose, and train nothing to keep."""
        if path not in self._tests:
            self._tests[path] = path in self.units and entry.holds_tests(self.units[path])
        return self._tests[path]


def _kinds(trace: Trace) -> frozenset[Ev]:
    """The kinds of what happened that rules report on."""
    return frozenset(event.kind for event in trace.events) & _EVENTFUL


@contextlib.contextmanager
def _deep_recursion() -> Iterator[None]:
    """Room on Python's stack for code that is nested deeply, each level of which takes several frames of ours."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, RECURSION_LIMIT))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _is_main_guard(statement: ir.Stmt) -> bool:
    test = statement.test if isinstance(statement, ir.If) else None
    return isinstance(test, ir.Op) and any(isinstance(o, ir.Name) and o.id == "__name__" for o in test.operands)
