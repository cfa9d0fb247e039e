"""Whole statements: inserting, removing, replacing expressions and binding results."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import libcst as cst

from lora_lint.findings import (
    BindResult,
    FollowAttribute,
    InsertStatement,
    OutOfPlace,
    RemoveDecorator,
    RemoveStatement,
    ReplaceComment,
    ReplaceText,
)
from lora_lint.fix.calls import has_comment
from lora_lint.fix.edits import Change, with_newlines
from lora_lint.fix.names import local_names, outer_names, uses
from lora_lint.fix.tree import Line, RefusedError, Tree
from lora_lint.location import Location

Node = TypeVar("Node", bound=cst.CSTNode)

_LEAVES = (cst.Return, cst.Raise, cst.Break, cst.Continue)
# Expressions that may stand anywhere an expression stands; the others need parentheses inside a larger one.
_TIGHT = (cst.Name, cst.Attribute, cst.Call, cst.Subscript, cst.BaseNumber, cst.BaseString, cst.BaseList, cst.BaseDict)
_ROOMY = (
    cst.If,
    cst.While,
    cst.CompIf,
    cst.Arg,
    cst.Assign,
    cst.AnnAssign,
    cst.AugAssign,
    cst.Expr,
    cst.Return,
    cst.Element,
    cst.DictElement,
)


# --- inserting --------------------------------------------------------------------------------------------------------


def insert(tree: Tree, intent: InsertStatement) -> list[Change]:
    """Changes that insert lines before or after a statement, at its indentation and with the file's newlines."""
    anchor = tree.statement(intent.anchor)
    block = _parsed(intent.text)
    _check_scope(tree, anchor, block.body)
    first = tree.first_line(anchor)
    newline = tree.lines.newline(first)
    indent = tree.lines.indent(first)
    rows = textwrap.dedent(intent.text.strip("\n")).splitlines()
    text = "".join((indent + row if row.strip() else "") + newline for row in rows)
    if isinstance(anchor, cst.SimpleStatementLine) and len(anchor.body) > 1:
        edge = anchor.body[-1] if intent.after else anchor.body[0]
        if tree.small_statement(intent.anchor) is not edge:
            raise RefusedError("the statement shares its line with another")
    return [place_below(tree, anchor, text) if intent.after else place_above(tree, anchor, text)]


def drop_decorator(tree: Tree, intent: RemoveDecorator) -> Change:
    """Removal of a decorator's lines, with a comment behind it."""
    decorator = tree.decorator(intent.what)
    first, last = tree.line_of(decorator), tree.end_line(decorator)
    return Change(tree.lines.line_start(first), tree.lines.next_line(last), "")


def place_above(tree: Tree, anchor: Line, text: str) -> Change:
    """Insertion of whole lines above a statement and the comments that belong to it."""
    place = tree.lines.line_start(tree.first_line_with_comments(anchor))
    return Change(place, place, text)


def place_below(tree: Tree, anchor: Line, text: str) -> Change:
    """Insertion of whole lines below a statement, its trailing comment and the comments at the end of its block."""
    if isinstance(anchor, cst.SimpleStatementLine) and isinstance(anchor.body[-1], _LEAVES):
        raise RefusedError("nothing runs after the statement")
    last = tree.end_line(anchor)
    if isinstance(anchor, cst.BaseCompoundStatement):
        last = _last_inner_comment(tree, anchor, last)
    return insertion_below(tree, last, text)


def insertion_below(tree: Tree, line: int, text: str) -> Change:
    """Insertion of whole lines below a line; a file that does not end with a newline still does not."""
    place = tree.lines.next_line(line)
    if place == len(tree.text) and tree.lines.line_end(line) == place:
        newline = tree.lines.newline(line)
        return Change(place, place, newline + text[: len(text) - len(newline)])
    return Change(place, place, text)


def _last_inner_comment(tree: Tree, statement: cst.BaseCompoundStatement, line: int) -> int:
    """Last of the comment lines that directly follow a block and are indented like its body."""
    indent = tree.lines.indent(tree.first_line(statement))
    while line < len(tree.lines.starts):
        below = tree.lines.line(line + 1)
        if not below.lstrip().startswith("#") or len(tree.lines.indent(line + 1)) <= len(indent):
            break
        line += 1
    return line


def _parsed(text: str) -> cst.Module:
    """Inserted lines as a tree. Raises RefusedError when they are no statements."""
    try:
        return cst.parse_module(textwrap.dedent(text.strip("\n")) + "\n")
    except cst.ParserSyntaxError as error:
        raise RefusedError(f"the lines to insert do not parse: {text.strip()!r}") from error


def _check_scope(tree: Tree, place: cst.CSTNode, added: Sequence[cst.CSTNode]) -> None:
    """Refuse to rebind a name that the function around a place only sees from outside.

    `model = model.merge_and_unload()` in a function that reads a global `model` would make the name local and fail.
    """
    function = tree.function(place)
    if function is None:
        return
    known = local_names(function) | outer_names(function.body)
    for name in sorted(_rebound(added) - known):
        raise RefusedError(f"{name!r} is not a local variable of {function.name.value}()")


def _rebound(nodes: Iterable[cst.CSTNode]) -> set[str]:
    """Plain names that assignments give a new value made of the old one."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, (cst.Assign, cst.AnnAssign, cst.AugAssign)):
            both = uses([node])
            found |= {name for name in both.binds & both.reads if "." not in name}
        else:
            found |= _rebound(node.children)
    return found


# --- removing ---------------------------------------------------------------------------------------------------------


def remove(tree: Tree, intents: Sequence[RemoveStatement]) -> list[Change]:
    """Changes that remove statements, and an `if` that would hold nothing any more; what would leave another block empty
    becomes `pass`. Comments above stay."""
    changes: list[Change] = []
    small: dict[cst.CSTNode, list[cst.BaseSmallStatement]] = {}
    whole: dict[cst.CSTNode, list[Line]] = {}
    for intent in intents:
        statement = tree.small_statement(intent.what)
        if statement is not None and not tree.has_own_lines(intent.what):
            _append(small, tree.parent(statement), statement)
        else:
            target = standalone(tree, intent.what)
            _append(whole, tree.parent(target), target)
    while (emptied := _emptied(tree, small, whole)) is not None:
        body, outer = emptied
        small.pop(body, None)
        whole.pop(body, None)
        _append(whole, tree.parent(outer), outer)
    for line, statements in small.items():
        changes += _remove_from_line(tree, line, statements)
    for block, targets in whole.items():
        changes += _remove_lines(tree, block, targets)
    return changes


def _emptied(
    tree: Tree, small: Mapping[cst.CSTNode, list[cst.BaseSmallStatement]], whole: Mapping[cst.CSTNode, list[Line]]
) -> tuple[cst.CSTNode, cst.If] | None:
    """A block of which nothing would be left, and the `if` around it that does nothing else, comments included."""
    for body in (*small, *whole):
        outer = tree.parent(body)
        gone: Sequence[cst.CSTNode] = small.get(body) or whole[body]
        if not isinstance(outer, cst.If) or outer.orelse is not None or not tree.is_in_block(outer):
            continue
        if len(gone) == len(body.body) and not has_comment(body) and _is_plain(outer.test):  # type: ignore[attr-defined]
            return body, outer
    return None


def _is_plain(test: cst.BaseExpression) -> bool:
    """Whether a condition consists of names, attributes, constants and operators: asking it changes nothing."""
    if isinstance(test, (cst.Name, cst.BaseNumber, cst.SimpleString)):
        return True
    if isinstance(test, cst.Attribute):
        return _is_plain(test.value)
    if isinstance(test, (cst.Comparison, cst.UnaryOperation, cst.BooleanOperation)):
        return all(_is_plain(part) for part in test.children if isinstance(part, cst.BaseExpression)) and all(
            _is_plain(target.comparator) for target in getattr(test, "comparisons", ())
        )
    return False


def _append(groups: dict[cst.CSTNode, list[Node]], key: cst.CSTNode | None, value: Node) -> None:
    """Add a statement to the group of its line or block, once."""
    assert key is not None
    group = groups.setdefault(key, [])
    if value not in group:
        group.append(value)


def standalone(tree: Tree, what: Location) -> Line:
    """Statement that a location names. Raises RefusedError for a mere part of a compound statement."""
    statement = tree.statement(what)
    if isinstance(statement, cst.BaseCompoundStatement) and tree.located(what) != tree.span(statement):
        raise RefusedError("the place is only a part of a compound statement")
    return statement


def _remove_from_line(tree: Tree, line: cst.CSTNode, statements: Sequence[cst.BaseSmallStatement]) -> list[Change]:
    """Statements taken out of `a; b; c` or `if x: a; b`."""
    assert isinstance(line, (cst.SimpleStatementLine, cst.SimpleStatementSuite))
    kept = [statement for statement in line.body if statement not in statements]
    if not kept:
        start, end = tree.span(line.body[0])[0], tree.span(line.body[-1])[1]
        return [Change(start, end, "pass")]
    changes: list[Change] = []
    for index, statement in enumerate(line.body):
        if statement not in statements:
            continue
        start, end = tree.span(statement)
        if any(other in kept for other in line.body[index + 1 :]):
            changes.append(Change(start, tree.span(line.body[index + 1])[0], ""))
        else:
            changes.append(Change(tree.span(line.body[index - 1])[1], end, ""))
    return changes


def _remove_lines(tree: Tree, block: cst.CSTNode, targets: Sequence[Line]) -> list[Change]:
    """Statements with lines of their own taken out of one block."""
    assert isinstance(block, (cst.Module, cst.IndentedBlock))
    changes = []
    needs_pass = len(targets) == len(block.body) and isinstance(block, cst.IndentedBlock)
    for target in targets:
        if needs_pass and target is targets[0]:
            changes.append(Change(tree.full_start(target), tree.span(target)[1], "pass"))
            continue
        changes.append(line_deletion(tree, tree.first_line(target), tree.end_line(target)))
    return changes


def line_deletion(tree: Tree, first: int, last: int) -> Change:
    """Deletion of whole lines; when they end a file without a final newline, the newline before them goes too."""
    start, end = tree.lines.line_start(first), tree.lines.next_line(last)
    if end == len(tree.text) and tree.lines.line_end(last) == end and first > 1:
        start = tree.lines.line_end(first - 1)
    return Change(start, end, "")


# --- replacing and binding --------------------------------------------------------------------------------------------


def bind_result(tree: Tree, intent: BindResult) -> list[Change]:
    """Change that turns the expression statement at a location into an assignment."""
    statement = tree.small_statement(intent.what)
    if not isinstance(statement, cst.Expr):
        raise RefusedError("the result is already used")
    _check_scope(tree, statement, [*_parsed(f"{intent.target} = {tree.source(statement)}").body])
    start = tree.span(statement)[0]
    return [Change(start, start, f"{intent.target} = ")]


def out_of_place(tree: Tree, intent: OutOfPlace) -> Change:
    """Change that turns an augmented assignment into a plain one."""
    statement = tree.small_statement(intent.what)
    if not isinstance(statement, cst.AugAssign):
        raise RefusedError("the augmented assignment was not found")
    if has_comment(statement):
        raise RefusedError("comments inside the expression would be lost")
    target, value = tree.source(statement.target), tree.source(statement.value)
    sign = cst.Module([]).code_for_node(statement.operator).strip().removesuffix("=")
    simple = isinstance(statement.value, (cst.Name, cst.Attribute, cst.Call, cst.Subscript, cst.BaseNumber))
    text = f"{target} = {target} {sign} {value if simple or statement.value.lpar else f'({value})'}"
    return Change(*tree.span(statement), text)


def replace(tree: Tree, intent: ReplaceText) -> list[Change]:
    """Change that replaces an expression (or a simple statement), in parentheses where the new one needs them."""
    span = tree.located(intent.what)
    node = tree.node_at(span)
    if node is None:
        raise RefusedError("the expression to replace was not found")
    if has_comment(node):
        raise RefusedError("comments inside the expression would be lost")
    text = intent.text
    if isinstance(node, cst.BaseExpression) and not node.lpar and not isinstance(tree.parent(node), _ROOMY):
        text = _enclosed(text)
    return [Change(*span, with_newlines(text, tree.lines.newline(tree.line_of(node))))]


def follow_attribute(tree: Tree, intent: FollowAttribute) -> Change:
    """Change that puts an attribute behind an expression."""
    span = tree.located(intent.what)
    node = tree.node_at(span)
    if not isinstance(node, (cst.Name, cst.Attribute, cst.Call, cst.Subscript)) or node.lpar:
        raise RefusedError("the expression whose attribute is meant is no plain one")
    return Change(span[1], span[1], f".{intent.path}")


def _enclosed(text: str) -> str:
    """An expression in parentheses unless it binds as tightly as a name."""
    try:
        expression = cst.parse_expression(text)
    except cst.ParserSyntaxError as error:
        raise RefusedError(f"the replacement does not parse: {text!r}") from error
    return text if isinstance(expression, _TIGHT) or expression.lpar else f"({text})"


# --- comments ---------------------------------------------------------------------------------------------------------


def replace_comment(tree: Tree, intent: ReplaceComment) -> Change:
    """Change of a comment or of a part of one; a comment that goes takes the space before it, or its line, along."""
    place = intent.what
    start = tree.lines.offset(place.line, place.column)
    end = tree.lines.offset(place.end_line, place.end_column)
    if not tree.text.startswith("#", start) or place.line != place.end_line:
        raise RefusedError("there is no comment at this place")
    if intent.text:
        return Change(start, end, intent.text)
    line_start, line_end = tree.lines.line_start(place.line), tree.lines.line_end(place.line)
    before = tree.text[line_start:start].rstrip()
    after = tree.text[end:line_end].lstrip()
    if not before and not after:
        return Change(line_start, tree.lines.next_line(place.line), "")
    if after:
        # Another comment follows in the same one: it stays where this one began.
        return Change(start, line_end - len(after), "")
    return Change(line_start + len(before), line_end, "")
