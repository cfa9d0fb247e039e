"""`with` blocks: context objects of libraries, `__enter__`/`__exit__` of user classes, generator context managers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.evaluate as evaluation
import lora_lint.interpreter.execute as execution
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, FuncVal, Generator, Jump, Returned, Scope, Sym, Value
from lora_lint.lifecycle import effects
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Event
from lora_lint.lifecycle.vocabulary import Ev, Kind, Tri
from lora_lint.location import Location
from lora_lint.syntax import ir

EXIT_STACK = "contextlib.ExitStack"
_ENTERING = frozenset({"__enter__", "__aenter__"})
_LEAVING = frozenset({"__exit__", "__aexit__"})
_CLOSING = frozenset({"close", "aclose"})


def with_(run: Run, node: ir.With, scope: Scope) -> None:
    """`with a as x, b as y: …`: enter the items in order, run the body, leave."""
    _from_item(run, node, 0, scope)


def _from_item(run: Run, node: ir.With, index: int, scope: Scope) -> None:
    """Enter the items from `index` on and run the body inside."""
    if index == len(node.items):
        execution.block(run, node.body, scope)
        return
    item = node.items[index]
    value = evaluation.evaluate(run, item.value, scope)

    def inside(entered: Value) -> None:
        if item.target is not None:
            execution.bind_target(run, item.target, entered, scope)
        _from_item(run, node, index + 1, scope)

    if isinstance(value, Generator):
        through_generator(run, value, item, inside)
        return
    with ExitStack() as stack:
        inside(_entered(run, value, item, stack))


def by_hand(run: Run, obj: Obj, name: str, node: ir.Node) -> Value:
    """`context.__enter__()` and `.__exit__(…)`. In the `__enter__` of a user's class it is the with block of that class that
    the context is entered for; elsewhere nothing tells how long it stays entered."""
    if name in _ENTERING:
        if run.by_hand:
            run.by_hand[-1].append((obj, run.loc(node), obj))
        return obj.facts.get("enters", obj)
    _let_go(run, obj)
    return Const(None)


def is_by_hand(name: str) -> bool:
    """Whether a method of a context object enters or leaves it."""
    return name in _ENTERING or name in _LEAVING


def _let_go(run: Run, owner: Obj) -> None:
    """What was entered by hand, itself or on a stack, is left again."""
    for entering in run.by_hand:
        entering[:] = [one for one in entering if one[2] is not owner]


def stack_method(run: Run, obj: Obj, name: str, args: Args, node: ir.Node) -> Value:
    """A method of the user's ExitStack: what it enters stays entered until the stack's own block ends. What is entered before
    that block, as in a helper that makes the stack, is taken to be entered where the block begins."""
    if name in _ENTERING:
        _enter_waiting(run, obj)
        return obj
    if name in _LEAVING or name in _CLOSING:
        obj.facts.pop("waiting", None)
        _let_go(run, obj)
    if name == "pop_all":
        made = run.make(Kind.CONTEXT, EXIT_STACK, node)
        made.facts["waiting"] = obj.facts.pop("held", [])
        _enter_waiting(run, made)
        return made
    given = args.first() if name in ("enter_context", "enter_async_context") else None
    if given is None:
        return run.fresh(node)
    written = node.args[0].value if isinstance(node, ir.Call) and node.args else node
    stack = obj.facts.get("stack")
    entered = isinstance(stack, ExitStack)
    if isinstance(given, Obj) and given.kind is Kind.CONTEXT:
        if run.by_hand and not entered:
            run.by_hand[-1].append((given, run.loc(written), obj))
        obj.facts.setdefault("held" if entered else "waiting", []).append((given, run.loc(written)))
    return _entered(run, given, written, stack) if isinstance(stack, ExitStack) else run.fresh(node)


def _enter_waiting(run: Run, obj: Obj) -> None:
    """What a stack holds is entered for the with block of the class whose `__enter__` runs."""
    for entering in run.by_hand[-1:]:
        entered = [context for context, _, owner in entering if owner is obj]
        waiting = ((context, place, obj) for context, place in obj.facts.get("waiting", ()) if context not in entered)
        entering.extend(waiting)


def _entered(run: Run, value: Value, item: ir.Node, stack: ExitStack) -> Value:
    """What `with value as x` binds to x; leaving is left to the stack."""
    if isinstance(value, Obj):
        if value.type == EXIT_STACK:
            value.facts["stack"] = stack
            stack.callback(_let_go, run, value)
            for context, place in value.facts.pop("waiting", ()):
                enter_context(run, context, place, stack, "block")
            return value
        if value.kind is Kind.CONTEXT:
            enter_context(run, value, run.loc(item), stack, "block")
            return value.facts.get("enters", value)
        if value.user_class is not None:
            return _enter_user(run, value, item, stack)
    return Sym(("entered", value.key), value.text) if isinstance(value, Sym) else value


def _enter_user(run: Run, value: Obj, item: ir.Node, stack: ExitStack) -> Value:
    enter, leave = value.user_class.find("__enter__"), value.user_class.find("__exit__")
    entered: Value = value
    if isinstance(enter, FuncVal):
        run.by_hand.append([])
        try:
            entered = calls.call_function(run, enter, [(None, value)], item)
        finally:
            contexts = run.by_hand.pop()
        for context, place, _ in contexts:
            enter_context(run, context, place, stack)
    if isinstance(leave, FuncVal):
        none: list[tuple[str | None, Value]] = [(None, Const(None))] * 3
        stack.callback(calls.call_function, run, leave, [(None, value), *none], item)
    return entered


def through_generator(run: Run, generator: Generator, node: ir.Node, inside: Callable[[Value], None]) -> None:
    """`@contextmanager`: run the generator's body, and at its first `yield` the body of the with block. What the block
    raises or returns takes effect after the generator's own clean-up."""
    back = run.place()
    ran = False
    leaving: Jump | Returned | None = None

    def at_yield(value: Value) -> None:
        nonlocal ran, leaving
        if ran:
            return
        ran = True
        with run.back_in(back):
            try:
                inside(value)
            except (Jump, Returned) as jump:
                leaving = jump

    run.yields.append(at_yield)
    try:
        calls.call_function(run, generator.func, generator.args, node, eager=True)
    finally:
        run.yields.pop()
    if not ran:
        inside(run.fresh(node))
    if leaving is not None:
        raise leaving


def enter_context(run: Run, context: Obj, at: Location, stack: ExitStack, form: str = "") -> None:
    """Enter a context object: grad mode, a named context, a model whose adapters are off inside."""
    stack.enter_context(run.inside(context))
    if "grad" in context.facts:
        stack.enter_context(run.grad_mode(grad_answer(context), at, form, context.guards))
    name = context.facts.get("context")
    if isinstance(name, Const):
        name = name.value
    if isinstance(name, str):
        stack.enter_context(run.context(name))
    off = context.facts.get("disables")
    if isinstance(off, Obj):
        before = off.model.disabled
        off.model.disabled = run.emit(Ev.DISABLE, None, {"model": off}, {"context": True}, at=at)
        stack.callback(_leave_disabled, off.model.disabled, off, before)


def _leave_disabled(entered: Event, model: Obj, before: Event | None) -> None:
    """Leaving switches the adapters on again, and in the releases that were looked at (0.17.1, 0.21.2) unfreezes them."""
    model.model.disabled = before
    effects.thaw_active(entered, model, Tri.UNKNOWN)


def grad_answer(context: Obj) -> Tri:
    """Whether gradients are recorded inside a context that decides about it."""
    value = context.facts["grad"]
    if isinstance(value, Tri):
        return value
    if isinstance(value, Const):
        value = value.value
    return {"off": Tri.NO, "on": Tri.YES, "no": Tri.NO, "yes": Tri.YES}.get(str(value), Tri.UNKNOWN)
