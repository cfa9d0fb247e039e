"""Rows of a JSON-lines file as training examples. No torch: mistakes in the file are told before anything is loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_lint.errors import InputError

LINES_CHECKED = 10_000  # enough to find a broken export, quick enough to wait for

# Pairs of columns that hold what the model is given and what it is to answer.
_PAIRS = (("prompt", "completion"), ("prompt", "response"), ("question", "answer"), ("input", "target"))
_KINDS = "text, prompt + completion, instruction + output, messages or conversations"


@dataclass(frozen=True, slots=True)
class Example:
    """One row. prompt: what carries no loss. text: what does; with `messages` the template makes the text. label: a class
    for classifiers."""

    text: str = ""
    prompt: str = ""
    messages: tuple[dict[str, str], ...] = ()
    label: Any = None


def read_rows(path: Path, wanted: int) -> list[Example]:
    """The first `wanted` rows. Raises InputError with the line of the first mistake among the first lines of the file."""
    found: list[Example] = []
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, 1):
                if number > LINES_CHECKED and len(found) >= wanted:
                    break
                if not line.strip():
                    continue
                example = _example(line, f"{path}:{number}")
                if len(found) < wanted:
                    found.append(example)
    except FileNotFoundError as error:
        raise InputError(f"--data {path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--data {path}: cannot be read as UTF-8 text: {error}") from error
    if not found:
        raise InputError(f"--data {path}: there is no row in it")
    return found


def _example(line: str, place: str) -> Example:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        hint = ": one JSON object on each line is wanted, this looks like one JSON document" * (line.strip() in "[{")
        raise InputError(f"--data {place}: not JSON (column {error.colno}: {error.msg}){hint}") from error
    if not isinstance(row, dict):
        raise InputError(f"--data {place}: a JSON object is wanted, this is {_kind(row)}")
    label = row.get("label", row.get("labels"))
    turns = row.get("messages", row.get("conversations"))
    if turns is not None:
        return Example(messages=_messages(turns, place), label=label)
    if "text" in row:
        return Example(text=_text(row, "text", place), label=label)
    if "instruction" in row and "output" in row:
        given = "\n".join(filter(None, (_text(row, "instruction", place), str(row.get("input") or ""))))
        return Example(prompt=given + "\n", text=_text(row, "output", place))
    for given_name, answer in _PAIRS:
        if given_name in row and answer in row:
            if isinstance(row[given_name], list):
                return Example(messages=_messages([*row[given_name], *_turns(row[answer])], place))
            return Example(prompt=_text(row, given_name, place), text=_text(row, answer, place))
    raise InputError(f"--data {place}: a row has {_KINDS}; this one has {', '.join(map(str, row)) or 'nothing'}")


def _turns(answer: Any) -> list[Any]:
    return answer if isinstance(answer, list) else [{"role": "assistant", "content": answer}]


def _messages(turns: Any, place: str) -> tuple[dict[str, str], ...]:
    """Chat turns with role and content; ShareGPT's `from` and `value` are translated."""
    roles = {"human": "user", "gpt": "assistant"}
    found = []
    for turn in turns if isinstance(turns, list) else [None]:
        role = turn.get("role", turn.get("from")) if isinstance(turn, dict) else None
        content = turn.get("content", turn.get("value")) if isinstance(turn, dict) else None
        if not isinstance(role, str) or not isinstance(content, str):
            raise InputError(f"--data {place}: messages are a list of objects with role and content, both text")
        found.append({"role": roles.get(role, role), "content": content})
    if not found:
        raise InputError(f"--data {place}: the list of messages is empty")
    return tuple(found)


def _text(row: dict[str, Any], name: str, place: str) -> str:
    if not isinstance(row[name], str):
        raise InputError(f"--data {place}: {name!r} is {_kind(row[name])}, text is wanted")
    return str(row[name])


def _kind(value: Any) -> str:
    names = {
        type(None): "null",
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
        list: "a list",
    }
    return names.get(type(value), "an object")
