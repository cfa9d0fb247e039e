"""The loop: what is kept, reverted or has to wait for another pass, and that a second run changes nothing."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping

import pytest

from lora_lint.findings import (
    Applicability,
    Finding,
    FixPlan,
    InsertStatement,
    Intent,
    MoveStatement,
    Related,
    ReplaceText,
    SetKeyword,
    Severity,
)
from lora_lint.fix.apply import FixOutcome, fix_project, with_fixes
from lora_lint.fix.edits import apply_edits
from lora_lint.location import Location
from lora_lint.syntax.source import SourceFile, source_from_bytes
from tests.fix.places import PATH, at

Analyzer = Callable[[Mapping[str, str]], list[Finding]]


def finding(
    code: str,
    place: Location,
    *intents: Intent,
    applicability: Applicability = Applicability.SAFE,
    related: tuple[Related, ...] = (),
    imports: tuple[tuple[str, str], ...] = (),
) -> Finding:
    plan = FixPlan(applicability, f"fix {code}", intents, imports) if intents else None
    return Finding(code, code.lower(), Severity.ERROR, "message", place, related=related, plan=plan)


def location(path: str, node: ast.expr | ast.stmt, text: str) -> Location:
    row = text.splitlines()[node.lineno - 1]
    assert row.isascii()
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return Location(path, node.lineno, node.col_offset + 1, node.end_lineno, node.end_col_offset + 1)


def calls(path: str, text: str, name: str) -> list[tuple[ast.Call, Location]]:
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    mine = [node for node in found if isinstance(node.func, ast.Name) and node.func.id == name]
    return [
        (node, location(path, node, text)) for node in sorted(mine, key=lambda node: (node.lineno, node.col_offset))
    ]


def lacks_keyword(texts: Mapping[str, str]) -> list[Finding]:
    """A rule: every call of `load` needs `trainable=True`."""
    return [
        finding("LL105", place, SetKeyword(place, "trainable", "True"))
        for path, text in texts.items()
        for node, place in calls(path, text, "load")
        if not any(keyword.arg == "trainable" for keyword in node.keywords)
    ]


def frozen_late(texts: Mapping[str, str]) -> list[Finding]:
    """A rule: every call of `freeze` must stand before the call of `inject`."""
    result = []
    for path, text in texts.items():
        for _, anchor in calls(path, text, "inject"):
            for _, place in calls(path, text, "freeze"):
                if place > anchor:
                    story = (Related(anchor, "adapter injected here"),)
                    result.append(finding("LL103", place, MoveStatement(place, anchor, False), related=story))
    return result


def run(text: str, analyze: Analyzer, unsafe: bool = False) -> FixOutcome:
    return fix_project({PATH: text}, analyze, unsafe=unsafe)


def result(text: str, outcome: FixOutcome) -> str:
    return outcome.texts.get(PATH, text)


def test_all_independent_fixes_are_applied_and_a_second_run_changes_nothing() -> None:
    text = "a = load(x)\nb = load(\n    y,\n)  # é\nif a: load(z)\n"
    outcome = run(text, lacks_keyword)
    after = result(text, outcome)
    assert after == (
        "a = load(x, trainable=True)\nb = load(\n    y,\n    trainable=True,\n)  # é\nif a: load(z, trainable=True)\n"
    )
    assert [(one.code, title) for one, title in outcome.applied] == [("LL105", "fix LL105")] * 3
    assert not outcome.remaining
    assert not outcome.refused
    assert not outcome.reverted
    assert run(after, lacks_keyword).texts == {}


def test_fixes_around_one_event_go_one_by_one_to_the_fix_point() -> None:
    text = "inject(m)\n" + "".join(f"freeze(m{number})\n" for number in range(14))
    passes: list[str] = []

    def analyze(texts: Mapping[str, str]) -> list[Finding]:
        passes.append(texts[PATH])
        return frozen_late(texts)

    outcome = run(text, analyze)
    assert result(text, outcome) == "".join(f"freeze(m{number})\n" for number in range(14)) + "inject(m)\n"
    assert len(passes) == 15
    assert len(outcome.applied) == 14
    assert run(result(text, outcome), frozen_late).texts == {}


def test_two_fixes_in_one_statement_do_not_share_a_pass() -> None:
    text = "x = f(\n    load(a),\n    load(b),\n)\ny = load(c)\n"
    seen: list[int] = []

    def analyze(texts: Mapping[str, str]) -> list[Finding]:
        seen.append(texts[PATH].count("trainable"))
        return lacks_keyword(texts)

    outcome = run(text, analyze)
    assert seen == [0, 2, 3]
    assert not outcome.remaining


def test_a_fix_that_uncovers_another_finding_is_left_out_alone() -> None:
    text = "load(a)\nload(bad)\nload(c)\n"

    def analyze(texts: Mapping[str, str]) -> list[Finding]:
        found = lacks_keyword(texts)
        where = texts[PATH].find("load(bad, trainable")
        return found + ([finding("LL301", at(texts[PATH], "bad"))] if where >= 0 else [])

    outcome = run(text, analyze)
    assert result(text, outcome) == "load(a, trainable=True)\nload(bad)\nload(c, trainable=True)\n"
    assert len(outcome.applied) == 2
    assert not outcome.reverted  # the fix is right, so it is no bug to report
    [(reverted, reason)] = outcome.uncovering
    assert reverted.location.line == 2
    assert reason == "LL301 would be reported at 'load(bad, trainable=True)'"
    assert [one.location.line for one in outcome.remaining] == [2]


def test_a_fix_that_does_not_help_is_reverted() -> None:
    text = "load(a)\n"

    def stubborn(texts: Mapping[str, str]) -> list[Finding]:
        return [finding("LL105", place, SetKeyword(place, "k", "1")) for _, place in calls(PATH, texts[PATH], "load")]

    outcome = run(text, stubborn)
    assert outcome.texts == {}
    assert len(outcome.reverted) == 1
    assert "LL105 would" in outcome.reverted[0][1]


def test_another_finding_on_the_changed_line_is_not_new() -> None:
    text = "load(a); other(b)\n"

    def analyze(texts: Mapping[str, str]) -> list[Finding]:
        return lacks_keyword(texts) + [finding("LL900", place) for _, place in calls(PATH, texts[PATH], "other")]

    outcome = run(text, analyze)
    assert result(text, outcome) == "load(a, trainable=True); other(b)\n"
    assert [one.code for one in outcome.remaining] == ["LL900"]


@pytest.mark.parametrize(
    ("applicability", "unsafe", "applied"),
    [
        (Applicability.SAFE, False, True),
        (Applicability.UNSAFE, False, False),
        (Applicability.UNSAFE, True, True),
        (Applicability.DISPLAY, True, False),
    ],
)
def test_who_may_apply_a_fix(applicability: Applicability, unsafe: bool, applied: bool) -> None:
    def analyze(texts: Mapping[str, str]) -> list[Finding]:
        if "y" in texts[PATH]:
            return []
        place = at(texts[PATH], "x")
        return [finding("LL1", place, ReplaceText(place, "y"), applicability=applicability)]

    outcome = run("x\n", analyze, unsafe)
    assert bool(outcome.texts) is applied
    assert len(outcome.remaining) == (not applied)


def test_only_selected_findings_are_fixed() -> None:
    outcome = fix_project({PATH: "load(a)\nload(b)\n"}, lacks_keyword, select=lambda one: one.location.line == 2)
    assert outcome.texts == {PATH: "load(a)\nload(b, trainable=True)\n"}


def test_refusals_are_told_once_with_their_reason() -> None:
    text = "load(x for x in y)\nload(b)\n"
    outcome = run(text, lacks_keyword)
    assert [(one.location.line, "generator" in reason) for one, reason in outcome.refused] == [(1, True)]
    assert len(outcome.applied) == 1


def test_the_same_import_is_added_once_for_several_fixes() -> None:
    text = "import os\nold(a)\nold(b)\n"

    def analyze(texts: Mapping[str, str]) -> list[Finding]:
        return [
            finding("LL1", place, ReplaceText(place, "new()"), imports=(("lib", "new"),))
            for _, place in calls(PATH, texts[PATH], "old")
        ]

    outcome = run(text, analyze)
    assert result(text, outcome) == "import os\nfrom lib import new\nnew()\nnew()\n"


def test_a_fix_may_change_another_file_than_the_finding_is_in() -> None:
    texts = {"train.py": "inject(m)\n", "helper.py": "load(a)\n"}

    def analyze(current: Mapping[str, str]) -> list[Finding]:
        here = at(current["train.py"], "inject(m)")
        found = lacks_keyword({"helper.py": current["helper.py"]})
        return [Finding("LL1", "n", Severity.ERROR, "m", here, plan=one.plan) for one in found]

    outcome = fix_project(texts, analyze)
    assert outcome.texts == {"helper.py": "load(a, trainable=True)\n"}


def test_a_fix_that_brings_a_finding_with_a_fix_is_applied_with_it() -> None:
    def analyze(texts: Mapping[str, str]) -> list[Finding]:
        text = texts[PATH]
        if "worker.to()" in text:
            place = at(text, "worker.to()")
            return [finding("LL1", place, ReplaceText(place, "worker"))]
        if "move()" in text:
            return []
        place = at(text, "forward()")
        return [finding("LL2", place, InsertStatement(place, "move()", False))]

    outcome = run("worker.to()\nforward()\n", analyze)
    assert outcome.texts == {PATH: "worker\nmove()\nforward()\n"}
    assert [one.code for one, _ in outcome.applied] == ["LL1"]


def test_a_fix_that_brings_a_finding_without_a_fix_is_dropped() -> None:
    def analyze(texts: Mapping[str, str]) -> list[Finding]:
        text = texts[PATH]
        place = at(text, "worker.to()" if "worker.to()" in text else "forward()")
        return (
            [finding("LL1", place, ReplaceText(place, "worker"))] if "worker.to()" in text else [finding("LL2", place)]
        )

    outcome = run("worker.to()\nforward()\n", analyze)
    assert not outcome.texts
    assert [one.code for one, _ in outcome.uncovering] == ["LL1"]


def test_plans_for_unknown_files_are_refused() -> None:
    def analyze(current: Mapping[str, str]) -> list[Finding]:
        one, two = at(current[PATH], "f()"), at(current[PATH], "f()", path="gone.py")
        both = (SetKeyword(one, "k", "1"), SetKeyword(two, "k", "1"))
        return [finding("LL1", one, *both), finding("LL2", one, both[1])]

    outcome = run("f()\n", analyze)
    assert not outcome.texts
    assert [reason for _, reason in outcome.refused] == ["gone.py is not among the checked files"] * 2


def test_a_plan_changes_several_files_or_none() -> None:
    def analyze(current: Mapping[str, str]) -> list[Finding]:
        if "k=" in current[PATH]:
            return []
        places = [at(text, text.strip(), path=path) for path, text in current.items()]
        return [finding("LL1", places[0], *(SetKeyword(place, "k", "1") for place in places))]

    outcome = fix_project({PATH: "f()\n", "b.py": "g()\n"}, analyze)
    assert outcome.texts == {PATH: "f(k=1)\n", "b.py": "g(k=1)\n"}
    outcome = fix_project({PATH: "f()\n", "b.py": "g(x for x in y)\n"}, analyze)
    assert not outcome.texts
    assert "generator" in outcome.refused[0][1]


def test_with_fixes_builds_what_reports_show() -> None:
    text = "load(a)\n"
    [shown] = with_fixes(lacks_keyword({PATH: text}), {PATH: text})
    assert shown.fix is not None
    assert apply_edits(text, shown.fix.edits) == "load(a, trainable=True)\n"
    bare = finding("LL1", at(text, "load(a)"))
    assert with_fixes([bare], {PATH: text}) == [bare]


def notebook() -> SourceFile:
    cells = [
        {"cell_type": "code", "metadata": {}, "source": ["%pip install lib\n", "import os"]},
        {"cell_type": "markdown", "metadata": {}, "source": "# load(a)"},
        {"cell_type": "code", "metadata": {}, "source": ["load(a)\n", "!ls\n", "use()"]},
    ]
    raw = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1).encode()
    return source_from_bytes(raw, "n.ipynb", is_notebook=True)


def test_notebook_cells_are_fixed_in_place() -> None:
    source = notebook()

    def analyze(texts: Mapping[str, str]) -> list[Finding]:
        text = texts["n.ipynb"]
        if "new()" in text:
            return []
        anchor = at(text, "use()", path="n.ipynb")
        return [finding("LL1", anchor, InsertStatement(anchor, "new()", True), imports=(("lib", "new"),))]

    assert source.notebook is not None
    starts = [cell.marker for cell in source.notebook.cells]
    outcome = fix_project({"n.ipynb": source.text}, analyze, cells={"n.ipynb": starts})
    cells = json.loads(source.encode(outcome.texts["n.ipynb"]))["cells"]
    assert "".join(cells[0]["source"]) == "%pip install lib\nimport os\nfrom lib import new"
    assert "".join(cells[2]["source"]) == "load(a)\n!ls\nuse()\nnew()"
    assert cells[1]["source"] == "# load(a)"
