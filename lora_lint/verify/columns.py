"""Columns of a data set that a trainer drops and the user's collator wants to read."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType
from typing import Any

from lora_lint.location import Location
from lora_lint.verify.frames import Frames


def dropped(trainer: Any, frames: Frames) -> list[tuple[str, Location]]:
    """Columns that `remove_unused_columns` takes away although their names stand in the collator's code."""
    columns = getattr(getattr(trainer, "train_dataset", None), "column_names", None)
    arguments = getattr(trainer, "args", None)
    if not isinstance(columns, list) or not getattr(arguments, "remove_unused_columns", False):
        return []
    code = _code(getattr(trainer, "data_collator", None))
    if code is None or not frames.is_user(code.co_filename) or not hasattr(trainer, "_set_signature_columns_if_needed"):
        return []
    before = getattr(trainer, "_signature_columns", None)
    trainer._set_signature_columns_if_needed()
    kept = set(trainer._signature_columns or ())
    trainer._signature_columns = before
    named = set(_words(code))
    line = code.co_firstlineno
    at = Location(frames.shown(code.co_filename), line, 1, line, 1)
    return [(column, at) for column in columns if column not in kept and column in named]


def _code(collator: Any) -> CodeType | None:
    if not callable(collator):
        return None
    own = collator if hasattr(collator, "__code__") else type(collator).__call__
    code = getattr(getattr(own, "__func__", own), "__code__", None)
    return code if isinstance(code, CodeType) else None


def _words(code: CodeType) -> Iterator[str]:
    """The string constants of a function and of the functions inside it."""
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, tuple):
            yield from (item for item in constant if isinstance(item, str))
        elif isinstance(constant, CodeType):
            yield from _words(constant)
