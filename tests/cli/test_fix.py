"""`--fix`, `--unsafe-fixes`, `--diff`, `--backup` from the command line."""

from __future__ import annotations

import pytest

import lora_lint.pipeline
from lora_lint.errors import InputError
from tests.cli.conftest import Run
from tests.conftest import Repository, Write

FOUR = 'import peft\nbug("LL105")  # safe\nbug("LL206")\nbug("LL103")  # unsafe\nprint("end")\n'


def test_safe_fixes(tree: Write, lint: Run) -> None:
    top = tree({"a.py": FOUR})
    result = lint("--fix")
    assert (top / "a.py").read_text() == 'import peft\nbug("LL206")\nbug("LL103")  # unsafe\nprint("end")\n'
    assert result.exit_code == 1
    assert result.stdout.endswith(
        "Fixed 1 problem. Found 2 problems (1 error, 1 warning) in 1 of 1 file; 1 fixable with --fix --unsafe-fixes.\n"
    )
    assert "a.py:2:1: LL206" in result.stdout, "what remains is shown where it is now"


def test_unsafe_fixes_and_a_second_run(tree: Write, lint: Run) -> None:
    top = tree({"a.py": FOUR, "lora-lint.toml": "ignore = ['LL206']\n"})
    result = lint("--fix", "--unsafe-fixes")
    fixed = 'import peft\nbug("LL206")\nprint("end")\n'
    assert (top / "a.py").read_text() == fixed
    assert (result.exit_code, result.stdout) == (0, "Fixed 2 problems. All clear: 1 file checked.\n")
    assert lint("--fix", "--unsafe-fixes").stdout == "All clear: 1 file checked.\n"
    assert (top / "a.py").read_text() == fixed


def test_diff_changes_nothing(tree: Write, lint: Run) -> None:
    top = tree({"a.py": FOUR})
    result = lint("--diff", "--unsafe-fixes")
    assert (top / "a.py").read_text() == FOUR
    assert result.exit_code == 1
    assert [line for line in result.stdout.splitlines() if line[:1] in "+-"] == [
        "--- a.py",
        "+++ a.py",
        '-bug("LL105")  # safe',
        '-bug("LL103")  # unsafe',
    ]
    assert "would fix 2 problems" in result.stderr
    assert lint("--diff", "--select", "LL206").stdout == ""


def test_backup(tree: Write, lint: Run) -> None:
    top = tree({"a.py": FOUR, "b.py": "import peft\n"})
    lint("--fix", "--backup")
    assert (top / "a.py.orig").read_text() == FOUR
    assert sorted(path.name for path in top.iterdir()) == ["a.py", "a.py.orig", "b.py"]


@pytest.mark.parametrize(
    ("config", "left"),
    [
        ("unfixable = ['LL105']\n", True),
        ("fixable = ['LL1']\n", False),
        ("fixable = ['LL2']\n", True),
        ("unsafe-fixes = true\nunfixable = ['LL103']\n", False),
    ],
)
def test_fixable_rules(tree: Write, lint: Run, config: str, left: bool) -> None:
    top = tree({"a.py": FOUR, "lora-lint.toml": config})
    lint("--fix")
    text = (top / "a.py").read_text()
    assert ("LL105" in text) is left
    assert "LL103" in text


def test_unsafe_fixes_from_configuration_and_back(tree: Write, lint: Run) -> None:
    top = tree({"a.py": FOUR, "lora-lint.toml": "unsafe-fixes = true\n"})
    lint("--fix", "--no-unsafe-fixes")
    assert "LL103" in (top / "a.py").read_text()
    lint("--fix")
    assert "LL103" not in (top / "a.py").read_text()


def test_standard_input_is_fixed_to_standard_output(tree: Write, lint: Run) -> None:
    tree({})
    result = lint("-", "--fix", stdin=FOUR.replace("\n", "\r\n"))
    assert result.stdout_bytes == (b'import peft\r\nbug("LL206")\r\nbug("LL103")  # unsafe\r\nprint("end")\r\n')
    assert "<stdin>:2:1: LL206" in result.stderr
    unchanged = b"\xef\xbb\xbfimport peft\n"
    assert lint("-", "--fix", stdin=unchanged).stdout_bytes == unchanged
    broken = b"def f(:\n"
    assert lint("-", "--fix", stdin=broken).stdout_bytes == broken


@pytest.mark.parametrize(
    ("line", "fixed"),
    [
        ("x = 1  # lora-lint: ignore[LL103] because\n", "x = 1\n"),
        ("x = 1  # lora-lint: ignore\n", "x = 1\n"),
        ("x = 1  # noqa: LL103\n", "x = 1\n"),
        ("x = 1  # noqa: E501, LL103\n", "x = 1  # noqa: E501\n"),
        ("x = 1  # noqa: LL103  # why not\n", "x = 1  # why not\n"),
        ("x = 1  # see there # lora-lint: ignore[LL103]\n", "x = 1  # see there\n"),
        ("# lora-lint: ignore[LL103] because\nx = 1\n", "x = 1\n"),
        ("if x:\n    # lora-lint: ignore-file[LL103]\n    x = 1\n", "if x:\n    x = 1\n"),
        ('bug("LL206")  # lora-lint: ignore[LL103, LL206] x\n', 'bug("LL206")  # lora-lint: ignore[LL206] x\n'),
        ('bug("LL206")  # lora-lint: ignore[LL206] x\n', 'bug("LL206")  # lora-lint: ignore[LL206] x\n'),
    ],
)
def test_unused_suppressions_are_removed(tree: Write, lint: Run, line: str, fixed: str) -> None:
    top = tree({"a.py": "import peft\n" + line})
    assert lint("--fix").exit_code == 0
    assert (top / "a.py").read_text() == "import peft\n" + fixed


def test_a_file_that_cannot_be_written_keeps_its_findings(
    tree: Write, lint: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tree({"a.py": FOUR, "b.py": FOUR})
    replace_file = lora_lint.pipeline.replace_file

    def refuse(path: str, *rest: object, **named: object) -> object:
        # Permissions do not bind root, as whom containers often run the tests.
        if path.endswith("a.py"):
            raise InputError(f"{path}: not written, the file is read-only")
        return replace_file(path, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(lora_lint.pipeline, "replace_file", refuse)
    result = lint("--fix", "--select", "LL105")
    assert (top / "a.py").read_text() == FOUR
    assert "LL105" not in (top / "b.py").read_text()
    assert result.exit_code == 2
    assert "a.py: not written, the file is read-only" in result.stderr
    assert "a.py:2:1: LL105" in result.stdout
    assert "Fixed 1 problem. Found 1 problem (1 error) in 1 of 2 files" in result.stdout


def test_only_what_is_shown_is_fixed(repository: Repository, lint: Run) -> None:
    repository.write("a.py", 'import peft\nbug("LL105")  # old\n')
    repository.commit()
    repository.git("switch", "--quiet", "--create", "feature")
    repository.write("a.py", 'import peft\nbug("LL105")  # old\nx = 1\ny = 2\n')
    repository.write("b.py", 'import peft\nbug("LL105")  # new\n')
    result = lint("--fix", "--diff-base", "main")
    assert "LL105" in (repository.path / "a.py").read_text()
    assert "LL105" not in (repository.path / "b.py").read_text()
    assert result.exit_code == 0
    assert "Not shown: 1 outside the diff." in result.stdout


def test_a_fix_that_does_not_help_is_dropped_and_reported(tree: Write, lint: Run) -> None:
    text = 'import peft\nbug("LL107")\nbug("LL105")\n'
    top = tree({"a.py": text})
    result = lint("--fix", "--unsafe-fixes")
    assert (top / "a.py").read_text() == text.replace('bug("LL105")\n', "")
    assert result.exit_code == 1
    assert "a.py:2:1: LL107: fix dropped, please report it as a bug of lora-lint: LL107 would still" in result.stderr
