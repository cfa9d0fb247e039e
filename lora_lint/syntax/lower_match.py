"""A match statement to a chain of Ifs.

A literal pattern tests `subject == literal`, alternatives of them an "or", any other pattern Op("match", (subject,)).
Names that a pattern captures are assigned first thing in the body: a whole capture gets the subject, a part of it
Op("match", (subject,)), of which nothing is known. An irrefutable last case is the `else`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import libcst as cst

from lora_lint.syntax import ir
from lora_lint.syntax.dispatch import UnknownNodeError, lower
from lora_lint.syntax.lower_expr import identifier
from lora_lint.syntax.positions import Cursor

Block = Callable[[Cursor, cst.BaseSuite], tuple[ir.Stmt, ...]]


@dataclass(slots=True)
class _Case:
    loc: ir.Loc
    test: ir.Expr | None
    body: tuple[ir.Stmt, ...]


def lower_match(at: Cursor, node: cst.Match, block: Block) -> ir.If:
    """The If chain of a match statement; `block` lowers the body of a case."""
    start = at.skip()
    at.pos = start + 5
    subject = lower(at, node.subject)
    at.token(1)
    cases = [_case(at, case, subject, block) for case in node.cases]
    orelse: tuple[ir.Stmt, ...] = ()
    for case in reversed(cases[1:]):
        orelse = case.body if case.test is None else (ir.If(case.loc, case.test, case.body, orelse),)
    first = cases[0]
    return ir.If(at.loc(start), first.test or ir.Const(first.loc, True), first.body, orelse)


def _case(at: Cursor, node: cst.MatchCase, subject: ir.Expr, block: Block) -> _Case:
    start = at.skip()
    at.pos = start + 4
    pattern = _Pattern(at, subject)
    test = pattern.take(node.pattern, whole=True)
    if node.guard is not None:
        at.token(2)
        guard = lower(at, node.guard)
        test = guard if test is None else ir.Op(guard.loc, "and", (test, guard))
    at.token(1)
    body = block(at, node.body)
    return _Case(at.loc(start), test, (*pattern.captures, *body))


class _Pattern:
    """One pattern: steps over its tokens and collects the names it binds."""

    def __init__(self, at: Cursor, subject: ir.Expr) -> None:
        self.at = at
        self.subject = subject
        self.captures: list[ir.Assign] = []

    def take(self, node: cst.MatchPattern, whole: bool) -> ir.Expr | None:
        """The test of a pattern, None when it always holds. whole: it stands for the subject, not for a part of it."""
        at = self.at
        for _ in node.lpar:
            at.token(1)
        start = at.skip()
        test = self._test(node, whole, start)
        for _ in node.rpar:
            at.token(1)
        return test

    def _test(self, node: cst.MatchPattern, whole: bool, start: int) -> ir.Expr | None:
        at = self.at
        if isinstance(node, (cst.MatchValue, cst.MatchSingleton)):
            value = lower(at, node.value)
            return ir.Op(value.loc, "==", (self.subject, value))
        if isinstance(node, cst.MatchAs):
            return self._capture(node, whole)
        if isinstance(node, cst.MatchOr):
            return self._alternatives(node, whole, start)
        if isinstance(node, (cst.MatchList, cst.MatchTuple)):
            bracket = isinstance(node, cst.MatchList) and node.lbracket is not None
            self._sequence(node.patterns, bracket)
        elif isinstance(node, cst.MatchMapping):
            self._mapping(node)
        elif isinstance(node, cst.MatchClass):
            self._class(node)
        else:
            raise UnknownNodeError(type(node).__name__)
        return ir.Op(at.loc(start), "match", (self.subject,))

    def _alternatives(self, node: cst.MatchOr, whole: bool, start: int) -> ir.Expr | None:
        tests = []
        for alternative in node.patterns:
            tests.append(self.take(alternative.pattern, whole))
            self.at.optional("|")
        known = tuple(test for test in tests if test is not None)
        return ir.Op(self.at.loc(start), "or", known) if len(known) == len(tests) else None

    def _capture(self, node: cst.MatchAs, whole: bool) -> ir.Expr | None:
        test = None
        if node.pattern is not None:
            test = self.take(node.pattern, whole)
            self.at.token(2)
        if node.name is None:
            self.at.token(1)
        else:
            self._bind(node.name, whole)
        return test

    def _bind(self, node: cst.Name, whole: bool) -> None:
        start = self.at.skip()
        name = identifier(self.at, node)
        loc = self.at.loc(start)
        value = self.subject if whole else ir.Op(loc, "match", (self.subject,))
        self.captures.append(ir.Assign(loc, (ir.Name(loc, name),), value))

    def _sequence(self, nodes: Sequence[Any], bracket: bool) -> None:
        if bracket:
            self.at.token(1)
        for node in nodes:
            if isinstance(node, cst.MatchStar):
                self.at.token(1)
                if node.name is None:
                    self.at.token(1)
                else:
                    self._bind(node.name, False)
            else:
                self.take(node.value, False)
            self.at.optional(",")
        if bracket:
            self.at.token(1)

    def _mapping(self, node: cst.MatchMapping) -> None:
        at = self.at
        at.token(1)
        for element in node.elements:
            lower(at, element.key)
            at.token(1)
            self.take(element.pattern, False)
            at.optional(",")
        if node.rest is not None:
            at.token(2)
            self._bind(node.rest, False)
            at.optional(",")
        at.token(1)

    def _class(self, node: cst.MatchClass) -> None:
        at = self.at
        lower(at, node.cls)
        at.token(1)
        for element in node.patterns:
            self.take(element.value, False)
            at.optional(",")
        for keyword in node.kwds:
            at.token(len(keyword.key.value))
            at.token(1)
            self.take(keyword.pattern, False)
            at.optional(",")
        at.token(1)
