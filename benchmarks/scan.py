"""What a scan costs, as a ratio to `ruff check` on the same files, in alternating rounds.

    python benchmarks/scan.py [--rounds 5] [FOLDER …]

Without folders: the installed peft and trl packages. CPU seconds (user + system, children included) are compared, since
wall time says more about the machine's other work. Start-up is what both tools need for an empty folder; it is taken
off before the cost per 10,000 lines is given. The last table scans a quarter, half and all of the files: a linear scan
keeps its cost per line.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

LORA_LINT = [sys.executable, "-m", "lora_lint", "check", "--quiet", "--exit-zero", "--no-cache"]
RUFF = [sys.executable, "-m", "ruff", "check", "--quiet", "--exit-zero", "--no-cache", "--isolated"]


def cpu(command: Sequence[str], folder: Path) -> float:
    """CPU seconds of one run of `command` over `folder`, as a whole process."""
    child = subprocess.Popen([*command, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} {folder}: exit code {child.returncode}")
    return usage.ru_utime + usage.ru_stime


def paired(folder: Path, rounds: int) -> tuple[float, float]:
    """Median CPU seconds of lora-lint and of ruff over alternating rounds."""
    ours, theirs = [], []
    for number in range(rounds):
        order = [(LORA_LINT, ours), (RUFF, theirs)]
        for command, times in order if number % 2 else reversed(order):
            times.append(cpu(command, folder))
    return statistics.median(ours), statistics.median(theirs)


def package(name: str) -> Path:
    """The folder of an installed package; it is not imported."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{name} is not installed: name folders to scan")
    return Path(next(iter(spec.submodule_search_locations)))


def copy_part(folder: Path, files: Sequence[Path], part: float, target: Path) -> int:
    """Copy every n-th file so that about `part` of them lie in `target`, where they import each other as they do in
    `folder`; returns their lines."""
    lines = 0
    for path in files[:: round(1 / part)]:
        text = path.read_bytes()
        lines += text.count(b"\n")
        copy = target / folder.name / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(text)
    return lines


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    folders = options.folders or [package("peft"), package("trl")]
    scratch = Path(tempfile.mkdtemp(prefix="lora-lint-benchmark-"))
    try:
        empty = scratch / "empty"
        empty.mkdir()
        (empty / "nothing.py").write_text("")
        start, ruff_start = paired(empty, options.rounds)
        print(f"start-up: lora-lint {start:.2f} s, ruff {ruff_start:.2f} s of CPU\n")
        print(f"{'what':24} {'lines':>8} {'lora-lint':>10} {'ruff':>7} {'ratio':>7} {'s per 10k lines':>16}")
        for folder in folders:
            files = sorted(folder.rglob("*.py"))
            for part in (0.25, 0.5, 1.0):
                target = scratch / f"{folder.name}-{part}"
                lines = copy_part(folder, files, part, target)
                ours, theirs = paired(target, options.rounds)
                name = f"{folder.name} {part:.0%}"
                each = (ours - start) * 10_000 / max(lines, 1)
                print(f"{name:24} {lines:8} {ours:10.2f} {theirs:7.2f} {ours / theirs:7.1f} {each:16.2f}", flush=True)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
