"""Writing files and showing diffs."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from lora_lint.errors import InputError
from lora_lint.fix.diff import unified_diff
from lora_lint.fix.write import replace_file, write_fixed
from lora_lint.syntax.source import read_source


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_content_is_replaced_and_the_mode_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"old\r\n")
    path.chmod(0o750)
    assert replace_file(path, b"old\r\n", b"new\r\n") is None
    assert path.read_bytes() == b"new\r\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    assert names(tmp_path) == ["a.py"]


def test_encoding_and_mark_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"\xef\xbb\xbfx = '\xc3\xa9'\r\n")
    latin = tmp_path / "b.py"
    latin.write_bytes(b"# coding: latin-1\nx = '\xe9'\n")
    sources = {one.name: read_source(one, one.name) for one in (path, latin)}
    texts = {name: source.text.replace("x", "y") for name, source in sources.items()}
    assert write_fixed(sources, texts, cwd=tmp_path) == (["a.py", "b.py"], [])
    assert path.read_bytes() == b"\xef\xbb\xbfy = '\xc3\xa9'\r\n"
    assert latin.read_bytes() == b"# coding: latin-1\ny = '\xe9'\n"


def test_a_text_the_encoding_cannot_hold_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"# coding: latin-1\n")
    written, [error] = write_fixed({"a.py": read_source(path, "a.py")}, {"a.py": "x = '日'\n"}, cwd=tmp_path)
    assert written == []
    assert "a.py" in error
    assert path.read_bytes() == b"# coding: latin-1\n"


def test_backups_are_numbered_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"1")
    path.chmod(0o640)
    first = replace_file(path, b"1", b"2", backup=True)
    second = replace_file(path, b"2", b"3", backup=True)
    assert first == tmp_path / "a.py.orig"
    assert second == tmp_path / "a.py.orig.1"
    assert (first.read_bytes(), second.read_bytes(), path.read_bytes()) == (b"1", b"2", b"3")
    assert stat.S_IMODE(first.stat().st_mode) == 0o640


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"theirs")
    with pytest.raises(InputError, match="has changed since it was read"):
        replace_file(path, b"read", b"ours", backup=True)
    assert path.read_bytes() == b"theirs"
    assert names(tmp_path) == ["a.py"]


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not written: No such file"):
        replace_file(tmp_path / "gone.py", b"", b"x")


def test_links_are_followed(tmp_path: Path) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    path = folder / "a.py"
    path.write_bytes(b"old")
    link = tmp_path / "link.py"
    link.symlink_to(path)
    replace_file(link, b"old", b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    loop = tmp_path / "loop.py"
    loop.symlink_to(loop)
    with pytest.raises(InputError, match="not written"):
        replace_file(loop, b"", b"x")


def test_a_read_only_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"old")
    path.chmod(0o444)
    if os.geteuid() == 0:  # the superuser may write everywhere
        monkeypatch.setattr("lora_lint.fix.write.os.access", lambda *_: False)
    with pytest.raises(InputError, match="read-only"):
        replace_file(path, b"old", b"new", backup=True)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.py"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"old")
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(InputError, match="not written"):
            replace_file(path, b"old", b"new")
    finally:
        tmp_path.chmod(0o755)
    assert path.read_bytes() == b"old"


def test_a_failing_write_leaves_everything_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"a\.py: not written: No space left on device"):
        replace_file(path, b"old", b"new", backup=True)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.py"]


def test_one_bad_file_stops_no_other(tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_bytes(b"x\n")
    sources = {name: read_source(tmp_path / name, name) for name in ("a.py", "b.py")}
    (tmp_path / "a.py").write_bytes(b"changed\n")
    written, errors = write_fixed(sources, {"a.py": "y\n", "b.py": "y\n"}, cwd=tmp_path, backup=True)
    assert written == ["b.py"]
    assert len(errors) == 1
    assert (tmp_path / "b.py.orig").read_bytes() == b"x\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\nb\nc\n", "a\nx\nc\n"),
        ("a\nb", "a\nc"),
        ("a\nb", "a\nb\n"),
        ("a\nb\n", "a\nb"),
        ("a\r\nb\r\n", "a\r\nc\r\n"),
        ("", "a\n"),
        ("é\x0c\u2028z\n", "é\x0c\u2028y\n"),
    ],
)
def test_diffs_can_be_applied(tmp_path: Path, before: str, after: str) -> None:
    (tmp_path / "a.py").write_bytes(before.encode())
    diff = unified_diff("a.py", before, after)
    command = ["git", "apply", "-p0", "--whitespace=nowarn", "-"]
    subprocess.run(command, input=diff.encode(), cwd=tmp_path, check=True)
    assert (tmp_path / "a.py").read_bytes() == after.encode()


def test_no_diff_for_no_change() -> None:
    assert unified_diff("a.py", "a\n", "a\n") == ""
