"""Configuration: strict reading, places of mistakes, and which file applies where."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_lint.config import Configuration, Overrides, Settings, read_settings
from lora_lint.errors import InputError
from tests.conftest import Write


def _error(path: str) -> str:
    with pytest.raises(InputError) as caught:
        read_settings(Path(path))
    return str(caught.value)


def test_every_key_is_read(tree: Write) -> None:
    top = tree(
        {
            "lora-lint.toml": """
select = ["LL1", "freeze-after-injection"]
extend-select = ["LL3"]
ignore = ["LL115"]
extend-ignore = ["LL117"]
exclude = ["old"]
extend-exclude = ["gen_*.py"]
fail-on = "error"
format = "concise"
baseline = "known.json"
apis = ["lint/apis.yaml"]
rules = ["lint/rules"]
preview = true
respect-gitignore = false
force-exclude = true
fixable = ["LL105"]
unfixable = ["LL107"]
unsafe-fixes = true

[per-file-ignores]
"tests/**" = ["LL206"]

[target-versions]
peft = "0.17.0"
"""
        }
    )
    assert read_settings(Path("lora-lint.toml")) == Settings(
        root=top,
        source=Path("lora-lint.toml"),
        select=("LL1", "freeze-after-injection"),
        extend_select=("LL3",),
        ignore=("LL115",),
        extend_ignore=("LL117",),
        per_file_ignores={"tests/**": ("LL206",)},
        fixable=("LL105",),
        unfixable=("LL107",),
        unsafe_fixes=True,
        preview=True,
        exclude=("old",),
        extend_exclude=("gen_*.py",),
        respect_gitignore=False,
        force_exclude=True,
        fail_on="error",
        format="concise",
        baseline=top / "known.json",
        target_versions={"peft": "0.17.0"},
        apis=(top / "lint/apis.yaml",),
        rules=(top / "lint/rules",),
    )


def test_pyproject_without_the_table_is_no_configuration(tree: Write) -> None:
    tree({"pyproject.toml": "[project]\nname = 'x'\n"})
    assert read_settings(Path("pyproject.toml")) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[tool.lora-lint]\nformat = 'text'\nignroe = ['LL103']\n", ":3: unknown key `ignroe`; did you mean `ignore`?"),
        ("[tool.lora-lint]\nzzz = 1\n", ":2: unknown key `zzz`"),
        (
            "[tool.other]\nselct = 1\n\n[tool.lora-lint]\n\nselct = []\n",
            ":6: unknown key `selct`; did you mean `select`?",
        ),
        ("[tool.lora-lint.target-version]\npeft = '1'\n", ":1: unknown key `target-version`; did you mean"),
        ("[tool.lora-lint]\nselect = 'LL103'\n", ":2: `select` must be a list of strings"),
        ("[tool.lora-lint]\npreview = 'yes'\n", ":2: `preview` must be true or false"),
        ("[tool.lora-lint]\nfail-on = 'fatal'\n", ':2: `fail-on` must be one of "error", "warning", "info"'),
        ("[tool.lora-lint]\ntarget-versions = {peft = 1}\n", ":2: `target-versions` must be a table of strings"),
        ("[tool.lora-lint]\nselect = [\n", ": not valid TOML: Invalid value (at end of document)"),
        ("[tool.lora-lint]\nselect = 'a' 'b'\n", ":2:14: not valid TOML: "),
        ("[tool]\nlora-lint = 3\n", ": `tool.lora-lint` must be a table"),
    ],
)
def test_mistakes_name_their_place(tree: Write, text: str, expected: str) -> None:
    tree({"pyproject.toml": text})
    message = _error("pyproject.toml")
    assert message.startswith("pyproject.toml:")
    assert expected in message


def test_a_file_that_is_no_text(tree: Write) -> None:
    top = tree({})
    (top / "lora-lint.toml").write_bytes(b"select = ['\xff\xfe']\n")
    assert "lora-lint.toml: not UTF-8 text" in _error("lora-lint.toml")


def test_a_missing_file() -> None:
    assert "no-such.toml: cannot be read: No such file" in _error("no-such.toml")


def test_the_closest_file_wins_as_a_whole(tree: Write) -> None:
    top = tree(
        {
            "pyproject.toml": "[tool.lora-lint]\nignore = ['LL103']\nfail-on = 'error'\n",
            "sub/.lora-lint.toml": "select = ['LL1']\n",
            "sub/deep/pyproject.toml": "[project]\nname = 'no table here'\n",
            "other/x.py": "",
        }
    )
    configuration = Configuration()
    assert configuration.main.fail_on == "error"
    deep = configuration.for_file(Path("sub/deep/x.py"))
    assert (deep.select, deep.ignore, deep.fail_on) == (("LL1",), (), "warning")
    assert deep.root == top / "sub"
    assert configuration.for_file(Path("other/x.py")).ignore == ("LL103",)
    assert {settings.source for settings in configuration.loaded} == {
        Path("pyproject.toml"),
        Path("sub/.lora-lint.toml"),
    }


def test_the_tools_own_file_beats_pyproject_in_one_folder(tree: Write) -> None:
    tree({"pyproject.toml": "[tool.lora-lint]\npreview = true\n", "lora-lint.toml": "preview = false\n"})
    assert Configuration().main.source == Path("lora-lint.toml")


def test_an_explicit_file_rules_everywhere(tree: Write) -> None:
    tree({"ci.toml": "select = ['LL2']\n", "sub/lora-lint.toml": "select = ['LL1']\n"})
    configuration = Configuration(explicit=Path("ci.toml"))
    assert configuration.for_file(Path("sub/x.py")).select == ("LL2",)


def test_an_explicit_pyproject_needs_the_table(tree: Write) -> None:
    tree({"pyproject.toml": "[project]\nname = 'x'\n"})
    with pytest.raises(InputError, match=r"pyproject.toml: has no table \[tool.lora-lint\]"):
        Configuration(explicit=Path("pyproject.toml"))


def test_the_run_follows_the_checked_folder_when_started_elsewhere(tree: Write) -> None:
    tree({"project/lora-lint.toml": "fail-on = 'error'\n", "project/train.py": ""})
    assert Configuration(anchor="project").main.fail_on == "error"
    assert Configuration(anchor="project/train.py").main.fail_on == "error"
    assert Configuration().main.fail_on == "warning"


def test_command_line_over_file(tree: Write) -> None:
    tree({"lora-lint.toml": "ignore = ['LL103']\nextend-select = ['LL3']\nextend-exclude = ['a']\npreview = true\n"})
    kept = Configuration(overrides=Overrides(ignore=("LL104",), extend_exclude=("b",), fail_on="info")).main
    assert (kept.ignore, kept.extend_ignore) == (("LL103",), ("LL104",))
    assert kept.extend_exclude == ("a", "b")
    assert (kept.fail_on, kept.preview) == ("info", True)
    replaced = Configuration(overrides=Overrides(select=("LL103",), extend_select=("LL5",), preview=False)).main
    assert (replaced.select, replaced.extend_select, replaced.ignore) == (("LL103",), ("LL5",), ())
    assert replaced.preview is False


def test_shown_settings_can_be_read_again(tree: Write) -> None:
    top = tree({"lora-lint.toml": "ignore = ['LL103']\n[per-file-ignores]\n'a\"b/**' = ['LL1']\n"})
    shown = Configuration().main
    (top / "again").mkdir()
    (top / "again/lora-lint.toml").write_text(shown.show(), encoding="utf-8")
    again = read_settings(top / "again/lora-lint.toml")
    assert again is not None
    assert again.per_file_ignores == {'a"b/**': ("LL1",)}
    assert again.ignore == ("LL103",)
    assert "# from lora-lint.toml" in shown.show()
