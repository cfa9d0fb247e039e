"""What the handlers of the fast front end share: the tables, places, and the signal that a file is not for it."""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from lora_lint.syntax import ir
from lora_lint.syntax.positions import Cursor, line_starts


class NotForAstError(Exception):
    """Code that only the reference front end lowers."""


class Lowering:
    """One text on its way from CPython's tree to IR.

    yields: whether a `yield` was met since it was last reset. first: line and column at which the text stands in its
    module; an expression in an f-string is a text of its own.
    """

    __slots__ = ("_continued", "_cursor", "_first", "_lines", "_text", "loc", "yields")

    def __init__(self, text: str, first: tuple[int, int] = (1, 1)) -> None:
        self.yields = False
        self.loc: Callable[[Any], ir.Loc] = self._general
        self._text = text
        self._first = first
        self._cursor: Cursor | None = None
        self._continued: dict[int, list[int]] = {}
        self._lines: list[str] | None = None
        if text.isascii():
            if first == (1, 1):
                self.loc = _ascii
        else:
            starts = line_starts(text)
            self._lines = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]

    def _general(self, node: Any) -> ir.Loc:
        end_line = node.end_lineno
        column = self._column(node.lineno, node.col_offset)
        return self.shifted((node.lineno, column, end_line, self._column(end_line, node.end_col_offset)))

    def _column(self, line: int, offset: int) -> int:
        """The column of a byte offset: bytes that continue a character do not count."""
        if self._lines is None:
            return offset + 1
        continued = self._continued.get(line)
        if continued is None:
            text = self._lines[line - 1]
            data = b"" if text.isascii() else text.encode()
            continued = self._continued[line] = [at for at, byte in enumerate(data) if byte & 0xC0 == 0x80]
        return offset + 1 - bisect_left(continued, offset)

    def shifted(self, loc: ir.Loc) -> ir.Loc:
        """A range in this text as one in the module."""
        if self._first == (1, 1):
            return loc
        line, column, end_line, end_column = loc
        above, before = self._first[0] - 1, self._first[1] - 1
        return (
            line + above,
            column + before if line == 1 else column,
            end_line + above,
            end_column + before if end_line == 1 else end_column,
        )

    def cursor(self, node: ast.expr) -> Cursor:
        """A cursor over the text, before the first token of a node."""
        if self._cursor is None:
            self._cursor = Cursor(self._text)
        self._cursor.pos = self._cursor.offset(node.lineno, self._column(node.lineno, node.col_offset))
        return self._cursor

    def end(self, cursor: Cursor, node: Any) -> int:
        """The offset behind the last token of a node."""
        return cursor.offset(node.end_lineno, self._column(node.end_lineno, node.end_col_offset))


def _ascii(node: Any) -> ir.Loc:
    return (node.lineno, node.col_offset + 1, node.end_lineno, node.end_col_offset + 1)


# Filled while the modules of handlers are imported, constant afterwards.
EXPRESSIONS: dict[type[ast.AST], Callable[[Lowering, Any], ir.Expr]] = {}
STATEMENTS: dict[type[ast.AST], Callable[[Lowering, Any, list[ir.Stmt]], None]] = {}


def expression(at: Lowering, node: ast.AST) -> ir.Expr:
    """The IR of one expression."""
    handler = EXPRESSIONS.get(type(node))
    if handler is None:
        raise NotForAstError
    return handler(at, node)


def optional(at: Lowering, node: ast.AST | None) -> ir.Expr | None:
    """The IR of an expression that may be missing."""
    return None if node is None else expression(at, node)


def statements(at: Lowering, nodes: list[ast.stmt]) -> tuple[ir.Stmt, ...]:
    """The IR of consecutive statements."""
    out: list[ir.Stmt] = []
    for node in nodes:
        handler = STATEMENTS.get(type(node))
        if handler is None:
            raise NotForAstError
        handler(at, node, out)
    return tuple(out)
