"""Disguises of options: literals in keyword arguments come from a configuration, a file, a command line."""

from __future__ import annotations

import ast
import json

from tests.disguises.base import (
    DISGUISES,
    Disguise,
    OutsideClassBodies,
    Shape,
    after_imports,
    at_the_start,
    disguise,
    expression,
    function,
    module,
    read,
)
from tests.disguises.places import main_part

Value = bool | int | float | str


def _option(node: ast.keyword) -> Value | None:
    """The literal that a keyword argument gives."""
    value = node.value.value if node.arg and isinstance(node.value, ast.Constant) else None
    return value if isinstance(value, (bool, int, float, str)) else None


class _Options(OutsideClassBodies):
    """Literals in keyword arguments become `use`, a text with NAME; their values are kept under the names."""

    def __init__(self, use: str) -> None:
        self.use, self.values = use, dict[str, Value]()

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        self.generic_visit(node)
        value = _option(node)
        if value is None:
            return node
        name = f"{node.arg}_{len(self.values)}"
        self.values[name] = value
        return ast.keyword(node.arg, expression(self.use.replace("NAME", name)))


def _configured(use: str, head: str, line: str, tail: str) -> Disguise:
    """Options in a table that is built from `head`, a `line` for each (NAME, VALUE, KIND) and `tail`."""

    def rewrite(tree: ast.Module) -> ast.Module | None:
        work = _Options(use)
        tree = work.visit(tree)
        rows = [
            line.replace("NAME", name).replace("KIND", type(value).__name__).replace("VALUE", repr(value))
            for name, value in work.values.items()
        ]
        return after_imports(tree, module(head + "".join(rows) + tail)) if rows else None

    return rewrite


DISGUISES["options_in_a_dict"] = _configured(
    "GIVEN_OPTIONS['NAME']", "GIVEN_OPTIONS = {\n", "    'NAME': VALUE,\n", "}\n"
)
DISGUISES["options_as_constants"] = _configured("NAME", "", "NAME = VALUE\n", "")
DISGUISES["options_in_a_class"] = _configured("GivenOptions.NAME", "class GivenOptions:\n", "    NAME = VALUE\n", "")
DISGUISES["options_in_a_dataclass"] = _configured(
    "given_options.NAME",
    "import dataclasses\n@dataclasses.dataclass\nclass GivenOptions:\n",
    "    NAME: KIND = VALUE\n",
    "given_options = GivenOptions()\n",
)
DISGUISES["options_by_argparse"] = _configured(
    "given_options.NAME",
    "import argparse\nparser_ = argparse.ArgumentParser()\n",
    "parser_.add_argument('--NAME', default=VALUE)\n",
    "given_options = parser_.parse_args()\n",
)
DISGUISES["options_by_hf_parser"] = _configured(
    "given_options.NAME",
    "import dataclasses\nfrom transformers import HfArgumentParser\n@dataclasses.dataclass\nclass GivenOptions:\n",
    "    NAME: KIND = VALUE\n",
    "(given_options,) = HfArgumentParser(GivenOptions).parse_args_into_dataclasses()\n",
)


def _in_a_file(name: str, load: str) -> Disguise:
    """Options in a JSON or YAML file (JSON is YAML) beside the script."""

    def rewrite(tree: ast.Module) -> Shape | None:
        work = _Options("settings['NAME']")
        tree = work.visit(tree)
        if not work.values:
            return None
        return after_imports(tree, module(load)), {name: json.dumps(work.values, indent=2)}

    return rewrite


DISGUISES["options_in_yaml"] = _in_a_file(
    "settings.yaml", "import yaml\nwith open('settings.yaml') as file:\n    settings = yaml.safe_load(file)\n"
)
DISGUISES["options_in_json"] = _in_a_file(
    "settings.json", "import json\nfrom pathlib import Path\nsettings = json.loads(Path('settings.json').read_text())\n"
)


def _main_with_parameters(tree: ast.Module) -> tuple[list[ast.stmt], ast.FunctionDef, dict[str, Value]] | None:
    """Head of a module, a function that does the rest, and the options that are its parameters."""
    halves = main_part(tree)
    if halves is None:
        return None
    head, body = halves
    values: dict[str, Value] = {}
    for node in (n for s in body for n in ast.walk(s) if isinstance(n, ast.keyword)):
        value = _option(node)
        if value is not None:
            name = f"{node.arg}_{len(values)}"
            values[name] = value
            node.value = read(name)
    row = ", ".join(f"{name}: {type(value).__name__} = {value!r}" for name, value in values.items())
    return (head, function(f"start_here({row})", body), values) if values else None


def _command(call: str, imports: str = "", decorator: str = "") -> Disguise:
    """Options as parameters of a main function, which `call` starts."""

    def rewrite(tree: ast.Module) -> ast.Module | None:
        made = _main_with_parameters(tree)
        if made is None:
            return None
        head, main, _ = made
        main.decorator_list = [expression(decorator)] if decorator else []
        guard = module(f"if __name__ == '__main__':\n    {call}\n")
        app = module("app = typer.Typer()") if "app" in decorator else []
        return at_the_start(ast.Module([*head, *app, main, *guard], []), module(imports))

    return rewrite


DISGUISES["options_as_parameters"] = _command("start_here()")
DISGUISES["options_by_fire"] = _command("fire.Fire(start_here)", "import fire")
DISGUISES["options_by_typer"] = _command("app()", "import typer", "app.command()")


@disguise
def options_by_click(tree: ast.Module) -> ast.Module | None:
    """Options are declared by decorators of a command."""
    made = _main_with_parameters(tree)
    if made is None:
        return None
    head, main, values = made
    main.args.defaults = []
    options = [expression(f"click.option('--{name}', '{name}', default={value!r})") for name, value in values.items()]
    main.decorator_list = [expression("click.command()"), *options]
    guard = module("if __name__ == '__main__':\n    start_here()\n")
    return at_the_start(ast.Module([*head, main, *guard], []), module("import click"))
