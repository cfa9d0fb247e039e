"""Classes that calls make, `namedtuple("Parts", "model optimizer")`, and classes whose instances are plain collections."""

from __future__ import annotations

import lora_lint.interpreter.builtin_collections as builtin_collections
from lora_lint.interpreter import config_files, records
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import ClassVal, Const, DictVal, FuncVal, LibRef, Scope, SeqVal, Value
from lora_lint.interpreter.walk import nodes_in
from lora_lint.syntax import ir

_DICTS = frozenset({"builtins.dict", "collections.OrderedDict"})
_OF_ATTRIBUTES = frozenset(
    {"__init__", "__getattr__", "__setattr__", "__delattr__", "__repr__", "__str__", "__slots__"}
)
_TYPED_DICT = frozenset({"typing.TypedDict", "typing_extensions.TypedDict"})


def named_tuple(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """`collections.namedtuple(…)` and `typing.NamedTuple(…)`: the class, as the statement would define it."""
    name, given = args.get(0, "typename"), args.get(1, "field_names")
    given = given if given is not None else args.get(1, "fields")
    found = _field_names(given)
    if not isinstance(name, Const) or found is None:
        run.touch_args(args)
        return run.fresh(node)
    loc = node.loc
    annotated = tuple(ir.Assign(loc, (ir.Name(loc, each),), None, ir.Name(loc, "object")) for each in found)
    defaults = args.keywords.get("defaults", (None, None))[0]
    last = defaults.items if isinstance(defaults, SeqVal) and not defaults.open else []
    attrs: dict[str, Value] = dict(zip(reversed(found), reversed(last), strict=False))
    base = ir.Arg(loc, None, ir.Name(loc, "NamedTuple"))
    return ClassVal(ir.ClassDef(loc, str(name.value), (base,), annotated, ()), scope, (LibRef(records.TUPLE),), attrs)


def _field_names(given: Value) -> list[str] | None:
    """The names of the fields: words of a text, a list of texts, or of pairs of a text and a type."""
    if isinstance(given, Const) and isinstance(given.value, str):
        return given.value.replace(",", " ").split()
    if not isinstance(given, SeqVal) or given.open:
        return None
    heads = [item.items[0] if isinstance(item, SeqVal) and item.items else item for item in given.items]
    texts = [head.value for head in heads if isinstance(head, Const) and isinstance(head.value, str)]
    return texts if len(texts) == len(heads) else None


def plain_dict(run: Run, cls: ClassVal, args: Args, node: ir.Node) -> Value | None:
    """What an instance of a `TypedDict` is, a dict, and one of a class that only lets the items of a dict be read as
    attributes too; None for other classes, and where not all items are known."""
    bases = cls.library_bases()
    typed = not bases.isdisjoint(_TYPED_DICT)
    if not typed and bases.isdisjoint(_DICTS):
        return None
    defined = {name for each in cls.mro() for name in each.attrs}
    if not typed and not defined <= _OF_ATTRIBUTES:
        return None
    init = cls.find("__init__")
    if init is not None and not _is_its_own_dict(init):
        return None
    made = builtin_collections.HANDLERS["builtins.dict"](run, args, node, cls.scope)
    if typed or not isinstance(made, DictVal):
        return made if typed else None
    if made.open or not (init is not None or "__getattr__" in defined):
        return None
    return config_files.with_dots(made)


def _is_its_own_dict(init: Value) -> bool:
    """Whether a constructor says `self.__dict__ = self`."""
    nodes = nodes_in(init.node) if isinstance(init, FuncVal) else ()
    written = [target for node in nodes if isinstance(node, ir.Assign) for target in node.targets]
    return any(isinstance(target, ir.Attr) and target.name == "__dict__" for target in written)
