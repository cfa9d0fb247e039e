"""The ranges in the IR are those of CPython's `ast`, on real files and on every construct."""

from __future__ import annotations

import ast
import importlib.util
import sysconfig
from pathlib import Path

import pytest

from lora_lint.syntax import ir
from lora_lint.syntax.from_libcst import lower_module
from lora_lint.syntax.positions import line_starts
from tests.syntax.agreement import from_ast, from_ir, nodes

SAMPLE = 12  # files per package


def _package_files(name: str) -> list[Path]:
    """A spread of files of an installed package, without importing it; none if it is not installed."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return []
    return _spread(sorted(Path(spec.origin).parent.rglob("*.py")))


def _spread(files: list[Path]) -> list[Path]:
    files = [file for file in files if 500 < file.stat().st_size < 60_000]
    return files[:: max(1, len(files) // SAMPLE)][:SAMPLE]


def _files() -> list[Path]:
    standard = _spread(sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")))
    return standard + [file for name in ("peft", "trl", "accelerate") for file in _package_files(name)]


def _check(text: str) -> ir.Module:
    module = lower_module(text, "file.py")
    expected, found = from_ast(text), from_ir(module)
    assert found
    assert found - expected == {}
    assert expected - found == {}
    starts = line_starts(text)
    for node in nodes(module):
        if isinstance(node, ir.Name) and node.id.isascii():
            line, column, end_line, end_column = node.loc
            start, end = starts[line - 1] + column - 1, starts[end_line - 1] + end_column - 1
            assert text[start:end] == node.id
    return module


@pytest.mark.parametrize("file", _files(), ids=lambda file: f"{file.parent.name}/{file.name}")
def test_real_file(file: Path) -> None:
    text = file.read_bytes().decode("utf-8")
    if any(isinstance(node, ast.Match) for node in ast.walk(ast.parse(text))):
        pytest.skip("match statements have other ranges by design")
    _check(text)


CONSTRUCTS = {
    "parentheses": "x = ((a)).b + (c + (d))[0] * ((e)(f)).g\n(y)\n(z) = (1)\n",
    "tuples": "a = ()\nb = (1,)\nc = 1,\nd = ((1, 2))\ne = ( 1, (2), )\nfor i, j in (k), l: pass\nreturn_ = *a, b\n",
    "generators": "f(x for x in y)\nf((x for x in y))\ng = (x for x in y if x if z)\nh(a, (x for x in y))\n",
    "comments inside": "f(  # one\n    a,  # two )\n\n    # three\n    b=(c  # four\n       ),\n)\n",
    "continuation": "x = a + \\\n    b\nif a \\\n   and b: pass\nwith a as b, \\\n     c as d: pass\n",
    "comparison chain": "a < b <= (c) != d\nx not  in y\nx is  not y\nnot a == b\n",
    "boolean": "a and b and c or d and e\n(a and b) and c\na or (b or c)\n",
    "unary": "-x ** -y\n~(a)\nnot (b)\nnot not c\n+ 1\n",
    "conditional": "x = a if b else c if d else e\n",
    "lambda": "f = lambda: 0\ng = lambda a, /, b=1, *c, d, e=2, **f: a\nh = lambda *, k: (k)\n",
    "slices": "a[1]\na[1:2]\na[::2]\na[:, 1]\na[1,]\na[b:c:d, ...]\na[(1, 2)]\na[:]\n",
    "calls": "f()\nf(a, *b, c=d, **e)\nf (a) (b)\nf(a, b,)\nf(x=(y))\nf((a), *(b))\n",
    "displays": "[]\n[a, *b,]\n{a, *b}\n{}\n{a: b, **c, (d): (e)}\n",
    "comprehensions": "[a for b in c for d in e if f if g]\n{a: b for a, b in c}\n{a for a in b}\n",
    "walrus": "if (n := f(x)) > 1: pass\nprint((y := 1), [z := 2])\n",
    "strings": "'a' \"b\" '''c\nd'''\nx = ('a'\n     'b')\nrb'\\x' b'y'\nf'a{b}c' 'd' f\"{e!r:>{w}}\"\n",
    "fstrings": "f'{a.b(c)!r} {d:{e}.{f}} {g=} {{}} {h:%Y-%m}'\nf'''\n{a\n}\n'''\nrf'\\{a}'\n",
    "numbers": "0\n1_000\n0xFF\n0o17\n0b1\n1.5\n1e3\n.5\n1j\n-1\n",
    "code points": "é = 'ü' + ß.ö(ä='😀', b=c)  # ñ\nif '日本': x = y\n",
    "assignments": "a = b = c\n(a) = b\na: int\na: int = 1\na.b: c = d\na[0]: e\nx += 1\nx //= (2)\nx **= y\n",
    "simple": "pass; x = 1;\ndel a, b\ndel (a, b)\ndel (a), b\nassert a\nassert (a), b\nraise\nraise a from b\n",
    "imports": "import a\nimport a.b as c, d\nfrom . import x\nfrom ..a.b import (c as d, e,)\nfrom a import *\n",
    "if": "if a: b; c;\nelif d:\n    e\nelif f: g\nelse:\n    h  # comment\n\n# after\nx\n",
    "else if": "if a:\n    b\nelse:\n    if c:\n        d\n",
    "loops": "for a in b:\n    break\nelse:\n    c\nwhile a:\n    continue\nelse: d\nfor *a, b in c: pass\n",
    "with": "with a: pass\nwith a as b, c: pass\nwith (a as b, c as d,): pass\nwith (a): pass\n",
    "with tuple": "with (a, b) as c: pass\nwith (a, b): pass\nwith (a).b: pass\nwith (yield_): pass\n",
    "try": "try:\n    a\nexcept b: c\nexcept (d, e) as f:\n    g\nexcept:\n    h\nelse:\n    i\nfinally:\n    j\n",
    "functions": "@a\n@b(c)\ndef f(a: int, /, b: (str) = (1), *c: d, e, g=2, **h: i) -> (j): return a\n",
    "generators defs": "def f():\n    yield\n    x = yield a\n    y = (yield b)\n    yield from c\n    yield a, b\n",
    "async": "async def f():\n    async with a as b: pass\n    async for c in d: await e\n    [g async for g in h]\n",
    "classes": "class A: pass\nclass B(): pass\n@d\nclass C(A, *b, metaclass=M, **k):\n    '''doc'''\n    x: int = 1\n",
    "scopes": "def f():\n    global a, b\n    def g():\n        nonlocal c\n",
    "tabs and form feeds": "if a:\n\tb\n\f\nc\n \t\nif d:\n        e\n",
    "windows newlines": "if a:\r\n    b = '''x\r\ny'''\r\n\r\n# c\r\nd(\r\n  e)\r\n",
    "old mac newlines": "a = 1\rb = c\r",
    "no newline at end": "x = a",
    "only comments": "x\n# a\n   # b\n",
    "comment at end": "x # a",
    "unusual names": "match = 1\ncase = match\ntype = case\nprint(type, _)\n",
    "keywords touching": "x = (1)if(a)else(b)\ny = not(a)or(b)and[c]\nfor(i)in(j):pass\n",
}


@pytest.mark.parametrize("text", CONSTRUCTS.values(), ids=CONSTRUCTS.keys())
def test_construct(text: str) -> None:
    _check(text)


def test_range_of_an_embedded_expression() -> None:
    text = "x = f'é{a!r:>{ w }} {b = } ' 'c' f'{ d.e :x}'\n"
    module = lower_module(text, "file.py")
    found = {node.id: text[node.loc[1] - 1 : node.loc[3] - 1] for node in nodes(module) if isinstance(node, ir.Name)}
    assert found == {name: name for name in "xawbd"}


def test_file_without_statements() -> None:
    assert lower_module("", "f.py").body == ()
    assert lower_module("# only a comment", "f.py").body == ()
