"""Modules, classes and functions that a program looks up by a dotted name."""

from __future__ import annotations

import lora_lint.interpreter.attributes as attributes
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, LibRef, Scope, Value
from lora_lint.syntax import ir


def import_module(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """`importlib.import_module("package.module")`."""
    first = args.first()
    name = first.value if isinstance(first, Const) else None
    if not isinstance(name, str) or name.startswith(".") or len(list(args.values())) != 1:
        run.touch_args(args)
        return run.fresh(node)
    module = run.program.resolve(run, name, 0)
    return module if module is not None else LibRef(name)


def locate(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """`pydoc.locate("package.module.Class")`: what the program or a library has under that name."""
    first = args.first()
    name = first.value if isinstance(first, Const) else None
    parts = name.split(".") if isinstance(name, str) and len(list(args.values())) == 1 else []
    for count in range(len(parts), 0, -1):
        module = run.program.resolve(run, ".".join(parts[:count]), 0)
        if module is None and (count > 1 or parts[0] not in run.store.libraries):
            continue
        found: Value = LibRef(parts[0]) if module is None else module
        for part in parts[count:]:
            found = attributes.read(run, found, part, node, scope)
        return found
    run.touch_args(args)
    return run.fresh(node)
