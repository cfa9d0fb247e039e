"""What the parent tells the observed processes: a small JSON file named by LORA_LINT_VERIFY."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

VARIABLE = "LORA_LINT_VERIFY"


@dataclass(frozen=True, slots=True)
class Observation:
    """How to observe.

    folder: where reports and progress go. steps: optimizer cycles to watch. deadline: seconds since the epoch after
    which a process writes what it has and ends. cwd: where the command was started; places are shown relative to it.
    aliases: files that stand for others (a notebook's code), by real path. memory_limit: bytes of address space, 0
    none. probes: whether to experiment with the model after the last step. peers: folder in which the processes of a
    distributed run mark that they are done.
    """

    folder: str
    cwd: str
    steps: int = 3
    deadline: float = 0.0
    memory_limit: int = 0
    probes: bool = True
    peers: str = ""
    aliases: dict[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write it for `read`."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def read(path: str) -> Observation:
    """The observation described by the file."""
    return Observation(**json.loads(Path(path).read_text(encoding="utf-8")))
