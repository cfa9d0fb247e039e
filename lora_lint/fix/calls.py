"""Keywords of calls: setting, dropping and renaming them in the call's own layout."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from lora_lint.findings import DropKeyword, RenameKeyword, SetKeyword
from lora_lint.fix.edits import Change
from lora_lint.fix.lists import Item, ItemList
from lora_lint.fix.tree import RefusedError, Tree

KeywordIntent = SetKeyword | DropKeyword | RenameKeyword


def change_keywords(tree: Tree, call: cst.Call, intents: Sequence[KeywordIntent]) -> list[Change]:
    """Changes that do everything intended with the keywords of one call.

    Raises RefusedError when a keyword to drop or rename is not there, or one would be given twice.
    """
    names = [_keyword(argument) for argument in call.args]
    drops: list[int] = []
    adds: list[SetKeyword] = []
    changes: list[Change] = []
    for intent in intents:
        if isinstance(intent, SetKeyword) and intent.name not in names:
            adds.append(intent)
            continue
        index = _index(names, intent.name)
        if isinstance(intent, SetKeyword):
            changes.append(_new_value(tree, call.args[index], intent.value))
        elif isinstance(intent, DropKeyword):
            drops.append(index)
        else:
            changes.append(_new_name(tree, call.args[index], names, intent))
    # A new keyword takes the place of a dropped one where it can: the layout of the call then stays as it is.
    while drops and adds:
        changes.append(_exchange(tree, call.args[drops.pop(0)], adds.pop(0)))
    return changes + _add(tree, call, adds) + _drop(tree, call, drops)


def _keyword(argument: cst.Arg) -> str | None:
    """Name of a keyword argument."""
    return argument.keyword.value if argument.keyword is not None else None


def _index(names: Sequence[str | None], name: str) -> int:
    """Position of a keyword among the arguments."""
    if name not in names:
        raise RefusedError(f"the call has no keyword {name!r}")
    return names.index(name)


def _new_value(tree: Tree, argument: cst.Arg, value: str) -> Change:
    """The value of a keyword replaced."""
    _keep_comments(argument.value)
    return Change(*tree.span(argument.value), value)


def _new_name(tree: Tree, argument: cst.Arg, names: Sequence[str | None], intent: RenameKeyword) -> Change:
    """A keyword renamed."""
    if intent.new_name in names:
        raise RefusedError(f"the call has both {intent.name!r} and {intent.new_name!r}")
    assert argument.keyword is not None
    return Change(*tree.span(argument.keyword), intent.new_name)


def _exchange(tree: Tree, argument: cst.Arg, intent: SetKeyword) -> Change:
    """One keyword and its value replaced by another."""
    _keep_comments(argument.value)
    return Change(*tree.span(argument), f"{intent.name}={intent.value}")


def _keep_comments(value: cst.CSTNode) -> None:
    """Refuse to replace something that holds comments, which would be lost."""
    if has_comment(value):
        raise RefusedError("comments inside the expression would be lost")


def has_comment(node: cst.CSTNode) -> bool:
    """Whether a comment stands inside a node."""
    return isinstance(node, cst.Comment) or any(has_comment(child) for child in node.children)


def _add(tree: Tree, call: cst.Call, intents: Sequence[SetKeyword]) -> list[Change]:
    """New keywords behind the last argument, but before `**kwargs`."""
    if not intents:
        return []
    if any(isinstance(argument.value, cst.GeneratorExp) and not argument.value.lpar for argument in call.args):
        raise RefusedError("the only argument of the call is a generator without parentheses")
    index = next((i for i, argument in enumerate(call.args) if argument.star == "**"), len(call.args))
    return _items(tree, call).insert(index, [f"{intent.name}={intent.value}" for intent in intents])


def _drop(tree: Tree, call: cst.Call, indexes: Sequence[int]) -> list[Change]:
    """Arguments taken out."""
    return _items(tree, call).drop(indexes) if indexes else []


def _items(tree: Tree, call: cst.Call) -> ItemList:
    """The arguments of a call as a list."""
    items = tuple(item(tree, argument, argument.comma) for argument in call.args)
    close = tree.span(call)[1] - 1
    start = items[0].start if items else close
    opening = tree.text.rfind("(", tree.span(call.func)[1], start)
    return ItemList(tree.lines, items, opening + 1, close)


def item(tree: Tree, node: cst.CSTNode, comma: cst.Comma | cst.MaybeSentinel) -> Item:
    """Place of a node in a list, with its comma."""
    start, end = tree.span(node)
    return Item(start, end, tree.span(comma)[1] if isinstance(comma, cst.Comma) else None)
