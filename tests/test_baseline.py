"""Fingerprints that survive line moves, and the file they are kept in."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lora_lint.baseline import fingerprints, read_baseline, write_atomically, write_baseline
from lora_lint.errors import InputError
from lora_lint.findings import Finding, Severity
from lora_lint.location import Location


def _finding(line: int, context: str = "model.eval()", code: str = "LL206") -> Finding:
    return Finding(code, "n", Severity.ERROR, "m", Location("a.py", line, 1, line, 5), context=context)


def _marks(*findings: Finding, path: str = "a.py") -> list[str]:
    return fingerprints(findings, [path] * len(findings))


def test_lines_and_indentation_do_not_matter() -> None:
    assert _marks(_finding(3)) == _marks(_finding(30, "    model.eval()  "))


def test_path_code_text_and_occurrence_do() -> None:
    different = {
        *_marks(_finding(3), _finding(9)),
        *_marks(_finding(3), path="b.py"),
        *_marks(_finding(3, code="LL103")),
        *_marks(_finding(3, "net.eval()")),
    }
    assert len(different) == 5


def test_round_trip_is_sorted_and_stable(tmp_path: Path) -> None:
    findings = [_finding(9, "z()"), _finding(3, "a()"), _finding(5, "a()")]
    marks = _marks(*findings)
    file = tmp_path / "known.json"
    assert write_baseline(file, findings, marks, ["a.py"] * 3) == 3
    first = file.read_text()
    write_baseline(file, findings[::-1], marks[::-1], ["a.py"] * 3)
    assert file.read_text() == first
    assert '"line": 9' not in first
    assert [entry["line"] for entry in json.loads(first)["findings"]] == ["a()", "a()", "z()"]
    known = read_baseline(file)
    assert all(known.accepts(mark) for mark in marks)
    assert not known.accepts(_marks(_finding(3, "new()"))[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such baseline; make one with --write-baseline"),
        ("{", "known.json:1:2: not valid JSON"),
        ("[]", "not a baseline of lora-lint"),
        ('{"version": 7, "findings": []}', "baseline version 7 is not 1"),
        ('{"version": 1, "findings": [{}]}', "has no fingerprint"),
        ('{"version": 1, "findings": ["x"]}', "has no fingerprint"),
    ],
)
def test_broken_baselines(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "known.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError) as caught:
        read_baseline(file)
    assert message in str(caught.value)


def test_nothing_is_left_half_written(tmp_path: Path) -> None:
    file = tmp_path / "report.txt"
    file.write_text("old")
    file.chmod(0o640)
    write_atomically(file, "new\n")
    assert file.read_text() == "new\n"
    assert file.stat().st_mode & 0o777 == 0o640
    with pytest.raises(InputError, match="cannot be written"):
        write_atomically(tmp_path / "no/such/folder.txt", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["report.txt"]


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write_atomically(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"
    (tmp_path / "loop.txt").symlink_to("loop.txt")
    with pytest.raises(InputError, match="cannot be written"):
        write_atomically(tmp_path / "loop.txt", "x")


def test_pipes_and_devices_are_written_to_and_stay(tmp_path: Path) -> None:
    """As root, a rename would put a plain file in the place of /dev/null."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomically(pipe, "text")
        assert os.read(reader, 100) == b"text"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    write_atomically(Path(os.devnull), "text")
    assert Path(os.devnull).is_char_device()
