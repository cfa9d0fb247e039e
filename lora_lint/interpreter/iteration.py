"""What a loop goes over: the first items of an iterable, as far as they are known."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

import lora_lint.interpreter.calls as calls
from lora_lint.apis.tables import architectures
from lora_lint.interpreter import containers, generators, records, rows
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import (
    Bound,
    ClassVal,
    Const,
    DictVal,
    FuncVal,
    Generator,
    LibMethod,
    LibRef,
    Partial,
    Scope,
    SeqVal,
    Sym,
    Value,
    is_slice,
    key_of,
)
from lora_lint.interpreter.walk import children, nodes_in
from lora_lint.lifecycle.heap import EACH, MAYBE_NONE, Obj
from lora_lint.lifecycle.trace import Tensor
from lora_lint.lifecycle.vocabulary import Kind
from lora_lint.location import Location
from lora_lint.syntax import ir

LOOP_TURNS = 2
MAX_STORED = 24  # items of a known collection that a loop puts something under the names of


def holds_callables(value: Value) -> bool:
    """Whether a value is a collection of functions: `for step in (load, adapt, fit): step()`. What may matter of an object is
    a method too: `for act in (optimizer.step, optimizer.zero_grad): act()`."""
    items = value.items if isinstance(value, SeqVal) else value.items.values() if isinstance(value, DictVal) else ()
    flat = [each for item in items for each in (item.items if isinstance(item, SeqVal) else (item,))]
    return any(isinstance(each, (FuncVal, Bound, Partial, LibMethod)) for each in flat)


def is_known(value: Value) -> bool:
    """Whether an item is one of its own, not one of many alike: a constant, a function, a tuple of such."""
    if isinstance(value, SeqVal):
        return not value.open and all(map(is_known, value.items))
    return isinstance(value, (Const, FuncVal, Bound, Partial, LibMethod))


def every(run: Run, iterable: Value, body: tuple[ir.Stmt, ...], hot: bool) -> bool:
    """Whether a loop goes over all of the known items, not only the first ones: where it touches nothing with a lifecycle it
    is there for what it puts under the name of each, so that a missing turn is a missing value (one inside another loop works
    on data); elsewhere where it sets attributes by name, or yields."""
    if not isinstance(iterable, (SeqVal, DictVal)) or not LOOP_TURNS < len(iterable.items) <= MAX_STORED:
        return False
    return not (hot or iterable.open or run.loops) or any(map(_hands_on, nodes_in(body)))


def _hands_on(node: ir.Node) -> bool:
    """`setattr(…)` or `yield`."""
    if isinstance(node, ir.Call):
        return isinstance(node.func, ir.Name) and node.func.id == "setattr"
    return isinstance(node, ir.Op) and node.op == "yield"


def items_for_loop(
    run: Run, iterable: Value, node: ir.Node, limit: int, turns: int = LOOP_TURNS
) -> tuple[list[Value], bool]:
    """The first items of an iterable, at most `limit`, and whether there may be others. turns: items of an unknown one."""
    iterable = held_modules(iterable) or iterable
    if isinstance(iterable, SeqVal):
        if not iterable.items and not iterable.open:
            return [], False
        items = list(iterable.items[:limit])
        if not items or (iterable.open and len(items) < 2):
            items.extend(items or [run.fresh(node)])
        return items[: max(limit, 2)], iterable.open or len(iterable.items) > limit
    if isinstance(iterable, DictVal):
        keys: list[Value] = [containers.key_value(k) for k in list(iterable.items)[:limit]]
        return keys or [run.fresh(node)], iterable.open
    if isinstance(iterable, Generator):
        return generators.collect(run, iterable, node)[:limit] or [run.fresh(node)], True
    if isinstance(iterable, Const):
        if isinstance(iterable.value, (str, tuple)) and iterable.value:
            return [Const(c) for c in iterable.value[:limit]], len(iterable.value) > limit
        return [run.fresh(node)], True
    return [item_of(run, iterable, node) for _ in range(min(limit, turns))], True


def given_by(run: Run, value: Value, node: ir.Node) -> Value:
    """What a loop over a user's object goes over: the fields of a named tuple, what its `__iter__` makes without doing more
    than that; other values as they are."""
    if not isinstance(value, Obj) or value.user_class is None or value.kind is not Kind.OBJECT:
        return value
    if records.is_tuple(value.user_class):
        return SeqVal("tuple", [value.attrs[name] for name in records.fields(value.user_class) if name in value.attrs])
    maker = value.user_class.find("__iter__")
    body = maker.node.body if isinstance(maker, FuncVal) and isinstance(maker.node, ir.FunctionDef) else ()
    if not isinstance(maker, FuncVal) or not (
        getattr(maker.node, "generator", False) or (len(body) == 1 and isinstance(body[0], ir.Return))
    ):
        return value
    made = calls.call_value(run, Bound(maker, value), Args(), node, run.module.scope)
    return made if isinstance(made, (Generator, SeqVal, DictVal)) else value


def unpacked(run: Run, value: Value, node: ir.Node) -> Value:
    """What `*value`, or a target of several names, takes apart: a list where it is one of the user's objects or generators."""
    value = given_by(run, value, node)
    if not isinstance(value, Generator):
        return value
    repeats = any(isinstance(each, (ir.For, ir.While)) for each in nodes_in(value.func.node))
    return SeqVal("tuple", generators.collect(run, value, node, MAX_STORED), open=repeats)


def held_modules(value: Value) -> SeqVal | DictVal | None:
    """What a ModuleList or ModuleDict was made of, None for other modules, and where that is not known."""
    held = value.attrs.get("_modules") if isinstance(value, Obj) and value.kind is Kind.MODEL else None
    return held if isinstance(held, (SeqVal, DictVal)) else None


def each_of(iterable: Value, items: list[Value], body: tuple[ir.Stmt, ...], loop: Location, scope: Scope) -> None:
    """Mark the items of a list of modules, and the counters of a loop, that a loop treats all alike: nothing in its body is
    told apart or counted, nor in functions that it calls."""
    modules = modules_of(iterable)
    spliced = iterable.spliced if isinstance(iterable, SeqVal) else ()
    lists = spliced if modules is None else (modules,)
    if not lists and not any(isinstance(item, Sym) for item in items):
        return
    if any(_tells_apart(statement, scope) for statement in body):
        return
    for i, item in enumerate(items):
        if isinstance(item, Obj) and _one_of(item, lists):
            items[i] = Obj(item.kind, item.type, item.site, parent=item.parent, path=EACH)  # the list keeps its own
            continue
        for part in item.items if modules is not None and isinstance(item, SeqVal) else (item,):
            if isinstance(part, Obj) and _one_of(part, lists):
                part.path = EACH
            elif isinstance(part, Sym) and part.turn is not None:
                part.turn = replace(part.turn, alike=loop)


def _one_of(item: Obj, lists: tuple[Obj, ...]) -> bool:
    return item.path == "*" and any(item.parent is each for each in lists)


def modules_of(iterable: Value) -> Obj | None:
    """The list of modules that is iterated from end to end, None when it is anything else."""
    inner = iterable.whole if isinstance(iterable, SeqVal) else iterable
    if isinstance(inner, SeqVal):
        return modules_of(inner)
    return inner if isinstance(inner, Obj) and inner.kind is Kind.MODEL and "slice" not in inner.facts else None


def module_at(run: Run, modules: Obj, index: Value) -> Obj:
    """`layers[i]`: each of them in turn, where a loop counts through all and treats them alike; one of them elsewhere. Whether
    it is any at all (`maybe-none`) hangs on numbers that are not known."""
    known = {} if isinstance(index, Const) else {MAYBE_NONE: True}
    if is_slice(index):  # some of them, still a list
        return Obj(
            Kind.MODEL, "torch.nn.Module", modules.site, parent=modules, path="*", facts={"slice": True, **known}
        )
    turn = index.turn if isinstance(index, Sym) else None
    every = turn is not None and turn.alike is not None and turn.alike == run.loop
    if turn is None or not every or turn.start != 0 or turn.offset or not _counts(turn.stop, modules):
        known = {} if turn is not None and _is_number(turn.stop) else known
        return Obj(Kind.MODEL, "torch.nn.Module", modules.site, parent=modules, path="*", facts=known)
    return Obj(Kind.MODEL, "torch.nn.Module", modules.site, parent=modules, path=EACH)


def _is_number(key: Hashable) -> bool:
    """Whether the identity of a value is that of a number above zero that is written down."""
    return isinstance(key, tuple) and len(key) == 3 and key[0] == "const" and type(key[2]) is int and key[2] > 0


def length(value: Value) -> Hashable:
    """The identity of the number of items in a value; a list of modules has as many wherever it is read."""
    modules = modules_of(value)
    return ("len", key_of(value)) if modules is None else ("len", "modules", id(modules.root), modules.full_path)


def _counts(number: Hashable, modules: Obj) -> bool:
    """Whether a number, given by its identity, is that of the modules in a list: its length, or what the config of their
    model says."""
    if number == length(modules):
        return True
    if not isinstance(number, tuple) or len(number) != 3 or number[2] not in architectures().block_counts:
        return False
    here: Obj | None = modules
    while here is not None:
        config = here.attrs.get("config")
        if isinstance(config, Obj) and number[:2] == ("attr", ("obj", config.site, config.type)):
            return True
        here = here.wraps or here.parent
    return False


_CHOICES = (ir.If, ir.Cond, ir.While, ir.Try, ir.Jump, ir.AugAssign, ir.Raise)
_DEPTH = 2  # of functions of the user's that a loop calls


def _tells_apart(node: ir.Node, scope: Scope, depth: int = _DEPTH) -> bool:
    """Whether code chooses, counts or leaves, or calls what it looks up. depth: of functions it calls that are looked into."""
    if isinstance(node, _CHOICES) or (isinstance(node, ir.Return) and depth == _DEPTH):
        return True  # a return inside a function ends no loop around the call
    if isinstance(node, ir.Call) and isinstance(node.func, ir.Item):
        return True
    called = _function(node.func, scope) if isinstance(node, ir.Call) and depth else None
    if called is not None and any(_tells_apart(each, called.scope, depth - 1) for each in children(called.node)):
        return True
    return any(_tells_apart(child, scope, depth) for child in children(node))


def _function(func: ir.Expr, scope: Scope) -> FuncVal | None:
    """The user's function that a call names, None for anything else."""
    value = scope.lookup(func.id) if isinstance(func, ir.Name) else None
    if isinstance(func, ir.Attr) and isinstance(func.value, ir.Name):
        owner = scope.lookup(func.value.id)
        cls = owner.user_class if isinstance(owner, Obj) else owner
        value = cls.find(func.name) if isinstance(cls, ClassVal) else None
    return value if isinstance(value, FuncVal) else None


def item_of(run: Run, iterable: Value, node: ir.Node) -> Value:
    """One item of an iterable whose items are not known."""
    if isinstance(iterable, Obj):
        if iterable.user_class is not None:
            maker = iterable.user_class.find("__iter__")
            if isinstance(maker, FuncVal):
                inner = calls.call_value(run, Bound(maker, iterable), Args(), node, run.module.scope)
                if isinstance(inner, Generator):
                    produced = generators.collect(run, inner, node)
                    return produced[0] if produced else run.fresh(node)
        if rows.tells_fields(iterable):
            return rows.make(run, iterable, node)
        if iterable.kind in (Kind.LOADER, Kind.DATASET):
            batch = run.fresh(node, "batch", data=True)
            if iterable.kind is Kind.LOADER:
                batch.loader, iterable.root.facts["read"] = iterable, True
            return batch
        held = held_modules(iterable)
        if held is not None:
            return items_for_loop(run, held, node, 1)[0][0]
        if iterable.kind is Kind.MODEL:
            sliced = "slice" in iterable.facts
            facts = {MAYBE_NONE: True} if MAYBE_NONE in iterable.facts else {}
            holder = iterable.parent if sliced else iterable
            return Obj(Kind.MODEL, "torch.nn.Module", iterable.site, parent=holder, path="*", facts=facts)
    if isinstance(iterable, Tensor):
        return iterable
    if isinstance(iterable, LibRef) and iterable.name.split(".", 1)[0] not in run.store.libraries:
        iterable = Sym(("lib", iterable.name), iterable.name.rsplit(".", 1)[-1])  # a name of a module that is not here
    if isinstance(iterable, Sym) and _is_data(iterable):
        return run.fresh(node, "batch", data=True)
    return run.fresh(node)


def _is_data(value: Sym) -> bool:
    """Whether iterating an unknown value gives batches of data, judged by what the user calls it."""
    text = value.text.lower()
    return (
        value.data
        or any(word in text for word in ("loader", "dataset", "batches", "_dl", "data"))
        or text in ("dl", "ds")
    )
