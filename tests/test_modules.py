"""From import statements to files."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_lint.modules import ModuleIndex, imported_modules, linked_files, module_name
from tests.conftest import Repository, Write


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import a.b as c, d\n", [("a.b", 0), ("d", 0)]),
        ("from a import b as c, d\n", [("a", 0), ("a.b", 0), ("a.d", 0)]),
        ("from . import x\n", [("x", 1)]),
        ("from ..up.mod import *\n", [("up.mod", 2)]),
        ("from a import (\n    b,  # one\n    c as d,\n)\n", [("a", 0), ("a.b", 0), ("a.c", 0)]),
        ("from a import b, \\\n    c\n", [("a", 0), ("a.b", 0)]),
        ("def f():\n    from a import b\n", [("a", 0), ("a.b", 0)]),
        ("import a; import b\n", [("a", 0)]),
        ("# import a\nx = 'import b'\n", []),
        ("important = 1\nfromage = 2\n", []),
        ("import a # why\r\nimport b\r\n", [("a", 0), ("b", 0)]),
    ],
)
def test_imported_modules(text: str, expected: list[tuple[str, int]]) -> None:
    assert list(imported_modules(text.encode())) == expected


def _resolve(top: Path, importer: str, module: str, level: int = 0) -> str | None:
    found = ModuleIndex(str(top), frozenset({"peft"})).resolve(str(top / importer), module, level)
    return None if found is None else str(Path(found).relative_to(top))


def test_layouts(tree: Write) -> None:
    top = tree(
        {
            "pkg/__init__.py": "",
            "pkg/model.py": "",
            "pkg/sub/__init__.py": "",
            "pkg/sub/data.py": "",
            "src/lib/__init__.py": "",
            "src/lib/core.py": "",
            "scripts/train.py": "",
            "scripts/helpers.py": "",
            "scripts/deep/run.py": "",
            "space/tools.py": "",
            "peft/__init__.py": "",
            "peft/tuners.py": "",
        }
    )
    assert _resolve(top, "scripts/train.py", "helpers") == "scripts/helpers.py", "a module beside the script"
    assert _resolve(top, "scripts/deep/run.py", "helpers") == "scripts/helpers.py"
    assert _resolve(top, "scripts/train.py", "pkg.sub.data") == "pkg/sub/data.py", "from the project's root"
    assert _resolve(top, "scripts/train.py", "lib.core") == "src/lib/core.py", "src layout"
    assert _resolve(top, "scripts/train.py", "space.tools") == "space/tools.py", "namespace package"
    assert _resolve(top, "scripts/train.py", "space") is None
    assert _resolve(top, "pkg/sub/data.py", "model", 2) == "pkg/model.py", "relative"
    assert _resolve(top, "pkg/sub/data.py", "", 1) == "pkg/sub/__init__.py"
    assert _resolve(top, "pkg/model.py", "sub", 1) == "pkg/sub/__init__.py"
    assert _resolve(top, "scripts/train.py", "torch.nn") is None
    assert _resolve(top, "scripts/train.py", "peft.tuners") is None, "described by API specs"
    assert _resolve(top, "peft/tuners.py", "peft") == "peft/__init__.py", "but the library may look at itself"


def test_nothing_above_the_repository(repository: Repository) -> None:
    (repository.path.parent / "outside.py").write_text("")
    script = repository.write("a/train.py", "")
    repository.write("root.py", "")
    index = ModuleIndex("/")
    assert index.resolve(str(script), "root", 0) == str(repository.path / "root.py")
    assert index.resolve(str(script), "outside", 0) is None


def test_installed_packages_know_only_themselves(tree: Write) -> None:
    base = "env/lib/python3.11/site-packages"
    names = ("kit/__init__.py", "kit/load.py", "kitten/__init__.py", "single.py")
    top = tree({"tools.py": "", **{f"{base}/{name}": "" for name in names}})
    index = ModuleIndex(str(top))
    inside = str(top / base / "kit/load.py")
    assert index.resolve(inside, "kit.load", 0) is None, "itself"
    assert index.resolve(inside, "kit", 0) == str(top / base / "kit/__init__.py")
    assert index.resolve(inside, "kitten", 0) is None
    assert index.resolve(inside, "single", 0) is None
    assert index.resolve(inside, "tools", 0) is None, "the project around the environment is another one"


def test_linked_files_follow_chains_and_end(tree: Write) -> None:
    top = tree(
        {
            "train.py": "import build\n",
            "build.py": "from freeze import freeze_all\nimport train\n",
            "freeze.py": "def freeze_all(m): ...\n",
            "unrelated.py": "",
        }
    )

    def read(path: str) -> bytes | None:
        return Path(path).read_bytes()

    start = [str(top / "train.py")]
    found = linked_files(start, read, ModuleIndex(str(top)), limit=100, most_bytes=1000)
    assert [Path(path).name for path in found] == ["build.py", "freeze.py"]
    assert len(linked_files(start, read, ModuleIndex(str(top)), limit=1, most_bytes=1000)) == 1
    assert len(linked_files(start, read, ModuleIndex(str(top)), limit=100, most_bytes=60)) == 1, "the closer one"


def test_module_name(tree: Write) -> None:
    top = tree({"src/pkg/__init__.py": "", "src/pkg/sub/__init__.py": "", "src/pkg/sub/a.py": "", "run.py": ""})
    assert module_name(str(top / "src/pkg/sub/a.py")) == "pkg.sub.a"
    assert module_name(str(top / "src/pkg/sub/__init__.py")) == "pkg.sub"
    assert module_name(str(top / "run.py")) == "run"


def test_top_of_a_project_outside_the_run_and_any_repository(tree: Write) -> None:
    top = tree(
        {
            "plain/bot/__init__.py": "",
            "plain/bot/net.py": "",
            "plain/bot/fit.py": "",
            "marked/setup.cfg": "",
            "marked/app/deep/run.py": "",
            "marked/app/core.py": "",
        }
    )
    elsewhere = ModuleIndex(str(top / "another"))
    assert elsewhere.resolve(str(top / "plain/bot/fit.py"), "bot.net", 0) == str(top / "plain/bot/net.py")
    assert elsewhere.resolve(str(top / "marked/app/deep/run.py"), "app.core", 0) == str(top / "marked/app/core.py")
