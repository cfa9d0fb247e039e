"""`lora-lint check`: paths, selection, output, exit codes, bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lora_lint.pipeline
from tests.cli.conftest import Run
from tests.conftest import Write

TWO = 'import peft\nbug("LL206")\n\nbug("LL103")\n'


def test_without_arguments_the_current_folder_is_checked(tree: Write, lint: Run) -> None:
    tree({"a.py": TWO, "b.py": "import peft\n"})
    result = lint()
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == "a.py:2:1: LL206 [warning] there is a bug at `LL206`"
    assert '4 | bug("LL103")\n  | ^^^^^^^^^^^^\n' in result.stdout
    assert '2 | bug("LL206")\n  | ------------ the first one\n' in result.stdout
    assert result.stdout.splitlines()[-1] == (
        "Found 2 problems (1 error, 1 warning) in 1 of 2 files; 1 fixable with --fix --unsafe-fixes."
    )
    assert result.stderr == ""


@pytest.mark.parametrize("arguments", [(".",), ("check", "."), ("check",), ("a.py",), ("--no-cache", "a.py")])
def test_the_word_check_is_optional(tree: Write, lint: Run, arguments: tuple[str, ...]) -> None:
    tree({"a.py": TWO})
    result = lint(*arguments)
    assert (result.exit_code, result.stdout.count("there is a bug")) == (1, 2)


def test_files_of_the_project_are_not_run_in_the_place_of_libraries(tree: Write) -> None:
    tree({"inspect.py": "raise SystemExit('was run')\n", "train.py": "import peft\n"})
    words = [sys.executable, "-m", "lora_lint", "--no-cache", "train.py"]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert "1 file checked" in result.stdout


def test_a_named_file_is_checked_whatever_it_mentions(tree: Write, lint: Run) -> None:
    """Named by a relative or an absolute path; in a folder such a file is left out."""
    tree({"a.py": 'bug("LL206")\n'})
    assert lint(".").exit_code == 0
    assert lint("a.py").stdout.count("there is a bug") == 1
    assert lint(str(Path.cwd() / "a.py")).stdout.count("there is a bug") == 1


def test_nothing_found(tree: Write, lint: Run) -> None:
    tree({"a.py": "import peft\n", "b.py": "x = 1\n"})
    result = lint()
    assert (result.exit_code, result.stdout) == (0, "All clear: 2 files checked.\n")


def test_an_empty_folder_and_an_empty_file(tree: Write, lint: Run) -> None:
    tree({})
    assert (lint().exit_code, lint().stdout) == (0, "No Python files or notebooks found to check.\n")
    tree({"a.py": ""})
    assert lint("a.py").stdout == "All clear: 1 file checked.\n"


# --- bad input --------------------------------------------------------------------------------------------------------


def test_a_path_that_does_not_exist_does_not_stop_the_others(tree: Write, lint: Run) -> None:
    tree({"a.py": TWO})
    result = lint("gone.py", "a.py")
    assert result.exit_code == 2
    assert result.stderr == "lora-lint: gone.py: no such file or directory\n"
    assert result.stdout.count("there is a bug") == 2
    assert result.stdout.endswith("1 path could not be read.\n")


@pytest.mark.parametrize(
    ("data", "place", "message"),
    [
        (b"import peft\ndef f(:\n    pass\n", "2:7", "invalid syntax"),
        (b"x = 1\nif x:\n", "2:6", "expected an indented block"),
        (b"import peft\n\xff\xfe\n", "1:1", "not valid utf-8 (line 2, byte 12)"),
        (b"import peft\0\n", "1:1", "contains null bytes"),
        ("import peft\n".encode("utf-16"), "1:1", "UTF-16 text"),
        (b"# coding: klingon\nimport peft\n", "1:1", "unknown encoding 'klingon'"),
        (b"\x7fELF\x02\x01\x00lora", "1:1", "contains null bytes"),
        (b"\x89PNG\r\n\x1a\n", "1:1", "not valid utf-8"),
    ],
)
def test_a_file_that_does_not_parse_is_one_finding(
    tree: Write, lint: Run, data: bytes, place: str, message: str
) -> None:
    top = tree({"a.py": TWO})
    (top / "broken.py").write_bytes(data)
    result = lint("--format", "concise")
    assert result.exit_code == 1
    rows = [line for line in result.stdout.splitlines() if "broken.py" in line]
    assert len(rows) == 1
    assert rows[0].startswith(f"broken.py:{place}: LL001 [error] ")
    assert message in rows[0]
    assert result.stdout.count("there is a bug") == 2


def test_broken_notebooks(tree: Write, lint: Run) -> None:
    cells = [
        {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": source}
        for source in (["import peft\n", "bug('LL206')"], "def f(:", "bug('LL103')")
    ]
    book = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    tree({"lab.ipynb": json.dumps(book), "broken.ipynb": '{"cells": [peft', "list.ipynb": '["peft"]'})
    result = lint("--format", "concise")
    lines = result.stdout.splitlines()
    assert [line.split("]")[0] for line in lines[:-1]] == [
        "broken.ipynb:1:1: LL001 [error",
        "lab.ipynb: cell 1, line 2, column 1: LL206 [warning",
        "lab.ipynb: cell 2, line 1, column 1: LL001 [warning",
        "lab.ipynb: cell 3, line 1, column 1: LL103 [error",
        "list.ipynb:1:1: LL001 [error",
    ]


def test_an_unreadable_file(tree: Write, lint: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tree({"a.py": TWO, "closed.py": "import peft\n"})
    real_open = open

    def refuse(path: object, *rest: object, **named: object) -> object:
        # Permissions do not bind root, as whom containers often run the tests.
        if str(path).endswith("closed.py"):
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, *rest, **named)  # type: ignore[call-overload]

    monkeypatch.setattr("builtins.open", refuse)
    result = lint()
    assert result.exit_code == 2
    assert "closed.py: cannot be read: Permission denied" in result.stderr
    assert result.stdout.count("there is a bug") == 2


def test_an_internal_error_is_one_finding_and_the_run_goes_on(tree: Write, lint: Run) -> None:
    tree({"a.py": 'import peft\nbug("crash")\n', "b.py": TWO})
    result = lint("--format", "concise")
    assert result.exit_code == 2
    lines = result.stdout.splitlines()
    assert lines[0] == (
        "a.py:1:1: LL000 [error] internal error, please report it as a bug of lora-lint: "
        "ZeroDivisionError: the analysis tripped"
    )
    assert result.stdout.count("there is a bug") == 2
    assert "Traceback" not in result.output
    debugged = lint("--debug")
    assert "Traceback (most recent call last)" in debugged.stderr
    assert "over itself" in debugged.stderr


def test_an_internal_error_of_the_whole_run_is_one_line(
    tree: Write, lint: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("somewhere")

    tree({"a.py": TWO})
    monkeypatch.setattr(lora_lint.pipeline, "discover", broken)
    result = lint()
    assert result.exit_code == 2
    assert result.stderr == "lora-lint: internal error, please report it as a bug of lora-lint: KeyError: 'somewhere'\n"
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("files", "arguments", "message"),
    [
        ({"lora-lint.toml": "selct = []\n"}, (), "lora-lint.toml:1: unknown key `selct`; did you mean `select`?"),
        ({"lora-lint.toml": "select = [\n"}, (), "lora-lint.toml: not valid TOML"),
        ({"sub/lora-lint.toml": "x = 1\n", "sub/a.py": ""}, (), "sub/lora-lint.toml:1: unknown key `x`"),
        ({"lora-lint.toml": "ignore = ['LL193']\n"}, (), "lora-lint.toml: ignore: unknown rule `LL193`; did you mean"),
        ({}, ("--select", "LL103,LL9x"), "command line: select: unknown rule `LL9x`"),
        ({}, ("--config", "no.toml"), "no.toml: cannot be read: No such file"),
        ({"lora-lint.toml": "apis = ['no.yaml']\n"}, (), "no.yaml:1: cannot be read"),
        ({"bad.yaml": "calls: 3\n", "lora-lint.toml": "apis = ['bad.yaml']\n"}, (), "bad.yaml:1: calls must be a list"),
        ({"lora-lint.toml": "target-versions = {peft = 'new'}\n"}, (), "'new' is no version or range for peft"),
        ({}, ("--baseline", "no.json"), "no.json: no such baseline"),
        ({}, ("--diff-base", "nowhere"), "--diff-base: "),
        ({}, ("--output-file", "no/such/folder/x.txt"), "no/such/folder/x.txt: cannot be written"),
    ],
)
def test_what_stops_the_run(
    tree: Write, lint: Run, files: dict[str, str], arguments: tuple[str, ...], message: str
) -> None:
    tree({"a.py": TWO, **files})
    result = lint(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("lora-lint: error: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--format", "xml"),
        ("--no-such-option",),
        ("-", "a.py"),
        ("--stdin-filename", "x.py", "a.py"),
        ("--fix", "--diff"),
        ("--backup",),
        ("--write-baseline", "x.json", "--fix"),
        ("--write-baseline", "x.json", "--diff-base", "main"),
        ("explain",),
        ("explain", "LL999"),
    ],
)
def test_wrong_usage(tree: Write, lint: Run, arguments: tuple[str, ...]) -> None:
    tree({"a.py": TWO})
    result = lint(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


# --- choosing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        ((), ["LL206", "LL103"]),
        (("--select", "LL1"), ["LL103"]),
        (("--select", "training-in-eval-mode,LL3"), ["LL206"]),
        (("--ignore", "LL103"), ["LL206"]),
        (("--ignore", "LL1", "--ignore", "LL2"), []),
        (("--select", "ALL", "--ignore", "LL206"), ["LL103"]),
    ],
)
def test_select_and_ignore(tree: Write, lint: Run, arguments: tuple[str, ...], codes: list[str]) -> None:
    tree({"a.py": TWO})
    result = lint("--format", "json", *arguments)
    assert [row["code"] for row in json.loads(result.stdout)] == codes
    assert result.exit_code == int(bool(codes))


@pytest.mark.parametrize(
    ("arguments", "config", "code"),
    [
        ((), "", 1),
        (("--fail-on", "error"), "", 0),
        (("--fail-on", "info"), "", 1),
        (("--exit-zero",), "", 0),
        ((), "fail-on = 'error'\n", 0),
        (("--fail-on", "warning"), "fail-on = 'error'\n", 1),
    ],
)
def test_what_fails_the_run(tree: Write, lint: Run, arguments: tuple[str, ...], config: str, code: int) -> None:
    tree({"a.py": 'import peft\nbug("LL206")\n', "lora-lint.toml": config})
    assert lint(*arguments).exit_code == code


def test_exit_zero_does_not_hide_what_could_not_be_checked(tree: Write, lint: Run) -> None:
    tree({"a.py": TWO})
    assert lint("--exit-zero", "gone.py", "a.py").exit_code == 2


def test_per_file_ignores_and_nested_configuration(tree: Write, lint: Run) -> None:
    tree(
        {
            "lora-lint.toml": "[per-file-ignores]\n'scripts/**' = ['LL206']\n",
            "a.py": TWO,
            "scripts/b.py": TWO,
            "old/lora-lint.toml": "select = ['LL3']\n",
            "old/c.py": TWO,
        }
    )
    result = lint("--format", "concise", "--quiet")
    assert [line.split(" [")[0] for line in result.stdout.splitlines()] == [
        "a.py:2:1: LL206",
        "a.py:4:1: LL103",
        "scripts/b.py:4:1: LL103",
    ]


def test_per_file_ignores_hold_from_any_folder(tree: Write, lint: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tree({"lora-lint.toml": "[per-file-ignores]\n'scripts/*.py' = ['ALL']\n", "scripts/b.py": TWO})
    monkeypatch.chdir(top / "scripts")
    assert lint("b.py").exit_code == 0


def test_the_checked_folder_brings_its_configuration(tree: Write, lint: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tree({"lora-lint.toml": "fail-on = 'error'\nformat = 'concise'\n", "a.py": 'import peft\nbug("LL206")\n'})
    monkeypatch.chdir(top.parent)
    for arguments in (("project",), ("project/a.py",)):
        result = lint(*arguments)
        assert result.exit_code == 0
        assert result.stdout.startswith("project/a.py:2:1: LL206 [warning]")
        assert len(result.stdout.splitlines()) == 2
    assert lint("-", "--stdin-filename", "project/x.py", stdin=TWO).exit_code == 1


def test_suppressions(tree: Write, lint: Run) -> None:
    tree(
        {
            "a.py": 'import peft\nbug("LL206")  # lora-lint: ignore[LL206] on purpose\nbug("LL103")  # noqa: LL103\n',
            "b.py": 'import peft\n# lora-lint: ignore[freeze-after-injection]\nbug("LL103")\n',
            "c.py": "# lora-lint: ignore-file[LL206]\n" + TWO,
            "d.py": "import peft  # lora-lint: ignore[LL103] nothing here\nx = 1  # noqa: LL206, E501\n",
            "e.py": "x = 1  # noqa\ny = 2  # lora-lint: ignore[LL999]\n",
        }
    )
    result = lint("--format", "concise", "--quiet")
    assert result.stdout.splitlines() == [
        "c.py:5:1: LL103 [error] there is a bug at `LL103`",
        "d.py:1:14: LL002 [warning] this suppresses no finding of LL103",
        "d.py:2:8: LL002 [warning] this suppresses no finding of LL206",
    ]
    assert lint("--ignore", "LL002", "d.py").exit_code == 0
    assert "LL103" not in lint("--select", "LL206,LL002", "d.py").stdout, "a rule that did not run is not judged"


def test_a_finding_in_an_imported_file_is_reported_unless_it_is_excluded(tree: Write, lint: Run) -> None:
    top = tree({"train.py": "import peft\nfrom helpers import *\n", "helpers.py": 'bug("LL206")\n'})
    assert lint("--format", "concise", "--quiet", "train.py").stdout == (
        "helpers.py:1:1: LL206 [warning] there is a bug at `LL206`\n"
    )
    assert lint().stdout.count("there is a bug") == 1, "reported once, however many files lead to it"
    (top / "lora-lint.toml").write_text("extend-exclude = ['helpers.py']\n")
    assert lint("train.py").exit_code == 0


def test_a_broken_file_that_is_asked_for_is_reported_in_an_excluded_folder_too(tree: Write, lint: Run) -> None:
    tree({"build/broken.py": "def f(:\n", "a.py": "import peft\n"})
    assert lint().exit_code == 0
    for path in ("build/broken.py", "build"):
        assert "LL001" in lint(path).stdout


# --- standard input ---------------------------------------------------------------------------------------------------


def test_standard_input(tree: Write, lint: Run) -> None:
    tree({"lora-lint.toml": "[per-file-ignores]\n'src/*' = ['LL103']\n"})
    result = lint("-", "--format", "concise", "--quiet", stdin=TWO)
    assert [line.split(" [")[0] for line in result.stdout.splitlines()] == ["<stdin>:2:1: LL206", "<stdin>:4:1: LL103"]
    named = lint("-", "--stdin-filename", "src/x.py", "--format", "concise", "--quiet", stdin=TWO)
    assert named.stdout == "src/x.py:2:1: LL206 [warning] there is a bug at `LL206`\n"


def test_standard_input_without_a_token_and_broken(tree: Write, lint: Run) -> None:
    tree({})
    assert lint("-", stdin="x = 1\n").stdout == "All clear: 1 file checked.\n"
    assert "<stdin>:1:7: LL001 [error]" in lint("-", stdin="def f(:\n").stdout
    assert "LL001 [error] not valid utf-8" in lint("-", stdin=b"\xff\n").stdout


def test_standard_input_sees_the_files_beside_it(tree: Write, lint: Run) -> None:
    tree({"src/helpers.py": 'bug("LL206")\n'})
    text = "import peft\nfrom helpers import *\n"
    assert "src/helpers.py:1:1" in lint("-", "--stdin-filename", "src/x.py", stdin=text).stdout


# --- output -----------------------------------------------------------------------------------------------------------


def test_output_file(tree: Write, lint: Run) -> None:
    top = tree({"a.py": TWO})
    result = lint("--format", "json", "--output-file", "out.json")
    assert result.stdout.startswith("Found 2 problems")
    assert len(json.loads((top / "out.json").read_text())) == 2
    assert lint("--format", "json", "-o", "out.json", "--quiet").stdout == ""


def test_formats_from_configuration(tree: Write, lint: Run) -> None:
    tree({"a.py": TWO, "lora-lint.toml": "format = 'github'\n"})
    assert lint().stdout.startswith("::warning title=lora-lint LL206 (training-in-eval-mode),file=a.py,line=2,")
    assert json.loads(lint("--format", "sarif").stdout)["version"] == "2.1.0"


def test_statistics(tree: Write, lint: Run) -> None:
    tree({"a.py": TWO, "b.py": TWO})
    result = lint("--statistics", "--format", "concise", "--quiet")
    assert result.stdout.splitlines()[-3:] == [
        "     2  LL103  freeze-after-injection",
        "     2  LL206  training-in-eval-mode",
        "     7  objects that could not be followed",
    ]
    machine = lint("--statistics", "--format", "json")
    assert len(json.loads(machine.stdout)) == 4
    assert "LL103  freeze-after-injection" in machine.stderr


def test_show_settings(tree: Write, lint: Run) -> None:
    tree({"lora-lint.toml": "ignore = ['LL103']\n", "a.py": TWO})
    result = lint("--show-settings", "--fail-on", "error", "a.py")
    assert result.exit_code == 0
    assert "# a.py\n# from lora-lint.toml\n" in result.stdout
    assert 'ignore = ["LL103"]' in result.stdout
    assert 'fail-on = "error"' in result.stdout


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, False),
    ],
)
def test_colours(
    tree: Write, lint: Run, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool
) -> None:
    top = tree({"a.py": TWO})
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ("\x1b[" in lint("a.py").output) is coloured
    lint("a.py", "--output-file", "out.txt")
    assert "\x1b[" not in (top / "out.txt").read_text()


def test_file_names_that_are_no_text(tree: Write, lint: Run) -> None:
    top = tree({})
    name = os.fsdecode(b"caf\xe9.py")
    (top / name).write_text(TWO)
    rows = json.loads(lint("--format", "json").stdout)
    assert {row["path"] for row in rows} == {name}
    lint("--format", "sarif", "-o", "out.sarif")
    assert "caf%" in Path("out.sarif").read_text()
