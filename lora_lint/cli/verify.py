"""`lora-lint verify`: run a training program for a few steps and say whether it learns."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lora_lint.cli.terminal import coloured, not_coloured, use_colour

if TYPE_CHECKING:
    from lora_lint.verify.job import ModelJob

FORMATS = ("text", "json", "html")


# Precisions as people write them.
DTYPES = ("bf16", "fp16", "fp32", "bfloat16", "float16", "float32")
_ONLY_SCRIPT = ("module", "launch", "confirm")
_ONLY_MODEL = (
    "adapter",
    "lora",
    "quant",
    "dtype",
    "amp_dtype",
    "data",
    "batch_size",
    "seq_len",
    "lr",
    "seed",
    "device",
    "clip_grad_norm",
    "grad_log_interval",
    "gradient_checkpointing",
    "detect_anomaly",
    "trust_remote_code",
)


class VerifyCommand(click.Command):
    """A command that says where a program's own options go."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; an unknown option may be one of the program's."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            said = f"no such option: {error.option_name} (options of the program itself come after `--`)"
            raise click.UsageError(said, ctx) from error


@click.command(cls=VerifyCommand)
@click.option("-m", "module", is_flag=True, help="The target is a module, as in python -m.")
@click.option("--steps", default=3, show_default=True, type=click.IntRange(1), help="Optimizer steps to watch.")
@click.option(
    "--timeout", default=0.0, type=click.FloatRange(0), help="Seconds until the run is ended; 0 for no limit."
)
@click.option("--memory-limit", default=0.0, type=click.FloatRange(0), help="Gigabytes of main memory; 0 for no limit.")
@click.option("--launch", default="", help='Launcher around the script, e.g. "torchrun --nproc-per-node 2".')
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="Form of the report."
)
@click.option("-o", "--output-file", type=click.Path(dir_okay=False, path_type=Path), help="Write the report there.")
@click.option("--no-probes", is_flag=True, help="Do not experiment with the model after the last step.")
@click.option("--confirm", is_flag=True, help="Check the script first, and mark each finding confirmed or refuted.")
@click.option("--show-output", is_flag=True, help="Show what the program writes, on standard error.")
@click.option("--model", "model", default="", help="Try a model (folder or hub id) instead of running a script.")
@click.option("--adapter", default="", help="With --model: continue this saved adapter.")
@click.option("--lora", default="r=16,alpha=32,target=all-linear", show_default=True, help="With --model: new adapter.")
@click.option("--quant", type=click.Choice(["4bit", "8bit"]), help="With --model: quantize the base (bitsandbytes).")
@click.option(
    "--dtype", type=click.Choice(DTYPES), help="With --model: dtype of the base weights; the checkpoint's by default."
)
@click.option("--amp-dtype", type=click.Choice(DTYPES), help="With --model: train under autocast with this dtype.")
@click.option("--data", default="synthetic", show_default=True, help="With --model: a JSON-lines file, or synthetic.")
@click.option("--batch-size", default=2, show_default=True, type=click.IntRange(1), help="With --model.")
@click.option("--seq-len", default=512, show_default=True, type=click.IntRange(2), help="With --model: tokens per row.")
@click.option("--lr", default=1e-4, show_default=True, type=float, help="With --model: learning rate.")
@click.option("--seed", default=0, show_default=True, type=int, help="With --model.")
@click.option("--device", default="", help="With --model: cuda, cpu, cuda:1 …; the GPU when there is one.")
@click.option("--clip-grad-norm", default=0.0, type=click.FloatRange(0), help="With --model: clip gradients; 0 for no.")
@click.option("--grad-log-interval", default=0, type=click.IntRange(0), help="With --model: print norms every N steps.")
@click.option("--gradient-checkpointing", is_flag=True, help="With --model: trade time for memory.")
@click.option("--detect-anomaly", is_flag=True, help="With --model: find the operation that makes NaN (slow).")
@click.option("--trust-remote-code", is_flag=True, help="With --model: run code that comes with the model.")
@click.argument("target", required=False, default="")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def verify(target: str, arguments: tuple[str, ...], output_file: Path | None, **options: Any) -> None:
    """Run TARGET for a few optimizer steps, and say whether it learns, and if not, why.

    With --model no script is needed: the model is loaded, given an adapter and trained on the data for a few steps.

    The program is executed as it is, with your data and on your devices; it is ended after the last observed step,
    before it saves anything. Arguments after `--` are the program's own.

    Exit code: 0 it learns (PASS), 1 it does not (FAIL), 2 no verdict (INCONCLUSIVE: crash, time-out, no training). A
    program that ends by itself after a single healthy step is INCONCLUSIVE with exit code 0.
    """
    from lora_lint.verify.run import Request, run

    model = bool(options["model"])
    if model is bool(target):
        raise click.UsageError("give a script, -m MODULE or --model MODEL")
    _check_belonging(model, arguments)
    colours = output_file is None and use_colour(sys.stdout)
    request = Request(
        target=target or options["model"],
        arguments=arguments,
        module=options["module"],
        launch=options["launch"],
        steps=options["steps"],
        timeout=options["timeout"],
        memory=int(options["memory_limit"] * 2**30),
        probes=not options["no_probes"],
        show_output=options["show_output"],
        confirm=options["confirm"],
        form=options["form"],
        job=_job(options) if model else None,
        paint=coloured if colours else not_coloured,
    )
    if output_file is not None and not output_file.absolute().parent.is_dir():
        raise click.UsageError(f"-o {output_file}: no such folder")
    text, said, code = run(request)
    if output_file is None:
        click.echo(text, nl=False)
    elif text:
        output_file.write_text(text, encoding="utf-8")
        click.echo(f"lora-lint verify: {said}; the report is in {output_file}", err=True)
    sys.exit(code)


def _check_belonging(model: bool, arguments: tuple[str, ...]) -> None:
    """An option of the other mode would be ignored, and the user wonder why."""
    context = click.get_current_context()
    for name in _ONLY_SCRIPT if model else _ONLY_MODEL:
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            parameter = next(p for p in context.command.params if p.name == name)
            option = parameter.opts[-1]
            if model:
                raise click.UsageError(f"{option} goes with a script, not with --model")
            raise click.UsageError(
                f"{option} belongs to --model; to hand it to the program, put it after `--`: "
                f"lora-lint verify train.py -- {option} …"
            )
    if model and arguments:
        raise click.UsageError(f"--model takes no arguments of a program: {' '.join(arguments)}")


def _job(options: dict[str, Any]) -> ModelJob:
    from lora_lint.verify.job import ModelJob

    names = {field.name for field in fields(ModelJob)}
    return ModelJob(**{name: value for name, value in options.items() if name in names and value is not None})
