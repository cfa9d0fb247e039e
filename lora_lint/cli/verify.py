"""`lora-lint verify`: run a training program for a few steps and say whether it learns."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lora_lint.cli.terminal import coloured, not_coloured, use_colour

FORMATS = ("text", "json", "html")


@click.command()
@click.option("-m", "module", is_flag=True, help="The target is a module, as in python -m.")
@click.option("--steps", default=3, show_default=True, type=click.IntRange(1), help="Optimizer steps to watch.")
@click.option(
    "--timeout", default=0.0, type=click.FloatRange(0), help="Seconds until the run is ended; 0 for no limit."
)
@click.option(
    "--memory-limit", default=0.0, type=click.FloatRange(0), help="Gigabytes of address space; 0 for no limit."
)
@click.option("--launch", default="", help='Launcher around the script, e.g. "torchrun --nproc-per-node 2".')
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="Form of the report."
)
@click.option("-o", "--output-file", type=click.Path(dir_okay=False, path_type=Path), help="Write the report there.")
@click.option("--no-probes", is_flag=True, help="Do not experiment with the model after the last step.")
@click.option("--show-output", is_flag=True, help="Let the program write to the terminal.")
@click.argument("target")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def verify(
    module: bool,
    steps: int,
    timeout: float,
    memory_limit: float,
    launch: str,
    form: str,
    output_file: Path | None,
    no_probes: bool,
    show_output: bool,
    target: str,
    arguments: tuple[str, ...],
) -> None:
    """Run TARGET for a few optimizer steps, and say whether it learns, and if not, why.

    The program is executed as it is, with your data and on your devices; it is ended after the last observed step, before
    it saves anything. Arguments after `--` are the program's own.

    Exit code: 0 it learns (PASS), 1 it does not (FAIL), 2 no verdict (INCONCLUSIVE: crash, time-out, no training). A
    program that ends by itself after a single healthy step is INCONCLUSIVE with exit code 0.
    """
    from lora_lint.verify.run import Request, run

    colours = output_file is None and use_colour(sys.stdout)
    request = Request(
        target=target,
        arguments=arguments,
        module=module,
        launch=launch,
        steps=steps,
        timeout=timeout,
        memory=int(memory_limit * 2**30),
        probes=not no_probes,
        show_output=show_output,
        form=form,
        paint=coloured if colours else not_coloured,
    )
    text, code = run(request)
    if output_file is not None:
        output_file.write_text(text, encoding="utf-8")
    elif text:
        click.echo(text, nl=False)
    sys.exit(code)
