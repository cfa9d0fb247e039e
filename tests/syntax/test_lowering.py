"""What each construct becomes."""

from __future__ import annotations

import sys
from typing import Any

import libcst as cst
import pytest

from lora_lint.syntax import ir
from lora_lint.syntax.from_libcst import lower_module
from lora_lint.syntax.literals import string_value
from lora_lint.syntax.problem import SyntaxProblem
from tests.syntax.agreement import plain

A, B, C, X = (("Name", name) for name in "abcx")
PASS = ("Jump", "pass")


def body(text: str) -> tuple[ir.Stmt, ...]:
    return lower_module(text, "file.py").body


def expression(text: str) -> Any:
    (statement,) = body(text)
    assert isinstance(statement, ir.ExprStmt)
    return plain(statement.value)


def only(text: str) -> Any:
    (statement,) = body(text)
    return plain(statement)


@pytest.mark.parametrize(
    "text",
    [
        "None",
        "True",
        "...",
        "1_000",
        "0xff",
        "0o17",
        "00",
        "1.5e-3",
        "2_0.5",
        "2.5j",
        "'a'",
        "''",
        "''''''",
        "'''a'b'''",
        r"'\n\t\\\'\x41\u00e9\U0001F600\N{BULLET}\101\0'",
        r"'\d'",
        r"r'\n'",
        r"Rb'\n'",
        r"b'\x00\377\q'",
        "u'x'",
        "'a' \"b\" r'\\c'",
        "b'a' b'b'",
        "'a\\\nb'",
        "'''a\nb'''",
    ],
)
@pytest.mark.filterwarnings("ignore:invalid escape", "ignore:.*invalid escape sequence")
def test_literals_have_their_values(text: str) -> None:
    value = eval(text)
    assert expression(text) == ("Const", value)
    assert type(expression(text)[1]) is type(value)


def test_newlines_in_strings_are_normalised_as_python_does() -> None:
    assert expression("'''a\r\nb\rc'''\r\n") == ("Const", "a\nb\nc")
    assert expression("'a\\\r\nb'\r\n") == ("Const", "ab")


@pytest.mark.parametrize("text", ["'\\xZZ'", "'\\N{no such character}'", "b'\\x1'", "'a' b'b'", "1" * 5000])
def test_literal_that_python_refuses(text: str) -> None:
    if text.isdigit() and not hasattr(sys, "get_int_max_str_digits"):
        pytest.skip("this Python converts integers of any length")
    with pytest.raises(SyntaxProblem, match=r"invalid literal|cannot mix|digits"):
        lower_module(f"x = {text}\n", "file.py")


def test_string_value_of_triple_quotes() -> None:
    assert string_value('""""a""\\""""') == '"a"""'


def test_names_are_normalised() -> None:
    assert expression("ﬁ") == ("Name", "fi")


def test_operators() -> None:
    assert expression("a + b") == ("Op", "+", (A, B))
    assert expression("a + b - c") == ("Op", "-", (("Op", "+", (A, B)), C))
    assert expression("-a") == ("Op", "u-", (A,))
    assert expression("not a") == ("Op", "not", (A,))
    assert expression("~+a") == ("Op", "u~", (("Op", "u+", (A,)),))
    assert expression("a and b and c") == ("Op", "and", (A, B, C))
    assert expression("(a and b) and c") == ("Op", "and", (("Op", "and", (A, B)), C))
    assert expression("a or b and c") == ("Op", "or", (A, ("Op", "and", (B, C))))
    for op in ("*", "/", "//", "%", "**", "<<", ">>", "|", "&", "^", "@"):
        assert expression(f"a {op} b") == ("Op", op, (A, B))


def test_comparisons() -> None:
    for op in ("==", "!=", "<", "<=", ">", ">=", "in", "not in", "is", "is not"):
        assert expression(f"a {op} b") == ("Op", op, (A, B))
    assert expression("a < b < c") == ("Op", "and", (("Op", "<", (A, B)), ("Op", "<", (B, C))))


def test_calls() -> None:
    args = (("Arg", None, A, 0), ("Arg", None, B, 1), ("Arg", "x", C, 0), ("Arg", None, X, 2))
    assert expression("a.b(a, *b, x=c, **x)") == ("Call", ("Attr", A, "b"), args)
    assert expression("a(x=b, *c)") == ("Call", A, (("Arg", "x", B, 0), ("Arg", None, C, 1)))


def test_subscripts() -> None:
    assert expression("a[b]") == ("Item", A, B)
    assert expression("a[b,]") == ("Item", A, ("Seq", "tuple", (B,)))
    assert expression("a[b:c, ::x]") == (
        "Item",
        A,
        ("Seq", "tuple", (("Slice", B, C, None), ("Slice", None, None, X))),
    )
    assert expression("a[*b]") == ("Item", A, ("Seq", "tuple", (("Star", B),)))


def test_displays_and_comprehensions() -> None:
    assert expression("[a, *b]") == ("Seq", "list", (A, ("Star", B)))
    assert expression("{a}") == ("Seq", "set", (A,))
    assert expression("a, b") == ("Seq", "tuple", (A, B))
    assert expression("{a: b, **c}") == ("Mapping", ((A, B), (None, C)))
    clause = ("Clause", A, B, (C,))
    assert expression("[a for a in b if c]") == ("Comp", "list", None, A, (clause,))
    assert expression("{a: x for a in b if c}") == ("Comp", "dict", A, X, (clause,))
    assert expression("f(a for a in b if c)")[2][0][2] == ("Comp", "generator", None, A, (clause,))
    assert expression("{a async for a in b if c}") == ("Comp", "set", None, A, (clause,))


def test_strings_with_expressions() -> None:
    assert expression("f'{a} {b!r:>{c}}'") == ("Op", "fstring", (A, ("Const", " "), B, C))
    assert expression("'x' f'{a}' 'y'") == ("Op", "fstring", (("Const", "x"), A, ("Const", "y")))
    assert expression("f'x{{'") == ("Op", "fstring", (("Const", "x{"),))
    assert expression("f'{f\"{a}\"}'") == ("Op", "fstring", (("Op", "fstring", (A,)),))
    assert expression("f'{a['b']}'") == ("Op", "fstring", (("Item", A, ("Const", "b")),))


NEWER = {
    "template string": ("t'{a} {b!r:{c}}'", ("ExprStmt", ("Op", "format", (A, ("Const", " "), B, C)))),
    "bare exceptions": (
        "try: pass\nexcept a, b: pass",
        ("Try", (PASS,), (("Handler", ("Seq", "tuple", (A, B)), None, (PASS,)),), (), ()),
    ),
    "unpacking in a comprehension": (
        "{**a for b in c}",
        ("ExprStmt", ("Comp", "dict", None, A, (("Clause", B, C, ()),))),
    ),
    "lazy import": ("lazy import a.b as c", ("Import", "a.b", 0, None, "c")),
    "lazy import from": ("lazy from .a import b", ("Import", "a", 1, (("b", "b"),), None)),
}


@pytest.mark.parametrize(("text", "expected"), NEWER.values(), ids=NEWER.keys())
def test_syntax_that_only_newer_parsers_know(text: str, expected: Any) -> None:
    try:
        cst.parse_module(text)
    except cst.ParserSyntaxError:
        pytest.skip("the installed LibCST does not know this syntax")
    assert only(text) == expected


def test_other_expressions() -> None:
    assert expression("a if b else c") == ("Cond", B, A, C)
    assert expression("(a := b)") == ("Walrus", A, B)
    assert only("async def f(): await a")[3] == (("ExprStmt", ("Op", "await", (A,))),)
    assert only("def f():\n x = yield a\n yield from b\n yield")[3] == (
        ("Assign", (X,), ("Op", "yield", (A,)), None),
        ("ExprStmt", ("Op", "yield from", (B,))),
        ("ExprStmt", ("Op", "yield", ())),
    )


def test_parameters_in_order_and_by_kind() -> None:
    params = only("def f(a, /, b: int = 1, *args: x, c, d=2, **kw): pass")[2]
    one, two = ("Const", 1), ("Const", 2)
    assert params == (
        ("Param", "a", "positional", None, None),
        ("Param", "b", "normal", one, ("Name", "int")),
        ("Param", "args", "*", None, X),
        ("Param", "c", "keyword", None, None),
        ("Param", "d", "keyword", two, None),
        ("Param", "kw", "**", None, None),
    )
    assert expression("lambda a, *, b: a") == (
        "Lambda",
        (("Param", "a", "normal", None, None), ("Param", "b", "keyword", None, None)),
        A,
    )


def test_functions_and_classes() -> None:
    function = only("@a\n@b\nasync def f() -> c: pass")
    assert function == ("FunctionDef", "f", (), (PASS,), (A, B), C, True, False)
    klass = only("@a\nclass K(b, metaclass=c): pass")
    assert klass == ("ClassDef", "K", (("Arg", None, B, 0), ("Arg", "metaclass", C, 0)), (PASS,), (A,))


def test_generator_means_its_own_yield() -> None:
    assert only("def f(): yield")[-1] is True
    assert only("def f():\n    def g(): yield\n    h = lambda: (yield)")[-1] is False
    assert only("def f():\n    if a:\n        x = [(yield)]")[-1] is True
    outer = only("def f():\n    yield\n    def g(): pass")
    assert outer[-1] is True
    assert outer[3][1][-1] is False


def test_assignments() -> None:
    assert only("a = b = c") == ("Assign", (A, B), C, None)
    assert only("a: b = c") == ("Assign", (A,), C, B)
    assert only("a: b") == ("Assign", (A,), None, B)
    assert only("a, *b = c") == ("Assign", (("Seq", "tuple", (A, ("Star", B))),), C, None)
    for op in ("+", "-", "*", "@", "/", "%", "&", "|", "^", "<<", ">>", "**", "//"):
        assert only(f"a {op}= b") == ("AugAssign", A, op, B)


def test_small_statements() -> None:
    assert only("del a, b") == ("Delete", (A, B))
    assert only("del (a, b)") == ("Delete", (("Seq", "tuple", (A, B)),))
    assert only("assert a, b") == ("Assert", A)
    assert only("raise a from b") == ("Raise", A)
    assert only("raise") == ("Raise", None)
    assert [plain(statement) for statement in body("break; continue; pass;")] == [
        ("Jump", "break"),
        ("Jump", "continue"),
        PASS,
    ]
    assert only("global a, b") == ("Scope", "global", ("a", "b"))
    assert only("nonlocal a") == ("Scope", "nonlocal", ("a",))
    assert only("def f(): return")[3] == (("Return", None),)


def test_imports() -> None:
    assert [plain(statement) for statement in body("import a.b as c, d")] == [
        ("Import", "a.b", 0, None, "c"),
        ("Import", "d", 0, None, None),
    ]
    assert only("from . import x") == ("Import", "", 1, (("x", "x"),), None)
    assert only("from ...a.b import (c as d, e,)") == ("Import", "a.b", 3, (("c", "d"), ("e", "e")), None)
    assert only("from a import *") == ("Import", "a", 0, (("*", "*"),), None)


def test_conditions_and_loops() -> None:
    expected = ("If", A, (PASS,), (("If", B, (PASS,), (("ExprStmt", C),)),))
    assert only("if a: pass\nelif b: pass\nelse: c") == expected
    assert only("if a: pass\nelse:\n  if b: pass\n  else: c") == expected
    assert only("for a in b: pass\nelse: c") == ("For", A, B, (PASS,), (("ExprStmt", C),))
    assert only("while a: pass\nelse: c") == ("While", A, (PASS,), (("ExprStmt", C),))


@pytest.mark.parametrize("text", ["with a as b, c: pass", "with (a as b, c,): pass", "async with a as b, c: pass"])
def test_with(text: str) -> None:
    assert only(text) == ("With", (("WithItem", A, B), ("WithItem", C, None)), (PASS,))


def test_try() -> None:
    text = "try: pass\nexcept a as b: pass\nexcept: c\nelse: pass\nfinally: c"
    handlers = (("Handler", A, "b", (PASS,)), ("Handler", None, None, (("ExprStmt", C),)))
    assert only(text) == ("Try", (PASS,), handlers, (PASS,), (("ExprStmt", C),))
    assert only("try: pass\nexcept* a: pass") == ("Try", (PASS,), (("Handler", A, None, (PASS,)),), (), ())
    two = ("Seq", "tuple", (A, B))
    assert only("try: pass\nexcept (a, b): pass") == ("Try", (PASS,), (("Handler", two, None, (PASS,)),), (), ())


def test_generic_definitions_and_type_aliases() -> None:
    assert only("type X[T: int = str, *Ts = *a, **P = [b]] = a") == ("Assign", (("Name", "X"),), A, None)
    assert only("type X = a") == ("Assign", (("Name", "X"),), A, None)
    assert only("def f[T](a: T) -> b: pass")[1:3] == ("f", (("Param", "a", "normal", None, ("Name", "T")),))
    assert only("class K[T: (a, b)](c): pass")[2] == (("Arg", None, C, 0),)


def test_match_on_literals_is_a_chain() -> None:
    text = "match x:\n  case 1: a\n  case -2 | 'b' | None: b\n  case K.c if a: c\n  case _: pass\n"
    equal = [("Op", "==", (X, value)) for value in (("Op", "u-", (("Const", 2),)), ("Const", "b"), ("Const", None))]
    guarded = ("Op", "and", (("Op", "==", (X, ("Attr", ("Name", "K"), "c"))), A))
    third = ("If", guarded, (("ExprStmt", C),), (PASS,))
    second = ("If", ("Op", "or", tuple(equal)), (("ExprStmt", B),), (third,))
    assert only(text) == ("If", ("Op", "==", (X, ("Const", 1))), (("ExprStmt", A),), (second,))


@pytest.mark.parametrize(
    ("pattern", "captures"),
    [
        ("[a, *b]", "ab"),
        ("(a, *_)", "a"),
        ("a, b", "ab"),
        ("a,", "a"),
        ("{'k': a, **b}", "ab"),
        ("{1: [a], 'x': _,}", "a"),
        ("K(a, k=b)", "ab"),
        ("m.K()", ""),
        ("K(a) | J(a)", "aa"),
        ("((K(k=[a, (b)])))", "ab"),
    ],
)
def test_match_on_shapes_binds_unknown_parts(pattern: str, captures: str) -> None:
    unknown = ("Op", "match", (X,))
    bound = tuple(("Assign", (("Name", name),), unknown, None) for name in captures)
    statement = only(f"match x:\n  case {pattern}: pass\n")
    test = ("Op", "or", (unknown, unknown)) if "|" in pattern else unknown
    assert statement == ("If", test, (*bound, PASS), ())


def test_match_captures_the_subject() -> None:
    assert only("match x:\n  case 1: pass\n  case a: pass\n")[3] == (("Assign", (A,), X, None), PASS)
    assert only("match x:\n  case a: pass\n") == ("If", ("Const", True), (("Assign", (A,), X, None), PASS), ())
    bound = only("match x:\n  case K() as a if a: pass\n")
    assert bound == ("If", ("Op", "and", (("Op", "match", (X,)), A)), (("Assign", (A,), X, None), PASS), ())


def test_match_ranges() -> None:
    (statement,) = body("\nmatch x:\n  case [a]:\n    b\n  case 2: pass\n")
    assert isinstance(statement, ir.If)
    assert statement.loc == (2, 1, 5, 15)
    assert statement.test.loc == (3, 8, 3, 11)
    assert statement.orelse[0].loc == (5, 3, 5, 15)


def test_type_checking_blocks_are_ordinary() -> None:
    assert only("if TYPE_CHECKING:\n    import a") == (
        "If",
        ("Name", "TYPE_CHECKING"),
        (("Import", "a", 0, None, None),),
        (),
    )


def test_loop_that_asks_an_iterator_is_a_loop_over_it() -> None:
    asking = "while {0}:\n try:\n  a = next({1})\n except {2}:\n  {3}\n b\n"
    loop = only(asking.format("True", "x", "StopIteration", "break"))
    assert loop == only("for a in x:\n b\n")
    for other in (
        ("c", "x", "StopIteration", "break"),
        ("True", "iter(x)", "StopIteration", "break"),
        ("True", "x, None", "StopIteration", "break"),
        ("True", "x", "ValueError", "break"),
        ("True", "x", "StopIteration", "continue"),
    ):
        assert only(asking.format(*other))[0] == "While"
