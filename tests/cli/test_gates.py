"""The review gates: baseline and diff, on scratch repositories with real commits."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Run
from tests.conftest import Repository, Write

OLD = 'import peft\n\nbug("LL103")\nx = 1\nbug("LL206")\n'


def test_a_baseline_accepts_what_is_there_and_nothing_new(tree: Write, lint: Run) -> None:
    top = tree({"a.py": OLD, "sub/b.py": OLD})
    written = lint("--write-baseline", "known.json")
    assert (written.exit_code, written.stdout) == (0, "")
    assert "wrote 4 findings to the baseline known.json" in written.stderr
    clean = lint("--baseline", "known.json")
    assert clean.exit_code == 0
    assert clean.stdout == "All clear: 2 files checked. Not shown: 4 in the baseline.\n"

    (top / "a.py").write_text("# moved\n\n\n" + OLD.replace('bug("LL103")', 'if x:\n    pass\nbug("LL103")'))
    assert lint("--baseline", "known.json").exit_code == 0, "line moves do not matter"

    (top / "a.py").write_text(OLD + 'bug("LL206")\n')
    again = lint("--baseline", "known.json", "--format", "json")
    assert [(row["path"], row["line"]) for row in json.loads(again.stdout)] == [("a.py", 6)]
    assert again.exit_code == 1


def test_the_baseline_does_not_depend_on_the_folder(tree: Write, lint: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tree({"lora-lint.toml": "baseline = 'known.json'\n", "sub/b.py": OLD})
    lint("--write-baseline", "known.json")
    monkeypatch.chdir(top / "sub")
    assert lint("b.py").exit_code == 0
    assert lint().exit_code == 0


def test_nor_without_a_configuration_in_a_repository(
    repository: Repository, lint: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("sub/b.py", OLD)
    lint("--write-baseline", "known.json")
    monkeypatch.chdir(repository.path / "sub")
    assert lint("--baseline", "../known.json").exit_code == 0


def test_files_that_do_not_parse_are_never_accepted(tree: Write, lint: Run) -> None:
    top = tree({"a.py": OLD, "broken.py": "import peft\ndef f(:\n"})
    assert lint("--write-baseline", "known.json").exit_code == 1
    assert len(json.loads((top / "known.json").read_text())["findings"]) == 2
    assert lint("--baseline", "known.json", "--format", "concise", "-q").stdout.startswith("broken.py:2:7: LL001")


def test_rewriting_an_unchanged_baseline_changes_nothing(tree: Write, lint: Run) -> None:
    top = tree({"a.py": OLD, "b.py": OLD})
    lint("--write-baseline", "known.json", "a.py", "b.py")
    first = (top / "known.json").read_bytes()
    lint("--write-baseline", "known.json", "b.py", "a.py")
    assert (top / "known.json").read_bytes() == first


def test_only_findings_that_the_change_has_a_part_in(repository: Repository, lint: Run) -> None:
    repository.write("a.py", OLD)
    repository.write("b.py", OLD)
    repository.commit()
    repository.git("switch", "--quiet", "--create", "feature")
    assert lint("--diff-base", "main").exit_code == 0

    # The first bug of a file is a related event of the second: changing its line concerns both.
    repository.write("a.py", OLD.replace('bug("LL103")', 'bug("LL103",  "changed")'))
    repository.commit()
    result = lint("--diff-base", "main", "--format", "json")
    assert [(row["path"], row["code"]) for row in json.loads(result.stdout)] == [("a.py", "LL103"), ("a.py", "LL206")]

    # Changing the second one concerns it alone, also when the change is not committed and lines have moved.
    repository.git("checkout", "--quiet", "main", "--", "a.py")
    repository.write("b.py", "# one more\n" + OLD.replace('bug("LL206")', 'bug("LL206",  "changed")'))
    result = lint("--diff-base", "main", "--format", "json")
    assert [(row["path"], row["code"], row["line"]) for row in json.loads(result.stdout)] == [("b.py", "LL206", 6)]
    assert "Not shown: 3 outside the diff." in lint("--diff-base", "main").stdout


def test_the_gate_works_from_a_folder_below_and_on_new_files(
    repository: Repository, lint: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("sub/a.py", OLD)
    repository.commit()
    repository.write("sub/new.py", OLD)
    monkeypatch.chdir(repository.path / "sub")
    result = lint("--diff-base", "HEAD", "--format", "concise", "-q")
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == ["new.py", "new.py"]


def test_baseline_and_diff_together(repository: Repository, lint: Run) -> None:
    repository.write("a.py", OLD)
    repository.commit()
    lint("--write-baseline", "known.json")
    repository.write("a.py", OLD.replace("import peft", "import peft  # changed") + 'bug("LL206")\n')
    result = lint("--baseline", "known.json", "--diff-base", "HEAD", "--format", "json")
    assert [row["line"] for row in json.loads(result.stdout)] == [6]
