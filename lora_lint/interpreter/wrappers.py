"""Objects of the user's that stand for functions: decorators that are classes or context managers, and descriptors."""

from __future__ import annotations

import lora_lint.interpreter.calls as calls
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import ClassVal, Const, FuncVal, Generator, Scope, Sym, Value
from lora_lint.lifecycle.heap import Obj
from lora_lint.syntax import ir

_CONTEXT_DECORATORS = frozenset({"contextlib.ContextDecorator", "contextlib.AsyncContextDecorator"})
_MANAGER, _INNER, _GIVEN, _NAMED = "manager", "inner", "args", "kwargs"


def decorate(run: Run, made: Value, value: FuncVal, decorator: ir.Expr, scope: Scope) -> Value | None:
    """What a decorator that is a class, an object or a context manager of the user's makes of a function; None for others."""
    if isinstance(made, Generator) or (isinstance(made, Obj) and _is_context_decorator(made)):
        return _inside(made, value, decorator, scope)
    if isinstance(made, ClassVal) and any(isinstance(made.find(n), FuncVal) for n in ("__call__", "__get__")):
        result = calls.call_value(run, made, Args([(value, None)]), decorator, scope)
        return result if isinstance(result, Obj) else None
    caller = made.user_class.find("__call__") if isinstance(made, Obj) and made.user_class is not None else None
    if isinstance(caller, FuncVal):
        result = calls.call_value(run, made, Args([(value, None)]), decorator, scope)
        return value if isinstance(result, Sym) or (isinstance(result, Const) and result.value is None) else result
    return None


def _is_context_decorator(made: Obj) -> bool:
    return made.user_class is not None and not _CONTEXT_DECORATORS.isdisjoint(made.user_class.library_bases())


def _inside(manager: Value, function: FuncVal, decorator: ir.Expr, scope: Scope) -> FuncVal:
    """`def wrapper(*args, **kwargs): with manager: return function(*args, **kwargs)`."""
    loc = decorator.loc
    given = (ir.Arg(loc, None, ir.Name(loc, _GIVEN), 1), ir.Arg(loc, None, ir.Name(loc, _NAMED), 2))
    called = ir.Return(loc, ir.Call(loc, ir.Name(loc, _INNER), given))
    block = ir.With(loc, (ir.WithItem(loc, ir.Name(loc, _MANAGER), None),), (called,))
    params = (ir.Param(loc, _GIVEN, "*", None, None), ir.Param(loc, _NAMED, "**", None, None))
    node = ir.FunctionDef(loc, function.name, params, (block,), (), None, False, False)
    names: dict[str, Value] = {_MANAGER: manager, _INNER: function}
    wrapper = FuncVal(node, Scope(names, scope.module, scope), function.owner)
    wrapper.static, wrapper.of_class = function.static, function.of_class
    return wrapper


def name_descriptors(run: Run, cls: ClassVal, node: ir.ClassDef) -> None:
    """Call `__set_name__` of the descriptors in the body of a class."""
    for name, value in list(cls.attrs.items()):
        namer = value.user_class.find("__set_name__") if isinstance(value, Obj) and value.user_class else None
        if isinstance(namer, FuncVal):
            calls.call_function(run, namer, [(None, value), (None, cls), (None, Const(name))], node)


def got(run: Run, found: Value, owner: Obj, node: ir.Node) -> Value | None:
    """What a descriptor in a class gives for one of its objects; None for other values."""
    getter = found.user_class.find("__get__") if isinstance(found, Obj) and found.user_class is not None else None
    if not isinstance(getter, FuncVal):
        return None
    return calls.call_function(run, getter, [(None, found), (None, owner), (None, owner.user_class)], node)


def put(run: Run, found: Value, owner: Obj, new: Value, node: ir.Node) -> bool:
    """Whether a descriptor in a class took what is written under its name."""
    setter = found.user_class.find("__set__") if isinstance(found, Obj) and found.user_class is not None else None
    if isinstance(setter, FuncVal):
        calls.call_function(run, setter, [(None, found), (None, owner), (None, new)], node)
    return isinstance(setter, FuncVal)
