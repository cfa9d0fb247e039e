"""`lora-lint apis`: what is known about library calls."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import click

from lora_lint.apis.references import check_references
from lora_lint.apis.spec import CallSpec, Derived, Effect, Ref, Test
from lora_lint.apis.store import ApiStore
from lora_lint.config import Configuration, did_you_mean
from lora_lint.errors import InputError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def apis() -> None:
    """Show what lora-lint knows about library calls: bundled specs and those of the configuration (`apis = […]`)."""


def _store() -> ApiStore:
    return ApiStore.bundled(Configuration().main.apis)


@apis.command("list")
@click.argument("prefix", default="")
def list_calls(prefix: str) -> None:
    """List the calls that have a spec, those whose name starts with PREFIX."""
    store = _store()
    names = sorted(name for name in store.specs.calls if name.startswith(prefix))
    if not names:
        raise InputError(f"no call starts with `{prefix}`{did_you_mean(prefix, store.libraries)}")
    for name in names:
        for spec in store.specs.calls[name]:
            click.echo(f"{_signature(spec)}{_ranges(spec.versions)}")


@apis.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Show the effects of one call, for instance `peft.get_peft_model`; import paths of any depth are understood."""
    store = _store()
    specs = store.find_call(name)
    if not specs:
        default = store.default(name)
        if default is None:
            raise InputError(f"`{name}` has no spec{did_you_mean(name, store.specs.calls)}")
        click.echo(f"{name}: no spec of its own; calls of this module count as `{default}`")
        return
    for spec in specs:
        click.echo("\n".join(_lines(spec)))


@apis.command("check")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--installed", is_flag=True, help="Import the libraries, and hold names and parameters against them.")
def check_files(files: tuple[Path, ...], installed: bool) -> None:
    """Read API spec files strictly, together with the bundled ones, and say what is wrong with them."""
    store = ApiStore.bundled(files)
    own = {str(path) for path in files}
    calls = [spec for specs in store.specs.calls.values() for spec in specs if spec.place.rsplit(":", 1)[0] in own]
    for call in calls:
        check_references(call)
    if installed:
        _compare(store, frozenset(own))
    count = len(calls)
    click.echo(f"{count} {'call' if count == 1 else 'calls'} in {len(files)} {'file' if len(files) == 1 else 'files'}")
    sys.exit(0)


@apis.command("infer")
@click.argument("target")
def infer(target: str) -> None:
    """Print an API spec of the function TARGET (package.module:function), inferred from its source.

    For wrappers that other projects use without having their source: run it in the wrapper's own repository, read it
    through, and name the file in the other project's configuration (`apis = ["lint/apis.yaml"]`).
    """
    from lora_lint.cli.infer import inferred

    click.echo(inferred(target, _store(), str(Path.cwd().resolve())), nl=False)


def _compare(store: ApiStore, files: frozenset[str]) -> None:
    """Hold the specs of some files against the installed libraries; InputError with a line for each contradiction."""
    from lora_lint.apis.drift import find_drift

    outcome = find_drift(store, files)
    for name, reason in outcome.skipped.items():
        click.echo(f"{name}: not compared: {reason}")
    if outcome.drifts:
        raise InputError("\n".join(str(drift) for drift in outcome.drifts))


# --- in words ---------------------------------------------------------------------------------------------------------


def _signature(spec: CallSpec) -> str:
    shown = [f"{name}={spec.defaults[name]!r}" if name in spec.defaults else name for name in spec.params]
    return f"{spec.name}({', '.join(shown)})"


def _ranges(versions: Mapping[str, str]) -> str:
    return "".join(f"  [{library} {span}]" for library, span in versions.items())


def _lines(spec: CallSpec) -> list[str]:
    lines = [_signature(spec) + _ranges(spec.versions)]
    lines += [f"    {_effect(effect)}" for effect in spec.effects] or ["    no effect on anything that is followed"]
    lines.append(f"  source: {spec.source}" if spec.source else "  source: not given")
    lines.append(f"  spec: {spec.place}")
    return lines


def _effect(effect: Effect) -> str:
    """One effect in one line: what happens, to what, and under which condition."""
    verb = effect.verb.value if isinstance(effect.verb, Enum) else effect.verb
    if effect.event is not None:
        parts = {**dict(sorted(effect.roles.items())), **effect.args}
        text = f"event {effect.event.value}{_pairs(parts)}"
    else:
        head = effect.fields.get(verb)
        rest = {key: value for key, value in effect.fields.items() if key != verb}
        text = f"{verb} {_term(head)}{_pairs(rest)}"
    if effect.each is not None:
        text += f", for each item of {_term(effect.each)}"
    if effect.when is not None:
        text += f", when {_term(effect.when)}"
    return text + _ranges(effect.versions)


def _pairs(parts: Mapping[str, Any]) -> str:
    return " (" + ", ".join(f"{key}: {_term(value)}" for key, value in parts.items()) + ")" if parts else ""


def _term(value: Any) -> str:
    """A term of a spec as it is written in YAML, without its punctuation."""
    if isinstance(value, Ref):
        return ".".join((f"${value.name}", *value.attrs))
    if isinstance(value, Derived):
        return f"{value.function} of {', '.join(_term(item) for item in value.inputs)}"
    if isinstance(value, Test):
        return " ".join((value.op, *(_term(item) for item in value.operands)))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_term(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], Mapping):
        return f"{value[0]}{_pairs(value[1])}"
    if isinstance(value, tuple):
        return ", ".join(_term(item) for item in value)
    return str(value.value) if isinstance(value, Enum) else str(value)
