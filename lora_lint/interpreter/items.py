"""`value[index]` of abstract values."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import reduce

import lora_lint.interpreter.attributes as attributes
import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.conditions as conditions
import lora_lint.interpreter.elements as elements
import lora_lint.interpreter.iteration as iteration
import lora_lint.interpreter.params as params
from lora_lint.interpreter import encodings, factories, found_modules, gathering, losses
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.keys import compound, joined, one_of_texts
from lora_lint.interpreter.parameter_values import Element, ParamIter, ParamName, ParamSet
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import (
    Bound,
    Choice,
    ClassVal,
    Const,
    DictVal,
    FuncVal,
    LibRef,
    Member,
    Partial,
    Planned,
    SeqVal,
    Sym,
    Value,
    is_none,
    is_slice,
    join,
    key_of,
)
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Tensor
from lora_lint.lifecycle.vocabulary import Ev, Kind
from lora_lint.syntax import ir

# What indexing or computing with the user's own constants may raise.
CONSTANT_ERRORS = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, MemoryError)


def read_item(run: Run, value: Value, index: Value, node: ir.Node) -> Value:
    """`value[index]`."""
    if isinstance(value, Choice):
        with run.one_of(value.values):
            return reduce(join, [read_item(run, v, index, node) for v in value.values])
    if isinstance(value, SeqVal):
        return _of_sequence(run, value, index, node)
    if isinstance(value, DictVal):
        return _of_dict(run, value, index, node)
    if isinstance(value, Tensor):
        return _of_tensor(run, value, index, node)
    if isinstance(value, Const):
        return _of_constant(run, value, index, node)
    if isinstance(value, (ParamSet, ParamIter)):
        found = params.at_place(run, value, index) or found_modules.only(value, index)
        return found if found is not None else params.cut(run, value, index, node)
    if isinstance(value, Element) and (matrix := elements.item_of_layer(value, index)) is not None:
        return matrix
    if isinstance(value, LibRef):
        getter = f"{value.name}.__getitem__"
        if run.store.find_call(getter):
            return calls.call_library(run, getter, Args([(index, None)]), node, run.module.scope)
        return value  # a generic alias: List[int], nn.Module[...]
    if isinstance(value, Sym):
        name = f"[{key_of(index)}]"
        if name not in value.attrs:
            key = ("item", value.key, key_of(index))
            value.attrs[name] = compound(key, [value, index], f"{value.text}[…]", data=value.data)
        part = value.attrs[name]
        if isinstance(part, Sym):
            part.loader = value.loader
        return part
    if isinstance(value, Obj):
        return attributes.item_of_object(run, value, index, node)
    if isinstance(value, ClassVal) and isinstance(index, Const) and isinstance(index.value, str):
        member = value.find(index.value)
        return member if isinstance(member, Member) else run.fresh(node)
    return run.fresh(node)


def _of_sequence(run: Run, value: SeqVal, index: Value, node: ir.Node) -> Value:
    if isinstance(index, Const) and isinstance(index.value, int) and not isinstance(index.value, bool):
        if -len(value.items) <= index.value < len(value.items) and not (value.open and index.value < 0):
            return value.items[index.value]
    if isinstance(index, Const) and isinstance(index.value, slice):
        return SeqVal(value.kind, list(value.items) if value.open else value.items[index.value], value.open)
    if isinstance(index, Sym) and is_slice(index):
        models = [item for item in value.items if isinstance(item, Obj) and item.kind is Kind.MODEL]
        calls.escape(run, Args([(model, None) for model in models]), node)  # nobody knows which are meant
        return SeqVal(value.kind, list(value.items), open=True)
    if isinstance(index, Sym) and (modules := iteration.modules_of(value)) is not None:
        return iteration.module_at(run, modules, index)
    if value.items and not value.open:
        return reduce(join, value.items)
    if (batch := _one_of_batches(value)) is not None:
        return batch
    some = _any_tool(run, value.items) or one_of_texts(value.items, (id(value), key_of(index)))
    return run.fresh(node) if some is None else some


def _one_of_batches(value: SeqVal) -> Tensor | None:
    """One of several batches that a loop encoded in the same way: a dataset's texts, encoded beforehand."""
    batches = [item for item in value.items if isinstance(item, Tensor) and item.encoding is not None]
    places = {batch.encoding.location for batch in batches if batch.encoding is not None}
    return batches[0] if len(places) == 1 and len(batches) == len(value.items) else None


def _of_dict(run: Run, value: DictVal, index: Value, node: ir.Node) -> Value:
    if (found := held_by_name(run, value, index)) is not None:
        return found
    if (for_this := for_turn(value, index)) is not None:
        return for_this[0] if for_this else run.fresh(node)
    if isinstance(index, Const):
        try:
            if index.value in value.items:
                return value.items[index.value]
        except TypeError:  # not hashable
            return run.fresh(node)
    elif (kept := value.items.get(("unknown", key_of(index)))) is not None:
        return kept
    elif (
        isinstance(index, Sym)
        and isinstance(index.key, tuple)
        and index.key[:1] == ("key",)
        and index.key[1] in value.items
    ):
        return value.items[index.key[1]]  # one of its own keys
    if isinstance(index, Choice) and (found := _one_of_keys(run, value, index, node)) is not None:
        return found
    if value.factory is not None:
        return _made_on_demand(run, value, index, node)
    picked = picked_by_default(run, value, index, node) or _any_tool(run, list(value.items.values()))
    picked = picked or registered(run, value, index, node) or _data_by_default(run, value, index)
    for each in value.items.values() if picked is None else ():
        run.use(each)  # it may be the one
    return unknown_entry(run, value, index, node) if picked is None else picked


def unknown_entry(run: Run, value: DictVal, index: Value, node: ir.Node) -> Sym:
    """What a dict holds under a key that is not known. It remembers which adapter configs it may be."""
    configs = [item.site for item in value.items.values() if isinstance(item, Obj) and item.kind is Kind.ADAPTER_CONFIG]
    if configs:
        return Sym((_ENTRY, tuple(configs), key_of(index), run.loc(node)))
    return run.fresh(node, data=_holds_numbers(value))


def use_configs(run: Run, values: Iterable[Value]) -> None:
    """Something is made of what is in these values: each adapter config that is one of them, or may be, counts as used."""
    for value in losses.leaves(values):
        if isinstance(value, Obj) and value.kind is Kind.ADAPTER_CONFIG:
            run.witnesses.add(("config-used", value.site))
        elif isinstance(value, Sym):
            use_entry(run, value)


def use_entry(run: Run, value: Sym) -> None:
    """Something was made of such an unknown, or of a copy of it: any of the configs may be the one."""
    key: Hashable = value.key
    while isinstance(key, tuple) and key[:1] == ("copy",):
        key = key[1]
    if isinstance(key, tuple) and key[:1] == (_ENTRY,):
        run.witnesses.update(("config-used", site) for site in key[1])


def _holds_numbers(value: DictVal) -> bool:
    """Whether a dict holds nothing else than numbers the user wrote down: weights, sizes, rates. Whichever is meant, no
    graph hangs on it."""
    numbers = [v for v in value.items.values() if isinstance(v, Const) and type(v.value) in (int, float)]
    return bool(numbers) and len(numbers) == len(value.items) and not value.open


def _made_on_demand(run: Run, value: DictVal, index: Value, node: ir.Node) -> Value:
    """What a defaultdict gives for a key that it may not have yet. Once keys are in it that are not known, what it makes for
    another key may be there already, with more in it."""
    made = calls.call_value(run, value.factory, Args(), node, run.module.scope)
    if value.open and not (value.keyed and run.param_loops) and isinstance(made, (SeqVal, DictVal)):
        made.open = True
    if isinstance(index, Const):
        value.keyed = value.keyed or (bool(run.param_loops) and not value.open)
        value.items[index.value], value.open = made, value.open or bool(run.param_loops)
    else:
        gathering.put_under(run, value, index, made)
    return made


def _any_tool(run: Run, values: list[Value]) -> Value | None:
    """One of the optimizers or schedulers that a collection holds nothing else than, whichever is meant: what is done to it
    is done to them."""
    tools = [value for value in values if isinstance(value, Obj) and value.kind in _TOOLS]
    return reduce(join, values) if tools and len(tools) == len(values) else None


_TOOLS = (Kind.OPTIMIZER, Kind.SCHEDULER)


def planned(value: DictVal, index: Value) -> tuple[int, ...] | None:
    """The keys of a plan by epochs (`{0: ["head"], 3: ["lora"]}`) that a counter may be in this turn; None where that is not
    known."""
    turn = index.turn if isinstance(index, Sym) and not value.open else None
    return turn.among(value.items) if turn is not None and turn.start is not None else None


def for_turn(value: DictVal, index: Value) -> list[Value] | None:
    """What a plan by epochs has for the turn that a counter is in, if anything; None where that is not known. The last turn
    stands for all later ones: what lists for several of them hold has come by then."""
    keys = planned(value, index)
    found = [value.items[key] for key in keys or ()]
    if len(found) > 1 and all(isinstance(each, SeqVal) for each in found):
        return [SeqVal("list", *joined(found))]
    if len(found) > 1 and all(isinstance(each, Const) and isinstance(each.value, str) for each in found):
        return [Planned(tuple(found))]
    return None if keys is None or len(found) > 1 else found


def held_by_name(run: Run, value: DictVal, index: Value) -> Value | None:
    """A parameter or module out of a dict of them by their names."""
    return params.named(run, value, index) or found_modules.named(value, index)


def picked_by_default(run: Run, value: DictVal, index: Value, node: ir.Node) -> Value | None:
    """What an option picks out of a dict of functions, classes or objects while it has its default; None on the path
    where it is another one, and for anything else."""
    if isinstance(index, Sym):
        _belong_together(run, value)
    default = index.default if isinstance(index, Sym) else None
    found = value.items.get(default.value) if isinstance(default, Const) and isinstance(default.value, str) else None
    if not isinstance(index, Sym) or default is None or not isinstance(found, _PICKED):
        return None
    if isinstance(found, LibRef) and run.store.find_call(found.name) is None and run.store.type_of(found.name) is None:
        return None
    same = Sym(("==", index.key, key_of(default)), index.text, Const(True))
    return found if conditions.decide(run, same, node)[0] else None


def _data_by_default(run: Run, value: DictVal, index: Value) -> Value | None:
    """The plain data that an option picks out of a dict while it has its default: `DTYPES[args.precision]`."""
    known = run.by_default(index)
    found = value.items.get(known.value) if isinstance(known, Const) and isinstance(known.value, str) else None
    return found if isinstance(found, (Const, LibRef, DictVal, SeqVal)) else None


def _belong_together(run: Run, table: DictVal) -> None:
    """An option picks one of these configs: where any of them is applied, the others are for other settings of it."""
    configs: list[Obj] = []
    for item in table.items.values():
        held = [item, *item.attrs.values()] if isinstance(item, Obj) else [item]
        configs.extend(one for one in held if isinstance(one, Obj) and one.kind is Kind.ADAPTER_CONFIG)
    if len(configs) > 1:
        run.alternatives.add(frozenset(("config-used", config.site) for config in configs))


def registered(
    run: Run, value: DictVal, index: Value, node: ir.Node, certain: bool = True, other: Value = None
) -> Value | None:
    """What an unknown key picks out of a registry of a few classes or functions: each of them on a path of its own, where
    one of them matters, or all give the config of an adapter. certain: it is one of
    them. other: what there is for other keys."""
    found = list(value.items.items())
    if not isinstance(index, Sym) or index.default is not None or value.open or not 0 < len(found) <= _FEW:
        return None
    if not _matter(run, value):
        made = factories.made_by(run, [*value.items.values(), *([] if other is None or is_none(other) else [other])])
        if made is None:
            return None
        run.alternatives.add(frozenset(("config-used", place) for place in made))
    for key, item in found[:-1] if certain else found:
        if conditions.decide(run, Sym(("==", index.key, key_of(Const(key))), index.text), node)[0]:
            return item
    return found[-1][1] if certain else None


def _one_of_keys(run: Run, value: DictVal, index: Choice, node: ir.Node) -> Value | None:
    """What one of a few known keys picks out of a table of classes or functions, each on a path of its own."""
    keys = [key.value for key in index.values if isinstance(key, Const) and isinstance(key.value, str)]
    if len(keys) < len(index.values) or not all(key in value.items for key in keys) or not _matter(run, value):
        return None
    for key in keys[:-1]:
        if conditions.decide(run, Sym(("key", run.loc(node), key), key), node)[0]:
            return value.items[key]
    return value.items[keys[-1]]


def _matter(run: Run, table: DictVal) -> bool:
    """Whether a table holds classes and functions, each alone or in a tuple, of which one can matter to the lifecycle: one of
    the user's, or a trainer, an optimizer or a pretrained model of a library."""
    entries = [item.items if isinstance(item, SeqVal) and not item.open else [item] for item in table.items.values()]
    held = [[each for each in entry if isinstance(each, _MADE_BY)] for entry in entries]
    return all(held) and any(_is_hot(run, each) for entry in held for each in entry)


def _is_hot(run: Run, made_by: Value) -> bool:
    if isinstance(made_by, LibRef):
        spec = run.store.type_of(made_by.name)
        return spec is not None and (spec.kind in _DRIVERS or run.store.is_a(spec.name, "transformers.PreTrainedModel"))
    return isinstance(made_by, ClassVal) or (isinstance(made_by, FuncVal) and run.program.is_hot(made_by.node))


_MADE_BY = (ClassVal, FuncVal, LibRef, Partial)
_DRIVERS = frozenset({Kind.TRAINER, Kind.OPTIMIZER})
_FEW = 8
_ENTRY = "entry of a table"
_PICKED = (FuncVal, Bound, ClassVal, Partial, LibRef, Obj)


def _of_tensor(run: Run, value: Tensor, index: Value, node: ir.Node) -> Value:
    if value.device == "cuda" and run.in_worker:
        run.emit(Ev.TOUCH_CUDA, node, args={"how": "a CUDA tensor", "move": False})
    if value.encoding is not None and isinstance(index, Const) and isinstance(index.value, str):
        return encodings.item(value, index.value)
    return encodings.cut(value, index) if value.ids is not None else value


def _of_constant(run: Run, value: Const, index: Value, node: ir.Node) -> Value:
    if not isinstance(index, Const):
        return run.fresh(node)
    try:
        found = value.value[index.value]  # type: ignore[index]
        if isinstance(value, ParamName) and isinstance(index.value, slice):
            return value.part(str(found), lambda text: text[index.value])
        return Const(found)
    except CONSTANT_ERRORS:
        return run.fresh(node)
