"""Functions that the standard library makes of functions: `functools.partialmethod`, `functools.singledispatch`."""

from __future__ import annotations

from dataclasses import replace

import lora_lint.interpreter.builtin as builtin
import lora_lint.interpreter.evaluate as evaluation
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import (
    ClassVal,
    Const,
    DictVal,
    FuncVal,
    LibMethod,
    LibRef,
    Partial,
    SeqVal,
    Value,
    key_of,
)
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.vocabulary import Tri
from lora_lint.syntax import ir

SINGLE = frozenset({"functools.singledispatch", "functools.singledispatchmethod"})
Given = list[tuple[str | None, Value]]


def partial_method(run: Run, args: Args, node: ir.Node) -> Value:
    """`functools.partialmethod(function, …)` in the body of a class: a method that gives some arguments itself."""
    function = args.first()
    if not isinstance(function, FuncVal):
        return run.fresh(node)
    preset: Given = [(None, value) for value, _ in args.positional[1:]]
    preset += [(name, value) for name, (value, _) in args.keywords.items()]
    return replace(function, preset=(*function.preset, *preset))


def with_preset(func: FuncVal, given: Given) -> Given:
    """The arguments of a call of a partial method: the receiver stays in front, and what the call names itself counts."""
    named = {name for name, _ in given if name is not None}
    preset = [(name, value) for name, value in func.preset if name is None or name not in named]
    return [*given[:1], *preset, *given[1:]]


def register(run: Run, method: LibMethod, args: Args) -> Value | None:
    """`function.register(Class)`, a decorator, or `function.register(Class, variant)`; None for any other call."""
    function = method.receiver
    if method.name != "register" or not isinstance(function, FuncVal) or function.variants is None:
        return None
    given = [value for value, _ in args.positional]
    if len(given) == 2:
        _enter(function, given[0], given[1])
        return given[1]
    return Partial(method, tuple(given), {}) if len(given) == 1 else None


def decorate(run: Run, made: Value, variant: Value) -> bool:
    """`@function.register` and `@function.register(Class)`: enter a variant; whether it is one of these."""
    method, classes = (made.func, made.args) if isinstance(made, Partial) else (made, ())
    if not isinstance(method, LibMethod) or method.name != "register" or not isinstance(variant, FuncVal):
        return False
    function = method.receiver
    if not isinstance(function, FuncVal) or function.variants is None:
        return False
    _enter(function, classes[0] if classes else _annotated(run, variant), variant)
    return True


def _enter(function: FuncVal, option: Value, variant: Value) -> None:
    """Note a variant; one of the same class is replaced, as when a module that other runs share is run again."""
    others = [each for each in function.variants or () if key_of(each[0]) != key_of(option)]
    function.variants = [*others, (option, variant)]


def _annotated(run: Run, variant: FuncVal) -> Value:
    """The class that the first parameter (after self) is annotated with."""
    params = variant.node.params[_first(variant) :]
    annotation = params[0].annotation if params else None
    return evaluation.evaluate(run, annotation, variant.scope) if annotation is not None else None


def _first(function: FuncVal) -> int:
    """The place of the argument whose class decides."""
    return int(function.owner is not None and not function.static)


def chosen(run: Run, function: FuncVal, given: Given) -> FuncVal | None:
    """The variant that a call runs, None when its argument does not tell for certain."""
    place = _first(function)
    if len(given) <= place or given[place][0] is not None:
        return None
    value = given[place][1]
    exact = [variant for option, variant in function.variants or () if _exactly(run, value, option)]
    if exact:
        return exact[-1] if isinstance(exact[-1], FuncVal) else None
    answers = [(_is_a(run, value, option), variant) for option, variant in function.variants or ()]
    certain = [variant for answer, variant in answers if answer.yes]
    if any(not answer.known for answer, _ in answers) or len(certain) > 1:
        return None
    found = certain[0] if certain else replace(function, variants=None, preset=())
    return found if isinstance(found, FuncVal) else None


def _exactly(run: Run, value: Value, option: Value) -> bool:
    """Whether a value is of this very class."""
    if isinstance(value, Obj):
        if value.user_class is not None:
            return value.user_class is option
        promoted = value.facts.get("promoted")
        return isinstance(option, LibRef) and not promoted and run.store.canonical(option.name) == value.type
    name = type(value.value).__name__ if isinstance(value, Const) else value.kind if isinstance(value, SeqVal) else ""
    name = "dict" if isinstance(value, DictVal) else name
    return bool(name) and isinstance(option, LibRef) and option.name == f"builtins.{name}"


def _is_a(run: Run, value: Value, option: Value) -> Tri:
    """Whether a value is an instance of a class; what is of a type of Python's is of no class of the user."""
    if isinstance(value, (Const, SeqVal, DictVal)) and isinstance(option, ClassVal) and not option.node.bases:
        return Tri.NO
    return builtin.is_instance(run, value, option)
