"""Colours and streams: whether to use colours, and how."""

from __future__ import annotations

import os
from typing import TextIO

import click


def use_colour(stream: TextIO) -> bool:
    """Whether to write colours: NO_COLOR forbids them, FORCE_COLOR demands them, else a terminal decides."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def coloured(colour: str, text: str) -> str:
    """The text in a colour, or bold."""
    return click.style(text, bold=True) if colour == "bold" else click.style(text, fg=colour, bold=colour != "blue")


def not_coloured(colour: str, text: str) -> str:
    """The text as it is."""
    return text
