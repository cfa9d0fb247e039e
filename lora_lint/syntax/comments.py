"""Code that was taken out by making it a comment."""

from __future__ import annotations

import re
from collections.abc import Iterator

_CALL = re.compile(r"^[ \t]*#[^\n]*?[\w\])]\(([^()\n]*)\)", re.MULTILINE)
_ARGUMENT = re.compile(r"\s*(?:\w+\s*=\s*)?([A-Za-z_][\w.]*)\s*")


def put_aside(text: str) -> frozenset[str]:
    """The variables that calls in comments of their own get: what used them is switched off by hand."""
    return frozenset(_names(text)) if "#" in text else frozenset()


def _names(text: str) -> Iterator[str]:
    for call in _CALL.finditer(text):
        for part in call[1].split(","):
            argument = _ARGUMENT.fullmatch(part)
            if argument is not None:
                yield argument[1]
