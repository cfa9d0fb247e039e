"""Instances of dataclasses and named tuples: their fields, copies with some fields changed, fields by position."""

from __future__ import annotations

import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.evaluate as evaluation
from lora_lint.apis.renames import renames
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import ClassVal, Const, DictVal, FuncVal, LibRef, Mutated, Scope, SeqVal, Sym, Value
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.vocabulary import Ev, Kind
from lora_lint.syntax import ir

_OPTIONS = "argparse.Namespace"
_FIELD = "dataclasses.Field"
TUPLE = "typing.NamedTuple"


def is_record(cls: ClassVal) -> bool:
    """Whether instances of a class are made of its annotated fields."""
    return any(each.is_dataclass for each in cls.mro()) or is_tuple(cls)


def is_tuple(cls: ClassVal) -> bool:
    """Whether a class is a named tuple."""
    return TUPLE in cls.library_bases()


def fields(cls: ClassVal) -> list[str]:
    """Names of the fields of a class, in order, those of its bases first."""
    found: dict[str, None] = {}
    for owner in reversed(list(cls.mro())):
        for statement in owner.node.body:
            if isinstance(statement, ir.Assign) and statement.annotation is not None:
                target = statement.targets[0]
                if isinstance(target, ir.Name):
                    found[target.id] = None
    return list(found)


def described(run: Run, value: Value, node: ir.Node) -> Value:
    """`dataclasses.fields(record)`: what tells of each field its name and default; of a library's record nothing is known."""
    cls = value if isinstance(value, ClassVal) else value.user_class if isinstance(value, Obj) else None
    if cls is None or not is_record(cls) or cls.library_base():
        return run.fresh(node)
    found: list[Value] = []
    for name in fields(cls):
        field = run.make(Kind.OBJECT, _FIELD, node)
        field.attrs["name"] = Const(name)
        found.append(field)
    return SeqVal("tuple", found)


def contents(value: Value, deep: bool = False) -> DictVal | None:
    """The attributes of an instance by name: of a record, of options, of a namespace; None where they are not known. Of other
    classes of the user's there may be more. deep: records in records are told of in the same way."""
    if isinstance(value, DictVal) and value.dotted:
        return DictVal(dict(value.items), open=value.open, options=value.options)
    if not isinstance(value, Obj) or value.kind is not Kind.OBJECT:
        return None
    cls = value.user_class
    known = value.type == _OPTIONS if cls is None else is_record(cls) or not (cls.library_base() or cls.opaque())
    if not known:
        return None
    held: dict[object, Value] = {
        name: (contents(inner, deep) if deep and _is_plain(inner) else None) or inner
        for name, inner in value.attrs.items()
    }
    return DictVal(held, open=cls is None or not is_record(cls))


def own(value: Value) -> DictVal | None:
    """`value.__dict__`, `vars(value)`: what is written there is an attribute from then on; None where that is not known."""
    held = contents(value)
    if held is not None and isinstance(value, (Obj, DictVal)):
        held.items = value.attrs if isinstance(value, Obj) else value.items  # type: ignore[assignment]
    return held


def fill(run: Run, obj: Obj, cls: ClassVal, args: Args, node: ir.Node) -> None:
    """Set the fields of a new instance: from its arguments, else the defaults, else unknown."""
    values = [value for value, _ in args.positional]
    for name in fields(cls):
        if values:
            obj.attrs[name] = values.pop(0)
        elif name in args.keywords:
            obj.attrs[name] = args.keywords[name][0]
        else:
            default = cls.find(name)
            inner = _field_group(run, cls, name, default, node) if args.options else None
            if inner is not None:
                _opened(run, inner, node, name)
                obj.attrs[name] = inner
            elif default is None or args.open_keywords:
                obj.attrs[name] = _asked(obj, name, default, option=name if args.options else "")
            else:
                obj.attrs[name] = _own(run, default, node)


def _asked(obj: Obj, name: str, default: Value | None, path: str = "", option: str = "") -> Sym:
    """A field that may differ from its default."""
    known = default if isinstance(default, Const) else None
    return Sym(("field", obj.site, path or name), name, known, option=option)


def _field_group(run: Run, cls: ClassVal, name: str, default: Value | None, node: ir.Node) -> Obj | None:
    """What a parser of dataclasses makes of a field that is one itself: its default, else an instance of the class that it is
    annotated with; None for other fields."""
    if isinstance(default, Obj):
        made = _own(run, default, node)
        return made if made is not default and _is_plain(made) else None
    if default is not None:
        return None
    told = [(s, owner) for owner in cls.mro() for s in owner.node.body if isinstance(s, ir.Assign)]
    for statement, owner in told:
        target = statement.targets[0]
        if isinstance(target, ir.Name) and target.id == name:
            return _instance(run, statement.annotation, owner.scope, node)
    return None


def group(run: Run, param: ir.Param, scope: Scope, node: ir.Node) -> Obj | None:
    """What a parser of dataclasses passes to a function for a parameter that is annotated with one; None for other parameters."""
    made = _instance(run, param.annotation, scope, node)
    if made is not None:
        _opened(run, made, node, param.name)
    return made


def _instance(run: Run, annotation: ir.Expr | None, scope: Scope, node: ir.Node) -> Obj | None:
    """A new instance of the dataclass of the user's that an annotation names."""
    told = evaluation.evaluate(run, annotation, scope) if isinstance(annotation, (ir.Name, ir.Attr)) else None
    if not isinstance(told, ClassVal) or not is_record(told) or told.library_base():
        return None
    made = calls.call_value(run, told, Args(), node, run.module.scope)
    return made if isinstance(made, Obj) and _is_plain(made) else None


def _is_plain(obj: Value) -> bool:
    """Whether an object is of a dataclass that is the user's alone."""
    cls = obj.user_class if isinstance(obj, Obj) else None
    return cls is not None and is_record(cls) and not cls.library_base() and not cls.opaque()


def _opened(run: Run, obj: Obj, node: ir.Node, path: str, depth: int = 4) -> None:
    """Every field of a new instance may differ from its default, and so what is computed from fields. path: how it is reached
    from the outermost instance, which was made at the same place."""
    cls = obj.user_class
    assert cls is not None
    for name in fields(cls):
        value, declared, inner = obj.attrs.get(name), cls.find(name), f"{path}.{name}"
        if declared is None and depth:
            value = _field_group(run, cls, name, None, node) or value
        if isinstance(value, Obj) and _is_plain(value) and depth:
            obj.attrs[name] = value
            _opened(run, value, node, inner, depth - 1)
        else:
            default = declared if isinstance(value, Obj) else value.default if isinstance(value, Sym) else value
            obj.attrs[name] = _asked(obj, name, default, inner, name)
    after = cls.find("__post_init__")
    if isinstance(after, FuncVal):
        calls.call_function(run, after, [(None, obj)], node)


def default_of(value: Value | None) -> Const | None:
    """The constant that a default is: itself, or what an option or field that a library describes is made with."""
    found = value.facts.get("default") if isinstance(value, Obj) and value.kind is Kind.OBJECT else value
    return found if isinstance(found, Const) else None


def is_known(value: Value) -> bool:
    """Whether a value costs little to go over: a constant, or what tells of a field."""
    return isinstance(value, Const) or (isinstance(value, Obj) and value.type == _FIELD)


def fill_some(obj: Obj, cls: ClassVal, args: Args) -> None:
    """Set the fields of a new instance of a class that a library gives its constructor: those that it is given, and those
    whose default the library describes."""
    for name in fields(cls):
        given, described = args.keywords.get(name), cls.find(name)
        if given is not None:
            obj.attrs[name] = given[0]
        elif args.open_keywords:
            obj.attrs[name] = Sym(("field", obj.site, name), name, default_of(described))
        elif isinstance(described, Obj) and (default := default_of(described)) is not None:
            obj.attrs[name] = default


def _own(run: Run, default: Value, node: ir.Node, depth: int = 4) -> Value:
    """What a factory made as the default of a field: every instance has one of its own. depth: records may hold each
    other in a ring."""
    if not isinstance(default, Obj) or default.user_class is None or not is_record(default.user_class) or not depth:
        return default
    made = replaced(run, default, Args(), node)
    made.attrs = {name: _own(run, value, node, depth - 1) for name, value in made.attrs.items()}
    return made


def picked(run: Run, cls: ClassVal | LibRef, given: DictVal, classes: list[Value]) -> Args:
    """The items of a mapping that are fields of a class, as keyword arguments. A library's class gets what is a field of
    none of the user's classes, but for names that only some releases have: which class they are meant for is not known.
    """
    own = set(fields(cls)) if isinstance(cls, ClassVal) else set()
    others = {name for each in classes if isinstance(each, ClassVal) and each is not cls for name in fields(each)}
    base = cls.library_base() if isinstance(cls, ClassVal) else cls.name
    known = bool(base) and bool(run.store.find_method(base, "__init__"))
    args = Args(open_keywords=given.open)
    for name, value in given.items.items():
        if isinstance(name, str) and (
            name in own or (known and name not in others and renames().argument(run.store, base, name) is None)
        ):
            args.keywords[name] = (value, None)
    return args


def replaced(run: Run, obj: Obj, args: Args, node: ir.Node) -> Obj:
    """A copy with some fields changed: `record._replace(x=…)`, `dataclasses.replace(record, x=…)`. What the other fields
    hold is shared.
    """
    made = run.make(obj.kind, obj.type, node)
    made.user_class, made.name, made.facts = obj.user_class, obj.name, dict(obj.facts)
    made.attrs = dict(obj.attrs)
    if args.open_keywords:  # any field may be among the changed ones
        for name, value in obj.attrs.items():
            made.attrs[name] = Sym(("field", made.site, name), name, value if isinstance(value, Const) else None)
    made.attrs.update({name: value for name, (value, _) in args.keywords.items()})
    return made


_SETTINGS = {Kind.ADAPTER_CONFIG: (Ev.CONFIGURE, "config"), Kind.ARGUMENTS: (Ev.ARGUMENTS, "arguments")}


def is_setting(obj: Obj) -> bool:
    """Whether an object is of a library's dataclass, or of one made of it: an adapter config, training arguments."""
    return obj.kind in _SETTINGS and (obj.user_class is None or is_record(obj.user_class))


def changed(run: Run, obj: Obj, args: Args, node: ir.Node, scope: Scope) -> Obj:
    """`dataclasses.replace(config, r=8)`: a library's dataclass made again, with some fields changed."""
    made = replaced(run, obj, args, node)
    made.name = ""
    # That a field got the None of a mutating method was said where it got it.
    made.facts.update({name: Const(None) for name, value in obj.facts.items() if isinstance(value, Mutated)})
    new: dict[object, Value] = {name: value for name, (value, _) in args.keywords.items()}
    held = obj.facts.get("kwargs")
    if isinstance(held, DictVal):
        made.facts["kwargs"] = DictVal({**held.items, **new}, open=held.open)
    if obj.kind is Kind.ADAPTER_CONFIG:
        run.witnesses.add(("config-used", obj.site))
        for name, (value, _) in args.keywords.items():
            made.facts[fact_name(name)] = value
            made.facts.pop(f"set:{fact_name(name)}", None)
    kind, role = _SETTINGS[obj.kind]
    written = frozenset(name for name, (_, expr) in args.keywords.items() if expr is not None)
    made.event = run.emit(kind, node, {role: made}, {"written": written, "bound": bound(scope)}, obj.type)
    return made


def bound(scope: Scope) -> dict[str, Obj]:
    """Models and adapter configs by the variables that hold them where an event happens, attributes of `self` included."""
    found: dict[str, Obj] = {}
    for name, value in scope.names.items():
        if not isinstance(value, Obj):
            continue
        held = {f"{name}.{key}": inner for key, inner in value.attrs.items()} if value.user_class is not None else {}
        for text, obj in ((name, value), *held.items()):
            if isinstance(obj, Obj) and obj.kind in (Kind.MODEL, Kind.ADAPTER_CONFIG) and not obj.path:
                found[text] = obj
    return found


def fact_name(attribute: str) -> str:
    """The fact that an attribute of a config stands for."""
    return {"inference_mode": "inference"}.get(attribute, attribute)


def item(obj: Obj, index: Value) -> Value | None:
    """A field of a named tuple by position, None when it is not one or the position is unknown."""
    position = index.value if isinstance(index, Const) else None
    if obj.user_class is None or not isinstance(position, int) or not is_tuple(obj.user_class):
        return None
    names = fields(obj.user_class)
    return obj.attrs.get(names[position]) if -len(names) <= position < len(names) else None
