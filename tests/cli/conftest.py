"""The command with a stand-in for the analysis: `bug("LL103")` in a checked file is a finding, so that these tests
depend on no rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest
from click.testing import CliRunner, Result

import lora_lint.pipeline
from lora_lint.cli.main import cli
from lora_lint.findings import Applicability, Finding, FixPlan, Related, RemoveStatement, Severity
from lora_lint.location import Location
from lora_lint.syntax import ir

NAMES = {
    "LL103": ("freeze-after-injection", Severity.ERROR),
    "LL105": ("adapter-loaded-frozen", Severity.ERROR),
    "LL107": ("inference-mode-config-trained", Severity.ERROR),
    "LL206": ("training-in-eval-mode", Severity.WARNING),
}
_FIXES = {"LL103": Applicability.UNSAFE, "LL105": Applicability.SAFE, "LL107": Applicability.SAFE}
Run = Callable[..., Result]


class StandIn:
    """Reports each `bug(code, note)` statement of a file and of the project files that it imports as `from x import *`.

    LL103 has an unsafe fix and LL105 a safe one, both removing the statement; the fix of LL107 removes the first line
    of the file, which helps nothing. A second `bug` of the file is related to the first. `bug("crash")` is our bug.
    """

    statistics: Mapping[str, int] = {"objects that could not be followed": 7}

    def __init__(self, units: Mapping[str, ir.Module], *_: object):
        self._units = units

    def run(self, path: str) -> list[Finding]:
        found = [*_bugs(self._units[path])]
        for statement in self._units[path].body:
            if isinstance(statement, ir.Import) and statement.names == (("*", "*"),):
                found += [one for other in self._units for one in _bugs_of(self._units, other, statement.module)]
        return found

    def finish(self) -> list[Finding]:
        return []


def _bugs_of(units: Mapping[str, ir.Module], path: str, module: str) -> Iterator[Finding]:
    if path.endswith(f"{module}.py"):
        yield from _bugs(units[path])


def _bugs(module: ir.Module) -> Iterator[Finding]:
    first: Location | None = None
    for statement in module.body:
        if not isinstance(statement, ir.ExprStmt) or not isinstance(statement.value, ir.Call):
            continue
        call = statement.value
        if not isinstance(call.func, ir.Name) or call.func.id != "bug" or not isinstance(call.args[0].value, ir.Const):
            continue
        code = str(call.args[0].value.value)
        if code == "crash":
            raise ZeroDivisionError("the analysis tripped\nover itself")
        place = Location(module.path, *statement.loc)
        name, severity = NAMES[code]
        applicability = _FIXES.get(code)
        target = place if code != "LL107" else Location(module.path, 1, 1, 1, 2)
        plan = FixPlan(applicability, "drop the bug", (RemoveStatement(target),)) if applicability else None
        related = (Related(first, "the first one"),) if first else ()
        yield Finding(code, name, severity, f"there is a bug at `{code}`", place, "drop it", related, plan)
        first = first or place


@pytest.fixture
def lint(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `lora-lint ARGUMENTS` in this process with the stand-in."""
    monkeypatch.setattr(lora_lint.pipeline, "Program", StandIn)

    def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(cli, arguments, input=stdin, prog_name="lora-lint", catch_exceptions=False)

    return run
