"""Where an import line belongs among the sorted imports of a file, as isort and ruff keep them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import libcst as cst

from lora_lint.fix.names import dotted
from lora_lint.fix.tree import Tree

Key = tuple[int, bool, str]
_FUTURE, _STANDARD, _OTHER, _RELATIVE = range(4)


def line_above(tree: Tree, imports: Sequence[cst.SimpleStatementLine], row: str) -> int:
    """The line below which a new import goes: in its place in the first block of imports of the same kind (standard
    library, other packages) that is sorted, else behind the last import. Never above code: it may set what the import
    reads."""
    wanted = key(row)
    for block in _blocks(tree, _without_code_between(tree, imports)):
        keys = [_key_of(line) for line in block]
        known = [each for each in keys if each is not None]
        if len(known) < len(keys) or not any(each[0] == wanted[0] for each in known):
            continue
        for order in (_imports_first, _by_module):
            if sorted(known, key=order) == known:
                return _behind(tree, block, sum(order(each) <= order(wanted) for each in known), imports)
    return tree.end_line(imports[-1])


def _behind(
    tree: Tree, block: Sequence[cst.SimpleStatementLine], index: int, imports: Sequence[cst.SimpleStatementLine]
) -> int:
    """The line above the import with a number in a block; of the first one, only where that is no comment or docstring of
    its own, nor the end of another cell."""
    if index:
        return tree.end_line(block[index - 1])
    above = tree.first_line(block[0]) - 1
    if not tree.cells and (not above or not tree.lines.line(above).strip()):
        return above
    return tree.end_line(imports[-1])


def key(row: str) -> Key:
    """The place of a new import line: its kind, whether it imports names from a module, and the module."""
    start, module = row.split()[:2]
    return _section(module), start == "from", module.casefold()


def _key_of(line: cst.SimpleStatementLine) -> Key | None:
    """The place of an import line that is there, None when it is not one import of one module."""
    node = line.body[0]
    if len(line.body) > 1:
        return None
    if isinstance(node, cst.ImportFrom):
        module = dotted(node.module) if node.module is not None else ""
        return _RELATIVE if node.relative else _section(module or ""), True, (module or "").casefold()
    if isinstance(node, cst.Import) and len(node.names) == 1:
        module = dotted(node.names[0].name) or ""
        return _section(module), False, module.casefold()
    return None


def _section(module: str) -> int:
    top = module.split(".")[0]
    return _FUTURE if top == "__future__" else _STANDARD if top in sys.stdlib_module_names else _OTHER


def _imports_first(place: Key) -> Key:
    """`import x` above `from x import y` in each kind: what isort and ruff do unless told otherwise."""
    return place


def _by_module(place: Key) -> tuple[int, str, bool]:
    """By the module alone."""
    return place[0], place[2], place[1]


def _without_code_between(tree: Tree, imports: Sequence[cst.SimpleStatementLine]) -> list[cst.SimpleStatementLine]:
    """The imports behind the last statement that is none, among them."""
    found: list[cst.SimpleStatementLine] = []
    last = tree.span(imports[-1])[1]
    for node in tree.module.body:
        if tree.span(node)[1] > last:
            break
        same = next((line for line in imports if line is node), None)
        found = [*found, same] if same is not None else []
    return found


def _blocks(tree: Tree, imports: Sequence[cst.SimpleStatementLine]) -> list[list[cst.SimpleStatementLine]]:
    """Imports on lines one right below the other."""
    blocks: list[list[cst.SimpleStatementLine]] = []
    for line in imports:
        if blocks and tree.first_line(line) == tree.end_line(blocks[-1][-1]) + 1:
            blocks[-1].append(line)
        else:
            blocks.append([line])
    return blocks
