"""Where the nodes of a LibCST tree stand in their text, and which node holds which: found in one rendering of the tree.

LibCST's PositionProvider says the same, but takes two walks and gives lines and columns, which become offsets in a third.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import libcst as cst
from libcst._nodes.internal import CodegenState  # what PositionProvider builds on; there is no public name for it

Span = tuple[int, int]


@dataclass(slots=True)
class Places(CodegenState):
    """The state of a rendering that notes places instead of text.

    spans: start and end offset of a node, white space and comments around it excluded. parents: the node around a node.
    Both by identity of the node. nodes: all of them, outer ones before inner ones, in the order of the text.
    """

    spans: dict[int, Span] = field(default_factory=dict)
    parents: dict[int, cst.CSTNode] = field(default_factory=dict)
    nodes: list[cst.CSTNode] = field(default_factory=list)
    _at: int = 0
    _last: int = 0  # length of the last token
    _open: list[tuple[cst.CSTNode, int]] = field(default_factory=list)

    def add_indent_tokens(self) -> None:
        """Pass the indentation of a line."""
        self._at += sum(map(len, self.indent_tokens))

    def add_token(self, value: str) -> None:
        """Pass a piece of text."""
        self._last = len(value)
        self._at += self._last

    def pop_trailing_newline(self) -> None:
        """Go back before the last line end: the text has none at its end, whatever was said to stand there."""
        self._at -= self._last
        for node in self.nodes:
            start, end = self.spans.get(id(node), (0, 0))
            if end > self._at:
                self.spans[id(node)] = (min(start, self._at), self._at)

    def before_codegen(self, node: cst.CSTNode) -> None:
        """A node begins."""
        if self._open:
            self.parents[id(node)] = self._open[-1][0]
        self._open.append((node, self._at))
        self.nodes.append(node)

    def after_codegen(self, node: cst.CSTNode) -> None:
        """A node ends."""
        _, start = self._open.pop()
        self.spans.setdefault(id(node), (start, self._at))  # without the white space, where that was told

    @contextmanager
    def record_syntactic_position(
        self, node: cst.CSTNode, *, start_node: cst.CSTNode | None = None, end_node: cst.CSTNode | None = None
    ) -> Iterator[None]:
        """What is rendered inside is the node without the white space around it."""
        start = self._at
        yield
        first = self.spans[id(start_node)][0] if start_node is not None else start
        last = self.spans[id(end_node)][1] if end_node is not None else self._at
        self.spans[id(node)] = (first, last)


def places(module: cst.Module) -> Places:
    """The places of all nodes of a module. The module must stay alive as long as they are asked for."""
    state = Places(module.default_indent, module.default_newline)
    module._codegen(state)
    return state
