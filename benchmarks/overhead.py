"""What observation costs, as paired ratios of CPU time: steps, start-up, first verdict.

    python benchmarks/overhead.py steps      two processes, plain and observed, take steps in turns
    python benchmarks/overhead.py verdict    whole runs in turns: the plain script, and `lora-lint verify` of it

CPU seconds, because the wall clock of a shared machine measures the neighbours; medians of many short rounds that
alternate, because its speed drifts by more than what is looked for.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lora_lint.verify.config import VARIABLE, Observation
from lora_lint.verify.session import BOOTSTRAP

HERE = Path(__file__).resolve().parent
TRAINEE = str(HERE / "trainee.py")


def environment(settings: Path | None) -> dict[str, str]:
    found = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    found["PYTHONPATH"] = os.pathsep.join(paths if settings is None else [str(BOOTSTRAP), *paths])
    found.pop(VARIABLE, None)
    if settings is not None:
        found[VARIABLE] = str(settings)
    return found


def started(settings: Path | None, rounds: int, tokens: int, *more: str) -> subprocess.Popen[str]:
    words = [sys.executable, TRAINEE, str(rounds), "--paced", "--tokens", str(tokens), *more]
    return subprocess.Popen(
        words,
        env=environment(settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def step(process: subprocess.Popen[str]) -> tuple[float, float]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    cpu, wall = map(float, process.stdout.readline().split())
    return cpu, wall


def steps(rounds: int, tokens: int, *more: str) -> None:
    """Each round: one step of each process, in changing order. The first steps of both are left out: there observation
    does more (it looks at every module until the first optimizer step), and the plain process warms up, too."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "observation.json"
        Observation(folder=folder, cwd=os.getcwd(), steps=10**6, probes=False).write(settings)
        plain, observed = started(None, rounds, tokens, *more), started(settings, rounds, tokens, *more)
        assert plain.stdout is not None
        assert observed.stdout is not None
        total, trainable = map(int, plain.stdout.readline().split())
        observed.stdout.readline()
        pairs: list[tuple[tuple[float, float], tuple[float, float]]] = []
        for number in range(rounds):
            if number % 2:
                second = step(observed)
                pairs.append((step(plain), second))
            else:
                first = step(plain)
                pairs.append((first, step(observed)))
        if "cuda" in more:
            peaks = [int(process.stdout.readline()) / 2**20 for process in (plain, observed) if process.stdout]
            print(f"peak device memory: plain {peaks[0]:.0f} MB, observed {peaks[1]:.0f} MB")
        for process in (plain, observed):
            process.kill()
            process.wait()
    warm = pairs[3:]
    print(f"{total / 1e6:.0f} M parameters, {trainable / 1e6:.1f} M trainable, 2 x {tokens} tokens")
    for name, index in (("CPU", 0), ("wall", 1)):
        ratios = sorted(o[index] / p[index] for p, o in warm)
        costs = [o[index] - p[index] for p, o in warm]
        base = statistics.median(p[index] for p, _ in warm)
        quarter = len(ratios) // 4
        print(
            f"{name}: plain step {base:.3f} s, observed/plain median {statistics.median(ratios):.4f} "
            f"(quartiles {ratios[quarter]:.4f} to {ratios[-1 - quarter]:.4f}), "
            f"difference median {1000 * statistics.median(costs):.1f} ms, {len(warm)} pairs"
        )
    first = pairs[0]
    print(f"first step, CPU: plain {first[0][0]:.3f} s, observed {first[1][0]:.3f} s")


def run(words: list[str]) -> tuple[float, float]:
    """CPU and wall seconds of a command with all its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(words, env=environment(None), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def verdict(rounds: int, tokens: int, size: str) -> None:
    """The plain script with three steps against a verdict after three steps, with and without the probes."""
    arguments = ["3", "--size", size, "--tokens", str(tokens)]
    plain = [sys.executable, TRAINEE, *arguments]
    verify = [sys.executable, "-m", "lora_lint", "verify", TRAINEE]
    commands = {
        "plain": plain,
        "verify": [*verify, "--", *arguments],
        "without probes": [*verify, "--no-probes", "--", *arguments],
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(rounds):
        names = list(commands)
        for name in names[number % 3 :] + names[: number % 3]:
            found[name].append(run(commands[name]))
        told = ", ".join(f"{name} {found[name][-1][0]:.2f} s CPU, {found[name][-1][1]:.1f} s wall" for name in commands)
        print(f"round {number + 1}: {told}", flush=True)
    print(f"{size}, 2 x {tokens} tokens, 3 steps, {rounds} rounds")
    for name in ("verify", "without probes"):
        for kind, index in (("CPU", 0), ("wall", 1)):
            pairs = [(o[index], p[index]) for o, p in zip(found[name], found["plain"], strict=True)]
            print(
                f"{name}, {kind}: plain {statistics.median(p for _, p in pairs):.2f} s, "
                f"ratio median {statistics.median(o / p for o, p in pairs):.3f}, "
                f"difference median {statistics.median(o - p for o, p in pairs):+.2f} s"
            )


def machine() -> str:
    import torch
    import transformers

    cores = os.cpu_count()
    load = os.getloadavg()[0]
    return (
        f"{platform.platform(terse=True)}, {cores} cores, load {load:.1f}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, transformers {transformers.__version__}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["steps", "verdict"])
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--size", choices=["100M", "tiny"], default="100M")
    given: Any = parser.parse_args()
    print(machine())
    if given.what == "steps":
        steps(given.rounds or 43, given.tokens)
    else:
        verdict(given.rounds or 7, given.tokens, given.size)


if __name__ == "__main__":
    main()
