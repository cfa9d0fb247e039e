"""`lora-lint verify` from request to report."""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lora_lint.errors import InputError
from lora_lint.findings import Finding
from lora_lint.verify import rankwise, report_text
from lora_lint.verify.command import Command, build, build_model
from lora_lint.verify.job import ModelJob
from lora_lint.verify.model_program import Refusal
from lora_lint.verify.observed import Observed
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
    def title(self) -> str:
        """What runs, in the reports: a script's name, a folder's name."""
        return self.target if self.module else Path(self.target).name or self.target

    @property
    def limits(self) -> Limits:
        """The limits of the run."""
        return Limits(self.steps, self.timeout, self.memory, self.probes)


def run(request: Request) -> tuple[str, str, int]:
    """Observe, judge, render. Returns the report, its first line and the exit code; for all but the first rank both are
    empty."""
    with tempfile.TemporaryDirectory(prefix="lora-lint-code-") as folder:
        command = _command(request, Path(folder))
        announce(request, sys.stderr)
        progress = progress_to(sys.stderr, request.steps)
        try:
            with ThreadPoolExecutor(1) as beside:
                reading = beside.submit(_read, request)
                observed = observe(command, request.limits, progress, _outputs(request))
                read = reading.result()
        finally:
            if sys.stderr.isatty():
                sys.stderr.write("\r\033[K")
    if request.job is not None:
        _refuse(observed)
    merged = rankwise.merge(observed, request.timeout)
    if merged is None:
        return "", "", 0
    verdict = judge(merged, request.steps, read)
    if request.confirm:
        from lora_lint.verify.confirm import confirm

        alone = judge(merged, request.steps)  # what was read must not confirm itself
        verdict = replace(verdict, confirmations=tuple(confirm(read, alone, verdict.raised)))
    return render(verdict, request), report_text.headline(verdict, request.title), verdict.exit_code


def _outputs(request: Request) -> bool:
    """Whether the program writes to the terminal: when asked to, and when its log of gradients is."""
    return request.show_output or (request.job is not None and request.job.grad_log_interval > 0)


def _refuse(observed: Observed) -> None:
    """Raise InputError when the program of model mode ended with a mistake of the user's."""
    for report in observed.reports:
        if report["error"] and report["error"]["type"] == Refusal.__name__:
            raise InputError(report["error"]["text"])


def _read(request: Request) -> tuple[Finding, ...]:
    """What the static check says of the program, read while it runs: it knows the rest of the program, too."""
    target = _source(request)
    if target is None or rankwise.rank_and_world()[0] != 0:
        return ()
    from lora_lint.verify.confirm import static_findings

    return static_findings([target])


def _source(request: Request) -> str | None:
    """The file that is run, None for a model or a module that is not below the working directory."""
    if request.job is not None:
        return None
    if not request.module:
        return request.target
    place = Path(*request.target.split("."))
    return next((str(p) for p in (place.with_suffix(".py"), place / "__main__.py") if p.is_file()), None)


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

        return report_html.render(verdict, request.title)
    return report_text.render(verdict, request.paint, request.title)


def progress_to(stream: Any, steps: int) -> Callable[[list[dict[str, Any]], float], None]:
    """A function that shows the progress in one line of a terminal; nothing when the stream is none."""
    if not stream.isatty():
        return lambda lines, seconds: None

    known: list[dict[str, Any]] = []
    shown = ""

    def show(lines: list[dict[str, Any]], seconds: float) -> None:
        nonlocal known, shown
        known = lines or known  # a file that is being written cannot be read
        text = progress_line(known, seconds, steps)[: _columns() - 1]
        if text != shown:
            shown = text
            stream.write(f"\r\033[K{text}")
            stream.flush()

    return show


def progress_line(lines: list[dict[str, Any]], seconds: float, steps: int) -> str:
    """Where the slowest process is: "step 2/3 · 14 s · loss 2.31"."""
    if not lines:
        return f"starting · {seconds:.0f} s"
    slowest = min(lines, key=lambda line: int(line["cycles"]))
    parts = [f"step {slowest['cycles']}/{steps}", f"{seconds:.0f} s"]
    if slowest["loss"] is not None:
        parts.append(f"loss {slowest['loss']:.4g}")
    if not slowest["cycles"] and slowest["moment"]:
        parts.append(str(slowest["moment"]))
    if len(lines) > 1:
        parts.append(f"{len(lines)} processes")
    return " · ".join(parts)


def _columns() -> int:
    return shutil.get_terminal_size().columns


def announce(request: Request, stream: Any) -> None:
    """Say what is going to happen: a program is executed. Once for all processes of a launch."""
    if rankwise.rank_and_world()[0] == 0:
        stream.write(f"lora-lint verify: {_what(request)}\n")
        stream.flush()


def _what(request: Request) -> str:
    steps = f"{request.steps} optimizer step{'s' * (request.steps != 1)}"
    if request.job is not None:
        return f"loads {request.job.model} and trains it for {steps}"
    words = [*shlex.split(request.launch), *(["-m"] * request.module), request.target, *request.arguments]
    return f"executes `{shlex.join(words)}` with your data and devices, and ends it after {steps}"
