"""Parameters of function definitions: adding one in the definition's own layout."""

from __future__ import annotations

import libcst as cst

from lora_lint.findings import AddParameter
from lora_lint.fix.edits import Change
from lora_lint.fix.lists import Item, ItemList
from lora_lint.fix.tree import RefusedError, Tree


def add_parameter(tree: Tree, intent: AddParameter) -> list[Change]:
    """Changes that give a function one more parameter at the end. Raises RefusedError where that cannot be done."""
    function = _function(tree, intent)
    params = function.params
    if params.star_kwarg is not None or not (params.params or params.kwonly_params):
        raise RefusedError("the function takes any keyword already, or nothing at all")
    listed = [*params.posonly_params, *params.params, *params.kwonly_params]
    items = tuple(_item(tree, param) for param in listed)
    found = ItemList(tree.lines, items, items[0].start, items[-1].stop)
    return found.insert(len(items), (intent.text,))


def _function(tree: Tree, intent: AddParameter) -> cst.FunctionDef:
    """The innermost definition of that name around the place."""
    start, _ = tree.located(intent.function)
    fitting = [
        node
        for node in tree.nodes(cst.FunctionDef)
        if node.name.value == intent.name and tree.full_start(node) <= start <= tree.span(node)[1]
    ]
    if not fitting:
        raise RefusedError("the definition to change was not found")
    return max(fitting, key=tree.full_start)


def _item(tree: Tree, param: cst.Param) -> Item:
    """The place of a parameter and its comma. The position that libcst gives a parameter is that of its name."""
    start, _ = tree.span(param)
    if isinstance(param.comma, cst.Comma):
        comma, behind = tree.span(param.comma)
        return Item(start, comma, behind)
    bare = param.with_changes(whitespace_after_param=cst.SimpleWhitespace(""))
    return Item(start, start + len(cst.Module([]).code_for_node(bare)), None)
