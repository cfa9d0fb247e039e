"""Comments that silence findings.

# lora-lint: ignore[LL103, freeze-after-injection] reason     these, on this line (alone on its line: on the next)
# lora-lint: ignore                                           everything there
# lora-lint: ignore-file[LL103] reason                        these in the whole file
# noqa: LL103    and    # noqa                                as other linters have it, for their own line only
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Collection
from dataclasses import dataclass, field

_OURS = re.compile(r"#\s*lora-lint:\s*(?P<kind>ignore-file|ignore)\b(?!-)(?:\s*\[(?P<codes>[^\]\r\n]*)\])?")
_NOQA = re.compile(r"#\s*noqa\b(?P<codes>\s*:\s*[A-Z]+[0-9]+(?:[\s,]+[A-Z]+[0-9]+)*)?", re.IGNORECASE)
_MENTION = re.compile(r"#.*?(?:lora-lint:|noqa)", re.IGNORECASE)
_CODE = re.compile(r"LL[0-9]+")


@dataclass(slots=True)
class _Suppression:
    """One comment. line: that it speaks about, 0 for the whole file; place: line, column, end column of the comment.

    codes: None for all. answerable: whether it is reported when nothing needed it.
    """

    line: int
    place: tuple[int, int, int]
    codes: tuple[str, ...] | None
    answerable: bool
    used: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Suppressions:
    """The suppressions of one file; remembers which of them were needed."""

    items: list[_Suppression]

    def covers(self, code: str, name: str, line: int, end_line: int) -> bool:
        """Whether a finding from `line` to `end_line` is suppressed; every comment that does so counts as used."""
        covered = False
        for item in self.items:
            if item.line not in (0, line, end_line):
                continue
            if item.codes is None:
                item.used.add("")
                covered = True
                continue
            for wanted in item.codes:
                if wanted.upper() == code or wanted == name:
                    item.used.add(wanted)
                    covered = True
        return covered

    def unused(self, ran: Collection[str]) -> list[tuple[int, int, int, str]]:
        """Suppressions that nothing needed: line, column, end column of the comment, and the codes, "" for all.

        ran: codes and names of the rules that ran; what names another rule is not judged.
        """
        found = []
        for item in self.items:
            if not item.answerable:
                continue
            if item.codes is None:
                if not item.used:
                    found.append((*item.place, ""))
                continue
            idle = [code for code in item.codes if code not in item.used and (code in ran or code.upper() in ran)]
            if idle:
                found.append((*item.place, ", ".join(idle)))
        return found


def find_suppressions(text: str) -> Suppressions:
    """The suppressions in a module text. What only looks like one, inside a string, does not count."""
    if "lora-lint:" not in text and "noqa" not in text.lower():
        return Suppressions([])
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    if not any(_MENTION.search(line) for line in lines):
        return Suppressions([])
    items: list[_Suppression] = []
    for line, column, comment in _comments(text, lines):
        alone = not lines[line - 1][: column - 1].strip()
        for found in _OURS.finditer(comment):
            whole_file = found["kind"] == "ignore-file"
            if whole_file and not alone:
                continue
            target = 0 if whole_file else _next_code_line(lines, line) if alone else line
            place = (line, column + found.start(), column + len(comment.rstrip()))
            items.append(_Suppression(target, place, _codes(found["codes"]), True))
        found_noqa = _NOQA.search(comment)
        if found_noqa is not None:
            items += _noqa(found_noqa, line, column)
    return Suppressions(items)


def without(comment: str, idle: Collection[str]) -> str:
    """A suppression comment without some of its codes; "" when none is left. No codes in `idle`: all were meant."""
    listed = re.search(r"\[([^\]]*)\]", comment) if "lora-lint:" in comment else re.search(r":\s*(.*)", comment)
    if listed is None or not idle:
        return ""
    gone = {code.upper() for code in idle}
    kept = [code for code in re.split(r"[\s,]+", listed[1].strip()) if code and code.upper() not in gone]
    return comment[: listed.start(1)] + ", ".join(kept) + comment[listed.end(1) :] if kept else ""


def _noqa(found: re.Match[str], line: int, column: int) -> list[_Suppression]:
    place = (line, column + found.start(), column + found.end())
    if found["codes"] is None:
        return [_Suppression(line, place, None, False)]
    codes = tuple(_CODE.findall(found["codes"].upper()))
    return [_Suppression(line, place, codes, True)] if codes else []


def _codes(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def _next_code_line(lines: list[str], line: int) -> int:
    for number, text in enumerate(lines[line:], line + 1):
        stripped = text.strip()
        if stripped and not stripped.startswith("#"):
            return number
    return line


def _comments(text: str, lines: list[str]) -> list[tuple[int, int, str]]:
    """Comments as line, column (from 1) and text. Where the tokenizer gives up, lines are taken at their word."""
    found = []
    reached = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            reached = token.end[0]
            if token.type == tokenize.COMMENT:
                found.append((token.start[0], token.start[1] + 1, token.string))
        return found
    except (tokenize.TokenError, SyntaxError):
        for number, line in enumerate(lines[reached:], reached + 1):
            mention = _MENTION.search(line)
            if mention is not None:
                found.append((number, mention.start() + 1, line[mention.start() :]))
        return found
