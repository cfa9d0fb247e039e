"""Instances of the user's classes: made by a constructor, of fields, or as the library does that the class is made of."""

from __future__ import annotations

import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.items as item_access
import lora_lint.interpreter.specs as specs
from lora_lint.interpreter import class_calls, enums, losses, records
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import ClassVal, FuncVal, Value
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.vocabulary import Ev, Kind, Mode, Quant
from lora_lint.syntax import ir


def instantiate(run: Run, cls: ClassVal, args: Args, node: ir.Node) -> Value:
    """A new instance of a user class; of an enum, the member that is asked for."""
    if (first := args.first()) is not None and (member := enums.by_value(cls, first)) is not None:
        return member
    if (plain := class_calls.plain_dict(run, cls, args, node)) is not None:
        return plain
    base = cls.library_base()
    obj: Value = None
    maker = cls.find("__new__")
    if isinstance(maker, FuncVal) and not base:
        obj = calls.call_function(run, maker, [(None, cls), *calls.flat(args)], node)
    if not isinstance(obj, Obj) or obj.user_class is not cls:
        obj = bare(run, cls, args, node)
    init = cls.find("__init__")
    if isinstance(init, FuncVal):
        calls.call_function(run, init, [(None, obj), *calls.flat(args)], node, args)
    elif records.is_record(cls):
        records.fill(run, obj, cls, args, node)
        after = cls.find("__post_init__")
        if isinstance(after, FuncVal):
            calls.call_function(run, after, [(None, obj)], node)
        # Its fields are arguments of the library's constructor too.
        if base and run.store.find_method(base, "__init__"):
            specs.initialise(run, obj, base, args, node)
    elif base and run.store.find_method(base, "__init__"):
        specs.initialise(run, obj, base, args, node)
    else:
        records.fill_some(obj, cls, args)
    if cls.opaque():
        calls.escape(run, args, node)
    return obj


def bare(run: Run, cls: ClassVal, args: Args, node: ir.Node) -> Obj:
    """An instance of a user class that nothing was done with, made by a call with these arguments."""
    base = cls.library_base()
    type_spec = run.store.type_of(base) if base else None
    kind = type_spec.kind if type_spec is not None and type_spec.kind is not None else Kind.OBJECT
    obj = run.make(kind, base if type_spec is not None else cls.node.name, node)
    obj.user_class = cls
    obj.name = cls.node.name
    if kind is Kind.MODEL:
        made = {"random": True, "mode": Mode.TRAIN, "quantization": Quant.NONE}
        run.emit(Ev.LOAD, node, {"model": obj}, made, by=base)
        obj.state = obj.model
        _note_tuner(run, args)
    return obj


def _note_tuner(run: Run, args: Args) -> None:
    """A module of the user's that is made of a model and an adapter config is their own way to apply it: a tuner of their
    own, a changed copy of peft's classes."""
    given = list(losses.leaves(args.values()))
    if any(isinstance(value, Obj) and value.kind is Kind.MODEL for value in given):
        item_access.use_configs(run, given)
