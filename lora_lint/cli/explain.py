"""`lora-lint explain`: a rule's card, made readable on a terminal."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from lora_lint.checks.registry import Card, load_checks
from lora_lint.cli.rules import fix_class
from lora_lint.cli.terminal import coloured, not_coloured, use_colour
from lora_lint.config import Configuration, did_you_mean
from lora_lint.errors import InputError
from lora_lint.report.excerpt import Style

_MARKER = re.compile(r"\s+#\s*LL\d{3}(?:,\s*LL\d{3})*\s*$")
_FLAGS = {"safe": "applied by --fix", "unsafe": "applied by --fix --unsafe-fixes", "shown": "described only"}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("rule")
@click.option("--examples", "every", is_flag=True, help="Show all examples: what is reported, and what is not.")
def explain(rule: str, every: bool) -> None:
    """Say what RULE (a code or a name) finds, why it matters and how to fix it."""
    card = _find(load_checks(Configuration().main.rules).cards, rule)
    colour = use_colour(sys.stdout)
    style = coloured if colour else not_coloured
    width = min(shutil.get_terminal_size((100, 24)).columns, 100)
    click.echo("\n".join(_lines(card, style, width, every=every)), color=colour)


def _find(cards: Mapping[str, Card], rule: str) -> Card:
    """The card by code or name, in any case. Raises InputError with a near one."""
    for card in cards.values():
        if rule.lower() in (card.code.lower(), card.name):
            return card
    known = [*cards, *(card.name for card in cards.values())]
    raise InputError(f"there is no rule `{rule}`{did_you_mean(rule, known)}; `lora-lint rules` lists them")


def _lines(card: Card, style: Style, width: int, *, every: bool) -> Iterator[str]:
    yield f"{style('bold', card.code)} {style('bold', card.name)} [{card.severity}]{' (on trial)' * card.preview}"
    yield card.summary
    yield ""
    yield from _paragraphs(card.why, width)
    if card.fix is not None:
        kind = fix_class(card)
        yield ""
        yield f"{style('bold', 'Fix')} ({kind}, {_FLAGS[kind]}): {card.fix.title}"
        yield from _paragraphs(card.fix.safety, width, indent="  ")
    if card.versions:
        yield ""
        ranges = ", ".join(f"{library} {span}" for library, span in card.versions.items())
        yield f"{style('bold', 'Versions')}: {ranges}"
    yield from _examples(card, style, every=every)
    if card.references:
        yield ""
        yield style("bold", "References")
        yield from (f"  {link}" for link in card.references)
    yield ""
    yield f"{style('bold', 'Silence it')} on one line, with a reason: # lora-lint: ignore[{card.code}] reason"


def _paragraphs(text: str, width: int, indent: str = "") -> Iterator[str]:
    """The text wrapped, paragraph by paragraph; lists and indented blocks stay as they are."""
    for number, paragraph in enumerate(text.strip().split("\n\n")):
        if number:
            yield ""
        if re.match(r"\s|[-*] |\d+\. ", paragraph):
            yield from (indent + line for line in paragraph.splitlines())
        elif paragraph:
            yield from textwrap.wrap(
                " ".join(paragraph.split()),
                width,
                initial_indent=indent,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )


# --- examples ---------------------------------------------------------------------------------------------------------


def _examples(card: Card, style: Style, *, every: bool) -> Iterator[str]:
    """The first example that is reported, or all."""
    bad = [example for example in card.examples if "bad" in example or example.get("expect") == "bad"]
    for example in card.examples if every else bad[:1]:
        title = f": {example['title']}" if example.get("title") else ""
        yield ""
        yield style("bold", f"{_kind(example)}{title}")
        for name, text in _files(example):
            yield from _code(name, text, card.code, style)
        fixed = example.get("fixed")
        if fixed:
            yield style("bold", "Fixed")
            for name, text in _texts(fixed):
                yield from _code(name, text, card.code, style)
    rest = len(card.examples) - 1
    if not every and bad and rest > 0:
        yield f"  ({rest} more with --examples)"


def _kind(example: Mapping[str, Any]) -> str:
    if "missed" in example:
        return "Known to be missed"
    if "false-alarm" in example:
        return "Known false alarm"
    return "Reported" if "bad" in example or example.get("expect") == "bad" else "Not reported"


def _files(example: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Names and texts of an example; the name is empty when there is one file only."""
    for key in ("bad", "good", "missed", "false-alarm", "files"):
        if key in example:
            return _texts(example[key])
    return ()


def _texts(value: str | Mapping[str, str]) -> list[tuple[str, str]]:
    return [("", value)] if isinstance(value, str) else list(value.items())


def _code(name: str, text: str, code: str, style: Style) -> Iterator[str]:
    """Indented code; a line marked with the rule's code gets an arrow instead of the marker."""
    if name:
        yield f"  {style('blue', name)}"
    for line in text.rstrip("\n").splitlines():
        marker = _MARKER.search(line)
        if marker is not None and code in marker[0]:
            yield f"{style('red', '  > ')}{line[: marker.start()]}"
        else:
            shown = line[: marker.start()] if marker else line
            yield f"    {shown}".rstrip()
