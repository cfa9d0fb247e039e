"""Selectors: what they mean, and which wins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from lora_lint.config import Settings
from lora_lint.errors import InputError
from lora_lint.selection import RuleNames, Selection, make_selection, relative_to_root


@dataclass(frozen=True)
class Rule:
    code: str
    name: str
    preview: bool = False


RULES = {
    rule.code: rule
    for rule in (
        Rule("LL000", "internal-error"),
        Rule("LL001", "syntax-error"),
        Rule("LL002", "unused-suppression"),
        Rule("LL101", "adapter-config-never-applied"),
        Rule("LL103", "freeze-after-injection"),
        Rule("LL206", "training-in-eval-mode"),
        Rule("LL301", "optimizer-before-adapter", preview=True),
    )
}
NAMES = RuleNames(RULES)


def _select(**values: object) -> Selection:
    return make_selection(Settings(root=Path("/p"), **values), NAMES)  # type: ignore[arg-type]


def _enabled(**values: object) -> set[str]:
    return set(_select(**values).enabled) - {"LL000", "LL001", "LL002"}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"LL101", "LL103", "LL206"}),
        ({"preview": True}, {"LL101", "LL103", "LL206", "LL301"}),
        ({"select": ("LL1",)}, {"LL101", "LL103"}),
        ({"select": ("freeze-after-injection",)}, {"LL103"}),
        ({"select": ("LL3",)}, set()),
        ({"select": ("LL301",)}, {"LL301"}),
        ({"select": ("LL1",), "extend_select": ("optimizer-before-adapter",)}, {"LL101", "LL103", "LL301"}),
        ({"ignore": ("LL1",)}, {"LL206"}),
        ({"ignore": ("ALL",), "select": ("LL103",)}, {"LL103"}),
        ({"select": ("LL103",), "ignore": ("LL1",)}, {"LL103"}),
        ({"select": ("LL1",), "ignore": ("LL103",)}, {"LL101"}),
        ({"select": ("LL103",), "ignore": ("LL103",)}, set()),
        ({"extend_ignore": ("LL2",)}, {"LL101", "LL103"}),
    ],
)
def test_what_is_enabled(settings: dict[str, object], expected: set[str]) -> None:
    assert _enabled(**settings) == expected


@pytest.mark.parametrize(
    ("selector", "hint"),
    [
        ("LL193", "did you mean `LL103`?"),
        ("freeze-after-injectoin", "did you mean `freeze-after-injection`?"),
        ("LL9", "unknown rule `LL9`"),
        ("", "unknown rule ``"),
        ("freeze", "unknown rule `freeze`"),
        ("ll103", "did you mean `LL103`?"),
    ],
)
def test_unknown_selectors_are_errors(selector: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        _select(ignore=(selector,))
    assert hint in str(caught.value)
    assert "command line: ignore: unknown rule" in str(caught.value)


def test_per_file_ignores() -> None:
    selection = _select(per_file_ignores={"tests/**": ("LL1",), "*_old.py": ("ALL",)})
    assert selection.reports("LL103", "src/train.py")
    assert not selection.reports("LL103", "tests/deep/test_train.py")
    assert selection.reports("LL206", "tests/test_train.py")
    assert not selection.reports("LL206", "src/train_old.py")


def test_a_run_that_failed_never_looks_clean() -> None:
    selection = _select(select=("LL103",), per_file_ignores={"*.py": ("ALL",)})
    assert selection.reports("LL000", "train.py")
    assert selection.reports("LL001", "train.py")


def test_fixable() -> None:
    selection = _select(fixable=("LL1",), unfixable=("freeze-after-injection",))
    assert [code for code in ("LL101", "LL103", "LL206") if selection.fixes(code)] == ["LL101"]


def test_relative_to_root() -> None:
    assert relative_to_root("src/a.py", "/p", "/p") == "src/a.py"
    assert relative_to_root("a.py", "/p", "/p/src") == "src/a.py"
    assert relative_to_root("../a.py", "/p", "/p/src") == "a.py"
    assert relative_to_root("/q/a.py", "/p", "/p") == "q/a.py"
    assert relative_to_root("/p2/a.py", "/p", "/p") == "p2/a.py"
