"""Classes that calls make, `namedtuple("Parts", "model optimizer")`, and classes whose instances are plain collections."""

from __future__ import annotations

import lora_lint.interpreter.builtin_collections as builtin_collections
from lora_lint.interpreter import records
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import ClassVal, Const, LibRef, Scope, SeqVal, Value
from lora_lint.syntax import ir

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
    """What an instance of a `TypedDict` is, a dict; None for other classes."""
    bases = (base for each in cls.mro() for base in each.bases)
    if not any(isinstance(base, LibRef) and base.name in _TYPED_DICT for base in bases):
        return None
    return builtin_collections.HANDLERS["builtins.dict"](run, args, node, cls.scope)
