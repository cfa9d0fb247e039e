"""Other names for objects within a statement that is to see them earlier or later than before."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from lora_lint.findings import Rename
from lora_lint.fix.edits import Change, apply_changes
from lora_lint.fix.names import dotted
from lora_lint.fix.tree import RefusedError, Tree


class Renames:
    """The changes of all renames of a plan, and what the statements read and bind after them."""

    def __init__(self, tree: Tree, intents: Sequence[Rename]) -> None:
        self.changes: list[Change] = []
        self._after: dict[cst.CSTNode, cst.CSTNode] = {}
        for intent in intents:
            statement, found = _around(tree, intent)
            self.changes += found
            start, end = tree.span(statement)
            inner = [Change(change.start - start, change.end - start, change.text) for change in found]
            if inner:
                self._after[statement] = _parsed(tree, statement, apply_changes(tree.text[start:end], inner))

    def of(self, statement: cst.CSTNode) -> cst.CSTNode:
        """A statement as it will be."""
        return self._after.get(statement, statement)


def _around(tree: Tree, intent: Rename) -> tuple[cst.CSTNode, list[Change]]:
    """The innermost statement around a place in which the names occur (a loop, for its last line), and the changes."""
    small = tree.small_statement(intent.what)
    suite = tree.parent(small) if small is not None else None
    first = tree.parent(suite) if isinstance(suite, cst.SimpleStatementSuite) else tree.statement(intent.what)
    statement = first
    while statement is not None:
        seen: set[str] = set()
        changes = _occurrences(tree, statement, dict(intent.names), seen)
        if seen and (not intent.needed or intent.needed in seen):
            return statement, changes
        statement = tree.enclosing(statement, cst.For, cst.With, cst.If)
    if intent.needed or first is None:
        raise RefusedError(f"{intent.needed!r} was not found in the statement")
    return first, []


def _occurrences(tree: Tree, statement: cst.CSTNode, names: dict[str, str], seen: set[str]) -> list[Change]:
    """Replacements of the names within a statement; `seen` gets those that occur."""
    found: list[Change] = []
    stack = [statement]
    while stack:
        node = stack.pop()
        name = dotted(node) if isinstance(node, (cst.Name, cst.Attribute)) else None
        if name in names:
            seen.add(name)
            if names[name] != name:
                found.append(Change(*tree.span(node), names[name]))
        elif isinstance(node, (cst.Attribute, cst.Arg)):
            stack.append(node.value)  # not the attribute's name or the keyword, which are no variables
        else:
            stack.extend(node.children)
    return found


def _parsed(tree: Tree, statement: cst.CSTNode, text: str) -> cst.CSTNode:
    """A statement with its new text, to be asked for the names in it."""
    indent = tree.lines.indent(tree.line_of(statement))
    body = f"if True:\n{indent}{text}\n" if indent else f"{text}\n"
    try:
        return cst.parse_module(body)
    except cst.ParserSyntaxError as error:
        raise RefusedError("the renamed statement would not parse") from error
