"""Which lines changed since a revision, for `--diff-base`: the review gate."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from lora_lint.errors import InputError
from lora_lint.findings import Finding
from lora_lint.location import Location

_HUNK = re.compile(rb"^@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_ESCAPE = re.compile(rb'\\([abfnrtv"\\]|[0-7]{3})')
_LETTERS = {b"a": 7, b"b": 8, b"f": 12, b"n": 10, b"r": 13, b"t": 9, b"v": 11, b'"': 34, b"\\": 92}


@dataclass(frozen=True, slots=True)
class ChangedLines:
    """Changed lines by real path; a file mapped to None changed as a whole (new, or a notebook)."""

    ranges: Mapping[str, tuple[tuple[int, int], ...] | None]

    def touches(self, location: Location, cwd: str) -> bool:
        """Whether any line of the location changed."""
        path = os.path.realpath(os.path.join(cwd, location.path))
        if path not in self.ranges:
            return False
        ranges = self.ranges[path]
        if ranges is None or location.path.endswith(".ipynb"):
            # A notebook's diff is one of JSON lines, which say nothing about the lines of its cells.
            return True
        return any(first <= location.end_line and location.line <= last for first, last in ranges)

    def touches_finding(self, finding: Finding, cwd: str) -> bool:
        """Whether the change has a part in the story: its place or any related event. A broken file always counts."""
        if finding.code == "LL000":
            return True
        if finding.code == "LL001":
            return os.path.realpath(os.path.join(cwd, finding.location.path)) in self.ranges
        places = (finding.location, *(other.location for other in finding.related))
        return any(self.touches(place, cwd) for place in places)


def changed_since(revision: str, cwd: str) -> ChangedLines:
    """Lines that changed between the merge base with a revision and the working tree, untracked files included.

    Raises InputError outside a git repository, without git, and for an unknown revision.
    """
    top = os.fsdecode(_git(cwd, "rev-parse", "--show-toplevel").rstrip(b"\n"))
    if revision.startswith("-"):
        raise InputError(f"--diff-base: {revision!r} is not a revision")
    base = _merge_base(revision, cwd)
    # Prefixes and colours are spelled out because the user's own git configuration may change them.
    options = ("--unified=0", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
    diff = _git(top, "diff", *options, "--find-renames", "--ignore-submodules", base, "--")
    ranges: dict[str, tuple[tuple[int, int], ...] | None] = {
        os.path.realpath(os.path.join(top, name)): tuple(lines) for name, lines in _parse(diff).items()
    }
    untracked = _git(top, "ls-files", "--others", "--exclude-standard", "-z")
    for name in untracked.split(b"\0"):
        if name:
            ranges[os.path.realpath(os.path.join(top, os.fsdecode(name)))] = None
    return ChangedLines(ranges)


def _merge_base(revision: str, cwd: str) -> str:
    try:
        _git(cwd, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except InputError as error:
        hint = "; in a shallow clone fetch it first (actions/checkout: fetch-depth: 0)"
        raise InputError(f"--diff-base: no such revision {revision!r}{hint}") from error
    try:
        return _git(cwd, "merge-base", revision, "HEAD").decode().strip()
    except InputError as error:
        raise InputError(f"--diff-base: {revision!r} and HEAD have no common history") from error


def _git(cwd: str, *arguments: str) -> bytes:
    """The output of a git command. Raises InputError with git's own message."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(["git", *arguments], cwd=cwd, env=environment, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise InputError("--diff-base: git is not installed") from error
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip().splitlines()
        raise InputError(f"--diff-base: {message[0] if message else f'git {arguments[0]} failed'}")
    return done.stdout


def _parse(diff: bytes) -> dict[str, list[tuple[int, int]]]:
    """Changed line ranges by path (from the repository's root), of a diff without context lines.

    Where lines were only removed, the lines around the gap count as changed: a removed `model.train()` is a cause.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    current: list[tuple[int, int]] = []
    old_lines = new_lines = 0
    for line in diff.split(b"\n"):
        # Inside a hunk a removed line may look like a header ("--- x"): count the lines of the hunk instead.
        if old_lines and line.startswith(b"-"):
            old_lines -= 1
        elif new_lines and line.startswith(b"+"):
            new_lines -= 1
        elif line.startswith(b"+++ "):
            name = _name(line[4:])
            current = found.setdefault(name, []) if name else []
        elif match := _HUNK.match(line):
            old_lines = int(match[1] or 1)
            start, new_lines = int(match[2]), int(match[3] or 1)
            current.append((start, start + new_lines - 1) if new_lines else (start, start + 1))
    return found


def _name(raw: bytes) -> str:
    """The path of a "+++ " line, "" for a deleted file. Unusual names are quoted like C strings."""
    raw = raw.split(b"\t")[0]
    if raw == b"/dev/null":
        return ""
    if raw.startswith(b'"'):
        raw = _ESCAPE.sub(_unescape, raw[1:-1])
    return os.fsdecode(raw.removeprefix(b"b/"))


def _unescape(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    return bytes([_LETTERS[escape] if escape in _LETTERS else int(escape, 8)])
