"""`lora-lint rules`, `explain` and `apis`, the help texts, and the README's table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lora_lint import __version__
from lora_lint.checks.registry import load_checks
from lora_lint.cli.main import SUBCOMMANDS, cli
from tests.conftest import Write
from tools.readme import README, with_table

CARDS = load_checks().cards


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="lora-lint", catch_exceptions=False)


def test_version() -> None:
    assert _run("--version").stdout == f"lora-lint {__version__}\n"


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_every_command(flag: str) -> None:
    result = _run(flag)
    assert result.exit_code == 0
    for name in SUBCOMMANDS:
        assert f"\n  {name} " in result.stdout


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_command_has_help_on_every_option(name: str) -> None:
    for flag in ("-h", "--help"):
        result = _run(name, flag)
        assert result.exit_code == 0
        assert result.stdout.startswith(f"Usage: lora-lint {name} ")
    group = cli.get_command(None, name)  # type: ignore[arg-type]
    assert group is not None
    assert group.help
    for option in group.params:
        assert option.param_type_name == "argument" or getattr(option, "help", None), option.name


def test_rules_as_a_table() -> None:
    result = _run("rules")
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert list(rows) == sorted(CARDS)
    assert rows["LL105"].split()[1:4] == ["adapter-loaded-frozen", "error", "safe"]


def test_rules_as_json() -> None:
    listed = json.loads(_run("rules", "--format", "json").stdout)
    assert [row["code"] for row in listed] == sorted(CARDS)
    row = next(row for row in listed if row["code"] == "LL105")
    assert (row["name"], row["severity"], row["fix"]) == ("adapter-loaded-frozen", "error", "safe")


@pytest.mark.parametrize("code", sorted(CARDS))
@pytest.mark.parametrize("more", [(), ("--examples",)])
def test_every_card_can_be_explained(code: str, more: tuple[str, ...]) -> None:
    card = CARDS[code]
    result = _run("explain", code, *more)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{code} {card.name} [{card.severity}]")
    assert card.summary in result.stdout
    for link in card.references:
        assert link in result.stdout
    if card.fix is not None:
        assert card.fix.title in result.stdout


def test_explain_marks_the_line_and_shows_the_cure() -> None:
    shown = _run("explain", "adapter-loaded-frozen").stdout
    marked = [line for line in shown.splitlines() if line.startswith("  > ")]
    assert marked
    assert "# LL105" not in shown.replace("# lora-lint: ignore[LL105]", "")
    assert "is_trainable=True" in shown.split("Fixed\n")[1]
    assert _run("explain", "ll105").stdout == shown


def test_explain_of_an_unknown_rule() -> None:
    result = _run("explain", "adapter-loaded-frosen")
    assert result.exit_code == 2
    assert "did you mean `adapter-loaded-frozen`?" in result.stderr


def test_apis() -> None:
    listed = _run("apis", "list", "peft.get").stdout
    assert listed.startswith("peft.get_peft_model(model, peft_config, adapter_name=")
    shown = _run("apis", "show", "peft.mapping_func.get_peft_model").stdout
    assert "event inject (" in shown
    assert "source: src/peft/" in shown
    assert "rules/apis/peft.yaml:" in shown
    wrong = _run("apis", "show", "peft.get_peft_modl")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "did you mean `peft.get_peft_model`?" in wrong.stderr
    assert _run("apis", "list", "no_such_library").exit_code == 2


def test_every_spec_can_be_shown() -> None:
    from lora_lint.apis.store import ApiStore

    for name in ApiStore.bundled().specs.calls:
        result = _run("apis", "show", name)
        assert result.exit_code == 0
        assert "object at 0x" not in result.stdout


def test_apis_of_the_user(tree: Write) -> None:
    spec = "library: shop\ncalls:\n  - call: shop.freeze\n    params: [model]\n    effects:\n      - {havoc: $model}\n"
    tree({"apis.yaml": spec, "bad.yaml": spec.replace("havoc", "hvaoc"), "lora-lint.toml": "apis = ['apis.yaml']\n"})
    assert "havoc" in _run("apis", "show", "shop.freeze").stdout
    assert _run("apis", "check", "apis.yaml").stdout == "1 call in 1 file\n"
    broken = _run("apis", "check", "bad.yaml")
    assert broken.exit_code == 2
    assert broken.stderr.startswith("lora-lint: error: bad.yaml:6: ")
    tree({"bad.yaml": spec.replace("$model", "$modle")})
    broken = _run("apis", "check", "bad.yaml")
    assert broken.exit_code == 2
    assert broken.stderr.startswith("lora-lint: error: bad.yaml:6: `$modle` is no parameter of shop.freeze")
    assert _run("apis", "check", "missing.yaml").exit_code == 2


def test_apis_of_the_user_against_the_installed_library(tree: Write) -> None:
    spec = "calls:\n  - call: shutil.copy\n    params: [src, dst{more}]\n    effects: []\n"
    tree({"good.yaml": spec.replace("{more}", ""), "bad.yaml": spec.replace("{more}", ", wrong")})
    assert _run("apis", "check", "--installed", "good.yaml").exit_code == 0
    assert _run("apis", "check", "bad.yaml").exit_code == 0
    broken = _run("apis", "check", "--installed", "bad.yaml")
    assert broken.exit_code == 2
    assert broken.stderr.startswith("lora-lint: error: bad.yaml:2: shutil.copy: ")


CARD = """
code: LL951
name: no-lora-at-all
severity: warning
since: "1.0"
preview: false
summary: adapter of any kind
why: Only for this test, but long enough.
runtime: false
proof: None.
references: []
examples: []
"""
CHECK = """
from collections.abc import Iterator
from lora_lint.checks.base import Report, check
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import Ev


@check("LL951", on=Ev.INJECT)
def seen(event: Event, trace: Trace) -> Iterator[Report]:
    yield Report(event, "adapter is injected here")
"""
TRAINS = """
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Trainer
model = get_peft_model(AutoModelForCausalLM.from_pretrained("m"), LoraConfig())
Trainer(model=model).train()
"""


@pytest.mark.parametrize("named", ["lint", "lint/own.yaml", "lint/own.py"])
def test_rules_of_the_user(tree: Write, named: str) -> None:
    settings = f"rules = ['{named}']\n"
    tree({"lint/own.yaml": CARD, "lint/own.py": CHECK, "lora-lint.toml": settings, "train.py": TRAINS})
    found = _run("check", "train.py", "--format", "concise")
    assert found.stdout.startswith("train.py:4:9: LL951 [warning] adapter is injected here\n")
    assert _run("explain", "no-lora-at-all").stdout.startswith("LL951 no-lora-at-all [warning]")
    assert _run("check", "train.py", "--ignore", "LL951").exit_code == 0
    tree({"train.py": TRAINS.replace("LoraConfig())", "LoraConfig())  # lora-lint: ignore[LL951]")})
    assert _run("check", "train.py").exit_code == 0


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"lint/own.yaml": CARD.replace("LL951", "LL103")}, "lint/own.yaml:1: code 'LL103', which is taken by "),
        ({"lint/own.yaml": CARD.replace("LL951", "CORP1")}, "codes of your own are LL950 to LL999"),
        ({"lint/own.yaml": CARD + "more: 1\n"}, "own.yaml:13: unknown key 'more'"),
        ({"lint/own.py": "x = = 1\n"}, "lint/own.py:1: invalid syntax"),
        ({"lint/own.py": "x = 1\nimport no_such_thing\n"}, "lint/own.py:2: ModuleNotFoundError: "),
        ({"lint/own.py": "x = 1\n"}, "lint/own.py:1: no function is marked @check('LL951', on=…)"),
        ({"lora-lint.toml": "rules = ['lint/none.yaml']\n"}, "none.yaml:1: cannot be read"),
    ],
)
def test_broken_rules_of_the_user(tree: Write, files: dict[str, str], message: str) -> None:
    tree(
        {
            "lint/own.yaml": CARD,
            "lint/own.py": CHECK,
            "lora-lint.toml": "rules = ['lint']\n",
            "train.py": TRAINS,
            **files,
        }
    )
    result = _run("check", "train.py")
    assert result.exit_code == 2
    assert result.stderr.startswith("lora-lint: error: ")
    assert message in result.stderr


def test_the_readme_has_the_current_rules() -> None:
    text = Path(README).read_text(encoding="utf-8")
    assert with_table(text) == text, "run `make readme`"


def test_the_readme_names_every_setting_and_format() -> None:
    from lora_lint import config

    text = Path(README).read_text(encoding="utf-8")
    for key in config._READERS:
        assert f"\n{key} = " in text or f"[tool.lora-lint.{key}]" in text, key
    for form in config.FORMATS:
        assert f"| `{form}` |" in text
