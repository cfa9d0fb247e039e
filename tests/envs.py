"""Virtual environments with pinned library releases, for behaviour that only some releases show.

`python -m tests.envs NAME` builds `.venvs/NAME` from `tests/envs/NAME.txt`; building again is a no-op while that file
is unchanged. A test that needs one asks `interpreter(NAME)`, which builds it when it is missing: nothing is skipped.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "tests" / "envs"


def _home() -> Path:
    return Path(os.environ.get("LORA_LINT_VENVS", ROOT / ".venvs")).resolve()


def interpreter(name: str) -> str:
    """The Python of the environment `name`, built first if need be; the running one for an empty name."""
    if not name:
        return sys.executable
    return str(build(name))


def build(name: str) -> Path:
    """Make the environment `name` from its pins, unless it stands already; gives its interpreter."""
    pins = PINS / f"{name}.txt"
    home = _home() / name
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = home / "built-from.txt"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == pins.read_text(encoding="utf-8"):
        return python
    home.parent.mkdir(parents=True, exist_ok=True)
    with _Lock(home.with_suffix(".lock")):
        if not (stamp.exists() and stamp.read_text(encoding="utf-8") == pins.read_text(encoding="utf-8")):
            venv.create(home, with_pip=True, clear=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", pins], check=True)
            stamp.write_text(pins.read_text(encoding="utf-8"), encoding="utf-8")
    return python


def overlay(library: str, version: str) -> Path:
    """A folder with one release of one library and nothing that it needs: put before an environment on PYTHONPATH."""
    folder = _home() / "releases" / f"{library}-{version}"
    stamp = folder / ".installed"
    if not stamp.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _Lock(folder.with_name(f"{folder.name}.lock")):
            if not stamp.exists():
                _pip("install", "--no-deps", "--upgrade", "--target", str(folder), f"{library}=={version}")
                stamp.touch()
    return folder


def wheel(library: str, versions: str) -> Path:
    """The wheel of the newest release in a range, downloaded once."""
    words = versions.replace(">=", "-from-").replace("<", "-below-").replace("==", "-")
    folder = _home() / "wheels" / re.sub(r"[^\w.-]+", "", library + words)
    found = sorted(folder.glob("*.whl"))
    if not found:
        folder.mkdir(parents=True, exist_ok=True)
        with _Lock(folder.with_name(f"{folder.name}.lock")):
            _pip("download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), f"{library}{versions}")
        found = sorted(folder.glob("*.whl"))
    return found[-1]


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", *arguments, "--quiet"], check=True)


class _Lock:
    """Lets one of several test processes build; the others wait for it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        import fcntl

        self.stream = self.path.open("w")
        fcntl.flock(self.stream, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self.stream.close()


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        sys.stdout.write(f"{build(wanted)}\n")
