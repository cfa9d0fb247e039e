"""A stand-in for unsloth, which needs a GPU to be installed: `stand_ins/unsloth` becomes importable."""

from __future__ import annotations

import sys
from pathlib import Path


def install() -> None:
    """Let the program import the stand-in."""
    sys.path.append(str(Path(__file__).parent / "stand_ins"))
