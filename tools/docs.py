"""Writes a page for each rule card, and their index, into docs/rules: the input of mkdocs (`make docs`).

The pages are not kept in the repository; they say what `lora-lint explain` says, from the same cards.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from lora_lint.checks.registry import Card, load_checks
from lora_lint.cli.card_examples import Code, Example, examples_of
from lora_lint.cli.rules import fix_class

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "rules"
HOW_FIXED = {
    "safe": "`lora-lint --fix` applies it.",
    "unsafe": "`lora-lint --fix --unsafe-fixes` applies it; look at the result.",
    "shown": "It is described only.",
}
GROUPS = {
    "adapter": "Adapters: configuring, injecting, loading, merging",
    "graph": "The autograd graph",
    "loop": "The training loop",
    "data": "Data and labels",
    "precision": "Mixed precision",
    "distributed": "Several processes",
    "api": "Changed interfaces",
    "saving": "Saving and loading",
    "runtime": "Seen by `lora-lint verify`",
    "meta": "lora-lint itself",
}


def page(card: Card) -> str:
    """The page of one rule."""
    return "\n".join(_page(card)) + "\n"


def _page(card: Card) -> Iterator[str]:
    trial = " · on trial: runs with `preview = true` or when it is named in full" if card.preview else ""
    yield f"# {card.code} {card.name}"
    yield f"\n**{card.severity}** · since {card.since}{trial}\n"
    yield f"Reports: {card.summary}.\n"
    yield "## Why\n"
    yield card.why.strip()
    examples = examples_of(card)
    reported = [example for example in examples if example.reported]
    if reported:
        yield "\n## Example\n"
        yield from _example(reported[0], title=False)
    if card.fix is not None:
        kind = fix_class(card)
        yield f"\n## Fix ({kind})\n"
        yield f"{card.fix.title[:1].upper()}{card.fix.title[1:]}. {HOW_FIXED[kind]}\n"
        yield card.fix.safety.strip()
    if card.versions:
        yield "\n## Versions\n"
        yield from (f"* {library} `{span}`" for library, span in card.versions.items())
    if card.proof:
        yield "\n## How verify proves it\n" if card.runtime else "\n## How it was proved\n"
        yield card.proof.strip()
    rest = [example for example in examples if example not in reported[:1]]
    if rest:
        yield "\n## More examples\n"
        yield "Each of them is a test.\n"
        for example in rest:
            yield from _example(example, title=True)
    if card.references:
        yield "\n## References\n"
        yield from (f"* <{link}>" for link in card.references)
    yield "\n## Silence it\n"
    yield f"```python\n…  # lora-lint: ignore[{card.code}] the reason\n```"


def _example(example: Example, *, title: bool) -> Iterator[str]:
    if title:
        yield f"### {example.kind}{': ' + example.title if example.title else ''}\n"
    yield from (_fence(code) for code in example.files)
    if example.fixed:
        yield "\nFixed:\n"
        yield "```diff"
        yield from (f"{sign} {line}".rstrip() for sign, line in example.changes())
        yield "```\n"


def _fence(code: Code) -> str:
    """A block of code, the reported lines highlighted."""
    marked = f' hl_lines="{" ".join(map(str, code.marked))}"' if code.marked else ""
    title = f' title="{code.name}"' if code.name else ""
    return f"```python{title}{marked}\n" + "\n".join(code.lines) + "\n```\n"


def index(cards: Iterable[Card]) -> str:
    """The list of all rules, by group."""
    lines = ["# Rules\n", "`lora-lint explain CODE` shows the same on a terminal.\n"]
    by_group: dict[str, list[Card]] = {group: [] for group in GROUPS}
    for card in sorted(cards, key=lambda card: card.code):
        by_group[card.group].append(card)
    for group, members in by_group.items():
        lines.append(f"## {GROUPS[group]}\n")
        lines += ["| code | name | severity | fix | what it finds |", "|---|---|---|---|---|"]
        for card in members:
            trial = " (on trial)" if card.preview else ""
            name = f"[`{card.name}`]({card.code}.md){trial}"
            summary = card.summary.replace("|", "\\|")
            lines.append(f"| {card.code} | {name} | {card.severity} | {fix_class(card) or '–'} | {summary} |")
        lines.append("")
    return "\n".join(lines)


def write(folder: Path) -> None:
    """Write all pages into a folder, and remove those of rules that are gone."""
    cards = load_checks().cards
    pages = {f"{card.code}.md": page(card) for card in cards.values()} | {"index.md": index(cards.values())}
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.md"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGES)
