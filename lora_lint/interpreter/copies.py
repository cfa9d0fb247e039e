"""`copy.deepcopy`: what is copied with an object, and what the copy shares with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lora_lint.interpreter import builtin_collections, iteration
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import DictVal, Scope, SeqVal, Sym, Value
from lora_lint.lifecycle.heap import Adapter, Copy, ModelState, Obj, TrainOp
from lora_lint.lifecycle.vocabulary import Kind
from lora_lint.syntax import ir


def deepcopy(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """The value of `copy.deepcopy(value)`."""
    value = builtin_collections.first(args)
    if not isinstance(value, Obj):
        if isinstance(value, SeqVal):
            return replace(value, items=list(value.items))
        if isinstance(value, DictVal):
            return replace(value, items=dict(value.items))
        if isinstance(value, Sym) and value.obj is None and not value.data:
            # what it turns out to be is another object than the original
            return Sym(("copy", value.key, run.loc(node)), value.text, value.default, dict(value.attrs))
        return value
    return _clone(run, value, node, {})


def shallow(run: Run, args: Args, node: ir.Node, scope: Scope) -> Value:
    """The value of `copy.copy(value)`: the modules inside are those of the original."""
    value = builtin_collections.first(args)
    return _clone(run, value, node, None) if isinstance(value, Obj) else deepcopy(run, args, node, scope)


def _clone(run: Run, obj: Obj, node: ir.Node, seen: dict[int, Obj] | None) -> Obj:
    """A new object with the same state; what referred to the old one still does. seen: copies of modules made so far, by
    the identity of the original's root; None when what is inside is not copied."""
    root = obj.root
    new = run.make(obj.kind, obj.type, node)
    if seen is not None:
        seen[id(root)] = new
    new.user_class, new.facts, new.attrs = obj.user_class, dict(root.facts), dict(obj.attrs)
    new.event = obj.event
    if seen is not None:
        _copy_parts([obj] if obj.full_path else [root, obj], new)
    if obj.kind is Kind.ADAPTER_CONFIG:
        run.witnesses.add(("config-used", obj.site))
    if obj.kind is Kind.MODEL:
        holds = obj.user_class is not None or iteration.held_modules(obj) is not None
        if seen is not None and holds and not any(map(_updates, obj.attrs.values())):
            new.attrs = {name: _part(run, value, node, seen) for name, value in obj.attrs.items()}
        new.facts["copy"] = Copy(root, len(run.trace.events), run.statement or run.loc(node), obj.full_path)
    if root.state is not None:
        old = root.state
        state = ModelState(**{name: getattr(old, name) for name in ModelState.__dataclass_fields__})
        twins = {id(a): Adapter(a.name, a.config, a.event, a.loaded, a.path, a.over, a.active) for a in old.adapters}
        state.adapters = list(twins.values())
        state.ops = [
            TrainOp(o.event, dict(o.parts), o.path, twins.get(id(o.adapter)) if o.adapter else None) for o in old.ops
        ]
        state.wraps = []  # a copy of what a wrapper holds is not wrapped
        new.state = state
    return new


def _copy_parts(olds: Iterable[Obj], new: Obj) -> None:
    """Give a copied model modules of its own in the place of those that it has by its facts: what the user put into these is in
    the copy too."""
    for part in new.parts():
        new.replaced(part.path)
    for part in [part for old in olds for part in old.parts()]:
        copied = new.part(part.path, part.type)
        copied.attrs.update(part.attrs)
        _copy_parts([part], copied)


def _updates(value: Value) -> bool:
    """Whether a module holds this to train itself: what is copied with it goes on with the copied parameters."""
    return isinstance(value, Obj) and value.kind in (Kind.OPTIMIZER, Kind.TRAINER)


def _part(run: Run, value: Value, node: ir.Node, seen: dict[int, Obj]) -> Value:
    """What an attribute of a copied module of the user holds: the modules in it are copied too, each once."""
    if isinstance(value, SeqVal):
        return replace(value, items=[_part(run, item, node, seen) for item in value.items])
    if isinstance(value, DictVal):
        return replace(value, items={key: _part(run, item, node, seen) for key, item in value.items.items()})
    if not isinstance(value, Obj) or value.kind is not Kind.MODEL:
        return value
    root, path = value.root, value.full_path
    whole = seen.get(id(root))
    if whole is None:
        whole = _clone(run, root if path else value, node, seen)
        whole.name = value.name
    return Obj(value.kind, value.type, value.site, value.name, parent=whole, path=path) if path else whole
