"""The fast front end gives the same IR as the reference, or none."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from lora_lint.syntax import ir
from lora_lint.syntax.from_ast import lower_with_ast
from lora_lint.syntax.from_libcst import lower_module as by_reference
from lora_lint.syntax.lowering import lower_module
from lora_lint.syntax.problem import SyntaxProblem
from tests.syntax.test_agreement import CONSTRUCTS, _files


def complete(value: Any) -> Any:
    """A lowered value with its ranges, for comparing; literals by their text, since nan is not equal to itself."""
    if isinstance(value, tuple):
        return tuple(complete(item) for item in value)
    if isinstance(value, (ir.Node, ir.Module)):
        return (type(value).__name__, *(complete(getattr(value, field.name)) for field in fields(value)))
    return type(value).__name__, repr(value)


def _same(text: str) -> None:
    module = lower_with_ast(text, "file.py")
    assert module is not None
    assert complete(module) == complete(by_reference(text, "file.py"))


@pytest.mark.parametrize("file", _files(), ids=lambda file: f"{file.parent.name}/{file.name}")
def test_real_file(file: Path) -> None:
    text = file.read_bytes().decode("utf-8")
    module = lower_with_ast(text, "file.py")
    if module is None:
        pytest.skip("left to the reference")
    assert complete(module) == complete(by_reference(text, "file.py"))


@pytest.mark.parametrize("text", CONSTRUCTS.values(), ids=CONSTRUCTS.keys())
def test_construct(text: str) -> None:
    _same(text)


FSTRINGS = {
    "plain": "f'a{b}c{d.e(f)!r:>{g}.{h}}'\n",
    "shown": "f'{a=} {a = } {a=!r} {a = :x}'\n",
    "comparisons": "f'{a == b} {a != b} {a <= b} {a >= b} {f(a=b)} {[a:=1]}'\n",
    "braces": "f'{{{a}}} }}{{ {b[\"x\"]} {({1: 2}[1])}'\n",
    "specs": "f'{a:%H:%M} {b:{c}{d}} {e:>10} {f!s:^{g}}'\n",
    "lambda": "f'{(lambda x: x)(1)}'\n",
    "neighbours": "x = ('a{b}' f'{c}'  # d\n     r'\\e' rf'\\{g}\\n' F\"{h}\")\n",
    "triple": "x = f'''\na {b}\n  {c(\n    d,\n)}\n{e}'''\n",
    "nested": 'f\'{f"{a} {b!r}"} {"{" + c} {f("}", d)}\'\n',
    "names of characters": "f'\\N{BULLET} {a} \\x41 \\' {b}'\n",
    "line continued": "f'a\\\n{b} c'\n",
    "code points": "ü = f'é{ü.ä!r:>{ß}}日' 'ñ' f'{x}' + ö\n",
    "yields": "def f():\n    x = f'{(yield a)}'\n",
    "windows newlines": "x = f'''a\r\n{b}\r\n{c}'''\r\ny = d\r\n",
}


@pytest.mark.parametrize("text", FSTRINGS.values(), ids=FSTRINGS.keys())
def test_fstring(text: str) -> None:
    _same(text)


@pytest.mark.parametrize(
    "text",
    [
        "match a:\n    case [b]: c\n",
        "x = f'{a, b}'\n",
        "x = f'{a:\\x20}'\n",
        "x = (",
        "x = '\\xZZ'",
        "x = \ud800\n",
        "x = " + "-" * 50_000 + "a",
        "x = " + "(" * 100_000,
        "x = a" + ".b" * 50_000,
        "if a: pass\n" + "elif b: pass\n" * 50_000,
    ],
    ids=["match", "tuple", "escape", "open", "bad escape", "surrogate", "minus", "brackets", "attributes", "elif"],
)
def test_what_is_left_to_the_reference(text: str) -> None:
    assert lower_with_ast(text, "file.py") is None


def test_a_file_that_does_not_parse_is_explained() -> None:
    with pytest.raises(SyntaxProblem, match=r"^f\.py:2:"):
        lower_module("x = 1\nfoo bar\n", "f.py")


def test_what_only_python_parses_is_analysed() -> None:
    (statement,) = lower_module("(x): int = 1\n", "f.py").body
    assert isinstance(statement, ir.Assign)


def test_many_places_in_one_long_line() -> None:
    module = lower_with_ast("x = [" + "'ü', " * 30_000 + "]\n", "f.py")
    assert module is not None
    (statement,) = module.body
    assert isinstance(statement, ir.Assign)
    assert isinstance(statement.value, ir.Seq)
    assert statement.value.items[-1].loc == (1, 6 + 5 * 29_999, 1, 9 + 5 * 29_999)
