"""Offsets, conflicts and application of edits."""

from __future__ import annotations

import pytest

from lora_lint.findings import Edit
from lora_lint.fix.edits import Change, EditConflictError, Lines, apply_changes, apply_edits, overlap, with_newlines
from lora_lint.location import Location


@pytest.mark.parametrize("text", ["", "a", "a\n", "a\r\nb\rc\n\n", "é\u2028x\x0cy\nz", "日本 = 1\n\ttab\n"])
def test_every_offset_has_a_place_and_back(text: str) -> None:
    lines = Lines(text)
    for offset in range(len(text) + 1):
        line, column = lines.place(offset)
        if text[offset - 1 : offset + 1] == "\r\n":
            continue  # inside a newline: no place of its own
        assert lines.starts[line - 1] + column - 1 == offset
        assert lines.offset(line, column) == offset


def test_only_python_line_ends_count() -> None:
    assert len(Lines("a\x0cb\u2028c\x85d\n").starts) == 2


def test_newline_of_a_line_falls_back_to_its_neighbours() -> None:
    lines = Lines("a\r\nb")
    assert lines.newline(1) == "\r\n"
    assert lines.newline(2) == "\r\n"
    assert Lines("a").newline(1) == "\n"


def test_places_outside_of_the_text_are_refused() -> None:
    lines = Lines("ab\ncd\n")
    for line, column in ((0, 1), (9, 1), (1, 0), (1, 4)):
        with pytest.raises(EditConflictError):
            lines.offset(line, column)
    with pytest.raises(EditConflictError):
        lines.span(Location("p", 2, 1, 1, 1))


def test_insertions_at_one_place_keep_their_order_and_come_before_a_replacement() -> None:
    assert apply_changes("abc", [Change(1, 2, "X"), Change(1, 1, "1"), Change(1, 1, "2")]) == "a12Xc"


def test_overlapping_changes_are_a_conflict() -> None:
    with pytest.raises(EditConflictError):
        apply_changes("abcdef", [Change(0, 3, ""), Change(2, 4, "")])
    with pytest.raises(EditConflictError):
        apply_changes("abcdef", [Change(0, 3, ""), Change(2, 2, "x")])
    with pytest.raises(EditConflictError):
        apply_changes("abc", [Change(2, 9, "")])


def test_overlap_is_symmetric_and_allows_neighbours() -> None:
    assert overlap(Change(0, 3, ""), Change(2, 5, ""))
    assert overlap(Change(2, 5, ""), Change(0, 3, ""))
    assert not overlap(Change(0, 3, ""), Change(3, 5, ""))
    assert not overlap(Change(0, 3, ""), Change(3, 3, "x"))
    assert overlap(Change(1, 1, "x"), Change(0, 3, ""))


def test_edits_count_code_points() -> None:
    text = "名前 = '🦙'; b = 1\n"
    column = text.index("b") + 1
    assert apply_edits(text, [Edit(Location("p", 1, column, 1, column + 1), "c")]) == "名前 = '🦙'; c = 1\n"


def test_with_newlines() -> None:
    assert with_newlines("a\nb\r\nc", "\r\n") == "a\r\nb\r\nc"
