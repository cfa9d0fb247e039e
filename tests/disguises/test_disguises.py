"""Programs in disguise: the same program in another shape has the same findings.

The disguises rewrite the programs; what the analyzer says of one must not depend on how it is written.
"""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.disguises.base import DISGUISES
from tests.disguises.catalog import disguised
from tests.disguises.exceptions import EXCEPTIONS, Known
from tests.disguises.programs import Program, codes, codes_undisguised, programs, sample
from tests.disguises.tiny import TINY

SAMPLE = 36
LEAST = 10  # programs that every disguise fits

OF_LIBRARIES = {"modules_imported", "modules_imported_as"}  # they fit imports of torch and its like only


def _difference(program: Program, files: dict[str, str], name: str) -> set[str]:
    """Codes that are found in a program or in its disguise, not in both, but for the known exceptions."""
    allowed = {known.code for known in EXCEPTIONS if name in known.disguises}
    return (codes(files, program.versions) ^ codes_undisguised(program)) - allowed


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(DISGUISES))
def test_same_codes_in_disguise(name: str) -> None:
    """Nothing is lost, and healthy programs stay healthy."""
    found = {str(p): _difference(p, files, name) for p, files in sample(name, SAMPLE)}
    assert {program: sorted(differs) for program, differs in found.items() if differs} == {}


@pytest.mark.slow
@pytest.mark.parametrize("known", EXCEPTIONS, ids=str)
def test_exceptions_still_occur(known: Known) -> None:
    """An exception that no program of its rule shows any more has to go."""
    for name in known.disguises:
        seen = False
        for program in (p for p in programs() if p.code == known.shown_by):
            files = disguised(program.files, name)
            if files is not None and known.code in codes(files, program.versions) ^ codes_undisguised(program):
                seen = True
                break
        assert seen, f"{name}: no longer true"


@pytest.mark.parametrize("name", sorted(DISGUISES))
def test_disguises_are_programs(name: str) -> None:
    """What a disguise makes compiles, is another text, and there are programs enough that it fits."""
    made = sample(name, SAMPLE)
    assert len(made) >= LEAST
    for program, files in made:
        changed = {path: text for path, text in files.items() if program.files.get(path) != text}
        assert changed
        for path, text in changed.items():
            if path.endswith(".py"):
                compile(text, f"{program}/{path}", "exec")
                assert path not in program.files or ast.dump(ast.parse(text)) != ast.dump(
                    ast.parse(program.files[path])
                )


def _printed(files: dict[str, str], folder: Path) -> str:
    folder.mkdir()
    for path, text in files.items():
        (folder / path).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _available(text: str) -> bool:
    """Whether the modules that a text imports are there, and not heavy."""
    nodes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, (ast.Import, ast.ImportFrom))]
    names = {n.module if isinstance(n, ast.ImportFrom) else n.names[0].name for n in nodes}
    ours = {"first_half", "parts_beside", "transformers"}
    return "transformers" not in names and all(importlib.util.find_spec(str(n)) for n in names - ours)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the tiny programs print as they are."""
    root = tmp_path_factory.mktemp("plain")
    return {title: _printed({"program.py": text}, root / title) for title, text in TINY.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(DISGUISES.keys() - OF_LIBRARIES))
def test_disguises_do_the_same(name: str, printed: dict[str, str], tmp_path: Path) -> None:
    """Executed, a program in disguise prints what it prints without."""
    shapes = {title: disguised({"program.py": text}, name) for title, text in TINY.items()}
    fitting = {title: files for title, files in shapes.items() if files is not None}
    assert fitting, "no program to show it with"
    if not all(_available(files["program.py"]) for files in fitting.values()):
        pytest.skip("needs a library that is not installed, or takes seconds to import")
    assert {title: _printed(files, tmp_path / title) for title, files in fitting.items()} == {
        title: printed[title] for title in fitting
    }
