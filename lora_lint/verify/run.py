"""`lora-lint verify` from request to report."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lora_lint.verify import rankwise
from lora_lint.verify.command import Command, build, build_model
from lora_lint.verify.model_program import ModelJob
from lora_lint.verify.session import Limits, observe
from lora_lint.verify.verdict import Verdict, judge


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for on the command line: a program to run, or a model to try (`job`)."""

    target: str
    arguments: tuple[str, ...] = ()
    module: bool = False
    launch: str = ""
    steps: int = 3
    timeout: float = 0.0
    memory: int = 0
    probes: bool = True
    show_output: bool = False
    form: str = "text"
    job: ModelJob | None = None
    confirm: bool = False
    paint: Callable[[str, str], str] = lambda colour, text: text

    @property
    def limits(self) -> Limits:
        """The limits of the run."""
        return Limits(self.steps, self.timeout, self.memory, self.probes)


def run(request: Request) -> tuple[str, int]:
    """Observe, judge, render. Returns the report and the exit code; the report of all but the first rank is empty."""
    with tempfile.TemporaryDirectory(prefix="lora-lint-code-") as folder:
        command = _command(request, Path(folder))
        observed = observe(command, request.limits, progress_to(sys.stderr), request.show_output)
    merged = rankwise.merge(observed, request.timeout)
    if merged is None:
        return "", 0
    verdict = judge(merged, request.steps)
    if request.confirm and not request.module and request.job is None:
        from lora_lint.verify.confirm import confirm, static_findings

        verdict = replace(verdict, confirmations=tuple(confirm(static_findings([request.target]), verdict)))
    return render(verdict, request), verdict.exit_code


def _command(request: Request, folder: Path) -> Command:
    if request.job is not None:
        return build_model(request.job)
    return build(request.target, request.arguments, module=request.module, launch=request.launch, folder=folder)


def render(verdict: Verdict, request: Request) -> str:
    """The report in the form asked for."""
    if request.form == "json":
        from lora_lint.verify import report_json

        return report_json.render(verdict)
    if request.form == "html":
        from lora_lint.verify import report_html

        return report_html.render(verdict, request.target)
    from lora_lint.verify import report_text

    return report_text.render(verdict, request.paint)


def progress_to(stream: Any) -> Callable[[list[dict[str, Any]], float], None]:
    """A function that shows the progress in one line of a terminal; nothing when the stream is none."""
    if not stream.isatty():
        return lambda lines, seconds: None

    def show(lines: list[dict[str, Any]], seconds: float) -> None:
        if not lines:
            stream.write(f"\r\033[Kstarting … {seconds:.0f} s")
        else:
            slowest = min(lines, key=lambda line: line["cycles"])
            loss = "" if slowest["loss"] is None else f", loss {slowest['loss']:.4g}"
            ranks = f" on {len(lines)} processes" if len(lines) > 1 else ""
            stream.write(f"\r\033[Kstep {slowest['cycles']}{ranks}, {seconds:.0f} s{loss}")
        stream.flush()

    return show
