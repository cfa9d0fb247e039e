"""Writes the rule table into README.md, between its markers, from the rule cards. `--check` only looks."""

from __future__ import annotations

import sys
from pathlib import Path

from lora_lint.checks.registry import load_checks
from lora_lint.cli.rules import markdown_table

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN = "<!-- rules: begin (made by `make readme`) -->\n"
END = "<!-- rules: end -->\n"


def with_table(text: str) -> str:
    """The README's text with the table of the current cards."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{markdown_table(load_checks().cards.values())}{END}{after}"


def main() -> None:
    """Write, or check."""
    current = README.read_text(encoding="utf-8")
    wanted = with_table(current)
    if "--check" in sys.argv:
        sys.exit(current != wanted)
    README.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
