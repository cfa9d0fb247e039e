"""Whether a file may put an end to texts: it names an end token anywhere but where padding is chosen."""

from __future__ import annotations

import re

from lora_lint.interpreter.walk import children, last_name
from lora_lint.syntax import ir

# Names by which code reaches an end token, or has somebody put one there.
_NAMES = re.compile(r"eos|end_?of|end_token|chat_?template|chat_format|sep_token", re.IGNORECASE)
_TEXTS = re.compile(r"eos|<\||\|>|</s>|<end|\[EOS\]|\[SEP\]|end_?of_?(?:text|turn)", re.IGNORECASE)
_PADDING = re.compile(r"pad", re.IGNORECASE)
# Arguments that say what padding is, or give a token's id to a configuration or to what generates.
_ELSEWHERE = re.compile(r"pad|token_ids?$", re.IGNORECASE)


def may_end(body: tuple[ir.Stmt, ...]) -> bool:
    """Whether something in some statements may put an end behind a text."""
    stack: list[ir.Node] = list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, ir.Const):
            if isinstance(node.value, str) and _TEXTS.search(node.value):
                return True
        elif isinstance(node, (ir.Name, ir.Attr)):
            if _NAMES.search(last_name(node)):
                return True
        elif isinstance(node, ir.Arg) and node.name:
            if _ELSEWHERE.search(node.name):
                continue
            if _NAMES.search(node.name) and not (isinstance(node.value, ir.Const) and not node.value.value):
                return True
        stack += _looked_at(node)
    return False


def _looked_at(node: ir.Node) -> list[ir.Node]:
    """What of a node counts: nothing that padding is set to, no call that sets it."""
    if isinstance(node, ir.Assign) and any(_PADDING.search(last_name(target)) for target in node.targets):
        return []
    if (
        isinstance(node, ir.Call)
        and last_name(node.func) == "setattr"
        and any(_names_padding(a.value) for a in node.args)
    ):
        return []
    if isinstance(node, ir.Mapping):
        kept = [pair for pair in node.pairs if pair[0] is None or not _names_padding(pair[0])]
        return [part for pair in kept for part in pair if part is not None]
    if isinstance(node, ir.ExprStmt) and isinstance(node.value, ir.Const):
        return []  # a docstring
    return children(node)


def _names_padding(node: ir.Node) -> bool:
    return isinstance(node, ir.Const) and isinstance(node.value, str) and bool(_PADDING.search(node.value))
