"""Imports that a fix needs: merged into an import that is there, or added in its place among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import libcst as cst

from lora_lint.fix import import_order
from lora_lint.fix.calls import item
from lora_lint.fix.edits import Change
from lora_lint.fix.lists import ItemList
from lora_lint.fix.names import dotted, imported_names, local_names, uses
from lora_lint.fix.statements import insertion_below
from lora_lint.fix.tree import RefusedError, Tree

_LONGEST_LINE = 120


def add_imports(tree: Tree, imports: Sequence[tuple[str, str]], use: int) -> list[Change]:
    """Changes that make names available to the code at offset `use`.

    imports: pairs of module and name; an empty name imports the module itself. Raises RefusedError when a name already
    means something else there.
    """
    wanted: dict[str, list[str]] = {}
    for module, name in imports:
        if not _is_available(tree, module, name, use) and name not in wanted.get(module, []):
            wanted.setdefault(module, []).append(name)
    changes: list[Change] = []
    new_lines: list[str] = []
    for module, names in wanted.items():
        if names == [""]:
            new_lines.append(f"import {module}")
            continue
        merged = _merge(tree, module, names, use)
        changes += merged
        if not merged:
            new_lines.append(f"from {module} import {', '.join(names)}")
    return changes + _new_lines(tree, new_lines, use)


# --- what is there ----------------------------------------------------------------------------------------------------


def _is_available(tree: Tree, module: str, name: str, use: int) -> bool:
    """Whether a name is imported already where the new code stands. RefusedError when it means something else."""
    bound = name or module.split(".")[0]
    function = _function_at(tree, use)
    if function is not None:
        if _imports_in(function.body.children, module, name):
            return True
        if bound in local_names(function):
            raise RefusedError(f"{bound!r} means something else in {function.name.value}()")
    body = [node for node in tree.module.body if not _type_checking(node)]
    if _imports_in(body, module, name):
        return True
    for node in body:
        if bound in uses([node]).binds:
            raise RefusedError(f"{bound!r} already means something else in this file (line {tree.line_of(node)})")
    return False


def _function_at(tree: Tree, use: int) -> cst.FunctionDef | None:
    """Innermost function around an offset."""
    found: cst.FunctionDef | None = None
    for node in tree.nodes(cst.FunctionDef):
        start, end = tree.span(node)
        if start <= use <= end and (found is None or start > tree.span(found)[0]):
            found = node
    return found


def _type_checking(node: cst.CSTNode) -> bool:
    """Whether a statement only runs for type checkers."""
    return isinstance(node, cst.If) and (dotted(node.test) or "").split(".")[-1] == "TYPE_CHECKING"


def _imports_in(body: Iterable[cst.CSTNode], module: str, name: str) -> bool:
    """Whether statements import a name from a module, its package or one of its modules (star imports included)."""
    package = module.split(".")[0]
    for node in _own_imports(body):
        if isinstance(node, cst.Import):
            if not name and any(dotted(alias.name) == module and alias.asname is None for alias in node.names):
                return True
            continue
        source = dotted(node.module) if node.module is not None and not node.relative else None
        if source is None or not name:
            continue
        if isinstance(node.names, cst.ImportStar):
            if source == module:
                return True
        elif (name, name) in imported_names(node) and source.split(".")[0] == package:
            return True
    return False


def _own_imports(nodes: Iterable[cst.CSTNode]) -> Iterator[cst.Import | cst.ImportFrom]:
    """Imports of a scope, in `if` and `try` blocks too but not in the functions and classes inside it."""
    for node in nodes:
        if isinstance(node, (cst.Import, cst.ImportFrom)):
            yield node
        elif not isinstance(node, (cst.FunctionDef, cst.ClassDef, cst.BaseExpression)):
            yield from _own_imports(node.children)


# --- merging ----------------------------------------------------------------------------------------------------------


def _merge(tree: Tree, module: str, names: Sequence[str], use: int) -> list[Change]:
    """Names added to a `from module import …` at the top level above the use; empty when there is none to add to."""
    for line in _import_lines(tree, use):
        for node in line.body:
            if not isinstance(node, cst.ImportFrom) or node.module is None or node.relative:
                continue
            if dotted(node.module) != module or isinstance(node.names, cst.ImportStar):
                continue
            changes = _insert_names(tree, node, names)
            if changes:
                return changes
    return []


def _insert_names(tree: Tree, node: cst.ImportFrom, names: Sequence[str]) -> list[Change]:
    """Names put into one import, in order where the import is sorted; empty when its line would get too long."""
    assert not isinstance(node.names, cst.ImportStar)
    aliases = list(node.names)
    items = tuple(item(tree, alias, alias.comma) for alias in aliases)
    end = tree.span(node)[1]
    bracketed = node.lpar is not None
    place = ItemList(tree.lines, items, items[0].start, end, bracketed)
    present = [tree.source(alias.name) for alias in aliases]
    changes: list[Change] = []
    for name in names:
        changes += place.insert(_index(present, name), [name])
    added = sum(len(change.text) for change in changes)
    line = tree.lines.line_of(items[-1].start)
    if "\n" not in "".join(change.text for change in changes) and len(tree.lines.line(line)) + added > _LONGEST_LINE:
        return []
    return changes


def _index(present: Sequence[str], name: str) -> int:
    """Where a name belongs among the imported ones: by the order they follow, at the end when they follow none."""
    for key in (_by_kind, _by_letter):
        keys = [key(other) for other in present]
        if keys == sorted(keys):
            return sum(other < key(name) for other in keys)
    return len(present)


def _by_kind(name: str) -> tuple[int, str]:
    """Order of isort and ruff: constants, classes, the rest."""
    if name.isupper() and len(name) > 1:
        return 0, name
    return (1 if name[:1].isupper() else 2), name


def _by_letter(name: str) -> tuple[int, str]:
    """Order of the alphabet."""
    return 0, name.casefold()


# --- new lines --------------------------------------------------------------------------------------------------------


def _import_lines(tree: Tree, use: int) -> list[cst.SimpleStatementLine]:
    """Top-level lines above an offset that hold an import."""
    return [
        node
        for node in tree.module.body
        if isinstance(node, cst.SimpleStatementLine)
        and tree.span(node)[1] <= use
        and any(isinstance(small, (cst.Import, cst.ImportFrom)) for small in node.body)
    ]


def _new_lines(tree: Tree, rows: Sequence[str], use: int) -> list[Change]:
    """New import lines: in their places among imports of their kind that are sorted, else behind the last import above the
    use, else at the top of the code."""
    if not rows:
        return []
    lines = _import_lines(tree, use)
    if not lines:
        return [_at_the_top(tree, rows, use)]
    below: dict[int, list[str]] = {}
    for row in rows:
        below.setdefault(import_order.line_above(tree, lines, row), []).append(row)
    changes = []
    for line, added in below.items():
        newline = tree.lines.newline(line or 1)
        text = "".join(row + newline for row in (sorted(added, key=import_order.key) if len(below) > 1 else added))
        changes.append(insertion_below(tree, line, text) if line else Change(0, 0, text))
    return changes


def _at_the_top(tree: Tree, rows: Sequence[str], use: int) -> Change:
    """New import lines in a file without imports: behind the docstring, in a notebook above the changed statement."""
    body = tree.module.body
    if tree.cells:
        body = [node for node in body if tree.full_start(node) <= use][-1:] or body
    elif body and tree.module.get_docstring() is not None:
        line = tree.end_line(body[0])
        newline = tree.lines.newline(line)
        return insertion_below(tree, line, newline + "".join(row + newline for row in rows))
    first = body[0]
    line = tree.first_line_with_comments(first) if tree.cells else tree.first_line(first)
    if not tree.cells and tree.lines.line(max(line - 1, 1)).strip().startswith("#") and line > 1:
        line = _below_header(tree, line)
    newline = tree.lines.newline(line)
    place = tree.lines.line_start(line)
    return Change(place, place, "".join(row + newline for row in rows) + newline)


def _below_header(tree: Tree, line: int) -> int:
    """First line of the comments that belong to the first statement, when a blank line parts them from the header."""
    above = line
    while above > 1 and tree.lines.line(above - 1).strip():
        above -= 1
    return above if above > 1 else line
