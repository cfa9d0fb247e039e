"""`operator.methodcaller`, `attrgetter` and `itemgetter`: functions that are written as a lambda would be."""

from __future__ import annotations

from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, FuncVal, Scope, Value
from lora_lint.syntax import ir

_OBJECT = ""  # no name of the user's: messages are to use theirs for what is given


def methodcaller(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """`methodcaller("eval")` is `lambda obj: obj.eval()`."""
    name, *rest = [value for value, _ in args.positional] or [Const(None)]
    if not (isinstance(name, Const) and isinstance(name.value, str)) or args.open_positional or args.open_keywords:
        return run.fresh(node)
    given: dict[str, Value] = {f"given{i}": value for i, value in enumerate(rest)}
    given.update({f"given_{key}": value for key, (value, _) in args.keywords.items()})
    written = [ir.Arg(node.loc, None, ir.Name(node.loc, f"given{i}")) for i in range(len(rest))]
    written += [ir.Arg(node.loc, key, ir.Name(node.loc, f"given_{key}")) for key in args.keywords]
    called = ir.Call(node.loc, ir.Attr(node.loc, ir.Name(node.loc, _OBJECT), name.value), tuple(written))
    return _function(called, given, node, scope)


def attrgetter(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """`attrgetter("a.b")` is `lambda obj: obj.a.b`; of several names nothing is followed."""
    name = args.first()
    if len(args.positional) != 1 or not (isinstance(name, Const) and isinstance(name.value, str)):
        return run.fresh(node)
    body: ir.Expr = ir.Name(node.loc, _OBJECT)
    for part in name.value.split("."):
        body = ir.Attr(node.loc, body, part)
    return _function(body, {}, node, scope)


def itemgetter(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """`itemgetter(key)` is `lambda obj: obj[key]`; of several keys nothing is followed."""
    key = args.first()
    if len(args.positional) != 1 or key is None:
        return run.fresh(node)
    body = ir.Item(node.loc, ir.Name(node.loc, _OBJECT), ir.Name(node.loc, "key"))
    return _function(body, {"key": key}, node, scope)


def _function(body: ir.Expr, given: dict[str, Value], node: ir.Node, scope: Scope) -> FuncVal:
    parameter = ir.Param(node.loc, _OBJECT, "positional", None, None)
    return FuncVal(ir.Lambda(node.loc, (parameter,), body), Scope(given, scope.module, scope))
