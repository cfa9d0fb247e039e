"""Comments that silence findings."""

from __future__ import annotations

import pytest

from lora_lint.syntax.suppress import find_suppressions

RAN = {"LL103", "LL301", "freeze-after-injection", "optimizer-before-adapter"}


def covers(text: str, line: int, end_line: int | None = None, code: str = "LL103") -> bool:
    name = {"LL103": "freeze-after-injection", "LL301": "optimizer-before-adapter"}[code]
    return find_suppressions(text).covers(code, name, line, end_line or line)


@pytest.mark.parametrize(
    "comment",
    [
        "# lora-lint: ignore[LL103] the base stays frozen",
        "# lora-lint: ignore[LL301, LL103]",
        "#lora-lint:ignore[LL103]",
        "# lora-lint: ignore[ ll103 ]",
        "# lora-lint: ignore[freeze-after-injection]",
        "# lora-lint: ignore",
        "# lora-lint: ignore because",
        "# type: ignore  # lora-lint: ignore[LL103]",
        "# noqa: LL103",
        "# noqa:E501,LL103",
        "# NOQA",
        "# noqa",
    ],
)
def test_comment_on_the_line(comment: str) -> None:
    text = f"a\nx = 1  {comment}\nb\n"
    assert covers(text, 2)
    assert not covers(text, 1)
    assert not covers(text, 3)


@pytest.mark.parametrize(
    "comment",
    [
        "# lora-lint: ignore[LL301]",
        "# lora-lint: ignore[]",
        "# lora-lint: ignored",
        "# lora-lint ignore",
        "# lora-lint: ignore-files",
        "# lora-lint: ignore-file",
        "# noqa: E501",
        "# noqa: LL301",
        "# noqablah",
    ],
)
def test_comment_that_says_something_else(comment: str) -> None:
    assert not covers(f"x = 1  {comment}\n", 1)


def test_finding_over_several_lines() -> None:
    text = "f(\n    a,  # lora-lint: ignore\n)  # lora-lint: ignore[LL301]\n"
    assert not covers(text, 1, 3)
    assert covers(text, 1, 3, "LL301")
    assert covers(text, 2, 3)
    assert covers(text, 1, 2)


def test_comment_alone_applies_to_the_next_code_line() -> None:
    text = "a\n# lora-lint: ignore[LL103]\n# why\n\nb\nc\n"
    assert [line for line in range(1, 7) if covers(text, line)] == [5]
    assert not covers("# noqa: LL103\nb\n", 2)
    assert covers("# lora-lint: ignore[LL103]\n# lora-lint: ignore[LL301]\nb\n", 3)
    assert covers("a\n# lora-lint: ignore", 2)


def test_whole_file() -> None:
    text = "a\n\n# lora-lint: ignore-file[LL103] generated\nb\n"
    assert all(covers(text, line) for line in (1, 4, 99))
    assert not covers(text, 1, code="LL301")
    assert covers("# lora-lint: ignore-file\na\n", 2, code="LL301")


def test_strings_are_no_comments() -> None:
    text = 'x = """\n# lora-lint: ignore-file\na  # lora-lint: ignore\n"""\ny = "# noqa"\n'
    assert not any(covers(text, line) for line in range(1, 6))


def test_other_newlines_and_form_feeds() -> None:
    for newline in ("\n", "\r\n", "\r"):
        text = newline.join(["a", "\x0cb", "c  # lora-lint: ignore", "d", ""])
        assert [line for line in range(1, 6) if covers(text, line)] == [3]


@pytest.mark.parametrize(
    "text", ["x = (  # lora-lint: ignore\n", "if a:\n    b\n  c  # lora-lint: ignore\n", "x = '''\n"]
)
def test_text_that_does_not_tokenize(text: str) -> None:
    line = text[: text.find("#")].count("\n") + 1
    assert covers(text, line) is ("#" in text)


def test_unused() -> None:
    text = (
        "a  # lora-lint: ignore[LL103, LL301] reason\n"
        "b  # lora-lint: ignore\n"
        "c  # lora-lint: ignore[LL999]\n"
        "# lora-lint: ignore-file[optimizer-before-adapter]\n"
        "d  # noqa: LL301, E501\n"
        "e  # noqa\n"
    )
    suppressions = find_suppressions(text)
    assert suppressions.unused(RAN) == [
        (1, 4, 44, "LL103, LL301"),
        (2, 4, 23, ""),
        (4, 1, 51, "optimizer-before-adapter"),
        (5, 4, 23, "LL301"),
    ]
    assert suppressions.covers("LL103", "freeze-after-injection", 1, 1)
    assert suppressions.covers("LL103", "freeze-after-injection", 2, 2)
    assert suppressions.covers("LL103", "freeze-after-injection", 6, 6)
    assert suppressions.covers("LL301", "optimizer-before-adapter", 7, 7)
    assert suppressions.unused(RAN) == [(1, 4, 44, "LL301"), (5, 4, 23, "LL301")]
    assert suppressions.unused({"LL103"}) == []


def test_every_comment_that_covers_counts_as_used() -> None:
    suppressions = find_suppressions("# lora-lint: ignore-file[LL103]\na  # lora-lint: ignore[LL103]\n")
    assert suppressions.covers("LL103", "freeze-after-injection", 2, 2)
    assert suppressions.unused(RAN) == []


def test_file_without_comments_is_cheap() -> None:
    assert find_suppressions("x = 1\n").items == []
