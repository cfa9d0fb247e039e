"""Scripts and notebooks that jupytext keeps in step: `train.py` and `train.ipynb` with the same cells."""

from __future__ import annotations

import os

_HEAD = 4_000  # jupytext's header stands at the very top of a script


def partner(path: str, cwd: str) -> str | None:
    """The other file of a pair, as `path` is written; None when there is none.

    Two files of one name are a pair when one of them says so: the script in its header, the notebook in its metadata.
    """
    stem, suffix = os.path.splitext(path)
    other = {".py": ".ipynb", ".ipynb": ".py"}.get(suffix)
    if other is None or not os.path.isfile(os.path.join(cwd, stem + other)):
        return None
    script, notebook = (os.path.join(cwd, stem + end) for end in (".py", ".ipynb"))
    return stem + other if _says(script, b"jupytext:", _HEAD) or _says(notebook, b'"jupytext"', -1) else None


def _says(path: str, word: bytes, size: int) -> bool:
    try:
        with open(path, "rb") as stream:
            return word in stream.read(size)
    except OSError:
        return False


def unmatched(changed: set[str], cwd: str) -> list[str]:
    """A remark for each changed file whose partner stays as it is."""
    notes = []
    for path in sorted(changed):
        other = partner(path, cwd)
        if other is not None and other not in changed:
            notes.append(f"{path} is paired with {other}, which stays as it is: run `jupytext --sync {path}`")
    return notes
