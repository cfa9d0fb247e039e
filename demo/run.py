"""The demo: find what is wrong with two training scripts, run one under observation to see that it learns nothing, explain
it, fix it, find nothing any more, and see that it learns.

The scripts in `demo/scripts` look fine and run to the end without an error. They are copied first, so that the demo can
be run again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent / "scripts"


def step(title: str, folder: Path, *arguments: str, expect: int) -> None:
    """Run lora-lint in a folder, with its output on the screen; ends the demo when the exit code is not the expected."""
    print(f"\n=== {title}\n$ lora-lint {' '.join(arguments)}\n", flush=True)
    code = subprocess.run([sys.executable, "-m", "lora_lint", *arguments], cwd=folder, check=False).returncode
    if code != expect:
        sys.exit(f"demo: exit code {code} where {expect} was expected")


def main() -> None:
    """All steps."""
    if sys.stdout.isatty():
        os.environ.setdefault("FORCE_COLOR", "1")
    with tempfile.TemporaryDirectory(prefix="lora-lint-demo-") as temporary:
        folder = Path(temporary) / "scripts"
        shutil.copytree(SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
        step("Find: these scripts run to the end, and learn nothing", folder, ".", expect=1)
        step("Run: three steps prove that it does not learn, and why", folder, "verify", "train.py", expect=1)
        step("Explain one of the rules", folder, "explain", "optimizer-before-adapter", expect=0)
        step("Show what the fixes would change", folder, "--diff", "--unsafe-fixes", ".", expect=1)
        step("Fix", folder, "--fix", "--unsafe-fixes", ".", expect=0)
        step("Find nothing any more", folder, ".", expect=0)
        step("Run again: now every adapter tensor learns", folder, "verify", "train.py", expect=0)
    print("\n=== The demo is over: the mistakes were found, proved, explained and fixed, and the training learns.")


if __name__ == "__main__":
    main()
