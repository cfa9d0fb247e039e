"""Definitions: functions, classes, imports."""

from __future__ import annotations

import sys

import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.dispatch as dispatch
import lora_lint.interpreter.evaluate as evaluation
import lora_lint.interpreter.execute as execution
from lora_lint.interpreter import commands, enums, outdated, wrappers
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Bound, ClassVal, FuncVal, LibMethod, LibRef, ModuleVal, Scope, Sym, Value
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.vocabulary import Kind
from lora_lint.syntax import ir

# Decorators that leave the function what it is, as far as the lifecycle goes.
_TRANSPARENT = frozenset({"typing.overload", "abc.abstractmethod", "builtins.decorator"})
_CACHES = frozenset({"functools.lru_cache", "functools.cache"})


def function(run: Run, node: ir.FunctionDef, scope: Scope) -> None:
    """`def`: a function value, with what its decorators make of it."""
    owner = scope.names.get("__class__") if scope.of_class else None
    func = FuncVal(node, _outer(scope) if scope.of_class else scope, owner if isinstance(owner, ClassVal) else None)
    func.defaults = calls.evaluate_defaults(run, node.params, scope)
    value: Value = func
    for decorator in reversed(node.decorators):
        value = _decorate(run, value, decorator, scope)
    scope.bind(node.name, value)


def _outer(scope: Scope) -> Scope:
    """Class bodies are no scope for the functions in them."""
    return scope.parent if scope.parent is not None else scope


def _decorate(run: Run, value: Value, decorator: ir.Expr, scope: Scope) -> Value:
    made = evaluation.evaluate(run, decorator, scope)
    if isinstance(made, LibMethod) and isinstance(made.receiver, FuncVal) and made.receiver.is_property:
        if made.name == "setter" and isinstance(value, FuncVal):
            made.receiver.setter = value
        return made.receiver
    if dispatch.decorate(run, made, value):
        return value
    if isinstance(made, LibMethod) and isinstance(made.receiver, Obj) and made.receiver.kind is Kind.OPTIMIZER:
        calls.call_value(run, made, Args([(value, None)]), decorator, scope)  # `@optimizer.register_step_post_hook`
        return value
    if isinstance(made, LibRef) and isinstance(value, FuncVal):
        _by_library(run, value, made, decorator, scope)
        return value
    if isinstance(value, FuncVal) and (wrapped := wrappers.decorate(run, made, value, decorator, scope)) is not None:
        return wrapped
    if isinstance(made, Obj) and made.kind is Kind.OBJECT and isinstance(value, FuncVal):
        commands.decorate(run, made, value)
        return value
    if isinstance(made, Obj) and made.kind is Kind.CONTEXT and isinstance(value, FuncVal):
        value.contexts = (*value.contexts, (made, run.loc(decorator), "decorator"))
        return value
    if isinstance(made, (FuncVal, Bound)) and isinstance(value, FuncVal):
        result = calls.call_value(run, made, Args([(value, None)]), decorator, scope)
        return result if not isinstance(result, Sym) else value
    return value


def _by_library(run: Run, func: FuncVal, made: LibRef, decorator: ir.Expr, scope: Scope) -> None:
    """What a decorator of a library makes of a function. Most (commands, jit, retry) leave it what it is."""
    name = made.name
    if name == "builtins.staticmethod":
        func.static = True
    elif name == "builtins.classmethod":
        func.of_class = True
    elif name in ("builtins.property", "functools.cached_property"):
        func.is_property = True
        func.cached = name.startswith("functools.")
    elif name in dispatch.SINGLE:
        func.variants = []
    elif name in _CACHES:
        func.cached = True
    elif name not in _TRANSPARENT and not name.startswith("builtins."):
        context = _context_of(run, made, decorator, scope)
        if context is not None:
            func.contexts = (*func.contexts, (context, run.loc(decorator), "decorator"))


def _context_of(run: Run, made: LibRef, decorator: ir.Expr, scope: Scope) -> Obj | None:
    """`@torch.no_grad` without parentheses."""
    if not run.store.find_call(made.name):
        return None
    probe = calls.call_value(run, made, Args(), decorator, scope)
    return probe if isinstance(probe, Obj) and probe.kind is Kind.CONTEXT else None


def class_(run: Run, node: ir.ClassDef, scope: Scope) -> None:
    """`class`: run the body once for its attributes."""
    bases = tuple(evaluation.evaluate(run, b.value, scope) for b in node.bases if b.name is None)
    inner = Scope({}, scope.module, scope, of_class=True)
    value = ClassVal(node, scope, bases, {})
    inner.names["__class__"] = value
    execution.block(run, node.body, inner)
    value.attrs = {k: v for k, v in inner.names.items() if k != "__class__"}
    if enums.is_enum(value):
        enums.fill(value)
    wrappers.name_descriptors(run, value, node)
    _tell_bases(run, value, scope)
    for decorator in reversed(node.decorators):
        made = evaluation.evaluate(run, decorator, scope)
        if isinstance(made, LibRef) and made.name.rsplit(".", 1)[-1] in (
            "dataclass",
            "dataclass_transform",
            "define",
            "decorator",
        ):
            value.is_dataclass = True
        elif isinstance(decorator, ir.Call):
            inner_name = evaluation.evaluate(run, decorator.func, scope)
            if isinstance(inner_name, LibRef) and inner_name.name.rsplit(".", 1)[-1] in ("dataclass", "define"):
                value.is_dataclass = True
        if isinstance(made, (FuncVal, Bound)):  # it may enter the class into a registry, or add methods
            result = calls.call_value(run, made, Args([(value, None)]), decorator, scope)
            value = result if isinstance(result, ClassVal) else value
    scope.bind(node.name, value)
    outdated.note_overrides(run, value)


def _tell_bases(run: Run, value: ClassVal, scope: Scope) -> None:
    """Call `__init_subclass__` of the bases, with the keywords of the class statement."""
    above = next(
        (cls.attrs["__init_subclass__"] for cls in list(value.mro())[1:] if "__init_subclass__" in cls.attrs), None
    )
    if isinstance(above, FuncVal):
        args = Args([(value, None)])
        for base in value.node.bases:
            if base.name is not None and base.name != "metaclass":
                args.add(base, evaluation.evaluate(run, base.value, scope))
        calls.call_value(run, above, args, value.node, scope)


def import_(run: Run, node: ir.Import, scope: Scope) -> None:
    """`import` and `from … import`: modules of the project are run, others are library names."""
    outdated.note_order(run, node)
    if node.names is None:
        module = run.program.resolve(run, node.module, 0)
        if node.alias is not None:
            scope.bind(node.alias, module if module is not None else LibRef(node.module))
            return
        head = node.module.split(".")[0]
        top = run.program.resolve(run, head, 0)
        scope.bind(head, top if top is not None else LibRef(head))
        return
    module = run.program.resolve(run, node.module, node.level)
    for name, bound in node.names:
        if name == "*":
            if module is not None:
                for key, value in module.scope.names.items():
                    if not key.startswith("_"):
                        scope.bind(key, value)
            continue
        scope.bind(bound, _imported(run, module, node, name))


def from_star(run: Run, module: ModuleVal, name: str) -> Value | None:
    """What an unbound name means through `from library import *`: a name that the specs of that library know. None when
    none knows it, or when a later star may have brought anything under this name."""
    if name.startswith("_"):
        return None
    names = [f"{library}.{name}" for library in _starred(run, module, ()) if library]
    known = [full for full in names if run.store.is_named(full)][:1]
    if not known and name[:1].isupper():
        # A pattern of types fits names of other libraries too, so one library alone may have it.
        known = [full for full in names if run.store.type_of(full) is not None]
    return LibRef(known[0]) if len(known) == 1 else None


def _starred(run: Run, module: ModuleVal, seen: tuple[str, ...]) -> list[str]:
    """Modules of libraries whose names a module has through stars, newest first. "" ends the list where a star
    is of something unknown."""
    found: list[str] = []
    stars = [n for n in module.node.body if isinstance(n, ir.Import) and n.names is not None and ("*", "*") in n.names]
    for node in reversed(stars) if module.path not in seen else ():
        library = node.module.split(".")[0]
        inner = run.program.resolve(run, node.module, node.level)
        if inner is not None:
            found += _starred(run, inner, (*seen, module.path))
            if "" in found:
                break
        elif node.level or (library not in run.store.libraries and library not in sys.stdlib_module_names):
            return [*found, ""]
        else:
            found.append(node.module)
    return found


def _imported(run: Run, module: ModuleVal | None, node: ir.Import, name: str) -> Value:
    if module is not None:
        return run.program.member(run, module, name, node)
    submodule = run.program.resolve(run, f"{node.module}.{name}" if node.module else name, node.level)
    if submodule is not None:
        return submodule
    if node.level:
        return LibRef(f"{'.' * node.level}{node.module}.{name}")
    outdated.note_name(run, f"{node.module}.{name}", node)
    return LibRef(f"{node.module}.{name}")
