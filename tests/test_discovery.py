"""Which files are checked: excludes, .gitignore files, links, and paths that are not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lora_lint.config import Configuration, Overrides
from lora_lint.discovery import Discovered, discover, mentions_lifecycle
from tests.conftest import Repository, Write


def _discover(*paths: str, overrides: Overrides | None = None) -> Discovered:
    return discover(paths or (".",), Configuration(overrides=overrides), str(Path.cwd().resolve()))


def _files(*paths: str, overrides: Overrides | None = None) -> list[str]:
    found = _discover(*paths, overrides=overrides)
    assert found.errors == ()
    return list(found.files)


def test_python_files_and_notebooks_of_a_folder(tree: Write) -> None:
    tree({"b.py": "", "a/x.ipynb": "", "a/y.py": "", "readme.md": "", "stub.pyi": "", "data.json": ""})
    assert _files() == ["b.py", "a/x.ipynb", "a/y.py"]
    assert _files("a") == ["a/x.ipynb", "a/y.py"]
    assert _files("a/y.py", "a", "b.py") == ["a/y.py", "a/x.ipynb", "b.py"]


def test_default_excludes(tree: Write) -> None:
    tree(
        {
            "x.py": "",
            ".venv/lib/y.py": "",
            "node_modules/z.py": "",
            "src/build/w.py": "",
            "src/__pycache__/v.py": "",
            "src/._u.py": "",
        }
    )
    assert _files() == ["x.py"]


def test_a_named_file_is_always_checked(tree: Write) -> None:
    tree({"build/x.py": "", "script": "", "lora-lint.toml": "extend-exclude = ['script']\n"})
    assert _files("build/x.py", "script") == ["build/x.py", "script"]
    assert _files("build/x.py", "script", overrides=Overrides(force_exclude=True)) == []


def test_a_named_folder_is_always_walked(tree: Write) -> None:
    tree({"build/x.py": "", "build/dist/y.py": ""})
    assert _files("build") == ["build/x.py"]


def test_exclude_patterns(tree: Write) -> None:
    tree(
        {
            "lora-lint.toml": "exclude = ['/gen/*_pb.py', 'old/']\nextend-exclude = ['notes']\n",
            "gen/a_pb.py": "",
            "gen/a.py": "",
            "sub/gen/a_pb.py": "",
            "sub/old/b.py": "",
            "build/c.py": "",
            "notes/d.py": "",
        }
    )
    assert _files() == ["build/c.py", "gen/a.py", "sub/gen/a_pb.py"]


def test_nested_configuration_decides_about_its_own_folder(tree: Write) -> None:
    tree({"a/x.py": "", "a/gen/y.py": "", "a/lora-lint.toml": "exclude = ['gen']\n", "b/gen/z.py": ""})
    assert _files() == ["a/x.py", "b/gen/z.py"]


def test_gitignore(repository: Repository) -> None:
    for name in (
        "a.py",
        "out/b.py",
        "keep/out/c.py",
        "keep/log_x.py",
        "keep/log_y.py",
        "local.py",
        "keep/deep/log_x.py",
    ):
        repository.write(name, "")
    repository.write(".gitignore", "out/\nlog_*.py\n")
    repository.write("keep/.gitignore", "!log_y.py\n")
    repository.write(".git/info/exclude", "local.py\n")
    assert _files() == ["a.py", "keep/log_y.py"]
    ignored = [name for name in repository.git("ls-files", "-o", "--exclude-standard").split() if name.endswith(".py")]
    assert ignored == ["a.py", "keep/log_y.py"], "git itself sees it the same way"
    assert len(_files(overrides=Overrides(respect_gitignore=False))) == 7


def test_gitignore_above_the_current_folder(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.write(".gitignore", "/sub/gen/\ntmp_*\n")
    for name in ("sub/a.py", "sub/gen/b.py", "sub/tmp_c.py", "gen/d.py"):
        repository.write(name, "")
    monkeypatch.chdir(repository.path / "sub")
    assert _files() == ["a.py"]
    assert _files("gen") == ["gen/b.py"], "a folder that is named is walked though git ignores it"


def test_gitignore_in_a_worktree(repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    repository.write("a.py", "")
    repository.write("local.py", "")
    repository.commit()
    repository.write(".git/info/exclude", "local.py\n")
    repository.git("worktree", "add", "--quiet", str(tmp_path / "tree"))
    monkeypatch.chdir(tmp_path / "tree")
    assert _files() == ["a.py"]


def test_a_gitignore_line_that_is_no_pattern(tree: Write) -> None:
    top = tree({"a.py": "", "b.py": ""})
    (top / ".gitignore").write_bytes(b"!\nb.py\n\xff\xfe\n")
    assert _files() == ["a.py"]


def test_folder_loops_end(tree: Write) -> None:
    top = tree({"pkg/a.py": "", "pkg/sub/b.py": ""})
    (top / "pkg/sub/loop").symlink_to(top / "pkg")
    (top / "again").symlink_to("pkg")
    (top / "alias.py").symlink_to("pkg/a.py")
    (top / "self").symlink_to("self")
    assert _files() == ["pkg/a.py", "pkg/sub/b.py"]


def test_linked_folders_are_followed(tree: Write, tmp_path: Path) -> None:
    top = tree({"a.py": ""})
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/helper.py").write_text("")
    (top / "shared").symlink_to(tmp_path / "shared")
    assert _files() == ["a.py", "shared/helper.py"]


def test_what_is_not_there_is_an_error_and_the_rest_is_found(tree: Write) -> None:
    top = tree({"a.py": ""})
    (top / "dangling.py").symlink_to("gone.py")
    os.mkfifo(top / "pipe.py")
    found = _discover("nowhere.py", "a.py", "dangling.py", "pipe.py")
    assert found.files == ("a.py",)
    assert found.errors == (
        "nowhere.py: no such file or directory",
        "dangling.py: broken symbolic link",
        "pipe.py: not a regular file",
    )
    assert _files() == ["a.py"], "in a folder such entries are passed over"


def test_a_folder_that_cannot_be_listed(tree: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    tree({"a.py": "", "closed/b.py": ""})
    scandir = os.scandir

    def refuse(path: str) -> object:
        # Permissions do not bind root, as whom containers often run the tests.
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = _discover()
    assert found.files == ("a.py",)
    assert found.errors == ("closed: cannot be listed: Permission denied",)


def test_paths_are_shown_relative_to_the_current_folder(tree: Write, tmp_path: Path) -> None:
    top = tree({"sub/a.py": ""})
    (tmp_path / "b.py").write_text("")
    assert _files(str(top / "sub"), "./sub/../sub", "../b.py") == ["sub/a.py", str(tmp_path / "b.py")]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"from peft import LoraConfig", True),
        (b"loss.backward()", True),
        (b"class MyTrainer: pass", True),
        (b"optimiser = torch.OPTIM.SGD", True),
        ("model.train()  # peft".encode("utf-16"), True),
        (b"import os\nprint(os.getcwd())\n", False),
        (b"", False),
    ],
)
def test_prefilter(data: bytes, expected: bool) -> None:
    assert mentions_lifecycle(data) is expected


def test_every_example_of_a_rule_passes_the_prefilter() -> None:
    from lora_lint.checks.registry import load_checks

    texts = [
        text
        for card in load_checks().cards.values()
        for example in card.examples
        for text in [example.get("bad") or example.get("missed") or ""]
        if text
    ]
    assert len(texts) > 50
    assert [text for text in texts if not mentions_lifecycle(text.encode())] == []
