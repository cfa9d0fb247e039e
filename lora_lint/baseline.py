"""The baseline: findings that are known and accepted, recognised by fingerprints that survive line moves."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lora_lint.errors import InputError
from lora_lint.findings import Finding

VERSION = 1


def fingerprints(findings: Sequence[Finding], paths: Sequence[str]) -> list[str]:
    """One fingerprint for each finding: of path, code, the words of the line, and how many same ones came before.

    paths: for each finding the path relative to the project's root, with slashes, so that the fingerprint is the same
    whatever folder the run starts in.
    """
    seen: Counter[tuple[str, str, str]] = Counter()
    marks = []
    for finding, path in zip(findings, paths, strict=True):
        key = (path, finding.code, " ".join(finding.context.split()))
        marks.append(_digest(*key, str(seen[key])))
        seen[key] += 1
    return marks


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Baseline:
    """Fingerprints of accepted findings."""

    known: frozenset[str] = frozenset()

    def accepts(self, fingerprint: str) -> bool:
        """Whether the finding was there when the baseline was written."""
        return fingerprint in self.known


def read_baseline(path: Path) -> Baseline:
    """The baseline of a file. Raises InputError naming the file when it is missing or no baseline."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such baseline; make one with --write-baseline {path}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}") from error
    if not isinstance(document, dict) or not isinstance(document.get("findings"), list):
        raise InputError(f"{path}: not a baseline of lora-lint")
    if document.get("version") != VERSION:
        raise InputError(f"{path}: baseline version {document.get('version')!r} is not {VERSION}; write it anew")
    marks = [entry.get("fingerprint") for entry in document["findings"] if isinstance(entry, dict)]
    known = frozenset(mark for mark in marks if isinstance(mark, str))
    if len(known) != len(document["findings"]):
        raise InputError(f"{path}: a finding of the baseline has no fingerprint of its own")
    return Baseline(known)


def write_baseline(path: Path, findings: Iterable[Finding], marks: Iterable[str], paths: Iterable[str]) -> int:
    """Write the baseline and return how many findings it holds. Sorted and without line numbers: small diffs."""
    entries = [
        {"path": shown, "code": finding.code, "fingerprint": mark, "line": " ".join(finding.context.split())}
        for finding, mark, shown in zip(findings, marks, paths, strict=True)
    ]
    entries.sort(key=lambda entry: (entry["path"], entry["code"], entry["line"], entry["fingerprint"]))
    text = json.dumps({"version": VERSION, "findings": entries}, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, text)
    return len(entries)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file by a temporary file and a rename: never half. Raises InputError when it cannot be written.

    A link is followed. What is no regular file (/dev/null, /dev/stdout, a pipe) is written to, never replaced.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if target.exists() and not target.is_file():
            with open(target, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
                stream.write(text)
        else:
            _replace(target, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error


def _replace(target: Path, text: str) -> None:
    """Put a new file in the place of an old one, with its mode."""
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
            stream.write(text)
        os.chmod(temporary, target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError:
        os.unlink(temporary)
        raise


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
