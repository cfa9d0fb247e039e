"""Python's builtins that look into objects: `getattr` and its kin, `type`, `vars`, `globals`, `object.__new__`."""

from __future__ import annotations

import lora_lint.interpreter.attributes as attributes
import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.instances as instances
from lora_lint.interpreter import enums, module_classes, records, tensors
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.builtin_collections import Handler, first
from lora_lint.interpreter.parameter_values import Element
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import ClassVal, Const, DictVal, LibRef, Scope, Sym, Value, key_of
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.vocabulary import Kind
from lora_lint.syntax import ir


def _hasattr(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    if len(args.positional) != 2:
        return run.fresh(node)
    value, name = args.positional[0][0], args.positional[1][0]
    if isinstance(value, Sym):
        value.loader = None  # as for isinstance
        value = value.obj if value.obj is not None else value
    if isinstance(value, Obj) and isinstance(name, Const) and isinstance(name.value, str):
        if name.value in value.attrs or (
            value.user_class is not None and value.user_class.find(name.value) is not None
        ):
            return Const(True)
        if value.type and not value.facts.get("promoted") and run.store.find_method(value.type, name.value):
            return Const(True)
        if value.wraps is not None and run.store.attribute(value.type, name.value) is not None:
            return Const(True)  # a wrapper holds what it wraps
        wrapped = any("ddp" in str(e.args.get("by")) for e in value.model.wraps) if value.kind is Kind.MODEL else False
        if name.value == "module" and value.kind is Kind.MODEL and value.wraps is None and value.type and not wrapped:
            return Const(False)
    return Sym(("hasattr", key_of(value), key_of(name)), "hasattr(…)")


def _getattr(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    if len(args.positional) < 2:
        return run.fresh(node)
    value, name = args.positional[0][0], run.by_default(args.positional[1][0])
    if isinstance(name, Const) and isinstance(name.value, str):
        return attributes.read(run, value, name.value, node, scope)
    if isinstance(value, Obj) and value.kind is Kind.MODEL:
        return Obj(Kind.MODEL, "torch.nn.Module", value.site, parent=value, path="*")
    return run.fresh(node)


def _setattr(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    if len(args.positional) == 3:
        (value, expr), (name, _), (new, _) = args.positional
        if isinstance(name, Const) and isinstance(name.value, str):
            target = ir.Attr(node.loc, expr if expr is not None else ir.Name(node.loc, "_"), name.value)
            attributes.write(run, value, name.value, new, target, scope)
        else:
            calls.escape(run, Args([(new, None)]), node)
    return Const(None)


def _type(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    value = first(args)
    if isinstance(value, Obj):
        return (
            value.user_class if value.user_class is not None else LibRef(value.type) if value.type else run.fresh(node)
        )
    if isinstance(value, Element) and value.module:
        return module_classes.of(value)
    return LibRef(tensors.TYPE) if tensors.is_one(value) else run.fresh(node)


def _new(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """`object.__new__(Class)`."""
    cls = args.first()
    return instances.bare(run, cls, Args(), node) if isinstance(cls, ClassVal) else run.fresh(node)


def _globals(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    run.keep_globals(scope.module)
    return DictVal(scope.module.scope.names, open=True)  # type: ignore[arg-type]


def _fields(deep: bool) -> Handler:
    """`vars(record)`, `asdict(record)`: its fields by name; of anything else (or without an argument) nothing is known."""

    def handler(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
        value = first(args)
        return (records.contents(value, deep) if deep else records.own(value)) or DictVal({}, open=True)

    return handler


HANDLERS: dict[str, Handler] = {
    "builtins.hasattr": _hasattr,
    "builtins.getattr": _getattr,
    "builtins.setattr": _setattr,
    "builtins.object.__new__": _new,
    "builtins.object.__getattribute__": _getattr,
    "builtins.object.__setattr__": _setattr,
    "builtins.type": _type,
    "builtins.globals": _globals,
    "builtins.locals": lambda run, args, node, scope: DictVal({}, open=True),
    "builtins.vars": _fields(deep=False),
    "dataclasses.asdict": _fields(deep=True),
    "enum.auto": lambda run, args, node, scope: enums.Auto(None),
}
