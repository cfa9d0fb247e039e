"""Input that cannot be parsed, or not in reasonable depth, is one clear error and never a crash."""

from __future__ import annotations

import threading

import pytest

from lora_lint.errors import InputError
from lora_lint.syntax import ir
from lora_lint.syntax.from_libcst import lower_module
from lora_lint.syntax.nesting import MAX_BRACKETS, MAX_CHAIN, MAX_ELIFS, check_nesting
from lora_lint.syntax.problem import SyntaxProblem


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("x = 1\ny = (\n", 2, 5),
        ("x = 1\nfoo bar\n", 2, None),
        ("if a:\nb\n", 2, None),
        ("x = 'abc\n", 1, 5),
        ("def f(:\n    pass\n", 1, None),
        ("x = é ü\n", 1, None),
        ("print 'a'\n", 1, None),
        ("x = \ud800\n", 1, 1),
    ],
)
def test_syntax_error_has_a_place_and_a_reason(text: str, line: int, column: int | None) -> None:
    with pytest.raises(SyntaxProblem) as caught:
        lower_module(text, "dir/file.py")
    problem = caught.value
    assert isinstance(problem, InputError)
    assert problem.path == "dir/file.py"
    assert problem.message
    assert "\n" not in str(problem)
    assert problem.line == line
    if column is not None:
        assert problem.column == column
    assert str(problem).startswith(f"dir/file.py:{line}:")


def test_valid_python_that_the_parser_refuses_says_so() -> None:
    with pytest.raises(
        SyntaxProblem, match=r"^f\.py:2:\d+: valid for this Python, but LibCST cannot parse it$"
    ) as caught:
        lower_module("x = 1\nclass A(b=1, *c): pass\n", "f.py")
    assert caught.value.valid


@pytest.mark.parametrize(
    "text",
    [
        "x = " + " + ".join("a" * 1500),
        "x = a" + ".b" * 1000,
        "x = a" + "()" * 800,
        "x = a" + "[0]" * 800,
        "x = " + " and ".join("a" * 2500),
        "x = " + " < ".join("a" * 5000),
        "if a: pass\n" + "elif b: pass\n" * 2000,
        "x = (" + "'a'\n" * 2500 + ")",
        "x = [" + "-1, " * 20000 + "]",
        "x = " + "[" * 150 + "]" * 150,
    ],
    ids=["sum", "attributes", "calls", "items", "and", "comparison", "elif", "strings", "flat list", "brackets"],
)
def test_long_chains_are_lowered(text: str) -> None:
    (statement,) = lower_module(text, "file.py").body
    assert isinstance(statement, (ir.Assign, ir.If))


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 1000 + "]" * 1000,
        "x = " + "(" * 100_000,
        "x = " + "f(" * 5000 + ")" * 5000,
        "x = " + "not " * 50_000 + "a",
        "x = " + "-" * 50_000 + "a",
        "x = " + "lambda: " * 50_000 + "a",
        "x = " + "a if b else " * 50_000 + "a",
        "x = " + " + ".join("a" * 50_000),
        "x = a" + ".b" * 50_000,
        "x = a" + "()" * 50_000,
        "if a: pass\n" + "elif b: pass\n" * 50_000,
        "x = " + "not " * 1000 + "a",
    ],
    ids=["1000 brackets", "open", "calls", "not", "minus", "lambda", "cond", "sum", "attr", "call", "elif", "1000 not"],
)
def test_nested_too_deeply(text: str) -> None:
    with pytest.raises(SyntaxProblem, match="nested too deeply"):
        lower_module(text, "file.py")


def test_nesting_is_not_counted_in_strings_and_comments_or_across_elements() -> None:
    assert check_nesting("x = '" + "(" * 500 + "'\n# " + "[" * 500 + '\n"""\n' + "{" * 500 + '"""\n', "f.py") is False
    assert check_nesting("x = [" + "(a + b),\n" * 5000 + "]\n", "f.py") is False
    assert check_nesting("a = -b\n" * 5000, "f.py") is False
    assert check_nesting("x = " + "[" * 60 + "]" * 60, "f.py") is True


def test_limits_are_exact() -> None:
    check_nesting("[" * MAX_BRACKETS + "]" * MAX_BRACKETS, "f.py")
    check_nesting("a" + ".b" * MAX_CHAIN, "f.py")
    check_nesting("elif a: b\n" * MAX_ELIFS, "f.py")
    for text in ("[" * (MAX_BRACKETS + 1), "a" + ".b" * (MAX_CHAIN + 1), "elif a: b\n" * (MAX_ELIFS + 1)):
        with pytest.raises(SyntaxProblem):
            check_nesting(text, "f.py")


def test_deep_parsing_leaves_the_stack_size_alone() -> None:
    before = threading.stack_size()
    lower_module("x = " + "[" * 100 + "]" * 100, "file.py")
    assert threading.stack_size() == before
