"""`lora-lint check`: the main command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lora_lint.baseline import write_atomically
from lora_lint.cli.terminal import coloured, not_coloured, use_colour
from lora_lint.config import FAIL_ON, FORMATS, Configuration, Overrides
from lora_lint.findings import Severity
from lora_lint.pipeline import run
from lora_lint.report.model import RunReport
from lora_lint.request import Fixing, Outcome, Request


def _words(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Values that may be given several times and separated by commas."""
    return tuple(word.strip() for value in values for word in value.split(",") if word.strip())


def _list_option(name: str, text: str, metavar: str = "RULE") -> Callable[[Any], Any]:
    return click.option(name, multiple=True, callback=_words, metavar=metavar, help=text)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("paths", nargs=-1, type=click.Path())
@click.option("--fix", is_flag=True, help="Apply safe fixes.")
@click.option(
    "--unsafe-fixes/--no-unsafe-fixes",
    default=None,
    help="With --fix or --diff: also fixes that a reader should check.",
)
@click.option("--diff", is_flag=True, help="Print what --fix would change, and change nothing.")
@click.option("--backup", is_flag=True, help="With --fix: keep each changed file as FILE.orig.")
@_list_option("--select", "Rules to check for: codes, prefixes (LL1), names, ALL. Replaces the configured choice.")
@_list_option("--extend-select", "Rules to check for in addition, preview rules too when named in full.")
@_list_option("--ignore", "Rules to leave out.")
@click.option("--preview/--no-preview", default=None, help="Also rules that are still on trial.")
@_list_option("--extend-exclude", "Leave out files and folders that match (like a .gitignore line).", "PATTERN")
@click.option("--respect-gitignore/--no-respect-gitignore", default=None, help="Leave out what git ignores (default).")
@click.option("--force-exclude", is_flag=True, default=None, help="Apply excludes to files named as arguments, too.")
@click.option(
    "--format", type=click.Choice(FORMATS), default=None, help="Form of the report; text is made for people (default)."
)
@click.option(
    "-o", "--output-file", type=click.Path(path_type=Path, dir_okay=False), help="Write the report to a file."
)
@click.option("--statistics", is_flag=True, help="Count findings by rule, and what could not be followed.")
@click.option("-q", "--quiet", is_flag=True, help="Print findings only, no summary.")
@click.option("--fail-on", type=click.Choice(FAIL_ON), default=None, help="Least severity that makes the exit code 1.")
@click.option("--exit-zero", is_flag=True, help="Exit with 0 even when problems are found.")
@click.option("--baseline", type=click.Path(path_type=Path), help="Leave out findings that this file knows.")
@click.option("--write-baseline", type=click.Path(path_type=Path), help="Accept all findings of now: write this file.")
@click.option("--diff-base", metavar="REF", help="Only findings whose events touch lines changed since REF.")
@click.option("--stdin-filename", metavar="NAME", help="With - as path: the name that stands for standard input.")
@click.option("--config", type=click.Path(path_type=Path), help="Use this configuration file for everything.")
@click.option("--show-settings", is_flag=True, help="Print the settings that apply to the paths, and stop.")
@click.option("--no-cache", is_flag=True, help="Accepted for compatibility; lora-lint keeps no results.")
@click.option("--debug", is_flag=True, help="Print the traceback of internal errors.")
def check(**options: Any) -> None:
    """Check files, folders and notebooks; `-` reads standard input. Without PATHS, the current folder.

    \b
    lora-lint check --fix src/                    apply the safe fixes
    lora-lint check --diff --unsafe-fixes src/    show all that could be applied
    lora-lint check --diff-base origin/main       only what a change brought in
    lora-lint check --format sarif -o out.sarif   for code scanning
    """
    _refuse_contradictions(options)
    configuration = Configuration(
        explicit=options["config"],
        overrides=_overrides(options),
        anchor=options["stdin_filename"] or _first_path(options),
    )
    if options["show_settings"]:
        _show_settings(configuration, options["paths"])
        return
    outcome = run(_request(configuration, options))
    for line in (*outcome.report.errors, *outcome.notes):
        click.echo(f"lora-lint: {line}", err=True)
    _print(outcome, configuration.main.format, options)
    sys.exit(_exit_code(outcome, configuration.main.fail_on, exit_zero=options["exit_zero"]))


def _refuse_contradictions(options: dict[str, Any]) -> None:
    paths = options["paths"]
    if "-" in paths and len(paths) > 1:
        raise click.UsageError("- (standard input) cannot be combined with other paths")
    if options["stdin_filename"] and "-" not in paths:
        raise click.UsageError("--stdin-filename needs - as path")
    if options["fix"] and options["diff"]:
        raise click.UsageError("--fix writes and --diff only shows: choose one")
    if options["backup"] and not options["fix"]:
        raise click.UsageError("--backup needs --fix")
    if options["write_baseline"] and (options["fix"] or options["diff"]):
        raise click.UsageError("--write-baseline cannot be combined with --fix or --diff")
    if options["write_baseline"] and options["diff_base"]:
        raise click.UsageError("--write-baseline would lose findings outside of --diff-base: choose one")


def _first_path(options: dict[str, Any]) -> str:
    """The path whose configuration rules the run when the current folder has none."""
    paths = options["paths"]
    return str(paths[0]) if paths and paths[0] != "-" else "."


def _overrides(options: dict[str, Any]) -> Overrides:
    return Overrides(
        select=options["select"],
        extend_select=options["extend_select"],
        ignore=options["ignore"],
        extend_exclude=options["extend_exclude"],
        fail_on=options["fail_on"],
        format=options["format"],
        baseline=options["baseline"],
        preview=options["preview"],
        unsafe_fixes=options["unsafe_fixes"],
        respect_gitignore=options["respect_gitignore"],
        force_exclude=options["force_exclude"],
    )


def _request(configuration: Configuration, options: dict[str, Any]) -> Request:
    stdin = sys.stdin.buffer.read() if "-" in options["paths"] else None
    return Request(
        paths=options["paths"] or (".",),
        configuration=configuration,
        stdin=stdin,
        stdin_name=options["stdin_filename"] or "<stdin>",
        fixing=Fixing(write=options["fix"], show=options["diff"], backup=options["backup"]),
        write_baseline=options["write_baseline"],
        diff_base=options["diff_base"],
        debug=options["debug"],
    )


def _show_settings(configuration: Configuration, paths: tuple[str, ...]) -> None:
    for path in paths or (".",):
        place = Path.cwd() / path
        settings = configuration.for_folder(place if place.is_dir() else place.parent)
        click.echo(f"# {path}\n{settings.show()}")


def _exit_code(outcome: Outcome, fail_on: str, *, exit_zero: bool) -> int:
    """2 when something could not be checked, 1 for findings at or above `fail_on`, else 0."""
    report = outcome.report
    if report.errors or any(finding.code == "LL000" for finding in report.findings):
        return 2
    least = Severity(fail_on).rank
    failing = any(finding.severity.rank >= least for finding in report.findings)
    return int(failing and not exit_zero)


# --- printing ---------------------------------------------------------------------------------------------------------


def _print(outcome: Outcome, form: str, options: dict[str, Any]) -> None:
    """Print the report where it belongs. What --fix made of standard input, and diffs, own standard output."""
    from lora_lint.report import text

    report = outcome.report
    if options["diff"]:
        click.echo(outcome.output, nl=False)
        if not options["quiet"]:
            click.echo(text.summary(report), err=True)
        return
    target: Path | None = options["output_file"]
    to_stderr = bool(outcome.output) and target is None
    stream = sys.stderr if to_stderr else sys.stdout
    colour = target is None and use_colour(stream)
    if outcome.output:
        click.echo(outcome.output, nl=False)
    shown = _render(report, form, colour=colour, quiet=options["quiet"] or bool(options["write_baseline"]))
    if target is not None:
        write_atomically(target, shown)
        if not options["quiet"]:
            click.echo(text.summary(report))
    else:
        click.echo(shown, nl=False, err=to_stderr, color=colour)
    if options["statistics"]:
        click.echo(text.statistics(report), nl=False, err=to_stderr or form in ("json", "sarif", "github"))


def _render(report: RunReport, form: str, *, colour: bool, quiet: bool) -> str:
    """The report in one of the formats; each format's module is imported only for it."""
    style = coloured if colour else not_coloured
    if form == "json":
        from lora_lint.report import json

        return json.render(report)
    if form == "sarif":
        from lora_lint.report import sarif

        return sarif.render(report)
    if form == "github":
        from lora_lint.report import github

        return github.render(report)
    from lora_lint.report import text

    render = text.render_concise if form == "concise" else text.render
    return render(report, style, quiet=quiet)
