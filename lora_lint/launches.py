"""How a project's shell scripts start its programs: a script that is started as several processes is distributed.

Read are `torchrun`, `accelerate launch`, `deepspeed` and `python -m torch.distributed.run` with a literal number of processes, or
with an accelerate configuration file that has one. Nothing is executed; variables are not followed.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

MAX_FILES = 200
MAX_FOLDERS = 1_000
MAX_BYTES = 64 * 1024
MAX_DEPTH = 3
_SUFFIXES = (".sh", ".bash", ".slurm", ".sbatch")
_PLAIN_FOLDERS = re.compile(r"(?!\.|node_modules|site-packages|venv|build$|dist$)")
_COUNTS = frozenset({"nproc_per_node", "nproc-per-node", "num_processes", "num-processes", "num_gpus"})
_CONFIGS = frozenset({"config_file", "config-file"})
_SEVERAL = frozenset({"MULTI_GPU", "MULTI_NPU", "MULTI_XPU", "DEEPSPEED", "FSDP"})


@dataclass(frozen=True, slots=True)
class Launch:
    """One command that starts a script as several processes. where: file:line, as reported."""

    script: str
    where: str
    processes: int


def find_launches(
    top: str, shown: Callable[[str], str], load: Callable[[str, str], dict[str, Any] | None]
) -> Iterator[Launch]:
    """The commands in the shell scripts below a folder. shown: a path as it is reported; load: the mapping in the YAML file
    that a shell script (first) calls by a name (second)."""
    for path in _shell_scripts(top):
        try:
            with open(path, "rb") as stream:
                text = stream.read(MAX_BYTES + 1)
        except OSError:
            continue
        if len(text) > MAX_BYTES:
            continue
        for line, command in _commands(text.decode("utf-8", "replace")):
            found = _launch(command, lambda name, path=path: load(path, name))  # type: ignore[misc]
            if found is not None:
                yield Launch(found[0], f"{shown(path)}:{line}", found[1])


def _shell_scripts(top: str) -> Iterator[str]:
    count = 0
    for visited, (folder, folders, files) in enumerate(os.walk(top)):
        if visited >= MAX_FOLDERS:
            return
        deep = os.path.relpath(folder, top).count(os.sep) + 1 >= MAX_DEPTH
        folders[:] = [] if deep else sorted(name for name in folders if _PLAIN_FOLDERS.match(name))
        for name in sorted(files):
            if name.endswith(_SUFFIXES):
                yield os.path.join(folder, name)
                count += 1
                if count >= MAX_FILES:
                    return


def _commands(text: str) -> Iterator[tuple[int, list[str]]]:
    """The commands of a shell script as words, each with the line it starts on."""
    held, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        start = start or number
        held += line.rstrip("\\") + " " if line.endswith("\\") else line
        if line.endswith("\\"):
            continue
        try:
            words = shlex.split(held, comments=True)
        except ValueError:
            words = []
        if words:
            yield start, words
        held, start = "", 0


def _launch(words: list[str], load: Callable[[str], dict[str, Any] | None]) -> tuple[str, int] | None:
    """The script that a command starts as several processes, and how many; None for every other command."""
    while words and (re.match(r"\w+=", words[0]) or words[0] in ("srun", "nohup", "exec", "time")):
        words = words[1:]
    head = [os.path.basename(word) for word in words[:3]]
    starts = head[:1] in (["torchrun"], ["deepspeed"]) or head[:2] == ["accelerate", "launch"]
    starts = starts or (
        head[:2] in (["python", "-m"], ["python3", "-m"])
        and head[2:] in (["torch.distributed.run"], ["torch.distributed.launch"])
    )
    if not starts:
        return None
    count: int | None = None
    for index, word in enumerate(words[1:], 1):
        name, _, value = word.lstrip("-").partition("=")
        value = value or (words[index + 1] if index + 1 < len(words) else "")
        if word.startswith("-") and name in _COUNTS and value.isdigit():
            count = int(value)
        elif word.startswith("-") and name in _CONFIGS and count is None:
            count = _processes(load(value))
        elif word.endswith(".py"):
            return (word, count) if count is not None and count > 1 else None
    return None


def _processes(config: dict[str, Any] | None) -> int | None:
    """How many processes an accelerate configuration file says, None when it is for one or does not say."""
    if config is None or config.get("distributed_type") not in _SEVERAL:
        return None
    found = config.get("num_processes")
    return found if isinstance(found, int) else None
