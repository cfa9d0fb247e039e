"""The command to observe: a script, a module, a notebook, or a launcher around one of them."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lora_lint.errors import InputError
from lora_lint.verify import model_program
from lora_lint.verify.job import ModelJob, check_job

_PROCESSES = re.compile(r"--(?:nproc[-_]per[-_]node|num[-_]processes|nproc)(?:[= ]+)(\d+)")


@dataclass(frozen=True, slots=True)
class Command:
    """words: what is executed. aliases: files that stand for others, by real path. processes: how many ranks a launcher
    was asked for, 1 without one, 0 when unknown."""

    words: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    processes: int = 1


def build(target: str, arguments: Sequence[str], *, module: bool, launch: str, folder: Path) -> Command:
    """The command for a target. Raises InputError when there is no such script. `folder` takes a notebook's code."""
    aliases: dict[str, str] = {}
    if module:
        words = ["-m", target, *arguments]
    else:
        path = Path(target)
        if not path.is_file():
            raise InputError(f"{target}: no such script")
        if path.suffix == ".ipynb":
            script = _from_notebook(path, folder)
            aliases[str(script.resolve())] = str(path.resolve())
            words = [str(script), *arguments]
        elif path.suffix == ".sh" and not launch:
            return Command(("bash", target, *arguments), aliases, 0)
        else:
            words = [target, *arguments]
    if not launch:
        return Command((sys.executable, *words), aliases)
    before = _launcher(launch)
    found = _PROCESSES.search(launch)
    return Command((*before, *words), aliases, int(found.group(1)) if found else 0)


def build_model(job: ModelJob) -> Command:
    """The command of model mode. Raises InputError when an option cannot be used."""
    check_job(job)
    program = Path(model_program.__file__).resolve()
    words = (sys.executable, str(program), json.dumps(asdict(job)))
    return Command(words, {str(program): f"--model {job.model}"})


def _launcher(text: str) -> list[str]:
    """The launcher's words; the well-known ones run under this interpreter, so that they need not be on PATH. One that
    is given by its path is taken as it is."""
    words = shlex.split(text)
    if not words:
        raise InputError("--launch: no command given")
    modules = {"torchrun": ["torch.distributed.run"], "accelerate": ["accelerate.commands.accelerate_cli"]}
    name = words[0]
    if name in modules:
        return [sys.executable, "-m", *modules[name], *words[1:]]
    if name in ("python", "python3"):
        return [sys.executable, *words[1:]]
    return words


def _from_notebook(path: Path, folder: Path) -> Path:
    """The code cells of a notebook as a script with the same lines as the module text that lora-lint counts in."""
    from lora_lint.syntax.source import read_source

    lines = read_source(path, str(path)).text.splitlines()
    # The first line is the marker of the first cell, a comment. It takes what a notebook has and a script has not: its
    # own folder as working directory and on the path, `display`, and results of shell lines (none).
    place = str(path.resolve().parent)
    folders = f"import os as _os, sys as _sys; _os.chdir({place!r}); _sys.path[0] = {place!r}"
    lines[:1] = [f"{folders}; display = print; get_ipython = list"]
    script = folder / (path.stem + ".py")
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return script
