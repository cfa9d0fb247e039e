"""Moving statements within their block, when nothing in between depends on the order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import libcst as cst

from lora_lint.findings import MoveStatement, Postpone
from lora_lint.fix.calls import has_comment
from lora_lint.fix.edits import Change, apply_changes
from lora_lint.fix.loops import is_about_its_targets
from lora_lint.fix.methods import method_uses
from lora_lint.fix.names import Uses, dotted, prefixes, uses
from lora_lint.fix.places import Span
from lora_lint.fix.renames import Renames
from lora_lint.fix.statements import line_deletion, place_above, place_below
from lora_lint.fix.tree import Line, RefusedError, Tree
from lora_lint.location import Location


@dataclass(frozen=True, slots=True)
class Move:
    """Statements of one block that go together, in the order of the file, to one side of an anchor.

    contents: their lines with the comments that belong to them, without the last newline. deletions: what goes from
    the old place. Both differ only at the end of a file that does not end with a newline.
    """

    contents: tuple[Span, ...]
    deletions: tuple[Change, ...]
    anchor: Line
    after: bool


def moves(tree: Tree, intents: Sequence[MoveStatement], removed: Sequence[cst.CSTNode], renames: Renames) -> list[Move]:
    """Moves for all intents; those with the same anchor keep their order.

    removed: statements that the same plan removes; they cannot be in the way. renames: other names that the plan gives
    to what statements use. Raises RefusedError when a statement
    cannot be moved without changing what others see.
    """
    groups: dict[tuple[Line, bool], list[Line]] = {}
    for intent in intents:
        anchor = tree.statement(intent.anchor)
        statement = _movable(tree, intent.what, anchor)
        if statement is anchor:
            raise RefusedError("both events happen in one statement")
        group = groups.setdefault((anchor, intent.after), [])
        if statement not in group:
            group.append(statement)
    return [
        _move(tree, anchor, sorted(group, key=tree.full_start), after, removed, renames)
        for (anchor, after), group in groups.items()
    ]


def carried(tree: Tree, move: Move, changes: Sequence[Change]) -> list[Change]:
    """Changes that carry out a move; `changes` are those of the same plan that lie within the moved lines."""
    newline = tree.lines.newline(tree.first_line(move.anchor))
    text = ""
    for start, end in move.contents:
        inner = [
            Change(change.start - start, change.end - start, change.text)
            for change in changes
            if start <= change.start and change.end <= end
        ]
        text += apply_changes(tree.text[start:end], inner) + newline
    place = place_below if move.after else place_above
    return [*move.deletions, place(tree, move.anchor, text)]


def _movable(tree: Tree, what: Location, anchor: Line) -> Line:
    """Statement to move: the one at the location, or the loop, with or if around it that holds nothing else."""
    small = tree.small_statement(what)
    suite = tree.parent(small) if small is not None else None
    header = tree.parent(suite) if isinstance(suite, cst.SimpleStatementSuite) else None
    if isinstance(header, (cst.For, cst.With, cst.If)) and _holds_only(tree, header, small):
        statement: Line = header
    else:
        statement = tree.statement(what)
    while tree.parent(statement) is not tree.parent(anchor):
        loop = tree.enclosing(statement, cst.For, cst.FunctionDef, cst.ClassDef)
        if isinstance(loop, cst.For) and tree.is_in_block(loop) and is_about_its_targets(loop):
            statement = loop
            continue
        outer = tree.enclosing(statement, cst.For, cst.With, cst.If, cst.While, cst.Try, cst.FunctionDef, cst.ClassDef)
        if not isinstance(outer, cst.BaseCompoundStatement) or not _holds_only(tree, outer, statement):
            raise RefusedError("the two statements stand in different blocks")
        statement = outer
    if isinstance(statement, cst.BaseCompoundStatement) and not _reaches_body(tree, statement, what):
        raise RefusedError("the place is only a part of a compound statement")
    return statement


def _holds_only(tree: Tree, outer: cst.BaseCompoundStatement, inner: cst.CSTNode | None) -> bool:
    """Whether a for, with or if consists of one statement only and may therefore move with it."""
    if not isinstance(outer, (cst.For, cst.With, cst.If)) or not tree.is_in_block(outer):
        return False
    if not isinstance(outer, cst.With) and outer.orelse is not None:
        return False
    return len(outer.body.body) == 1 and outer.body.body[0] is inner


def _reaches_body(tree: Tree, statement: cst.BaseCompoundStatement, what: Location) -> bool:
    """Whether a location goes beyond the header of a compound statement."""
    return not isinstance(statement, cst.Match) and tree.located(what)[1] > tree.span(statement.body)[0]


def _move(
    tree: Tree, anchor: Line, group: list[Line], after: bool, removed: Sequence[cst.CSTNode], renames: Renames
) -> Move:
    """One group of statements moved to one side of its anchor."""
    block = list(tree.block(anchor))
    target = block.index(anchor)
    for statement in group:
        _check_statement(tree, statement, anchor)
        place = block.index(statement)
        between = block[min(place, target) + 1 : max(place, target)]
        if (place > target) != after:
            between.append(anchor)
        if not between:
            raise RefusedError("the statement already stands there")
        crossed = [node for node in between if node not in group and node not in removed]
        _check_order(tree, statement, crossed, anchor, renames)
    ranges = [(tree.first_line_with_comments(statement), tree.end_line(statement)) for statement in group]
    contents = tuple((tree.lines.line_start(first), tree.lines.line_end(last)) for first, last in ranges)
    return Move(contents, tuple(_gap_deletion(tree, *lines) for lines in ranges), anchor, after)


def _gap_deletion(tree: Tree, first: int, last: int) -> Change:
    """Deletion of lines that leaves one blank line, not two, where there was one on both sides."""
    if first > 1 and last + 1 < len(tree.lines.starts):
        if not tree.lines.line(first - 1).strip() and not tree.lines.line(last + 1).strip():
            last += 1
    return line_deletion(tree, first, last)


def _check_statement(tree: Tree, statement: Line, anchor: Line) -> None:
    """Refuse what must not be moved whatever stands in between."""
    if not tree.is_alone(statement) or not tree.is_alone(anchor):
        raise RefusedError("the statement shares its line with another")
    if isinstance(statement, (cst.FunctionDef, cst.ClassDef)) and statement.decorators:
        raise RefusedError("a decorated definition is not moved")
    if uses([statement]).jumps:
        raise RefusedError("the statement leaves its block")
    if tree.cell(tree.first_line(statement)) != tree.cell(tree.first_line(anchor)):
        raise RefusedError("the two statements stand in different cells of the notebook")


def _check_order(tree: Tree, statement: Line, crossed: Sequence[cst.CSTNode], anchor: Line, renames: Renames) -> None:
    """Refuse when a statement in between sees or decides what the moved one does.

    An object that passes through both statements is an exception (`model = get_peft_model(model, cfg)` and
    `model = prepare_model_for_kbit_training(model)`), and may be used and passed on in between: the check that asked
    for the move has decided about it.
    """
    moved = uses([renames.of(statement)])
    inside = method_uses(tree, statement)
    threaded = _threaded(renames.of(anchor))
    passed = _threaded(renames.of(statement)) & uses([renames.of(anchor)]).reads
    for node in crossed:
        found = _with_callees(tree, renames.of(node))
        called = method_uses(tree, node)
        line = tree.line_of(node)
        if seen := inside.makes & (found.reads | called.reads):
            raise RefusedError(f"line {line} uses {min(seen)!r}, which the statement to move makes in a method")
        if made := called.makes & (moved.reads | inside.reads):
            raise RefusedError(f"line {line} makes {min(made)!r} in a method, and the statement to move uses it")
        if (inside.unknown and called.touches(found)) or (called.unknown and inside.touches(moved)):
            raise RefusedError(f"line {line} may set attributes in the parent's __init__(), or use what it sets")
        if found.jumps:
            raise RefusedError(f"line {line} may leave the block in between")
        owners = {prefix for name in found.binds for prefix in prefixes(name)}
        if seen := (moved.binds - passed) & (found.reads | owners):
            raise RefusedError(f"line {line} uses {min(seen)!r}, which the statement to move binds")
        if changed := moved.reads & (found.binds - ((threaded | passed) & _threaded(renames.of(node)))):
            raise RefusedError(f"line {line} binds {min(changed)!r}, which the statement to move uses")
        if node is not anchor and (hidden := _hidden(moved.binds, found)):
            raise RefusedError(f"line {line} may use {hidden!r}, which the statement to move binds")


def postpone(tree: Tree, intent: Postpone, renames: Renames) -> list[Change]:
    """Changes that take a call from around its argument and make it a statement of its own below an anchor."""
    statement = tree.statement(intent.call)
    anchor = _movable(tree, intent.anchor, statement)
    (start, end), (first, last) = tree.located(intent.call), tree.located(intent.argument)
    small = tree.small_statement(intent.call)
    if not isinstance(small, cst.Assign) or len(small.targets) != 1 or tree.span(small.value) != (start, end):
        raise RefusedError("the call to take out is not all of what is assigned")
    variable = dotted(small.targets[0].target)
    if variable is None or has_comment(small):
        raise RefusedError("the call to take out is not given a plain name, or holds comments")
    if not tree.is_alone(statement):
        raise RefusedError("the statement shares its line with another")
    text = f"{variable} = {tree.text[start:first]}{variable}{tree.text[last:end]}"
    later = uses([cst.parse_module(text + "\n")])
    block = list(tree.block(anchor))
    for node in block[block.index(statement) + 1 : block.index(anchor)]:
        found = _with_callees(tree, renames.of(node))
        if found.jumps:
            raise RefusedError(f"line {tree.line_of(node)} may leave the block in between")
        if shared := {variable} & (found.reads | found.binds) or (later.reads - {variable}) & found.binds:
            raise RefusedError(f"line {tree.line_of(node)} uses or binds {min(shared)!r}")
    line = tree.first_line(anchor)
    below = place_below(tree, anchor, tree.lines.indent(line) + text + tree.lines.newline(line))
    return [Change(start, end, tree.text[first:last]), below]


def _threaded(node: cst.CSTNode) -> set[str]:
    """Names that a statement both reads and binds: the object passes through it."""
    found = uses([node])
    return found.binds & found.reads


def _hidden(bound: set[str], found: Uses) -> str | None:
    """Attribute that is bound by the moved statement and that a method called in between may read (`self.setup()`)."""
    for name in sorted(bound):
        if found.called_on & set(prefixes(name)[:-1]):
            return name
    return None


def _with_callees(tree: Tree, node: cst.CSTNode) -> Uses:
    """Uses of a statement, with the names that functions of this file read when it calls them."""
    found = uses([node])
    for statement in tree.module.body:
        if isinstance(statement, cst.FunctionDef) and statement.name.value in found.reads:
            found.reads |= uses([statement]).later
    return found
