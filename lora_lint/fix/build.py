"""From what a check intends to edits of the text, or to the reason why it cannot be done safely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace as replace_plan

import libcst as cst

from lora_lint.findings import (
    AddParameter,
    BindResult,
    DropKeyword,
    Fix,
    FixPlan,
    FollowAttribute,
    InsertStatement,
    Intent,
    MoveStatement,
    NeedsGuard,
    OutOfPlace,
    Postpone,
    RemoveDecorator,
    RemoveStatement,
    Rename,
    RenameKeyword,
    ReplaceComment,
    ReplaceText,
    SetKeyword,
    Unwrap,
)
from lora_lint.fix.calls import KeywordIntent, change_keywords
from lora_lint.fix.edits import Change, EditConflictError, Lines, apply_changes, ordered, to_edit
from lora_lint.fix.imports import add_imports
from lora_lint.fix.moves import carried, moves, postpone
from lora_lint.fix.names import uses
from lora_lint.fix.parameters import add_parameter
from lora_lint.fix.renames import Renames
from lora_lint.fix.statements import (
    bind_result,
    drop_decorator,
    follow_attribute,
    insert,
    out_of_place,
    remove,
    replace,
    replace_comment,
)
from lora_lint.fix.tree import RefusedError, Tree, syntax_problem
from lora_lint.location import Location


def build(plan: FixPlan, text: str, path: str, cells: Sequence[int] = ()) -> Fix:
    """Fix for one plan against the text of one file: its edits, or `refused` with a reason for the user.

    path: as in the locations of the plan. cells: lines at which the cells of a notebook start. To build several plans
    for one text, use a Builder.
    """
    return Builder(text, path, cells).build(plan)


class Builder:
    """Builds plans for one text, which is parsed once, when the first plan asks for it."""

    def __init__(self, text: str, path: str, cells: Sequence[int] = ()) -> None:
        self.text = text
        self.path = path
        self.cells = tuple(cells)
        self.lines = Lines(text)
        self._tree: Tree | None = None
        self._refusal = ""

    def build(self, plan: FixPlan) -> Fix:
        """Fix for one plan: its edits, or `refused` with a reason for the user."""
        try:
            tree = self._parsed()
            changes = ordered(_changes(tree, plan))
            if not all(isinstance(intent, NeedsGuard) for intent in plan.intents):
                _check_result(self.text, self.path, changes)
        except RefusedError as refusal:
            return Fix(plan.applicability, plan.title, refused=str(refusal))
        except RecursionError:
            return Fix(plan.applicability, plan.title, refused="the code is nested too deeply to be changed safely")
        except EditConflictError:
            return Fix(plan.applicability, plan.title, refused="its changes overlap")
        return Fix(plan.applicability, plan.title, tuple(to_edit(change, tree.lines, self.path) for change in changes))

    def statement_lines(self, location: Location) -> tuple[int, int]:
        """First and last line of the statement around a place, of its header if it is a compound one."""
        try:
            return self._parsed().own_lines(location)
        except RefusedError:
            return location.line, location.end_line

    def _parsed(self) -> Tree:
        """Tree of the text. Raises RefusedError when it cannot be read or must not be changed."""
        if self._refusal:
            raise RefusedError(self._refusal)
        if self._tree is None:
            try:
                self._tree = Tree(self.text, self.path, self.cells)
                if self._tree.generated:
                    raise RefusedError("the file is generated: change what generates it")
            except RefusedError as refusal:
                self._refusal = str(refusal)
                raise
        return self._tree


def places(intent: Intent) -> tuple[Location, ...]:
    """Locations that an intent names."""
    if isinstance(intent, (SetKeyword, DropKeyword, RenameKeyword)):
        return (intent.call,)
    if isinstance(intent, MoveStatement):
        return (intent.what, intent.anchor)
    if isinstance(intent, InsertStatement):
        return (intent.anchor,)
    if isinstance(intent, AddParameter):
        return (intent.function,)
    if isinstance(intent, Postpone):
        return (intent.call, intent.anchor)
    return (intent.what,)


def by_file(plan: FixPlan, default: str) -> list[tuple[str, FixPlan]]:
    """The plan for each file that it changes, in the order of its intents. The imports are for the first file; a plan
    without intents is for the file `default`."""
    parts: dict[str, list[Intent]] = {}
    for intent in plan.intents:
        parts.setdefault(places(intent)[0].path, []).append(intent)
    if not parts:
        return [(default, plan)]
    first = next(iter(parts))
    return [
        (path, replace_plan(plan, intents=tuple(intents), imports=plan.imports if path == first else ()))
        for path, intents in parts.items()
    ]


def _changes(tree: Tree, plan: FixPlan) -> list[Change]:
    """Changes for all intents of a plan and its imports."""
    if not plan.intents:
        raise RefusedError("there is nothing to change")
    intents = [_or_removal(tree, intent) for intent in plan.intents]
    for intent in intents:
        if isinstance(intent, NeedsGuard) and not _is_guarded(tree, intent.what):
            raise RefusedError("a spawned process would run the script again: it needs a __main__ guard first")
    renames = Renames(tree, [intent for intent in intents if isinstance(intent, Rename)])
    changes = _in_place(tree, intents) + renames.changes
    for late in intents:
        if isinstance(late, Postpone):
            changes += postpone(tree, late, renames)
    removals = [intent for intent in intents if isinstance(intent, RemoveStatement)]
    changes += remove(tree, removals)
    gone = [tree.statement(intent.what) for intent in removals if tree.has_own_lines(intent.what)]
    for move in moves(tree, [intent for intent in intents if isinstance(intent, MoveStatement)], gone, renames):
        inner = [c for c in changes if any(a <= c.start and c.end <= b for a, b in move.contents)]
        changes = [change for change in changes if change not in inner] + carried(tree, move, inner)
    return changes + (add_imports(tree, plan.imports, min(change.start for change in changes)) if changes else [])


def _is_guarded(tree: Tree, what: Location) -> bool:
    """Whether a statement stands in a function, or under a condition on `__name__`."""
    node: cst.CSTNode | None = tree.statement(what)
    while node is not None:
        if isinstance(node, (cst.FunctionDef, cst.If)) and (
            isinstance(node, cst.FunctionDef) or "__name__" in uses([node.test]).reads
        ):
            return True
        node = tree.parent(node)
    return False


def _or_removal(tree: Tree, intent: Intent) -> Intent:
    """The intent; in place of a replacement that would leave a statement that says nothing, the removal of it."""
    if isinstance(intent, (ReplaceText, Unwrap)) and _says_nothing(tree, intent):
        return RemoveStatement(intent.what)
    return intent


def _says_nothing(tree: Tree, intent: ReplaceText | Unwrap) -> bool:
    """Whether a replacement would leave `x = x`, or an unwrapped `x` as a statement."""
    statement = tree.small_statement(intent.what)
    source = tree.source(statement) if statement is not None else ""
    outer = tree.text_at(intent.what)
    if isinstance(intent, ReplaceText):
        return source == f"{intent.text} = {outer}" and _is_variable(intent.text)
    inner = tree.text_at(intent.inner)
    return source in (f"{inner} = {outer}", outer) and _is_variable(inner)


def _is_variable(text: str) -> bool:
    """Whether an expression is a plain name or attribute, which does nothing by itself."""
    return all(part.isidentifier() for part in text.split("."))


def _in_place(tree: Tree, intents: Sequence[Intent]) -> list[Change]:
    """Changes for the intents that change one place only; the keywords of one call are changed together."""
    changes: list[Change] = []
    calls: dict[cst.Call, list[KeywordIntent]] = {}
    for intent in intents:
        if isinstance(intent, (SetKeyword, DropKeyword, RenameKeyword)):
            calls.setdefault(tree.call(intent.call), []).append(intent)
        elif isinstance(intent, InsertStatement):
            changes += insert(tree, intent)
        elif isinstance(intent, OutOfPlace):
            changes.append(out_of_place(tree, intent))
        elif isinstance(intent, AddParameter):
            changes += add_parameter(tree, intent)
        elif isinstance(intent, RemoveDecorator):
            changes.append(drop_decorator(tree, intent))
        elif isinstance(intent, BindResult):
            changes += bind_result(tree, intent)
        elif isinstance(intent, ReplaceText):
            changes += replace(tree, intent)
        elif isinstance(intent, Unwrap):
            changes += replace(tree, ReplaceText(intent.what, tree.text_at(intent.inner)))
        elif isinstance(intent, FollowAttribute):
            changes.append(follow_attribute(tree, intent))
        elif isinstance(intent, ReplaceComment):
            changes.append(replace_comment(tree, intent))
    for call, keywords in calls.items():
        changes += change_keywords(tree, call, keywords)
    return changes


def _check_result(text: str, path: str, changes: Sequence[Change]) -> None:
    """Refuse a result that does not parse or is the same as before."""
    result = apply_changes(text, changes)
    if result == text:
        raise RefusedError("there is nothing to change")
    if problem := syntax_problem(result, path):
        raise RefusedError(f"the result would not parse ({problem})")
