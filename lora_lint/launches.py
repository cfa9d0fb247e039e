"""How a project's shell scripts, makefiles, sweeps and readmes start its programs: as several processes, with settings of a
launcher, with arguments.

Read are `python`, `torchrun`, `accelerate launch`, `deepspeed` and `python -m torch.distributed.run`, with a script or (`-m`) a
module; of accelerate also the configuration file; of a sweep of Weights & Biases its `command`; of a readme the fenced blocks of
shell commands. Nothing is executed; of variables only those are followed that the same file sets to one plain word, or gives
such a default, and of Slurm those that its `#SBATCH` lines tell.
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
_SUFFIXES = (".sh", ".bash", ".slurm", ".sbatch", ".mk")
_MAKEFILES = frozenset({"Makefile", "makefile", "GNUmakefile", "justfile", "Justfile"})
_SWEEP = re.compile(r".*sweep.*\.ya?ml", re.IGNORECASE)
_README = re.compile(r"readme[\w.-]*\.(md|markdown)", re.IGNORECASE)
_FENCE = re.compile(r"\s*(?:`{3,}|~{3,})\s*([\w-]*)\s*$")
_SHELLS = frozenset({"", "bash", "sh", "shell", "zsh", "console", "commandline", "shell-session", "terminal"})
_MACROS = {"${env}": "env", "${interpreter}": "python"}
_BEFORE = frozenset({"nohup", "exec", "time", "env"})
_TASKS = frozenset({"srun", "mpirun", "mpiexec", "orterun"})  # with options of their own before the command
_PROGRAMS = frozenset({"python", "python3", "torchrun", "accelerate", "deepspeed"})
_RUNNERS = frozenset({"uv", "poetry", "pdm", "pipenv"})  # `uv run command`
PLAIN_FOLDERS = re.compile(r"(?!\.|node_modules|site-packages|venv|build$|dist$)")
_COUNTS = frozenset({"nproc_per_node", "nproc-per-node", "num_processes", "num-processes", "num_gpus"})
_NODES = frozenset({"nnodes"})
_CONFIGS = frozenset({"config_file", "config-file"})
_PRECISIONS = frozenset({"mixed_precision", "mixed-precision"})
_STAGES = frozenset({"zero_stage", "zero-stage"})
_MODULES = frozenset({"-m", "--module"})
_SETTINGS_FILE = re.compile(r"\.(?:ya?ml|json|toml|ini|cfg|conf|txt)$")
_DDP = frozenset({"MULTI_GPU", "MULTI_NPU", "MULTI_XPU", "MULTI_CPU"})
_INSTEAD = frozenset({"use_deepspeed", "use_fsdp", "use_megatron_lm"})
_SEVERAL = frozenset({"MULTI_GPU", "MULTI_NPU", "MULTI_XPU", "DEEPSPEED", "FSDP"})


@dataclass(frozen=True, slots=True)
class Launch:
    """One command that starts a script. where: file:line, as reported. processes: None when their number is not known.
    mixed_precision, zero_stage: what an accelerate launcher sets; None when it sets nothing, or that is not known.
    arguments: those of the script. replicas: False where accelerate hands the model to something else than DDP, or may."""

    script: str
    where: str
    processes: int | None = None
    mixed_precision: str | None = None
    zero_stage: int | None = None
    arguments: tuple[str, ...] = ()
    replicas: bool = True

    @property
    def config(self) -> str | None:
        """The file that `--config` names."""
        for index, word in enumerate(self.arguments):
            name, equals, value = word.partition("=")
            if name == "--config":
                return value if equals else (*self.arguments, None)[index + 1]
        return None

    def may_set(self, option: str) -> bool:
        """Whether its words may give an option a value: under its name or an abbreviation, as part of a longer name
        (`model.lr=…`), by position, in a file, or by way of a variable that is not known."""
        if any(
            "$" in word or "`" in word or word.startswith("@") or _SETTINGS_FILE.search(word) for word in self.arguments
        ):
            return True
        named = [word.partition("=")[0] for word in self.arguments if word.startswith("-") or "=" in word]
        plain = [name.rpartition(".")[2].lstrip("-").replace("-", "_") for name in named]
        by_position = bool(self.arguments) and not self.arguments[0].startswith("-") and "=" not in self.arguments[0]
        return by_position or any("config" in name or (name and option.startswith(name)) for name in plain)


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
        name, content = os.path.basename(path), text.decode("utf-8", "replace")
        if _SWEEP.fullmatch(name):
            commands = _sweep(content, load(path, path))
        else:
            commands = _commands(_fenced(content) if _README.fullmatch(name) else content)
        for line, command in commands:
            found = _launch(command, f"{shown(path)}:{line}", lambda name, path=path: load(path, name))  # type: ignore[misc]
            if found is not None:
                yield found


def _shell_scripts(top: str) -> Iterator[str]:
    count = 0
    for visited, (folder, folders, files) in enumerate(os.walk(top)):
        if visited >= MAX_FOLDERS:
            return
        deep = os.path.relpath(folder, top).count(os.sep) + 1 >= MAX_DEPTH
        folders[:] = [] if deep else sorted(name for name in folders if PLAIN_FOLDERS.match(name))
        for name in sorted(files):
            if name.endswith(_SUFFIXES) or name in _MAKEFILES or _SWEEP.fullmatch(name) or _README.fullmatch(name):
                yield os.path.join(folder, name)
                count += 1
                if count >= MAX_FILES:
                    return


def _sweep(text: str, settings: dict[str, Any] | None) -> Iterator[tuple[int, list[str]]]:
    """The command that the agents of a sweep run, with the line it starts on. Without one it is `python program`."""
    settings = settings or {}
    program, command = settings.get("program"), settings.get("command")
    if not isinstance(program, str) or not isinstance(command, list):
        return
    macros = {**_MACROS, "${program}": program}
    words = [macros.get(word, word) for word in map(str, command)]
    yield text[: text.find("command:")].count("\n") + 1, words


def _fenced(text: str) -> str:
    """The shell commands that a readme shows in fenced blocks, on the lines where they are, without prompts."""
    lines, inside = [], None
    for line in text.splitlines():
        fence = _FENCE.match(line)
        if fence:
            inside = fence[1].lower() if inside is None else None
        shown = inside in _SHELLS and not fence
        lines.append(line.strip().removeprefix("$ ") if shown else "")
    return "\n".join(lines)


def _commands(text: str) -> Iterator[tuple[int, list[str]]]:
    """The commands of a shell script as words, each with the line it starts on."""
    held, start = "", 0
    variables = _variables(text)
    for number, line in enumerate(text.splitlines(), 1):
        start = start or number
        held += line.rstrip("\\") + " " if line.endswith("\\") else line
        if line.endswith("\\"):
            continue
        try:
            words = [_USE.sub(lambda use: _value(use, variables), word) for word in shlex.split(held, comments=True)]
        except ValueError:
            words = []
        for command in _simple(words):
            yield start, command
        held, start = "", 0


_SET = re.compile(r"^\s*(?:export\s+|local\s+|readonly\s+)?(\w+)\s*[?:]{0,2}=[ \t]*(.*?)\s*(?:[#;].*)?$", re.MULTILINE)
_TAKEN = re.compile(r"^\s*(?:for|read)\s+(?:-\w+\s+)*(\w+)", re.MULTILINE)
_USE = re.compile(r"\$(\w+)|\$\{(\w+)(?::?-([\w.,/-]+))?\}|\$\((\w+)\)")
_PLAIN = re.compile(r"""(["']?)([\w./-]+)\1|(["']?)\$\{\w+:?[-=]([\w./-]+)\}\3""")


def _variables(text: str) -> dict[str, str]:
    """The variables that a shell script or makefile sets, with their value where it is one plain word (or such a default),
    else ""."""
    found: dict[str, set[str]] = {name: {value} for name, value in _granted(text).items()}
    for name, value in _SET.findall(text):
        plain = _PLAIN.fullmatch(value)
        found.setdefault(name, set()).add((plain[2] or plain[4]) if plain else "")
    for name in _TAKEN.findall(text):
        found[name] = {""}
    return {name: values.pop() if len(values) == 1 else "" for name, values in found.items()}


_ASKED = re.compile(r"^#SBATCH\s+--?([\w-]+)(?:=|\s+)([\w:.-]+)", re.MULTILINE)


def _granted(text: str) -> dict[str, str]:
    """What Slurm sets in a job that asks for this many nodes, GPUs on each and tasks."""
    asked: dict[str, str] = dict(_ASKED.findall(text))
    gpus = asked.get("gpus-per-node", asked.get("gres", "").partition("gpu")[2]).rpartition(":")[2]
    nodes, each = asked.get("nodes", asked.get("N", "1")), asked.get("ntasks-per-node", "")
    tasks = asked.get("ntasks", asked.get("n", ""))
    if not tasks and nodes.isdigit() and each.isdigit():
        tasks = str(int(nodes) * int(each))
    told = {"SLURM_GPUS_ON_NODE": gpus, "SLURM_GPUS_PER_NODE": gpus, "SLURM_NNODES": nodes, "SLURM_JOB_NUM_NODES": nodes,
            "SLURM_NTASKS": tasks, "SLURM_NPROCS": tasks, "SLURM_NTASKS_PER_NODE": each}  # fmt: skip
    return {name: value for name, value in told.items() if value.isdigit()} if asked else {}


def _value(use: re.Match[str], variables: dict[str, str]) -> str:
    """What stands for a variable in a command: its value, or itself where that is not known."""
    name = use[1] or use[2] or use[4]
    return variables.get(name, use[3]) or use[0]


def _simple(words: list[str]) -> Iterator[list[str]]:
    """The commands of a line: `cd src && torchrun train.py` are two. A makefile marks those it does not show."""
    while words:
        end = words.index("&&") if "&&" in words else len(words)
        command, words = words[:end], words[end + 1 :]
        if command:
            yield [command[0].lstrip("@-"), *command[1:]]


def _launch(words: list[str], where: str, load: Callable[[str], dict[str, Any] | None]) -> Launch | None:
    """The start of a script by a command; None for every other command."""
    while words and (
        re.match(r"\w+=", words[0]) or words[0] in _BEFORE or (words[0] in _RUNNERS and words[1:2] == ["run"])
    ):
        words = words[2:] if words[0] in _RUNNERS else words[1:]
    if words and words[0] in _TASKS:
        words = words[next((i for i, word in enumerate(words) if os.path.basename(word) in _PROGRAMS), len(words)) :]
    head = [os.path.basename(word) for word in words[:3]]
    module = head[:2] in (["python", "-m"], ["python3", "-m"])
    accelerate = head[:2] == ["accelerate", "launch"] or (module and head[2:] == ["accelerate.commands.launch"])
    if module and (accelerate or head[2:] in (["torch.distributed.run"], ["torch.distributed.launch"])):
        options = 3
    elif accelerate:
        options = 2
    elif head[:1] in (["torchrun"], ["deepspeed"], ["python"], ["python3"]):
        options = 1
    else:
        return None
    script = next((i for i, word in enumerate(words) if i >= options and _script(words, i) is not None), None)
    if script is None:
        return None
    given = _options(words[options:script])
    named = next((given[name] for name in _CONFIGS if name in given), None)
    config = (load(named) if named is not None else None) or {}
    return Launch(
        _script(words, script) or "",
        where,
        _count(given) or _processes(config),
        _precision(given, config) if accelerate else None,
        _stage(given, config) if accelerate else None,
        tuple(words[script + 1 :]),
        not (accelerate and (_others(given) or (named is not None and config.get("distributed_type") not in _DDP))),
    )


def _others(given: dict[str, str]) -> bool:
    """Whether options ask accelerate for what stands in the place of DDP."""
    return any(name.replace("-", "_") in _INSTEAD for name in given)


def _script(words: list[str], index: int) -> str | None:
    """The file that a word of a command starts: the word itself, or of the module behind `-m`; None for other words."""
    word = words[index]
    if words[index - 1] in _MODULES and re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*", word):
        return word.replace(".", "/") + ".py"
    return word if word.endswith(".py") else None


def _options(words: list[str]) -> dict[str, str]:
    """Options before the script, with their values; "" for flags."""
    found: dict[str, str] = {}
    for index, word in enumerate(words):
        if word.startswith("-"):
            name, equals, value = word.lstrip("-").partition("=")
            following = words[index + 1] if index + 1 < len(words) else ""
            found[name] = value if equals else "" if following.startswith("-") else following
    return found


def _number(given: dict[str, str], names: frozenset[str]) -> int | None:
    return next((int(given[name]) for name in given if name in names and given[name].isdigit()), None)


def _count(given: dict[str, str]) -> int | None:
    """How many processes the options ask for: with torchrun so many on each node."""
    nodes, each = _number(given, _NODES) or 1, _number(given, _COUNTS)
    return nodes * (each or 1) if nodes > 1 else each


def _processes(config: dict[str, Any]) -> int | None:
    """How many processes an accelerate configuration file says, None when it is for one or does not say."""
    found = config.get("num_processes")
    return found if config.get("distributed_type") in _SEVERAL and isinstance(found, int) else None


def _precision(given: dict[str, str], config: dict[str, Any]) -> str | None:
    """The precision that accelerate's launcher hands on. YAML reads a bare `no` as false."""
    found = next((given[name] for name in given if name in _PRECISIONS), config.get("mixed_precision"))
    found = "no" if found is False else found
    return found if found in ("no", "fp16", "bf16", "fp8") else None


def _stage(given: dict[str, str], config: dict[str, Any]) -> int | None:
    """The ZeRO stage of a launch with accelerate, None without DeepSpeed."""
    settings = config.get("deepspeed_config")
    if config.get("distributed_type") == "DEEPSPEED" and isinstance(settings, dict):
        stage = _number(given, _STAGES) or settings.get("zero_stage")
        return stage if isinstance(stage, int) else None
    return _number(given, _STAGES) if "use_deepspeed" in given else None
