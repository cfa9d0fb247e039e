"""`lora-lint rules`: the list of rules."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable

import click

from lora_lint.checks.registry import Card, load_checks
from lora_lint.cli.terminal import coloured, not_coloured, use_colour
from lora_lint.config import Configuration
from lora_lint.findings import Applicability

_SEVERITY_COLOUR = {"error": "red", "warning": "yellow", "info": "cyan"}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "markdown"]), default="text", help="Form of the list."
)
def rules(form: str) -> None:
    """List the rules: code, name, severity, whether there is a fix, and what is found.

    Fixes: safe (--fix), unsafe (--fix --unsafe-fixes), shown (described only). Rules marked * are on trial: they
    run with --preview, or when they are named in full.
    """
    cards = sorted(load_checks(Configuration().main.rules).cards.values(), key=lambda card: card.code)
    if form == "json":
        click.echo(json.dumps([_row(card) for card in cards], indent=2, ensure_ascii=False))
    elif form == "markdown":
        click.echo(markdown_table(cards), nl=False)
    else:
        click.echo(_table(cards), nl=False, color=use_colour(sys.stdout))


def _row(card: Card) -> dict[str, object]:
    return {
        "code": card.code,
        "name": card.name,
        "severity": card.severity,
        "fix": fix_class(card) or None,
        "summary": card.summary,
        "versions": dict(card.versions),
        "preview": card.preview,
        "since": card.since,
    }


def fix_class(card: Card) -> str:
    """ "safe", "unsafe" or "shown"; "" for a rule without a fix."""
    if card.fix is None:
        return ""
    return "shown" if card.fix.applicability is Applicability.DISPLAY else card.fix.applicability.value


def markdown_table(cards: Iterable[Card]) -> str:
    """The table of the README."""
    lines = ["| code | name | severity | fix | what it finds |", "|---|---|---|---|---|"]
    for card in sorted(cards, key=lambda card: card.code):
        trial = " (on trial)" if card.preview else ""
        fix = fix_class(card) or "–"
        summary = card.summary.replace("|", "\\|")
        lines.append(f"| {card.code} | `{card.name}`{trial} | {card.severity} | {fix} | {summary} |")
    return "\n".join(lines) + "\n"


def _table(cards: list[Card]) -> str:
    style = coloured if use_colour(sys.stdout) else not_coloured
    width = max(len(card.name) + card.preview for card in cards)
    room = max(shutil.get_terminal_size((120, 24)).columns - width - 26, 30)
    lines = []
    for card in cards:
        name = (card.name + "*" * card.preview).ljust(width)
        severity = style(_SEVERITY_COLOUR[card.severity], card.severity.ljust(7))
        summary = card.summary if len(card.summary) <= room else card.summary[: room - 1] + "…"
        lines.append(f"{style('bold', card.code)}  {name}  {severity}  {fix_class(card).ljust(6)}  {summary}")
    return "".join(line + "\n" for line in lines)
