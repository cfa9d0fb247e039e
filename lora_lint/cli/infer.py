"""`lora-lint apis infer`: a first API spec of a function, from its source. Nothing is imported or run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import yaml

from lora_lint.apis.load import add_specs
from lora_lint.apis.store import ApiStore
from lora_lint.config import did_you_mean
from lora_lint.discovery import shown_path
from lora_lint.errors import InputError
from lora_lint.interpreter.program import Program
from lora_lint.interpreter.summary import Summary, infer
from lora_lint.modules import ModuleIndex
from lora_lint.project import Loader, Project
from lora_lint.syntax import ir
from lora_lint.syntax.lowering import lower_module
from lora_lint.syntax.source import SourceFile
from lora_lint.versions import TargetVersions


def inferred(target: str, store: ApiStore, cwd: str) -> str:
    """The text of a spec file for `pkg.mod:function`. Raises InputError for what cannot be found."""
    module, _, function = target.partition(":")
    if not module or not function.isidentifier():
        raise InputError(f"`{target}` is not of the form package.module:function")
    path = _module_path(module, cwd)
    project = Loader(cwd, [path], _parsed).load([path], store.libraries)
    if path not in project.units:
        reason = next((problem.message for problem in project.broken), "cannot be read")
        raise InputError(f"{path}: {reason}")
    program = Program(project.units, store, (), lambda _: TargetVersions())
    summary = infer(program, path, function)
    if summary is None:
        raise InputError(f"{path} defines no function `{function}`{did_you_mean(function, _functions(project, path))}")
    text = "\n".join(_lines(module, function, f"{path}:{_line(project, path, function)}", summary)) + "\n"
    add_specs(store.specs, text, "<inferred>")  # what is printed can be loaded
    return text


def _module_path(module: str, cwd: str) -> str:
    """The file of a module, seen from the current folder, as it is reported."""
    found = ModuleIndex(cwd).resolve(os.path.join(cwd, "__main__.py"), module, 0)
    if found is None:
        raise InputError(f"no file of the module `{module}` is found from {cwd} (nor in `src`)")
    return shown_path(found, cwd)


def _parsed(source: SourceFile) -> ir.Module:
    return lower_module(source.text, source.path)


def _functions(project: Project, path: str) -> list[str]:
    return [node.name for node in project.units[path].body if isinstance(node, ir.FunctionDef)]


def _line(project: Project, path: str, function: str) -> int:
    nodes = (node for node in project.units[path].body if isinstance(node, ir.FunctionDef) and node.name == function)
    return next((node.loc[0] for node in nodes), 1)


def _lines(module: str, function: str, place: str, summary: Summary) -> Iterator[str]:
    """The YAML text: one effect a line."""
    top = module.split(".")[0]
    yield f"# Inferred by `lora-lint apis infer {module}:{function}`. A first version: read it through."
    for note in summary.notes:
        yield f"# Left out: {note}."
    yield f"library: {top}"
    yield "calls:"
    yield f"  - call: {module}.{function}"
    yield f"    params: {_flow(summary.params)}"
    if summary.defaults:
        yield f"    defaults: {_flow(summary.defaults)}"
    if summary.effects:
        yield "    effects:"
        yield from (f"      - {_flow(effect)}" for effect in summary.effects)
    else:
        yield "    effects: []"
    yield f"    source: {_flow(place)}"
    if "." in module:
        yield "aliases:"
        yield f"  {top}.{function}: {module}.{function}"


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()
