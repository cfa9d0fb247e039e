"""Applying fixes until nothing is left to do, and keeping only those that a new analysis confirms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from lora_lint.findings import Applicability, Edit, Finding, Fix
from lora_lint.fix.build import Builder, by_file
from lora_lint.fix.edits import EditConflictError, Lines, apply_edits
from lora_lint.fix.isolation import Candidate, candidate, isolated, merged_edits
from lora_lint.fix.tree import syntax_problem

Analyze = Callable[[Mapping[str, str]], Sequence[Finding]]
Select = Callable[[Finding], bool]
Key = tuple[str, str, str]

# Every round that keeps a fix leaves fewer findings, so the loop ends by itself; this only guards against an analysis
# that gives different answers for the same text.
MAX_ROUNDS = 100


@dataclass(frozen=True, slots=True)
class FixOutcome:
    """What a run of fixes did.

    texts: new text of every changed file. applied: findings that are gone, with the title of the fix. refused: findings
    whose fix cannot be done safely, with the reason. reverted: fixes that a new analysis did not confirm, with the
    reason; each is a bug of ours. uncovering: fixes that were not kept because another finding would come up, with it.
    remaining: findings after all fixes, at their new places.
    """

    texts: Mapping[str, str]
    applied: tuple[tuple[Finding, str], ...]
    refused: tuple[tuple[Finding, str], ...]
    reverted: tuple[tuple[Finding, str], ...]
    remaining: tuple[Finding, ...]
    uncovering: tuple[tuple[Finding, str], ...] = ()


def fix_project(
    texts: Mapping[str, str],
    analyze: Analyze,
    *,
    unsafe: bool = False,
    select: Select = lambda finding: True,
    cells: Mapping[str, Sequence[int]] | None = None,
) -> FixOutcome:
    """Fixed texts of a project, and what became of every finding.

    texts: text of every file by path, as in the locations of findings. analyze: all findings for such texts (called
    once before the first fix and at least once per round). unsafe: apply unsafe fixes too. select: which findings to
    fix. cells: lines at which the cells of notebooks start, by path.
    """
    return _Fixer(texts, analyze, unsafe, select, cells or {}).run()


def with_fixes(
    findings: Iterable[Finding],
    texts: Mapping[str, str],
    cells: Mapping[str, Sequence[int]] | None = None,
    unplanned: Mapping[str, Fix] | None = None,
) -> list[Finding]:
    """Findings with `fix` built from their `plan` against the texts they were made from, to be shown. unplanned: what to
    say of the fix of a finding without a plan, by code."""
    builders = _Builders(texts, cells or {})
    without = unplanned or {}
    return [
        replace(
            finding,
            fix=without.get(finding.code) if finding.plan is None else builders.build(finding, finding.location.path),
        )
        for finding in findings
    ]


@dataclass(frozen=True, slots=True)
class _Objection:
    """Why fixes are not kept. uncovers: they do what they should, and another finding shows that was hidden before."""

    reason: str
    uncovers: bool = False


class _Builders(dict[str, Builder]):
    """Builder of every file that has a fix, made when first needed."""

    def __init__(self, texts: Mapping[str, str], cells: Mapping[str, Sequence[int]]) -> None:
        super().__init__()
        self._texts = texts
        self._cells = cells

    def build(self, finding: Finding, default: str) -> Fix:
        """Fix for the plan of a finding."""
        plan = finding.plan
        assert plan is not None
        edits: list[Edit] = []
        for path, part in by_file(plan, default):
            if path not in self._texts:
                return Fix(plan.applicability, plan.title, refused=f"{path} is not among the checked files")
            if path not in self:
                self[path] = Builder(self._texts[path], path, self._cells.get(path, ()))
            fix = self[path].build(part)
            if fix.refused:
                return fix
            edits += fix.edits
        return Fix(plan.applicability, plan.title, tuple(edits))


class _Fixer:
    """State of one run: the texts so far and what happened to the fixes."""

    def __init__(
        self,
        texts: Mapping[str, str],
        analyze: Analyze,
        unsafe: bool,
        select: Select,
        cells: Mapping[str, Sequence[int]],
    ) -> None:
        self._original = texts
        self._texts = dict(texts)
        self._cells = cells
        self._analyze = analyze
        self._unsafe = unsafe
        self._select = select
        self._findings = list(analyze(self._texts))
        self._applied: list[tuple[Finding, str]] = []
        self._refused: list[tuple[Finding, str]] = []
        self._reverted: list[tuple[Finding, _Objection]] = []
        self._proven: tuple[list[Candidate], dict[str, str], list[Finding]] | None = None

    def run(self) -> FixOutcome:
        """Rounds of fixes until one finds nothing to do."""
        for _ in range(MAX_ROUNDS):
            batch = self._batch()
            if not batch:
                break
            self._round(batch)
        changed = {path: text for path, text in self._texts.items() if text != self._original[path]}
        return FixOutcome(
            changed,
            tuple(self._applied),
            tuple(self._refused),
            tuple((finding, objection.reason) for finding, objection in self._reverted if not objection.uncovers),
            tuple(self._findings),
            tuple((finding, objection.reason) for finding, objection in self._reverted if objection.uncovers),
        )

    def _batch(self) -> list[Candidate]:
        """Fixes for the next round; the refusals are those of the last round, when nothing else is left."""
        builders = _Builders(self._texts, self._cells)
        dropped = {(_key(finding, self._texts), _title(finding)) for finding, _ in self._reverted}
        self._refused = []
        fixes: list[tuple[Finding, Fix]] = []
        for finding in sorted(self._findings, key=lambda finding: finding.sort_key):
            if not self._is_wanted(finding) or (_key(finding, self._texts), _title(finding)) in dropped:
                continue
            fix = builders.build(finding, finding.location.path)
            if fix.refused:
                self._refused.append((finding, fix.refused))
            else:
                fixes.append((finding, fix))
        return isolated((candidate(finding, fix, builders) for finding, fix in fixes), builders)

    def _is_wanted(self, finding: Finding) -> bool:
        """Whether the user asked for the fix of a finding."""
        return self._select(finding) and self._is_allowed(finding)

    def _is_allowed(self, finding: Finding) -> bool:
        """Whether fixes of this kind are to be applied."""
        if finding.plan is None:
            return False
        allowed = {Applicability.SAFE, Applicability.UNSAFE} if self._unsafe else {Applicability.SAFE}
        return finding.plan.applicability in allowed

    # --- one round ---------------------------------------------------------------------------------------------------

    def _round(self, batch: list[Candidate]) -> None:
        """Apply what of a batch stands the test."""
        self._settle([], batch)
        if self._proven is not None:
            candidates, self._texts, self._findings = self._proven
            self._applied += [(one.finding, one.fix.title) for one in candidates]
            self._proven = None

    def _settle(self, kept: list[Candidate], batch: list[Candidate]) -> list[Candidate]:
        """Those of `kept` and the batch that can be applied together; halves the batch to find the bad ones."""
        objection = self._objection([*kept, *batch])
        if objection is None:
            return [*kept, *batch]
        if len(batch) == 1 and self._completed([*kept, *batch]):
            return [*kept, *batch]
        if len(batch) == 1:
            # The context identifies the finding in later rounds, when its line may have changed.
            finding = replace(batch[0].finding, context=_context(batch[0].finding, self._texts))
            self._reverted.append((finding, objection))
            return kept
        half = len(batch) // 2
        return self._settle(self._settle(kept, batch[:half]), batch[half:])

    def _completed(self, candidates: list[Candidate]) -> bool:
        """Whether fixes stand the test together with those of the findings that they bring: a tensor that no longer moves
        in a data loader worker has to move in the training loop. If so, the result is noted as proven."""
        texts = self._edited(candidates)
        if texts is None:
            return False
        known = {_key(finding, self._texts) for finding in self._findings}
        came = [finding for finding in self._analyze(texts) if _key(finding, texts) not in known]
        builders = _Builders(texts, self._cells)
        built = [(f, builders.build(f, f.location.path)) for f in came if self._is_allowed(f)]
        if not came or len(built) < len(came) or any(fix.refused for _, fix in built):
            return False
        followers = [candidate(finding, fix, builders) for finding, fix in built]
        texts = self._edited(followers, texts)
        if texts is None:
            return False
        findings = list(self._analyze(texts))
        if self._difference(candidates, texts, findings) is not None:
            return False
        self._proven = (candidates, texts, findings)
        return True

    def _edited(self, candidates: list[Candidate], before: Mapping[str, str] | None = None) -> dict[str, str] | None:
        """The texts after some fixes, None when these do not fit together or the result does not parse."""
        texts = dict(self._texts if before is None else before)
        try:
            for path, edits in merged_edits(candidates).items():
                texts[path] = apply_edits(texts[path], edits)
                if syntax_problem(texts[path], path):
                    return None
        except EditConflictError:
            return None
        return texts

    def _objection(self, candidates: list[Candidate]) -> _Objection | None:
        """Why some fixes cannot be applied together; None when they can, and then the result is noted as proven."""
        texts = dict(self._texts)
        try:
            for path, edits in merged_edits(candidates).items():
                texts[path] = apply_edits(texts[path], edits)
                if problem := syntax_problem(texts[path], path):
                    return _Objection(f"the result does not parse ({problem})")
        except EditConflictError:
            return _Objection("its changes overlap those of another fix")
        findings = list(self._analyze(texts))
        objection = self._difference(candidates, texts, findings)
        if objection is None:
            self._proven = (candidates, texts, findings)
        return objection

    def _difference(
        self, candidates: Sequence[Candidate], texts: Mapping[str, str], after: Sequence[Finding]
    ) -> _Objection | None:
        """What is wrong with the findings after some fixes: one is still there, or one is new."""
        old = Counter(_key(finding, self._texts) for finding in self._findings)
        new = Counter(_key(finding, texts) for finding in after)
        targets = Counter(_key(one.finding, self._texts) for one in candidates)
        gone, came = old - new, new - old
        if still := targets - gone:
            return _Objection(f"{min(still)[0]} would still be reported")
        # A finding on a line that a fix changed is the same one with a new context, as long as there are not more.
        touched = Counter(
            (finding.code, finding.location.path)
            for finding in self._findings
            if _touches(finding, candidates) and all(one.finding is not finding for one in candidates)
        )
        for (code, path, context), count in sorted(came.items()):
            known = min(count, touched[code, path])
            touched[code, path] -= known
            if count > known:
                another = all(one.finding.code != code for one in candidates)
                return _Objection(f"{code} would be reported at {context!r}", uncovers=another)
        return None


def _touches(finding: Finding, candidates: Sequence[Candidate]) -> bool:
    """Whether a fix changes the lines of a finding."""
    place = finding.location
    return any(
        edit.location.path == place.path
        and edit.location.line <= place.end_line
        and place.line <= edit.location.end_line
        for one in candidates
        for edit in one.fix.edits
    )


def _title(finding: Finding) -> str:
    """Title of the plan of a finding."""
    return finding.plan.title if finding.plan is not None else ""


def _key(finding: Finding, texts: Mapping[str, str]) -> Key:
    """What makes a finding the same one after lines have moved."""
    return finding.code, finding.location.path, " ".join(_context(finding, texts).split())


def _context(finding: Finding, texts: Mapping[str, str]) -> str:
    """Source line of a finding."""
    if finding.context or finding.location.path not in texts:
        return finding.context
    lines = Lines(texts[finding.location.path])
    return lines.line(finding.location.line).strip() if finding.location.line <= len(lines.starts) else ""
