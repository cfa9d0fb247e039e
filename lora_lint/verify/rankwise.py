"""Verify started by a launcher on each rank: every rank observes itself, rank 0 collects and reports."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lora_lint.verify.observed import Observed

WAIT = 60.0


def rank_and_world() -> tuple[int, int]:
    """The rank of this process and how many there are, as a launcher set them; 0 and 1 without one."""
    return int(os.environ.get("RANK") or 0), int(os.environ.get("WORLD_SIZE") or 1)


def merge(observed: Observed, timeout: float) -> Observed | None:
    """All ranks' reports on rank 0, None on the others. Without a launcher what was observed, as it is."""
    rank, world = rank_and_world()
    folder = meeting_place()
    if folder is None:
        return observed
    target = folder / f"rank-{rank:05d}.json"
    partial = target.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(asdict(observed)), encoding="utf-8")
    partial.rename(target)
    if rank != 0:
        return None
    limit = time.time() + (timeout or WAIT)
    paths: list[Path] = []
    while time.time() < limit:
        paths = sorted(folder.glob("rank-*.json"))
        if len(paths) >= world:
            break
        time.sleep(0.05)
    parts: list[dict[str, Any]] = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    shutil.rmtree(folder, ignore_errors=True)
    merged = Observed(**parts[0])
    merged.expected = world
    for part in parts[1:]:
        merged.reports += part["reports"]
        merged.timed_out = merged.timed_out or part["timed_out"]
        merged.status = merged.status or part["status"]
        merged.output += part["output"]
    return merged


def meeting_place() -> Path | None:
    """A folder that only the ranks of this launch share, named after the launcher's process and port; None without a
    launcher."""
    if rank_and_world()[1] < 2:
        return None
    key = "-".join(
        (
            os.environ.get("TORCHELASTIC_RUN_ID", ""),
            os.environ.get("MASTER_PORT", ""),
            str(os.getppid()),
            str(os.getuid()),
        )
    )
    folder = Path(tempfile.gettempdir()) / f"lora-lint-ranks-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
