"""The report for people."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lora_lint.findings import Applicability, Finding, Fix
from lora_lint.report import text
from lora_lint.report.model import RunReport
from tests.report.conftest import Source, at

FROZEN = """\
src/train.py:7:1: LL103 [error] `model` is frozen after the adapter was injected: nothing of it trains
  |
5 | model = get_peft_model(model, config)
  |         ----------------------------- adapter injected here
6 | print("ready")
7 | model.requires_grad_(False)
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^
  --> src/helpers.py:3:3
  |
3 |         p.requires_grad = False
  |         ----------------------- and frozen again here
  = help: freeze `model` before get_peft_model
  = fix: freeze before the injection (with `--fix --unsafe-fixes`)
"""
NOTEBOOK = """\
lab 1/50%,a:b.ipynb: cell 3, line 2, column 1: LL206 [info] `net` trains in eval mode
  |
1 | net = 1
  | ----- net made here
...
2 | net.eval()
  | ^^^^^^^^^^
  = fix: call train(): not possible here, the line is shared with another statement
"""
SUMMARY = (
    "Found 3 problems (1 error, 1 warning, 1 info) in 2 of 14 files; "
    "1 fixable with --fix, 1 more with --unsafe-fixes.\n"
)


def test_excerpts_with_the_related_events(report: RunReport) -> None:
    shown = text.render(report)
    assert FROZEN in shown
    assert NOTEBOOK in shown
    assert shown.endswith("\n" + SUMMARY)


def test_concise(report: RunReport) -> None:
    assert text.render_concise(report).splitlines()[1:] == [
        FROZEN.splitlines()[0],
        "src/train.py:8:1: LL206 [warning] `model` trains in eval mode: 100% of dropout is off",
        SUMMARY.strip(),
    ]


def test_quiet_leaves_the_summary_out(report: RunReport) -> None:
    assert "Found" not in text.render(report, quiet=True)
    assert "Found" not in text.render_concise(report, quiet=True)
    assert text.render(RunReport(checked=3), quiet=True) == ""


def _one(report: RunReport, finding: Finding, **changes: object) -> str:
    return text.render(replace(report, findings=(replace(finding, **changes),)))  # type: ignore[arg-type]


def _with_lines(report: RunReport, *lines: str) -> RunReport:
    return replace(report, sources={"src/train.py": Source(lines)})


def test_a_range_over_several_lines_is_marked_to_the_end_of_the_first(report: RunReport, in_eval: Finding) -> None:
    shown = _one(_with_lines(report, "call(  ", "  a,", ")"), in_eval, location=at("src/train.py", 1, 1, 2, 3))
    assert "1 | call(\n  | ^^^^^\n" in shown


def test_wide_and_combining_characters_keep_the_carets_in_place(report: RunReport, in_eval: Finding) -> None:
    line = 'x = "模型e\u0301"; model.eval()'
    shown = _one(_with_lines(report, line), in_eval, location=at("src/train.py", 1, 12, 24))
    assert f"1 | {line}\n  | " + " " * 12 + "^" * 12 + "\n" in shown


def test_control_characters_do_not_reach_the_terminal(report: RunReport, in_eval: Finding) -> None:
    lines = _with_lines(report, 'x = "\x1b[2J\x07"')
    shown = _one(lines, in_eval, location=at("src/train.py", 1, 1, 2), message="a\x1b[31mb", help="c\rd")
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert r"\x1b[2J\x07" in shown


def test_very_long_lines_are_cut_around_the_mark(report: RunReport, in_eval: Finding) -> None:
    line = "a" * 5000 + "model.eval()" + "b" * 5000
    shown = _one(_with_lines(report, line), in_eval, location=at("src/train.py", 1, 5001, 5013))
    widest = max(len(row) for row in shown.splitlines())
    assert widest < 200
    row, carets = shown.splitlines()[2:4]
    assert row.index("model.eval()") == carets.index("^" * 12)


def test_places_outside_of_the_text_have_no_excerpt(report: RunReport, in_eval: Finding) -> None:
    shown = _one(report, in_eval, location=at("src/train.py", 99, 1, 2), fix=None)
    assert shown.startswith("src/train.py:99:1: LL206")
    assert " | " not in shown
    assert _one(report, in_eval, location=at("gone.py", 1, 1, 2)).startswith("gone.py:1:1: LL206")


def test_two_marks_on_one_line_and_far_apart_lines(report: RunReport, frozen: Finding) -> None:
    near, far = frozen.related
    related = (
        replace(near, location=at("src/train.py", 7, 1, 6), message="this one"),
        replace(far, location=at("src/train.py", 1, 1, 5), message="far away"),
    )
    shown = _one(report, frozen, related=related)
    assert "7 | model.requires_grad_(False)\n  | ----- this one\n  | ^^^" in shown
    assert "  | ---- far away\n...\n7 | " in shown


@pytest.mark.parametrize(
    ("applicability", "line"),
    [
        (Applicability.SAFE, "= fix: do it (with `--fix`)"),
        (Applicability.UNSAFE, "= fix: do it (with `--fix --unsafe-fixes`)"),
        (Applicability.DISPLAY, "= fix: do it (by hand)"),
    ],
)
def test_how_to_apply_a_fix(report: RunReport, in_eval: Finding, applicability: Applicability, line: str) -> None:
    assert line in _one(report, in_eval, fix=Fix(applicability, "do it", in_eval.fix.edits if in_eval.fix else ()))


def test_colours_surround_but_do_not_change_the_text(report: RunReport) -> None:
    shown = text.render(report, lambda colour, part: f"<{colour}>{part}</>")
    assert "<red>LL103 [error]</>" in shown
    assert "<red>" + "^" * 27 + "</>" in shown
    for colour in ("red", "yellow", "cyan", "blue", "bold", "green"):
        shown = shown.replace(f"<{colour}>", "")
    assert shown.replace("</>", "") == text.render(report)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "All clear: 14 files checked."),
        ({"checked": 1}, "All clear: 1 file checked."),
        ({"checked": 0}, "No Python files or notebooks found to check."),
        ({"fixed": 2}, "Fixed 2 problems. All clear: 14 files checked."),
        (
            {"baselined": 2, "outside_diff": 1},
            "All clear: 14 files checked. Not shown: 2 in the baseline, 1 outside the diff.",
        ),
        ({"errors": ("x: gone",)}, "All clear: 14 files checked. 1 path could not be read."),
    ],
)
def test_summary_without_findings(report: RunReport, changes: dict[str, object], expected: str) -> None:
    assert text.summary(replace(report, findings=(), **changes)) == expected  # type: ignore[arg-type]


def test_statistics(report: RunReport) -> None:
    assert text.statistics(report).splitlines() == [
        "     1  LL103  freeze-after-injection",
        "     2  LL206  training-in-eval-mode",
        "     3  objects that could not be followed",
    ]
