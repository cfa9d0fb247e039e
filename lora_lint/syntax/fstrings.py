"""The parts of an f-string, read from its text: before Python 3.12 `ast` places what is inside wrongly."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from lora_lint.syntax import ir
from lora_lint.syntax.ast_base import NotForAstError
from lora_lint.syntax.literals import string_value
from lora_lint.syntax.positions import Cursor

_START = re.compile(r"([A-Za-z]*)('''|\"\"\"|'|\")")
_PLAIN = {quote: re.compile(rf"(?:[^\\]|\\.)*?{quote}", re.DOTALL) for quote in ("'''", '"""', "'", '"')}
_PREFIX = re.compile(r"[A-Za-z]*\Z")

Shift = Callable[[ir.Loc], ir.Loc]
Embedded = Callable[[str, int], ir.Expr]


def interpolated(at: Cursor, end: int, shift: Shift, embedded: Embedded) -> Iterator[ir.Expr]:
    """Texts and expressions of adjacent strings, at least one of them an f-string, in order.

    at: a cursor before the first string. end: offset behind the last one. embedded: the IR of an expression, given its
    text and where that begins.
    """
    pos = at.pos
    while pos < end:
        at.pos = pos
        pos = at.skip()
        prefix, quote, body = _opening(at.text, pos)
        if "f" not in prefix:
            close = _plain_end(at.text, body, quote)
            at.pos = close
            yield ir.Const(shift(at.loc(pos)), string_value(at.text[pos:close]))
            pos = close
            continue
        pos = body
        while not at.text.startswith(quote, pos):
            if at.text[pos] == "{" and at.text[pos + 1] != "{":
                parts, pos = _field(at, pos, shift, embedded)
                yield from parts
            else:
                close = _text_end(at.text, pos, quote, "r" in prefix)
                at.pos = close
                text = at.text[pos:close].replace("{{", "{").replace("}}", "}")
                yield ir.Const(shift(at.loc(pos)), text)
                pos = close
        pos += len(quote)


def _opening(text: str, pos: int) -> tuple[str, str, int]:
    """Prefix and quotes of the string that begins here, and where its body does."""
    found = _START.match(text, pos)
    if found is None:
        raise NotForAstError
    return found[1].lower(), found[2], found.end()


def _plain_end(text: str, body: int, quote: str) -> int:
    found = _PLAIN[quote].match(text, body)
    if found is None:
        raise NotForAstError
    return found.end()


def _text_end(text: str, pos: int, quote: str, raw: bool) -> int:
    """The end of the literal text that begins here: the next field, or the closing quotes."""
    size = len(text)
    while pos < size and not text.startswith(quote, pos):
        char = text[pos]
        if char == "\\":
            if text.startswith("N{", pos + 1) and not raw:
                pos = text.index("}", pos) + 1
            else:
                pos += 1 if text[pos + 1] in "{}" else 2
        elif char in "{}":
            if text[pos + 1] != char:
                break
            pos += 2
        else:
            pos += 1
    return pos


def _field(at: Cursor, pos: int, shift: Shift, embedded: Embedded) -> tuple[list[ir.Expr], int]:
    """The expressions of the field whose brace stands here, and where it ends."""
    text = at.text
    close = _expression_end(text, pos + 1)
    found = [embedded(text[pos + 1 : close], pos + 1)]
    pos = close
    if text[pos] == "=":
        at.pos = pos + 1
        pos = at.skip()
    if text[pos] == "!":
        pos += 1
        while text[pos] not in ":}":
            pos += 1
    if text[pos] == ":":
        pos += 1
        while text[pos] != "}":
            if text[pos] == "{":
                inner, pos = _field(at, pos, shift, embedded)
                found += inner
            elif text[pos] in "\\\0":  # an escape, or no end
                raise NotForAstError
            else:
                pos += 1
    if text[pos] != "}":
        raise NotForAstError
    return found, pos + 1


def _expression_end(text: str, pos: int) -> int:
    """The end of the expression that begins here: a closing brace, `!r`, a format or the sign that shows it too."""
    depth = 0
    while True:
        char = text[pos]
        if char in "\"'":
            pos = _string_end(text, pos)
            continue
        if char in "\0#\\":
            raise NotForAstError
        if depth == 0 and char in "!:}=":
            if char in "!=" and text[pos + 1] == "=":
                pos += 2
                continue
            if char != "=" or text[pos - 1] not in "<>":
                return pos
        depth += (char in "([{") - (char in ")]}")
        pos += 1


def _string_end(text: str, pos: int) -> int:
    """The end of a string inside an expression; `pos` is that of its first quote."""
    found = _PREFIX.search(text, max(0, pos - 3), pos)
    prefix = found[0].lower() if found is not None else ""
    _, quote, body = _opening(text, pos)
    if "f" not in prefix and "t" not in prefix:
        return _plain_end(text, body, quote)
    pos = body
    while not text.startswith(quote, pos):
        if text[pos] == "\0":
            raise NotForAstError
        if text[pos] == "{" and text[pos + 1] != "{":
            pos = _field_end(text, pos)
        else:
            pos = _text_end(text, pos, quote, "r" in prefix)
            if text[pos] == "}":
                raise NotForAstError
    return pos + len(quote)


def _field_end(text: str, pos: int) -> int:
    """The end of a field of an f-string inside an expression."""
    pos = _expression_end(text, pos + 1)
    while text[pos] != "}":
        if text[pos] in "\0\\":
            raise NotForAstError
        pos = _field_end(text, pos) if text[pos] == "{" else pos + 1
    return pos + 1
