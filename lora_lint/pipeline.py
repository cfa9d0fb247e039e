"""One run, in order: find files, read, parse, analyse, suppress, select, fix, compare with the baseline and the diff.

The only place that knows this order, and (in `_guarded`) the only one that catches our own bugs: each becomes LL000
for its file, and the run goes on.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lora_lint import __version__, collector
from lora_lint.baseline import fingerprints, read_baseline, write_baseline
from lora_lint.datafiles import DataFiles
from lora_lint.discovery import discover, is_excluded
from lora_lint.errors import InputError, InternalError, KnowledgeError
from lora_lint.findings import Applicability, Finding, FixPlan, ReplaceComment, Severity
from lora_lint.fix.diff import unified_diff
from lora_lint.fix.write import replace_file
from lora_lint.gitdiff import changed_since
from lora_lint.interpreter.program import Program
from lora_lint.knowledge import Knowledge
from lora_lint.location import Location
from lora_lint.modules import project_top
from lora_lint.pairs import unmatched
from lora_lint.project import Loader, Project
from lora_lint.report.model import RunReport, lines_of
from lora_lint.request import Outcome, Request
from lora_lint.selection import relative_to_root
from lora_lint.syntax import ir
from lora_lint.syntax.lowering import lower_module
from lora_lint.syntax.problem import SyntaxProblem
from lora_lint.syntax.source import SourceFile
from lora_lint.syntax.suppress import find_suppressions, without
from lora_lint.versions import TargetVersions

if TYPE_CHECKING:
    from lora_lint.fix.apply import FixOutcome

T = TypeVar("T")


def run(request: Request) -> Outcome:
    """Check what is asked for. Raises InputError and KnowledgeError for what makes the whole run impossible, and
    InternalError for a bug of ours that belongs to no single file."""
    try:
        with collector.rarely():
            return _Run(request).outcome()
    except (InputError, KnowledgeError):
        raise
    except Exception as error:
        raise InternalError(_named(error)) from error


def _named(error: Exception) -> str:
    """An exception in one line."""
    first_line = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first_line}".removesuffix(": ")


class _Run:
    """One run: what it is asked for, the knowledge it uses, and what goes wrong on the way."""

    def __init__(self, request: Request):
        self._request = request
        self._configuration = request.configuration
        self._cwd = str(Path.cwd().resolve())
        self._data = DataFiles(self._cwd)
        self._crashes: dict[str, Finding] = {}
        self._notes: list[str] = []

    def outcome(self) -> Outcome:
        """All steps, in order."""
        request = self._request
        with collector.reading():
            found = discover(() if request.stdin is not None else request.paths, self._configuration, self._cwd)
            self._knowledge = Knowledge(self._configuration, self._cwd)
            loader = Loader(self._cwd, request.paths, self._parse)
            if request.stdin is not None:
                loader.add_text(request.stdin_name, request.stdin)
            self._project = loader.load(found.files, self._knowledge.store.libraries)
        self._errors = [*found.errors, *self._project.errors]
        self._statistics: Mapping[str, int] = {}
        self._first = self._judged(self._project)
        if request.write_baseline is not None:
            return self._accept_all(request.write_baseline)
        shown = self._shown(self._first)
        fixing = request.fixing
        if fixing.show:
            return self._diff(shown)
        if fixing.write:
            return self._fix(shown)
        return Outcome(self._report(shown), notes=tuple(self._notes))

    # --- analysis -----------------------------------------------------------------------------------------------------

    def _parse(self, source: SourceFile) -> ir.Module | None:
        """The module of a source; None after an internal error was noted. SyntaxProblem: it does not parse."""
        result = self._guarded(source.path, lambda: _lowered(source))
        if isinstance(result, SyntaxProblem):
            raise result
        return result

    def _guarded(self, path: str, step: Callable[[], T]) -> T | None:
        """The result of a step for one file; None after noting the LL000 that a bug of ours becomes."""
        try:
            return step()
        except Exception as error:  # noqa: BLE001
            message = f"internal error, please report it as a bug of lora-lint: {_named(error)}"
            self._crashes[path] = self._meta("LL000", Location(path, 1, 1, 1, 1), message)
            if self._request.debug:
                self._notes.append(f"{path}: {traceback.format_exc()}")
            return None

    def _meta(self, code: str, location: Location, message: str, help_line: str = "") -> Finding:
        """A finding of the pipeline itself."""
        card = self._knowledge.cards[code]
        return Finding(code, card.name, Severity(card.severity), message, location, help_line)

    def _judged(self, project: Project) -> list[Finding]:
        """All findings of a project that are neither suppressed nor switched off, in order of place."""
        raw = self._analysed(project)
        for one in project.broken:
            place = Location(one.path, one.line, one.column, one.line, one.column)
            found = self._meta("LL001", place, one.message)
            # A cell that is no Python (commands for a terminal, a draft) keeps nothing else from being checked.
            mild = one.valid or one.path in project.units
            raw.append(replace(found, severity=Severity.WARNING) if mild else found)
        by_path: dict[str, list[Finding]] = {path: [] for path in project.targets}
        for finding in dict.fromkeys(raw):
            by_path.setdefault(finding.location.path, []).append(finding)
        kept: list[Finding] = list(self._crashes.values())
        for path, findings in by_path.items():
            if path in project.asked or not is_excluded(path, self._configuration, self._cwd):
                kept += self._kept(path, project.sources.get(path), findings)
        return sorted(kept, key=lambda finding: finding.sort_key)

    def _analysed(self, project: Project) -> list[Finding]:
        """What the checks say, each finding once."""
        if not project.targets:
            return []
        knowledge = self._knowledge

        def versions_for(path: str) -> TargetVersions:
            return knowledge.versions(path, [line for _, line in project.sources[path].shell_lines])

        program = self._guarded(
            project.targets[0],
            lambda: Program(
                project.units,
                knowledge.store,
                knowledge.registry.checks,
                versions_for,
                knowledge.registry.render,
                self._data.load,
                self._data.launches,
            ),
        )
        if program is None:
            return []
        findings: list[Finding] = []
        for path in project.targets:
            findings += self._guarded(path, lambda path=path: program.run(path)) or []  # type: ignore[misc]
        findings += self._guarded(project.targets[0], program.finish) or []
        self._statistics = program.statistics
        best: dict[tuple[str, Location], Finding] = {}
        for finding in findings:
            best.setdefault((finding.code, finding.location), finding)
        return list(best.values())

    def _kept(self, path: str, source: SourceFile | None, findings: Iterable[Finding]) -> list[Finding]:
        """The findings of one file after suppressions and selection, with their context lines."""
        suppressions = find_suppressions(source.text if source else "")
        lines = lines_of(source.text) if source else ()
        selected = self._knowledge.selection(path)
        relative = relative_to_root(path, str(self._knowledge.settings(path).root), self._cwd)
        kept = []
        for finding in findings:
            place = finding.location
            if finding.code != "LL001" and suppressions.covers(finding.code, finding.name, place.line, place.end_line):
                continue
            if selected.reports(finding.code, relative):
                line = lines[place.line - 1] if place.line <= len(lines) else ""
                context = (source.written(line) if source else line).strip()
                kept.append(replace(finding, context=finding.context or context))
        if path in self._project.targets and selected.reports("LL002", relative):
            kept += self._unused(path, lines, suppressions.unused(self._knowledge.spoken_for(path)))
        return kept

    def _unused(
        self, path: str, lines: Sequence[str], places: Iterable[tuple[int, int, int, str]]
    ) -> Iterator[Finding]:
        """LL002 for suppressions that suppress nothing, with the fix that removes them."""
        for line, column, end_column, codes in places:
            place = Location(path, line, column, line, end_column)
            message = f"this suppresses no finding of {codes}" if codes else "this suppresses no finding"
            comment = lines[line - 1][column - 1 : end_column - 1]
            intent = ReplaceComment(place, without(comment, codes.split(", ") if codes else ()))
            plan = FixPlan(Applicability.SAFE, "remove the suppression", (intent,))
            finding = self._meta("LL002", place, message, "remove it, or put it on the first line of the statement")
            yield replace(finding, plan=plan, context=lines[line - 1].strip())

    # --- what is shown ------------------------------------------------------------------------------------------------

    def _marks(self, findings: list[Finding]) -> list[str]:
        return fingerprints(findings, self._root_paths(findings))

    def _root_paths(self, findings: list[Finding]) -> list[str]:
        """For each finding the path from the project's root: the same whatever folder the run starts in."""
        main = self._configuration.main
        root = str(main.root) if main.source else project_top(self._cwd, self._cwd)
        return [relative_to_root(finding.location.path, root, self._cwd) for finding in findings]

    def _shown(self, findings: list[Finding]) -> _Shown:
        """The findings that neither the baseline nor the diff leaves out."""
        marked = list(zip(findings, self._marks(findings), strict=True))
        baseline = self._configuration.main.baseline
        if baseline is not None:
            known = read_baseline(baseline)
            marked = [(finding, mark) for finding, mark in marked if not known.accepts(mark)]
        fresh = len(marked)
        if self._request.diff_base is not None:
            changed = changed_since(self._request.diff_base, self._cwd)
            marked = [(one, mark) for one, mark in marked if changed.touches_finding(one, self._cwd)]
        return _Shown(marked, baselined=len(findings) - fresh, outside_diff=fresh - len(marked))

    def _report(self, shown: _Shown, project: Project | None = None, fixed: int = 0) -> RunReport:
        """The report, with the fixes built against the text that they would change."""
        project = project or self._project
        return RunReport(
            findings=tuple(self._with_fixes(shown.findings, project)),
            fingerprints=tuple(mark for _, mark in shown.marked),
            sources=project.sources,
            rules=self._knowledge.cards,
            checked=project.checked,
            fixed=fixed,
            baselined=shown.baselined,
            outside_diff=shown.outside_diff,
            errors=tuple(self._errors),
            statistics=self._statistics,
            version=__version__,
        )

    def _with_fixes(self, findings: list[Finding], project: Project) -> list[Finding]:
        """The findings, each with the fix that would be made for it."""
        if not findings:
            return []
        from lora_lint.fix.apply import with_fixes  # needs LibCST: dear to import, and most runs find nothing

        return with_fixes(findings, _texts(project), _cells(project), self._knowledge.registry.unplanned())

    def _accept_all(self, path: Path) -> Outcome:
        """Write the baseline. Crashes and files that do not parse cannot be accepted."""
        accepted = [finding for finding in self._first if finding.code not in ("LL000", "LL001")]
        rest = [finding for finding in self._first if finding.code in ("LL000", "LL001")]
        count = write_baseline(path, accepted, self._marks(accepted), self._root_paths(accepted))
        shown = _Shown(list(zip(rest, self._marks(rest), strict=True)), baselined=count)
        note = f"wrote {count} finding{'s' * (count != 1)} to the baseline {path}"
        return Outcome(self._report(shown), notes=(*self._notes, note))

    # --- fixes --------------------------------------------------------------------------------------------------------

    def _fixed(self, shown: _Shown) -> FixOutcome:
        """Fixes for the findings that are shown, each confirmed by a new analysis."""
        from lora_lint.fix.apply import fix_project  # needs LibCST: dear to import

        wanted = {_identity(finding) for finding in shown.findings}
        original = _texts(self._project)

        def analyze(texts: Mapping[str, str]) -> list[Finding]:
            if texts == original:
                return self._first
            # A crash on a text that is only tried out must not taint the next try.
            crashes = dict(self._crashes)
            findings = self._judged(self._with_texts(texts))
            self._crashes = crashes
            return findings

        def select(finding: Finding) -> bool:
            return _identity(finding) in wanted and self._knowledge.selection(finding.location.path).fixes(finding.code)

        unsafe = self._configuration.main.unsafe_fixes
        fixed = fix_project(original, analyze, unsafe=unsafe, select=select, cells=_cells(self._project))
        for finding, reason in fixed.reverted:
            place = f"{finding.location}: {finding.code}"
            self._notes.append(f"{place}: fix dropped, please report it as a bug of lora-lint: {reason}")
        for finding, reason in fixed.uncovering:
            place = f"{finding.location}: {finding.code}"
            self._notes.append(f"{place}: fix not applied, it is not enough by itself: after it {reason}")
        return fixed

    def _with_texts(self, texts: Mapping[str, str]) -> Project:
        """The project with some files changed; only those are parsed again."""
        changed = {path: text for path, text in texts.items() if text != self._project.sources[path].text}
        project = replace(self._project, sources=dict(self._project.sources), units=dict(self._project.units))
        for path, text in changed.items():
            project.sources[path] = replace(self._project.sources[path], text=text)
            module = self._parse(project.sources[path])
            if module is not None:
                project.units[path] = module
        return project

    def _diff(self, shown: _Shown) -> Outcome:
        """What --fix would change, as a diff."""
        fixed = self._fixed(shown)
        diffs = [
            unified_diff(path, self._project.sources[path].text, text) for path, text in sorted(fixed.texts.items())
        ]
        count = len(fixed.applied)
        self._notes.append(f"would fix {count} problem{'s' * (count != 1)}")
        self._notes += unmatched(set(fixed.texts), self._cwd)
        return Outcome(self._report(shown), "".join(diffs), tuple(self._notes))

    def _fix(self, shown: _Shown) -> Outcome:
        """Write the fixes and report what remains."""
        fixed = self._fixed(shown)
        unwritten = {path for path, text in fixed.texts.items() if not self._written(path, text)}
        if self._request.stdin is None:
            self._notes += unmatched(set(fixed.texts) - unwritten, self._cwd)
        output: str | bytes = ""
        if self._request.stdin is not None:
            output = self._encoded(self._request.stdin_name, fixed)
        texts = {path: text for path, text in fixed.texts.items() if path not in unwritten}
        project = self._with_texts(texts)
        remaining = list(fixed.remaining) if not unwritten else self._judged(project)
        applied = [finding for finding, _ in fixed.applied if finding.location.path not in unwritten]
        return Outcome(self._report(self._shown(remaining), project, len(applied)), output, tuple(self._notes))

    def _encoded(self, path: str, fixed: FixOutcome) -> bytes:
        """The fixed standard input, in its own encoding."""
        source = self._project.sources.get(path)
        if source is None or path not in fixed.texts:
            return self._request.stdin or b""
        return source.encode(fixed.texts[path])

    def _written(self, path: str, text: str) -> bool:
        """Whether the file could be written; standard input is not a file."""
        if self._request.stdin is not None and path == self._request.stdin_name:
            return True
        source = self._project.sources[path]
        try:
            place = os.path.join(self._cwd, path)
            replace_file(place, source.raw, source.encode(text), backup=self._request.fixing.backup)
        except InputError as error:
            self._errors.append(str(error))
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Shown:
    """Findings with their fingerprints, and how many were left out."""

    marked: list[tuple[Finding, str]]
    baselined: int = 0
    outside_diff: int = 0

    @property
    def findings(self) -> list[Finding]:
        """Without the fingerprints."""
        return [finding for finding, _ in self.marked]


def _lowered(source: SourceFile) -> ir.Module | SyntaxProblem:
    """The module of a source, or what is wrong with it."""
    try:
        return lower_module(source.text, source.path)
    except SyntaxProblem as problem:
        return problem


def _texts(project: Project) -> dict[str, str]:
    """The texts that fixes may change: those of the files that were asked for."""
    return {path: source.text for path, source in project.sources.items() if path in project.asked}


def _cells(project: Project) -> dict[str, list[int]]:
    """For each notebook the lines at which its cells start."""
    return {
        path: [cell.marker for cell in source.notebook.cells]
        for path, source in project.sources.items()
        if source.notebook is not None
    }


def _identity(finding: Finding) -> tuple[str, str, str]:
    """What makes a finding the same one after lines have moved."""
    return finding.code, finding.location.path, " ".join(finding.context.split())
