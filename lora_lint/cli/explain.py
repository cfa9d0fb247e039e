"""`lora-lint explain`: a rule's card, made readable on a terminal."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping

import click

from lora_lint.checks.registry import Card, load_checks
from lora_lint.cli.card_examples import Code, examples_of
from lora_lint.cli.rules import fix_class
from lora_lint.cli.terminal import coloured, not_coloured, use_colour
from lora_lint.config import Configuration, did_you_mean
from lora_lint.errors import InputError
from lora_lint.report.excerpt import Style

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
    yield from _examples(card, style, width, every=every)
    if card.fix is not None:
        kind = fix_class(card)
        yield ""
        yield style("bold", f"Fix ({kind}, {_FLAGS[kind]})")
        yield from _paragraphs(f"{card.fix.title}\n\n{card.fix.safety}", width, indent="  ")
    if card.versions:
        yield ""
        yield style("bold", "Versions")
        yield "  " + ", ".join(f"{library} {span}" for library, span in card.versions.items())
    if card.proof:
        yield ""
        yield style("bold", "How `lora-lint verify` proves it" if card.runtime else "How it was proved")
        yield from _paragraphs(card.proof, width, indent="  ")
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


def _examples(card: Card, style: Style, width: int, *, every: bool) -> Iterator[str]:
    """The first example that is reported, without its imports, or all as they are."""
    known = examples_of(card)
    for example in known if every else [one for one in known if one.reported][:1]:
        yield ""
        yield style("bold", f"{example.kind}: {example.title}" if example.title else example.kind)
        for code in example.files:
            yield from _code(code, style, width, whole=every)
        if example.fixed:
            yield ""
            yield style("bold", "Fixed")
            for sign, line in example.changes():
                yield from _wrapped(line, f"  {sign} ", {"+": "green", "-": "red"}.get(sign), style, width)
    rest = len(known) - 1
    if not every and rest > 0:
        yield f"  ({rest} more with --examples)"


def _code(code: Code, style: Style, width: int, *, whole: bool) -> Iterator[str]:
    """Indented code; a line that the rule reports gets an arrow."""
    if code.name:
        yield f"  {style('blue', code.name)}"
    first = 0 if whole else _after_imports(code.lines)
    for number, line in enumerate(code.lines[first:], first + 1):
        marked = number in code.marked
        yield from _wrapped(line, "  > " if marked else "    ", "red" if marked else None, style, width)


def _after_imports(lines: tuple[str, ...]) -> int:
    """How many lines of imports a program starts with, and the empty lines after them."""
    count = 0
    while count < len(lines) and (not lines[count] or re.match(r"(?:import|from) [^(]*$", lines[count])):
        count += 1
    return count if count < len(lines) else 0


def _wrapped(line: str, mark: str, colour: str | None, style: Style, width: int) -> Iterator[str]:
    """A line of code with a mark in front, broken after commas where it is too long; the rest is indented further."""
    indent = " " * (len(line) - len(line.lstrip()) + 8)
    while len(line) + len(mark) > width:
        at = max(line.rfind(", ", 0, width - len(mark)) + 1, line.rfind("(", 0, width - len(mark) - 1) + 1)
        if at <= len(indent):
            break
        yield (style(colour, mark) if colour else mark) + line[:at].rstrip()
        line, mark = indent + line[at:].lstrip(), " " * len(mark)
    yield ((style(colour, mark) if colour else mark) + line).rstrip()
