"""All disguises, and how one is put on a program."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from tests.disguises import calls, functions, loops, options, places, values
from tests.disguises.base import DISGUISES

MODULES = (values, calls, functions, options, loops, places)  # importing them enters their disguises


def disguised(files: Mapping[str, str], name: str) -> dict[str, str] | None:
    """The program with every script in it (a module that no other one names) in a disguise; None where none can be."""
    scripts = {path: text for path, text in files.items() if path.endswith(".py")}
    result = dict(files)
    for path, text in scripts.items():
        place = PurePosixPath(path)
        used = any(re.search(rf"\b{re.escape(place.stem)}\b", t) for other, t in scripts.items() if other != path)
        shape = None if used else DISGUISES[name](ast.parse(text))
        if shape is None:
            continue
        script, beside = shape if isinstance(shape, tuple) else (shape, {})
        new = {str(place.parent / file): content for file, content in beside.items()}
        if new.keys() & result.keys():
            continue  # two scripts in a folder, or a file that is there already
        result |= new | {path: ast.unparse(script) + "\n"}
    return result if result != dict(files) else None
