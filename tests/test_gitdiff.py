"""Changed lines, on scratch repositories with real commits."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_lint.errors import InputError
from lora_lint.findings import Finding, Related, Severity
from lora_lint.gitdiff import ChangedLines, changed_since
from lora_lint.location import Location
from tests.conftest import Repository

TEN = "".join(f"line {number}\n" for number in range(1, 11))


def _changed(repository: Repository, revision: str = "main") -> dict[str, object]:
    top = repository.path.resolve()
    ranges = changed_since(revision, str(top)).ranges
    return {str(Path(path).relative_to(top)): lines for path, lines in ranges.items()}


@pytest.fixture
def feature(repository: Repository) -> Repository:
    """main with three files, and a branch that starts there."""
    for name in ("a.py", "b.py", "sub/c d.py"):
        repository.write(name, TEN)
    repository.commit()
    repository.git("switch", "--quiet", "--create", "feature")
    return repository


def test_committed_uncommitted_and_untracked_changes(feature: Repository) -> None:
    feature.write("a.py", TEN.replace("line 3\n", "new 3\n"))
    feature.commit()
    feature.write("b.py", TEN + "line 11\nline 12\n")
    feature.write("new.py", "x\n")
    assert _changed(feature) == {"a.py": ((3, 3),), "b.py": ((11, 12),), "new.py": None}


def test_only_what_this_branch_changed_counts(feature: Repository) -> None:
    feature.write("a.py", "first\n" + TEN)
    feature.commit()
    feature.git("switch", "--quiet", "main")
    feature.write("b.py", "changed on main\n" + TEN)
    feature.commit()
    feature.git("switch", "--quiet", "feature")
    assert _changed(feature) == {"a.py": ((1, 1),)}


def test_a_removed_line_touches_its_neighbours(feature: Repository) -> None:
    feature.write("a.py", TEN.replace("line 4\n", ""))
    assert _changed(feature) == {"a.py": ((3, 4),)}


def test_renamed_files_count_their_changed_lines(feature: Repository) -> None:
    feature.git("mv", "a.py", "moved.py")
    feature.write("moved.py", TEN.replace("line 9", "LINE 9"))
    feature.commit()
    assert _changed(feature) == {"moved.py": ((9, 9),)}


def test_odd_names_and_odd_lines(feature: Repository) -> None:
    feature.write("sub/c d.py", TEN.replace("line 2\n", "-- minus\n++ plus\n"))
    feature.write('ü\t"q".py', "--- a/x\n+++ b/y\n@@ -1 +1 @@\n")
    feature.write("b.py", TEN.replace("line 5\n", ""))
    feature.git("add", "--all")
    feature.commit()
    feature.write('ü\t"q".py', "--- a/x\n+++ b/zz\n@@ -1 +1 @@\n")
    feature.commit()
    changed = _changed(feature, "HEAD~2")
    assert changed == {"sub/c d.py": ((2, 3),), 'ü\t"q".py': ((1, 3),), "b.py": ((4, 5),)}
    assert _changed(feature, "HEAD~1") == {'ü\t"q".py': ((2, 2),)}


def test_deleted_files_are_gone(feature: Repository) -> None:
    (feature.path / "a.py").unlink()
    assert _changed(feature) == {}


def test_the_users_own_diff_settings_do_not_matter(feature: Repository) -> None:
    for name, value in (("diff.noprefix", "true"), ("diff.mnemonicPrefix", "true"), ("color.ui", "always")):
        feature.git("config", name, value)
    feature.git("config", "diff.external", "false")
    feature.write("a.py", TEN.replace("line 3", "new"))
    assert _changed(feature) == {"a.py": ((3, 3),)}


@pytest.mark.parametrize("revision", ["nowhere", "-x", "--output=stolen", "main:a.py", ""])
def test_unknown_revisions(feature: Repository, revision: str) -> None:
    with pytest.raises(InputError, match="--diff-base: "):
        changed_since(revision, str(feature.path))
    assert not (feature.path / "stolen").exists()


def test_unrelated_histories(feature: Repository) -> None:
    feature.git("switch", "--quiet", "--orphan", "other")
    feature.commit()
    with pytest.raises(InputError, match="no common history"):
        changed_since("main", str(feature.path))


def test_outside_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(InputError, match=r"--diff-base: .*not a git repository"):
        changed_since("main", str(tmp_path))


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="--diff-base: git is not installed"):
        changed_since("main", str(tmp_path))


def _finding(code: str, line: int, end_line: int, related: int | None = None, path: str = "a.py") -> Finding:
    others = (Related(Location("b.py", related, 1, related, 2), "there"),) if related else ()
    return Finding(code, "n", Severity.ERROR, "m", Location(path, line, 1, end_line, 2), related=others)


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (_finding("LL103", 3, 3), True),
        (_finding("LL103", 1, 3), True),
        (_finding("LL103", 5, 9), True),
        (_finding("LL103", 6, 9), False),
        (_finding("LL103", 6, 9, related=1), True),
        (_finding("LL103", 6, 9, related=2), False),
        (_finding("LL103", 6, 9, path="c.py"), False),
        (_finding("LL103", 6, 9, path="new.py"), True),
        (_finding("LL103", 6, 9, path="lab.ipynb"), True),
        (_finding("LL001", 9, 9), True),
        (_finding("LL001", 9, 9, path="c.py"), False),
        (_finding("LL000", 9, 9, path="c.py"), True),
    ],
)
def test_which_findings_a_change_touches(tmp_path: Path, finding: Finding, expected: bool) -> None:
    top = tmp_path.resolve()
    changed = ChangedLines(
        {
            str(top / "a.py"): ((3, 5),),
            str(top / "b.py"): ((1, 1),),
            str(top / "new.py"): None,
            str(top / "lab.ipynb"): ((900, 901),),
        }
    )
    assert changed.touches_finding(finding, str(top)) is expected
