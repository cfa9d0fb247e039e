"""Writing fixed files: all of a file or nothing, with its mode kept, and only if it is still what was read."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lora_lint.errors import InputError
from lora_lint.syntax.source import SourceFile


def write_fixed(
    sources: Mapping[str, SourceFile], texts: Mapping[str, str], *, cwd: str | Path = ".", backup: bool = False
) -> tuple[list[str], list[str]]:
    """Paths of the files that were written, and a message for each that was not; one bad file stops no other.

    sources: the files as they were read. texts: the new text of those that changed. cwd: where relative
    paths start.
    """
    written: list[str] = []
    errors: list[str] = []
    for path, text in sorted(texts.items()):
        try:
            replace_file(Path(cwd) / path, sources[path].raw, sources[path].encode(text), backup=backup)
        except InputError as error:
            errors.append(str(error))
        else:
            written.append(path)
    return written, errors


def replace_file(path: str | Path, before: bytes, after: bytes, *, backup: bool = False) -> Path | None:
    """The backup that was made, None without one. Replaces the content of a file in one step; links are followed.

    before: the bytes that were read. Raises InputError, and leaves everything as it was, when the file has changed
    meanwhile, is read-only, or cannot be written.
    """
    try:
        target = Path(path).resolve(strict=True)
        _check_unchanged(path, target, before)
        mode = stat.S_IMODE(target.stat().st_mode)
        if not os.access(target, os.W_OK):  # what this user may write, whatever the mode bits say to others
            raise InputError(f"{path}: not written, the file is read-only")
        kept = _back_up(target, before, mode) if backup else None
        try:
            _swap(path, target, before, after, mode)
        except (OSError, InputError):
            if kept is not None:
                kept.unlink()
            raise
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{path}: not written: {reason}") from error
    return kept


def _check_unchanged(path: str | Path, target: Path, before: bytes) -> None:
    """Refuse to overwrite what somebody else wrote since the file was read."""
    if target.read_bytes() != before:
        raise InputError(f"{path}: not written, the file has changed since it was read")


def _back_up(target: Path, content: bytes, mode: int) -> Path:
    """A copy beside the file: name.orig, or name.orig.1 and so on when that exists."""
    number = 0
    while True:
        backup = target.with_name(f"{target.name}.orig" + (f".{number}" if number else ""))
        try:
            with open(backup, "xb") as stream:
                stream.write(content)
        except FileExistsError:
            number += 1
            continue
        backup.chmod(mode)
        return backup


def _swap(path: str | Path, target: Path, before: bytes, after: bytes, mode: int) -> None:
    """Write a temporary file beside the target and put it in its place."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with open(handle, "wb") as stream:
            stream.write(after)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(mode)
        _check_unchanged(path, target, before)
        os.replace(temporary, target)
    except (OSError, InputError):
        temporary.unlink(missing_ok=True)
        raise
