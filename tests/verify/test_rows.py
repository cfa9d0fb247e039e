"""Rows of a JSON-lines file: every common form, and every mistake with its line. No torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_lint.errors import InputError
from lora_lint.verify.rows import Example, read_rows


def write(path: Path, *lines: object) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"text": "a"}, Example(text="a")),
        ({"text": "a", "label": 2}, Example(text="a", label=2)),
        ({"prompt": "q", "completion": "a"}, Example(text="a", prompt="q")),
        ({"prompt": "q", "response": "a"}, Example(text="a", prompt="q")),
        ({"question": "q", "answer": "a", "id": 7}, Example(text="a", prompt="q")),
        ({"instruction": "do", "input": "", "output": "a"}, Example(text="a", prompt="do\n")),
        ({"instruction": "do", "input": "x", "output": "a"}, Example(text="a", prompt="do\nx\n")),
        (
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
            Example(messages=({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"})),
        ),
        (
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
            Example(messages=({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"})),
        ),
        (
            {"prompt": [{"role": "user", "content": "q"}], "completion": "a"},
            Example(messages=({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"})),
        ),
    ],
)
def test_forms_of_rows(tmp_path: Path, row: object, wanted: Example) -> None:
    assert read_rows(write(tmp_path / "rows.jsonl", row), 5) == [wanted]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "b",}', r"rows\.jsonl:3: not JSON \(column 1[34]: "),
        ('["a"]', r"rows\.jsonl:3: a JSON object is wanted, this is a list"),
        ('{"txt": "a"}', r"rows\.jsonl:3: a row has text, .*; this one has txt"),
        ("{}", r"rows\.jsonl:3: .*this one has nothing"),
        ('{"text": 7}', r"rows\.jsonl:3: 'text' is a number, text is wanted"),
        ('{"text": null}', r"rows\.jsonl:3: 'text' is null"),
        ('{"messages": []}', r"rows\.jsonl:3: the list of messages is empty"),
        ('{"messages": "hi"}', r"rows\.jsonl:3: messages are a list"),
        ('{"messages": [{"role": "user"}]}', r"rows\.jsonl:3: messages are a list of objects with role and content"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    path = write(tmp_path / "rows.jsonl", {"text": "a"}, "", line)
    with pytest.raises(InputError, match=said):
        read_rows(path, 1)  # the line is not even needed


def test_a_json_document_is_recognized(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[\n  {"text": "a"}\n]\n', encoding="utf-8")
    with pytest.raises(InputError, match="one JSON object on each line is wanted"):
        read_rows(path, 1)


def test_empty_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no row in it"):
        read_rows(write(tmp_path / "empty.jsonl", "", ""), 1)
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="cannot be read as UTF-8 text"):
        read_rows(tmp_path / "binary.jsonl", 1)
    with pytest.raises(InputError, match="cannot be read"):
        read_rows(tmp_path, 1)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes('{"text": "ä"}\n'.encode("utf-8-sig"))
    assert read_rows(tmp_path / "rows.jsonl", 1) == [Example(text="ä")]
