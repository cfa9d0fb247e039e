"""Functions of the user's that run with each step of an optimizer: those that were attached to it, or to all optimizers."""

from __future__ import annotations

from collections.abc import Iterator

import lora_lint.interpreter.calls as calls
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Bound, DictVal, FuncVal, LibMethod, Partial, SeqVal, Value
from lora_lint.interpreter.walk import nodes_in
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.vocabulary import Ev
from lora_lint.syntax import ir

_STEPS = {"step": Ev.STEP, "zero_grad": Ev.ZERO_GRAD}
_FACT = "step-hooks"


def attach(run: Run, owner: Value, hook: Value, runs: str, node: ir.Node) -> None:
    """Run a hook with each step of this optimizer from now on, before or after it. What cannot be followed may do anything
    with it."""
    if not isinstance(owner, Obj):
        return
    followed = isinstance(hook, (FuncVal, Bound, Partial, LibMethod)) or (isinstance(hook, Obj) and hook.user_class)
    if followed:
        owner.facts[_FACT] = (*owner.facts.get(_FACT, ()), (runs, hook))
    else:
        calls.escape(run, Args([(owner, None)]), node)


def note_passed(run: Run, function: FuncVal) -> None:
    """Note that a function goes where we cannot follow. Others than lambdas are run as entries when nothing calls them."""
    run.witnesses.add(("function-escaped", id(function.node)))
    if isinstance(function.node, ir.Lambda):
        path = function.scope.module.path
        called = {each.name for each in nodes_in(function.node.body) if isinstance(each, ir.Attr)}
        for kind in (kind for name, kind in _STEPS.items() if name in called):
            run.witnesses |= {(kind.value, path), (kind.value, path, "again")}


def call(run: Run, optimizer: Obj | None, runs: str, node: ir.Node) -> None:
    """Call the hooks that run before or after a step of this optimizer."""
    if optimizer is None:
        return
    for owner in (*_layers(optimizer), run.process):
        for when, hook in owner.facts.get(_FACT, ()):
            if when == runs:
                given: list[Value] = [optimizer, SeqVal("tuple", [], open=True), DictVal({}, open=True)]
                calls.call_value(run, hook, Args([(value, None) for value in given]), node, run.module.scope)


def _layers(optimizer: Obj) -> Iterator[Obj]:
    """An optimizer and what it wraps."""
    here: Obj | None = optimizer
    while here is not None:
        yield here
        here = here.wraps
