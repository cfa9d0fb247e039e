"""Flags that tell whether a try went well: `found = False`, then `try: read(path); found = True` and a handler that goes on.

What such a flag holds afterwards depends on the files at hand, so nothing in the program decides it. A try that only imports
is no such probe: the program is taken to be installed.
"""

from __future__ import annotations

from lora_lint.interpreter import branches
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, Scope, Sym
from lora_lint.interpreter.walk import nodes_in
from lora_lint.syntax import ir


def flags(node: ir.Try, scope: Scope) -> dict[str, Const]:
    """The flags that a try sets where all goes well, with what they hold before."""
    if not node.handlers or any(branches.leaves(handler.body) for handler in node.handlers):
        return {}
    if not any(isinstance(part, ir.Call) for part in nodes_in(node.body)):
        return {}
    handled = set().union(*(_set_flags(handler.body) for handler in node.handlers))
    before = {name: scope.names.get(name) for name in _set_flags(node.body) - handled}
    return {name: value for name, value in before.items() if isinstance(value, Const)}


def went_well(run: Run, node: ir.Try, before: dict[str, Const], scope: Scope) -> None:
    """Make the flags unknown after a try that was taken to go well."""
    for name, value in before.items():
        now = scope.names.get(name)
        if isinstance(now, Const) and now.value != value.value:
            scope.names[name] = Sym(("probed", run.module.path, node.loc, name), name)


def _set_flags(body: tuple[ir.Stmt, ...]) -> set[str]:
    """Names that statements of a block bind to True, False or None."""
    found = set()
    for statement in body:
        if isinstance(statement, ir.Assign) and isinstance(statement.value, ir.Const):
            if statement.value.value is None or isinstance(statement.value.value, bool):
                found |= {target.id for target in statement.targets if isinstance(target, ir.Name)}
    return found
