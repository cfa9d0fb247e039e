"""Made-up findings for the report formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from lora_lint.findings import Applicability, Edit, Finding, Fix, Related, Severity
from lora_lint.location import Location
from lora_lint.report.model import RunReport


@dataclass(frozen=True)
class Source:
    """Lines of a file; `cells` gives for each line the cell and the line in it."""

    lines: Sequence[str]
    cells: Sequence[tuple[int, int]] = ()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def locate(self, line: int) -> tuple[int, int] | None:
        return self.cells[line - 1] if self.cells else None

    def written(self, line: str) -> str:
        return line


@dataclass(frozen=True)
class Rule:
    code: str
    name: str
    summary: str
    why: str


RULES = {
    "LL103": Rule("LL103", "freeze-after-injection", "freeze that covers the adapter", "The adapter learns nothing.\n"),
    "LL206": Rule("LL206", "training-in-eval-mode", "model trained in eval mode", "Dropout is off.\n"),
}

TRAIN = """\
from peft import get_peft_model
from helpers import freeze

model = load()
model = get_peft_model(model, config)
print("ready")
model.requires_grad_(False)
model.eval()
train(model)
""".splitlines()
HELPERS = ["def freeze(model):", "\tfor p in model.parameters():", "\t\tp.requires_grad = False"]


def at(path: str, line: int, column: int, end_column: int, end_line: int | None = None) -> Location:
    return Location(path, line, column, end_line or line, end_column)


@pytest.fixture
def frozen() -> Finding:
    return Finding(
        code="LL103",
        name="freeze-after-injection",
        severity=Severity.ERROR,
        message="`model` is frozen after the adapter was injected: nothing of it trains",
        location=at("src/train.py", 7, 1, 28),
        help="freeze `model` before get_peft_model",
        related=(
            Related(at("src/train.py", 5, 9, 38), "adapter injected here"),
            Related(at("src/helpers.py", 3, 3, 26), "and frozen again here"),
        ),
        fix=Fix(
            Applicability.UNSAFE,
            "freeze before the injection",
            (
                Edit(at("src/train.py", 5, 1, 1), "model.requires_grad_(False)\n"),
                Edit(at("src/train.py", 7, 1, 1, end_line=8), ""),
            ),
        ),
        context="model.requires_grad_(False)",
    )


@pytest.fixture
def in_eval() -> Finding:
    return Finding(
        code="LL206",
        name="training-in-eval-mode",
        severity=Severity.WARNING,
        message="`model` trains in eval mode: 100% of dropout is off",
        location=at("src/train.py", 8, 1, 13),
        fix=Fix(Applicability.SAFE, "call train()", (Edit(at("src/train.py", 9, 1, 1), "model.train()\n"),)),
    )


@pytest.fixture
def in_notebook() -> Finding:
    return Finding(
        code="LL206",
        name="training-in-eval-mode",
        severity=Severity.INFO,
        message="`net` trains in eval mode",
        location=at("lab 1/50%,a:b.ipynb", 4, 1, 11),
        related=(Related(at("lab 1/50%,a:b.ipynb", 1, 1, 6), "net made here"),),
        fix=Fix(Applicability.SAFE, "call train()", refused="the line is shared with another statement"),
    )


@pytest.fixture
def report(frozen: Finding, in_eval: Finding, in_notebook: Finding) -> RunReport:
    return RunReport(
        findings=(in_notebook, frozen, in_eval),
        fingerprints=("n1", "f1", "e1"),
        sources={
            "src/train.py": Source(TRAIN),
            "src/helpers.py": Source(HELPERS),
            "lab 1/50%,a:b.ipynb": Source(["net = 1", "", "x", "net.eval()"], [(2, 1), (2, 2), (3, 1), (3, 2)]),
        },
        rules=RULES,
        checked=14,
        statistics={"objects that could not be followed": 3},
        version="0.1.0",
    )
