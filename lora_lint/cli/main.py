"""The command `lora-lint`: a group whose subcommands are imported only when they are called."""

from __future__ import annotations

import importlib
import io
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import click

from lora_lint import __version__, collector
from lora_lint.errors import InputError, InternalError, KnowledgeError

# name -> (module:attribute, line for `lora-lint --help`). The line stands here so that --help imports nothing.
SUBCOMMANDS: Mapping[str, tuple[str, str]] = {
    "check": ("lora_lint.cli.check:check", "Check files and folders (the default: `lora-lint src/`)."),
    "verify": ("lora_lint.cli.verify:verify", "Run a training program for a few steps and say whether it learns."),
    "explain": ("lora_lint.cli.explain:explain", "Say what a rule finds, why it matters and how to fix it."),
    "rules": ("lora_lint.cli.rules:rules", "List the rules."),
    "apis": ("lora_lint.cli.apis:apis", "Show what lora-lint knows about library calls."),
}
_OWN_OPTIONS = frozenset({"-h", "--help", "--version"})


class LazyGroup(click.Group):
    """A group that knows its subcommands by name only; what is no subcommand is arguments of `check`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the subcommands in the order of the table."""
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand, imported now."""
        if cmd_name not in SUBCOMMANDS:
            return None
        module, attribute = SUBCOMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `check` in front when the first word is neither a subcommand nor one of the group's own options."""
        if not args or (args[0] not in SUBCOMMANDS and args[0] not in _OWN_OPTIONS):
            args = ["check", *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of subcommands, written without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in SUBCOMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; the user's mistakes end with one line and exit code 2."""
        try:
            return super().invoke(ctx)
        except (InputError, KnowledgeError) as error:
            click.echo(f"lora-lint: error: {error}", err=True)
            ctx.exit(2)
        except InternalError as error:
            if "--debug" in sys.argv:
                traceback.print_exception(error)
            click.echo(f"lora-lint: internal error, please report it as a bug of lora-lint: {error}", err=True)
            ctx.exit(2)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="lora-lint", message="%(prog)s %(version)s")
def cli() -> None:
    """Find the mistakes that let a LoRA fine-tuning run to the end and learn nothing.

    \b
    lora-lint                       check the current folder
    lora-lint train.py src/         check these
    lora-lint --fix src/            and apply the safe fixes
    lora-lint explain LL103         what a rule is about

    Exit code: 0 nothing found, 1 problems found, 2 wrong usage or an internal error.

    `lora-lint check --help` lists the options for checking.
    """


def main() -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        # A file name or a terminal that is not UTF-8 must not end the run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with collector.rarely():
            cli(prog_name="lora-lint")
    finally:
        collector.leave()
