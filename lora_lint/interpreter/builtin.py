"""Python's own builtins and the parts of the standard library that training scripts are wired with: functools.partial,
copy, itertools.chain, argparse, contextlib, dataclasses. Language semantics, not knowledge about training libraries."""

from __future__ import annotations

import posixpath
from dataclasses import replace

import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.conditions as conditions
import lora_lint.interpreter.dispatch as dispatch
import lora_lint.interpreter.managers as managers
from lora_lint.interpreter import (
    argparser,
    builtin_collections,
    by_name,
    chained,
    class_calls,
    config_files,
    copies,
    fallbacks,
    module_classes,
    operators,
    patterns,
    records,
    reflection,
    tensors,
)
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.builtin_collections import Handler
from lora_lint.interpreter.keys import compound, put_together
from lora_lint.interpreter.parameter_values import Element
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import (
    Bound,
    ClassVal,
    Const,
    DictVal,
    FuncVal,
    LibRef,
    Partial,
    Scope,
    SeqVal,
    Super,
    Sym,
    Value,
    key_of,
)
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Tensor
from lora_lint.lifecycle.vocabulary import Cut, Kind, Tri
from lora_lint.syntax import ir

_QUERY_PREFIXES = ("is_", "has_", "should_", "use_", "get_", "exists", "isdir", "isfile", "os.path")


def is_query(text: str) -> bool:
    """Whether a call by this name surely answers the same when asked again."""
    return text.rsplit(".", 1)[-1].startswith(_QUERY_PREFIXES)


def call(run: Run, name: str, args: Args, node: ir.Node, scope: Scope) -> Value:
    """Call a builtin or standard library function by qualified name; NotImplemented when it is none of these."""
    handler = _HANDLERS.get(name) or _HANDLERS.get(run.store.canonical(name))
    if handler is not None:
        return handler(run, args, node, scope)
    if name.startswith("builtins.") and not run.store.find_call(name):
        if name.endswith(("Error", "Exception", "Warning")):
            return run.fresh(node)
        run.touch_args(args)
        return run.fresh(node)
    return NotImplemented


def super_value(run: Run, scope: Scope, node: ir.Node) -> Value:
    """`super()` without arguments."""
    owner = scope.lookup("__class__")
    current: Scope | None = scope
    while current is not None:
        first = next(iter(current.names.values()), None) if "__class__" not in current.names else None
        receiver = current.names.get("self", current.names.get("cls", first))
        if isinstance(owner, ClassVal) and isinstance(receiver, (Obj, ClassVal)):
            return Super(owner, receiver)
        current = current.parent
    return run.fresh(node)


def _partial(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    if not args.positional:
        return run.fresh(node)
    return Partial(
        args.positional[0][0],
        tuple(v for v, _ in args.positional[1:]),
        {name: value for name, (value, _) in args.keywords.items()},
    )


def _method_type(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    values = [value for value, _ in args.positional]
    if len(values) == 2 and isinstance(values[0], FuncVal):
        return Bound(values[0], values[1])
    return run.fresh(node)


def _isinstance(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    if len(args.positional) != 2:
        return run.fresh(node)
    value, classes = args.positional[0][0], args.positional[1][0]
    if isinstance(value, Sym):
        value.loader = None  # code for batches of any type, which may move it
    options = classes.items if isinstance(classes, SeqVal) else [classes]
    answers = [is_instance(run, value, option) for option in options]
    if any(a.yes for a in answers):
        return Const(True)
    if all(a.no for a in answers):
        return Const(False)
    return Sym(("isinstance", key_of(value), tuple(key_of(o) for o in options)), "isinstance(…)")


def is_instance(run: Run, value: Value, option: Value) -> Tri:
    """Whether a value is an instance of one class."""
    if isinstance(value, Element) and isinstance(option, LibRef):
        return module_classes.is_a(value, option.name)
    if isinstance(value, Obj):
        if isinstance(option, ClassVal):
            if value.user_class is not None:
                return Tri.of(option in list(value.user_class.mro()) or None)
            return Tri.UNKNOWN if value.facts.get("promoted") else Tri.NO
        if isinstance(option, LibRef) and value.type and not value.facts.get("promoted"):
            spec = run.store.type_of(option.name)
            if spec is None:
                return Tri.UNKNOWN
            holder: Obj | None = value
            while holder is not None:
                if run.store.is_a(holder.type, spec.name):
                    # Patterns put many classes under one type: only the named type itself is a certain yes.
                    return Tri.YES if run.store.canonical(option.name) == spec.name else Tri.UNKNOWN
                holder = None
            return Tri.NO
        return Tri.UNKNOWN
    python = {
        "builtins.str": str,
        "builtins.int": int,
        "builtins.float": float,
        "builtins.bool": bool,
        "builtins.bytes": bytes,
    }
    if isinstance(option, LibRef):
        if tensors.is_one(value) and (option.name in (tensors.TYPE, *python) or option.name.startswith("numpy.")):
            return Tri.of(option.name == tensors.TYPE)
        if isinstance(value, Const) and option.name in python:
            return Tri.of(isinstance(value.value, python[option.name]))
        if option.name in ("builtins.list", "builtins.tuple", "builtins.set") and isinstance(value, SeqVal):
            return Tri.of(option.name == f"builtins.{value.kind}")
        if option.name == "builtins.dict" and isinstance(value, (DictVal, SeqVal, Const)):
            return Tri.of(isinstance(value, DictVal))
        if option.name in ("builtins.list", "builtins.tuple", "builtins.dict", "builtins.str") and isinstance(
            value, (Const, DictVal)
        ):
            return Tri.NO
    return Tri.UNKNOWN


def _str(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """A text is itself, a path its text."""
    value = config_files.place(builtin_collections.first(args))
    run.touch_args(args)
    if isinstance(value, Const) and len(args.positional) == 1:
        return value
    return replace(value if isinstance(value, Sym) and len(args.positional) == 1 else run.fresh(node), some=True)


def _number(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    value = builtin_collections.first(args)
    if isinstance(value, Tensor):
        return tensors.cut(run, value, Cut.ITEM, node)
    if isinstance(value, Const) and not isinstance(value.value, str):
        return value
    number = compound(("number", key_of(value)), [value], getattr(value, "text", ""))
    number.default = getattr(value, "default", None)
    return fallbacks.computed(run, number, [value])


def _bool(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    value = builtin_collections.first(args)
    answer = conditions.truth(run, value)
    if answer.known:
        return Const(answer.yes)
    return value if isinstance(value, Sym) else run.fresh(node)


def _nullcontext(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    context = run.make(Kind.CONTEXT, "contextlib.nullcontext", node)
    if args.positional:
        context.facts["enters"] = args.positional[0][0]
    return context


def object_method(run: Run, obj: Obj, name: str, args: Args, node: ir.Node) -> Value:
    """Methods of standard library objects; NotImplemented when it is none of these."""
    if name == "_replace" and obj.user_class is not None and records.is_record(obj.user_class):
        return records.replaced(run, obj, args, node)
    if obj.type == argparser.TYPE:
        return argparser.method(run, obj, name, args, node)
    if obj.type == managers.EXIT_STACK:
        return managers.stack_method(run, obj, name, args, node)
    if obj.kind is Kind.CONTEXT and managers.is_by_hand(name):
        return managers.by_hand(run, obj, name, node)
    return NotImplemented


def _decorator(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    value = builtin_collections.first(args)
    return value if isinstance(value, (FuncVal, ClassVal)) else LibRef("builtins.decorator")


def _static(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """`staticmethod(function)` as a class attribute: called without the object."""
    value = builtin_collections.first(args)
    return replace(value, static=True) if isinstance(value, FuncVal) else value


def _field(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    value = args.keywords.get("default", (None, None))[0]
    factory = args.keywords.get("default_factory", (None, None))[0]
    if value is not None:
        return value
    if isinstance(factory, (FuncVal, LibRef)) or (isinstance(factory, ClassVal) and records.is_record(factory)):
        return calls.call_value(run, factory, Args(), node, scope)
    return run.fresh(node)


def _replace(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    value = builtin_collections.first(args)
    if isinstance(value, Obj) and records.is_setting(value) and not args.open_keywords:
        return records.changed(run, value, args, node, scope)
    if isinstance(value, Obj) and value.user_class is not None and records.is_record(value.user_class):
        return records.replaced(run, value, args, node)
    calls.escape(run, args, node)
    return run.fresh(node)


def _in_order(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """`astuple(record)`: what its fields hold, in their order."""
    value = builtin_collections.first(args)
    if isinstance(value, Obj) and value.user_class is not None and records.is_record(value.user_class):
        return SeqVal("tuple", [value.attrs[name] for name in records.fields(value.user_class) if name in value.attrs])
    return run.fresh(node)


def _round(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    value = builtin_collections.first(args)
    return value if isinstance(value, Const) else _number(run, args, node, scope)


def _join_path(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """`os.path.join`: like an f-string with slashes in it."""
    values = list(args.values())
    if all(isinstance(v, Const) and isinstance(v.value, str) for v in values):
        return Const(posixpath.join(*(str(v.value) for v in values)) if values else "")
    parts = [part for value in values for part in (Const("/"), value)][1:]
    return put_together(tuple(key_of(v) for v in parts), values)


def _match(how: str) -> Handler:
    return lambda run, args, node, scope: patterns.function(run, how, args, node)


_HANDLERS: dict[str, Handler] = {
    **builtin_collections.HANDLERS,
    **chained.HANDLERS,
    **reflection.HANDLERS,
    "functools.partial": _partial,
    "functools.partialmethod": lambda run, args, node, scope: dispatch.partial_method(run, args, node),
    "types.MethodType": _method_type,
    "collections.namedtuple": class_calls.named_tuple,
    "typing.NamedTuple": class_calls.named_tuple,
    "re.compile": lambda run, args, node, scope: patterns.compile_(run, args, node),
    **{f"re.{how}": _match(how) for how in patterns.FUNCTIONS},
    **{
        f"fnmatch.{name}": lambda run, args, node, scope: patterns.glob(run, args, node)
        for name in ("fnmatch", "fnmatchcase")
    },
    "os.path.join": _join_path,
    "functools.wraps": lambda run, args, node, scope: LibRef("builtins.decorator"),
    "functools.lru_cache": lambda run, args, node, scope: LibRef("functools.cache"),
    "functools.cached_property": _decorator,
    "builtins.staticmethod": _static,
    "importlib.import_module": by_name.import_module,
    "pydoc.locate": by_name.locate,
    "builtins.isinstance": _isinstance,
    "builtins.str": _str,
    "builtins.float": _number,
    "builtins.int": _number,
    "builtins.bool": _bool,
    "builtins.round": _round,
    "operator.methodcaller": operators.methodcaller,
    "operator.attrgetter": operators.attrgetter,
    "operator.itemgetter": operators.itemgetter,
    "copy.deepcopy": copies.deepcopy,
    "copy.copy": copies.shallow,
    "contextlib.nullcontext": _nullcontext,
    "argparse.ArgumentParser": lambda run, args, node, scope: argparser.parser(run, node),
    "contextlib.ExitStack": lambda run, args, node, scope: run.make(Kind.CONTEXT, managers.EXIT_STACK, node),
    "contextlib.AsyncExitStack": lambda run, args, node, scope: run.make(Kind.CONTEXT, managers.EXIT_STACK, node),
    "dataclasses.field": _field,
    "dataclasses.replace": _replace,
    "copy.replace": _replace,
    "dataclasses.astuple": _in_order,
    "dataclasses.fields": lambda run, args, node, scope: records.described(run, builtin_collections.first(args), node),
    "typing.cast": lambda run, args, node, scope: args.positional[-1][0] if args.positional else Const(None),
}
