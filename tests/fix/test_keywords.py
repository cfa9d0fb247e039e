"""Keywords set, dropped and renamed in calls of every layout."""

from __future__ import annotations

import ast

import pytest

from lora_lint.findings import DropKeyword, RenameKeyword, SetKeyword
from tests.fix.places import at, fixed, refusal


def set_in(text: str, call: str, name: str = "k", value: str = "v") -> str:
    result = fixed(text, SetKeyword(at(text, call), name, value))
    ast.parse(result)
    return result


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("f()\n", "f(k=v)\n"),
        ("f( )\n", "f(k=v)\n"),
        ("f(a)\n", "f(a, k=v)\n"),
        ("f(a,)\n", "f(a, k=v,)\n"),
        ("f( a )\n", "f( a, k=v )\n"),
        ("f(a, k=1)\n", "f(a, k=v)\n"),
        ("f(k = False, b=2)\n", "f(k = v, b=2)\n"),
        ("f(k=(\n  1  \n))\n", "f(k=(\n  v  \n))\n"),
        ("f(*a)\n", "f(*a, k=v)\n"),
        ("f(**kw)\n", "f(k=v, **kw)\n"),
        ("f(a, **kw)\n", "f(a, k=v, **kw)\n"),
        ("f(a, **kw, b=1)\n", "f(a, k=v, **kw, b=1)\n"),
        ("f(\n    a,\n    b,\n)\n", "f(\n    a,\n    b,\n    k=v,\n)\n"),
        ("f(\n    a,\n    b\n)\n", "f(\n    a,\n    b,\n    k=v\n)\n"),
        ("f(\n\ta,\n\tb,\n)\n", "f(\n\ta,\n\tb,\n\tk=v,\n)\n"),
        ("f(\n    a,  # one\n    b,  # two\n)\n", "f(\n    a,  # one\n    b,  # two\n    k=v,\n)\n"),
        ("f(\n    a,\n    b  # two, last\n)\n", "f(\n    a,\n    b,  # two, last\n    k=v\n)\n"),
        ("f(\n    a,\n    # b=1,\n)\n", "f(\n    a,\n    k=v,\n    # b=1,\n)\n"),
        ("f(\n    a, b,\n)\n", "f(\n    a, b, k=v,\n)\n"),
        ("f(\n    a, b\n)\n", "f(\n    a, b, k=v\n)\n"),
        ("f(\n    a, b,  # note\n)\n", "f(\n    a, b, k=v,  # note\n)\n"),
        ("f(a,\n  b)\n", "f(a,\n  b,\n  k=v)\n"),
        ("f(a, {\n    1: 2,\n})\n", "f(a, {\n    1: 2,\n}, k=v)\n"),
        ("f(\n    a,\n    **kw,\n)\n", "f(\n    a,\n    k=v,\n    **kw,\n)\n"),
        ("f(\n    a,\n    # the rest\n    **kw\n)\n", "f(\n    a,\n    # the rest\n    k=v,\n    **kw\n)\n"),
        ("f(  # none yet\n)\n", "f(k=v,  # none yet\n)\n"),
        ("f(\r\n    a,\r\n)\r\n", "f(\r\n    a,\r\n    k=v,\r\n)\r\n"),
        ("f(a)(b)\n", "f(a)(b, k=v)\n"),
        ("f(a)", "f(a, k=v)"),
        ("f('''x\ny''')\n", "f('''x\ny''', k=v)\n"),
        ("f(\n    lambda x: (x,),\n)\n", "f(\n    lambda x: (x,),\n    k=v,\n)\n"),
    ],
)
def test_set_keyword_keeps_the_layout(before: str, after: str) -> None:
    assert set_in(before, before.strip()) == after


@pytest.mark.parametrize(
    ("before", "call", "after"),
    [
        ("x = g(f(a), b)\n", "f(a)", "x = g(f(a, k=v), b)\n"),
        ("x = g(f(a), b)\n", "g(f(a), b)", "x = g(f(a), b, k=v)\n"),
        ("a.b(c).d(e)\n", "a.b(c)", "a.b(c, k=v).d(e)\n"),
        ("名前 = '🦙🦙'; y = モデル.f(a)  # 注\n", "モデル.f(a)", "名前 = '🦙🦙'; y = モデル.f(a, k=v)  # 注\n"),
        ("if x: f(a)\n", "f(a)", "if x: f(a, k=v)\n"),
        ("@f(a)\ndef g(): pass\n", "f(a)", "@f(a, k=v)\ndef g(): pass\n"),
        ("with f(a) as b, \\\n    c: pass\n", "f(a)", "with f(a, k=v) as b, \\\n    c: pass\n"),
        ("y = [f(a) for a in b]\n", "f(a)", "y = [f(a, k=v) for a in b]\n"),
        ("y = f'{f(a)}'\n", "f(a)", "y = f'{f(a, k=v)}'\n"),
        ("async def m():\n    await f(a)\n", "f(a)", "async def m():\n    await f(a, k=v)\n"),
        ("(f)(a)\n", "(f)(a)", "(f)(a, k=v)\n"),
        ("f (a)\n", "f (a)", "f (a, k=v)\n"),
        ("x = (f(a))\n", "f(a)", "x = (f(a, k=v))\n"),
    ],
)
def test_set_keyword_finds_its_call(before: str, call: str, after: str) -> None:
    assert set_in(before, call) == after


def test_a_statement_with_one_call_names_that_call() -> None:
    assert set_in("x = f(a)\n", "x = f(a)") == "x = f(a, k=v)\n"
    text = "x = f(a) + g(a)\n"
    assert "not clear" in refusal(text, SetKeyword(at(text, "x = f(a) + g(a)"), "k", "v"))


def test_several_keywords_of_one_call() -> None:
    text = "f()\n"
    call = at(text, "f()")
    assert fixed(text, SetKeyword(call, "a", "1"), SetKeyword(call, "b", "2")) == "f(a=1, b=2)\n"
    text = "f(\n    x,\n    y  # last\n)\n"
    call = at(text, text.strip())
    both = fixed(text, SetKeyword(call, "a", "1"), SetKeyword(call, "b", "2"))
    assert both == "f(\n    x,\n    y,  # last\n    a=1,\n    b=2\n)\n"


def test_a_dropped_keyword_makes_room_for_a_new_one() -> None:
    text = "f(\n    old=1,  # why\n    b=2,\n)\n"
    call = at(text, text.strip())
    result = fixed(text, DropKeyword(call, "old"), SetKeyword(call, "new", "3"))
    assert result == "f(\n    new=3,  # why\n    b=2,\n)\n"


def test_setting_what_is_set_changes_nothing() -> None:
    text = "f(k=v)\n"
    assert refusal(text, SetKeyword(at(text, "f(k=v)"), "k", "v")) == "there is nothing to change"


def test_a_bare_generator_argument_is_refused() -> None:
    text = "f(x for x in y)\n"
    assert "generator" in refusal(text, SetKeyword(at(text, text.strip()), "k", "v"))


def test_a_value_with_comments_is_not_replaced() -> None:
    text = "f(k=[\n    1,  # first\n])\n"
    assert "comments" in refusal(text, SetKeyword(at(text, text.strip()), "k", "v"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("f(k=1)\n", "f()\n"),
        ("f(k=1,)\n", "f()\n"),
        ("f(a, k=1)\n", "f(a)\n"),
        ("f(a, k=1,)\n", "f(a,)\n"),
        ("f(k=1, b=2)\n", "f(b=2)\n"),
        ("f(a, k=1, b=2)\n", "f(a, b=2)\n"),
        ("f(a, k=1, **kw)\n", "f(a, **kw)\n"),
        ("f(\n    a,\n    k=1,\n    b=2,\n)\n", "f(\n    a,\n    b=2,\n)\n"),
        ("f(\n    a,\n    k=1\n)\n", "f(\n    a,\n)\n"),
        ("f(\n    a,\n    k=1,  # goes too\n)\n", "f(\n    a,\n)\n"),
        ("f(\n    k=1,\n)\n", "f()\n"),
        ("f(\n    a,\n    k=[\n        1,\n    ],\n    b=2,\n)\n", "f(\n    a,\n    b=2,\n)\n"),
        ("f(a,\n  k=1)\n", "f(a)\n"),
        ("f(a,\n  k=1,\n  b=2)\n", "f(a,\n  b=2)\n"),
        ("f(a,  # note\n  k=1)\n", "f(a,  # note\n)\n"),
        ("f(a, k=1,\n  b=2)\n", "f(a,\n  b=2)\n"),
        ("f(k=1,\n  b=2)\n", "f(\n  b=2)\n"),
        ("f(\n    a, k=1\n)\n", "f(\n    a\n)\n"),
        ("f(\r\n    a,\r\n    k=1,\r\n)\r\n", "f(\r\n    a,\r\n)\r\n"),
    ],
)
def test_drop_keyword_takes_its_comma_and_line(before: str, after: str) -> None:
    result = fixed(before, DropKeyword(at(before, before.strip()), "k"))
    ast.parse(result)
    assert result == after


def test_drop_several() -> None:
    text = "f(a, k=1, m=2)\n"
    call = at(text, text.strip())
    assert fixed(text, DropKeyword(call, "k"), DropKeyword(call, "m")) == "f(a)\n"
    text = "f(k=1, a=0, m=2)\n"
    call = at(text, text.strip())
    assert fixed(text, DropKeyword(call, "k"), DropKeyword(call, "m")) == "f(a=0)\n"


def test_rename_keyword() -> None:
    text = "SFTTrainer(model, tokenizer = tok,  # kept\n)\n"
    call = at(text, text.strip())
    renamed = fixed(text, RenameKeyword(call, "tokenizer", "processing_class"))
    assert renamed == "SFTTrainer(model, processing_class = tok,  # kept\n)\n"


def test_a_missing_or_doubled_keyword_is_refused() -> None:
    text = "f(a=1, b=2)\n"
    call = at(text, text.strip())
    assert refusal(text, DropKeyword(call, "z")) == "the call has no keyword 'z'"
    assert refusal(text, RenameKeyword(call, "z", "y")) == "the call has no keyword 'z'"
    assert "both" in refusal(text, RenameKeyword(call, "a", "b"))
