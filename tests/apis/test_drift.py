"""API specs against the installed libraries, and that drift is noticed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import lora_lint.interpreter
from lora_lint.apis.drift import find_drift
from lora_lint.apis.load import Specs, add_specs
from lora_lint.apis.store import ApiStore
from lora_lint.lifecycle.vocabulary import Ev
from tests.apis.static import STORE


@pytest.mark.torch
@pytest.mark.slow
def test_bundled_specs_hold_for_what_is_installed() -> None:
    """Names exist, parameters are taken, positions are right."""
    pytest.importorskip("torch")
    outcome = find_drift(STORE)
    assert not outcome.drifts, "\n".join(map(str, outcome.drifts))
    assert outcome.checked > 100


def test_every_event_kind_is_emitted() -> None:
    """By a spec, or by the interpreter itself."""
    effects = [e for specs in STORE.specs.calls.values() for spec in specs for e in spec.effects]
    effects += [e for kind in STORE.specs.types.values() for e in kind.protocol]
    emitted = {effect.event for effect in effects if effect.event is not None}
    for path in Path(lora_lint.interpreter.__file__).parent.glob("*.py"):
        emitted |= set(_made(ast.parse(path.read_text(encoding="utf-8"))))
    assert set(Ev) - emitted == set()


def _made(tree: ast.Module) -> Iterator[Ev]:
    """Events that code makes: those it hands to `emit`, directly or through a variable."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "emit":
            values: list[ast.expr] = node.args
        elif isinstance(node, ast.Assign) and not isinstance(node.value, ast.Compare):
            values = [node.value.body, node.value.orelse] if isinstance(node.value, ast.IfExp) else [node.value]
        else:
            continue
        for value in values:
            if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name) and value.value.id == "Ev":
                yield Ev[value.attr]


# --- drift is noticed -------------------------------------------------------------------------------------------------

LIBRARY = """
class Model:
    def freeze(self, part, deep=True): ...
    def _hidden(self): ...

def wrap(model, *, name="x", new_name=None): ...

def anything(**kwargs): ...
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An importable module made for one test."""
    name = f"made_{abs(hash(tmp_path)) % 10**8}"
    (tmp_path / f"{name}.py").write_text(LIBRARY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def _problems(library: str, entry: str) -> list[str]:
    specs = Specs()
    add_specs(specs, f"library: {library}\ncalls:\n  - {{{entry.replace('LIB', library)}}}\n", "own.yaml")
    outcome = find_drift(ApiStore(specs))
    assert outcome.checked == 1
    return [drift.problem for drift in outcome.drifts]


@pytest.mark.parametrize(
    "entry",
    [
        "call: LIB.Model.freeze, params: [part, deep]",
        "call: LIB.Model.freeze, params: ['*rest', deep]",
        "call: LIB.wrap, params: [model, '*rest', new_name]",
        "call: LIB.anything, params: [whatever]",
        "call: LIB.Model",
    ],
)
def test_what_agrees(library: str, entry: str) -> None:
    """Specs that say what the library does."""
    assert _problems(library, entry) == []


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("call: LIB.unwrap, params: [model]", "no such name"),
        ("call: LIB.Model.thaw", "no such name"),
        ("call: LIB.Model.freeze, params: [part, shallow]", "takes no parameter shallow"),
        ("call: LIB.Model.freeze, params: [deep]", "deep is positional parameter 1, the spec has it at 0"),
        ("call: LIB.wrap, params: [model, old_name]", "takes no parameter old_name"),
    ],
)
def test_what_does_not(library: str, entry: str, words: str) -> None:
    """Specs that the library contradicts."""
    (problem,) = _problems(library, entry)
    assert words in problem


def test_what_is_not_installed_is_skipped() -> None:
    """With the reason."""
    specs = Specs()
    add_specs(specs, "calls:\n  - {call: surely_not_installed.f}\n", "own.yaml")
    outcome = find_drift(ApiStore(specs))
    assert not outcome.checked
    assert not outcome.drifts
    assert outcome.skipped == {"surely_not_installed.f": "surely_not_installed is not installed"}


def test_other_releases_are_skipped() -> None:
    """A spec for a range without the installed version says nothing about it."""
    specs = Specs()
    add_specs(specs, "calls:\n  - {call: yaml.gone, versions: {pyyaml: '<1'}}\n", "own.yaml")
    outcome = find_drift(ApiStore(specs))
    assert not outcome.drifts
    assert "outside <1" in outcome.skipped["yaml.gone"]


def test_parameters_of_some_releases() -> None:
    """`also`: there in its range, absent elsewhere."""
    for name, range_, words in (
        ("nl", "<1", "takes nl in click"),
        ("nl", ">=1", ""),
        ("gone", "<1", ""),
        ("gone", ">=1", "no parameter gone"),
    ):
        specs = Specs()
        add_specs(
            specs, f"calls:\n  - {{call: click.echo, params: [message], also: {{{name}: '{range_}'}}}}\n", "own.yaml"
        )
        drifts = find_drift(ApiStore(specs)).drifts
        assert [words in drift.problem for drift in drifts] == ([True] if words else []), (name, range_)


def test_only_the_files_asked_for() -> None:
    """`apis check FILE` is about that file."""
    specs = Specs()
    add_specs(specs, "calls:\n  - {call: yaml.gone}\n", "one.yaml")
    add_specs(specs, "calls:\n  - {call: yaml.gone_too}\n", "two.yaml")
    drifts = find_drift(ApiStore(specs), frozenset({"two.yaml"})).drifts
    assert [drift.place for drift in drifts] == ["two.yaml:2"]
