"""Reading and writing attributes and items of abstract values."""

from __future__ import annotations

from functools import reduce

import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.conditions as conditions
import lora_lint.interpreter.elements as elements
import lora_lint.interpreter.evaluate as evaluation
import lora_lint.interpreter.forms as forms
import lora_lint.interpreter.items as items
import lora_lint.interpreter.iteration as iteration
import lora_lint.interpreter.param_loops as param_loops
import lora_lint.interpreter.params as params
import lora_lint.interpreter.specs as specs
from lora_lint.interpreter import config_files, enums, records, rows, tensor_parts, tensors, walk, wrappers
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.describe import variable
from lora_lint.interpreter.keys import compound
from lora_lint.interpreter.parameter_values import Element, ParamIter, ParamSet
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import (
    Bound,
    Choice,
    ClassVal,
    Const,
    DictVal,
    FuncVal,
    LibMethod,
    LibRef,
    Member,
    ModuleVal,
    Scope,
    SeqVal,
    Super,
    Sym,
    Value,
    join,
    key_of,
    same,
)
from lora_lint.lifecycle.heap import WHOLE_PATHS, Obj
from lora_lint.lifecycle.trace import GRADIENT_TAKEN, MODE_WRITTEN, Tensor
from lora_lint.lifecycle.vocabulary import Ev, Kind, Tri
from lora_lint.syntax import ir

# Objects whose attributes are fields, not methods.
_SETTINGS = frozenset({Kind.ARGUMENTS, Kind.ADAPTER_CONFIG, Kind.QUANT_CONFIG, Kind.MODEL_CONFIG})
# Attributes of any model that are plain data, not submodules.
_DATA_ATTRIBUTES = frozenset(
    ["device", "dtype", "training", "name_or_path", "peft_type", "active_adapter", "active_adapters"]
)

_PARAMETERS = frozenset({"weight", "bias"})


def is_parameter(value: Obj) -> bool:
    """Whether a part of a model is a parameter: `layer.weight`."""
    return value.kind is Kind.MODEL and value.path.rpartition(".")[2] in _PARAMETERS


def read(run: Run, value: Value, name: str, node: ir.Node, scope: Scope | None = None) -> Value:
    """`value.name`."""
    if isinstance(value, Sym) and value.obj is not None:
        value = value.obj
    if isinstance(value, LibMethod):
        value = (None if name.startswith("__") else part_behind(run, value)) or value
    if name == "__dict__" and (held := records.own(value)) is not None:
        return held
    if isinstance(value, Obj):
        return _of_object(run, value, name, node)
    if isinstance(value, Tensor):
        return tensor_parts.read(run, value, name, node)
    if isinstance(value, ModuleVal):
        return run.program.member(run, value, name, node)
    if isinstance(value, LibRef):
        form = run.store.attribute(value.name, name)
        return forms.form_value(run, form, {}, node) if form is not None else LibRef(f"{value.name}.{name}")
    if isinstance(value, ClassVal):
        found = value.find(name)
        if isinstance(found, FuncVal) and found.of_class:
            return Bound(found, value)
        if found is not None:
            return found
        if name == "__name__":
            return Const(value.node.name)
        base = value.library_base()
        return LibRef(f"{base}.{name}") if base else run.fresh(node)
    if isinstance(value, Super):
        return _of_super(run, value, name, node)
    if isinstance(value, Element):
        return elements.element_attribute(run, value, name, node)
    if isinstance(value, Choice):
        results = [
            read(run, v, name, node, scope) for v in value.values if not (isinstance(v, Const) and v.value is None)
        ]
        return _either(results) if results else run.fresh(node)
    if isinstance(value, Sym):
        return _of_unknown(run, value, name)
    return _of_plain(run, value, name, node)


def _of_plain(run: Run, value: Value, name: str, node: ir.Node) -> Value:
    """An attribute of a function, a container or a constant."""
    if isinstance(value, DictVal):
        item = config_files.attribute(run, value, name, node)
        return LibMethod(value, name) if item is None else item
    if isinstance(value, Member) and (found := enums.attribute(run, value, name, node)) is not None:
        return found
    if isinstance(value, FuncVal) and (name in value.attrs or name == "__name__"):
        return value.attrs.get(name, Const(value.name))
    if isinstance(value, (SeqVal, ParamIter, ParamSet, Const, Bound, FuncVal)):
        return LibMethod(value, name)
    return run.fresh(node)


def _either(results: list[Value]) -> Value:
    """The same attribute of either of several values. Unknown ones make one unknown, the same wherever it is read."""
    unknown = [value for value in results if isinstance(value, Sym)]
    if len(unknown) == len(results) and len({value.key for value in unknown}) > 1:
        found = compound(("either", tuple(value.key for value in unknown)), results, unknown[0].text)
        first = unknown[0].default
        if first is not None and all(value.default is not None and same(value.default, first) for value in unknown):
            found.default = first
        return found
    return reduce(join, results)


def _of_unknown(run: Run, value: Sym, name: str) -> Value:
    found = value.attrs.get(name)
    if found is None:
        if name == "grad":
            run.witnesses.add((GRADIENT_TAKEN,))
        text = f"{value.text}.{name}" if value.text else name
        found = compound(("attr", value.key, name), [value], text, data=value.data)
        found.read_of = value, name
        value.attrs[name] = found
    if isinstance(found, Sym) and found.obj is not None:
        return found.obj
    return found


def _of_super(run: Run, value: Super, name: str, node: ir.Node) -> Value:
    chain = value.receiver.user_class.mro() if isinstance(value.receiver, Obj) and value.receiver.user_class else []
    after = chain[chain.index(value.owner) + 1 :] if value.owner in chain else []
    for cls in after:
        found = cls.attrs.get(name)
        if isinstance(found, FuncVal):
            return found if found.static else Bound(found, value.receiver)
    base = value.owner.library_base()
    if name == "__new__" and not base:
        return LibRef("builtins.object.__new__")
    return LibMethod(value, name) if base or name == "__init__" else run.fresh(node)


def _of_object(run: Run, obj: Obj, name: str, node: ir.Node) -> Value:
    run.use(obj)
    for holder in _holders(obj):
        if name in holder.attrs:
            value = holder.attrs[name]
            return value.obj if isinstance(value, Sym) and value.obj is not None else value
    if obj.user_class is not None:
        found = obj.user_class.find(name)
        if isinstance(found, FuncVal):
            if found.is_property:
                return calls.call_function(run, found, [(None, obj)], node)
            return found if found.static else Bound(found, obj.user_class if found.of_class else obj)
        if found is not None:
            given = wrappers.got(run, found, obj, node)
            return found if given is None else given
        found = delegate(run, obj, name, node)
        if found is not None:
            return found
    if name == "param_groups" and (groups := params.groups_of(obj)) is not None:
        return groups
    if obj.type:
        form = run.store.attribute(obj.type, name)
        if form is not None:
            value = forms.form_value(run, form, {"self": obj}, node)
            if isinstance(value, Sym) and value.obj is None:
                value.read_of = obj, name
            return value
        if run.store.find_method(obj.type, name) or (obj.kind not in _SETTINGS and run.store.pure(obj.type, name)):
            return LibMethod(obj, name)
    if obj.kind in _SETTINGS:
        return _setting(obj, name)
    if obj.kind is Kind.MODEL and not name.startswith("__"):
        if name == "grad":
            run.witnesses.add((GRADIENT_TAKEN,))
        return _submodule_or_data(run, obj, name)
    value = Sym(("attr", ("obj", obj.site, obj.type), name), f"{obj.name}.{name}" if obj.name else name)
    value.read_of = obj, name
    obj.attrs[name] = value
    return value


def part_behind(run: Run, value: LibMethod) -> Obj | None:
    """The part of a model that was taken for a method by the pattern its name fits (`decode_head` is like `decode_latents`),
    once it is used like a module; None for a real method."""
    model, name = value.receiver, value.name
    if not isinstance(model, Obj) or model.kind is not Kind.MODEL or run.store.find_method(model.type, name):
        return None
    part = _submodule_or_data(run, model, name)
    return part if isinstance(part, Obj) and part.kind is Kind.MODEL else None


def delegate(run: Run, obj: Obj, name: str, node: ir.Node) -> Value | None:
    """What the `__getattr__` of a user's class gives for a name that the object lacks; None without one."""
    getter = obj.user_class.find("__getattr__") if obj.user_class is not None and obj.kind is Kind.OBJECT else None
    if not isinstance(getter, FuncVal) or name.startswith("__"):
        return None
    return calls.call_function(run, getter, [(None, obj), (None, Const(name))], node)


def field_of(obj: Obj, name: str) -> Value | None:
    """A field of an arguments object as its constructor got it; None when it was certainly not given."""
    kwargs = obj.facts.get("kwargs")
    if not isinstance(kwargs, DictVal):
        return None
    return kwargs.items.get(name, Sym(("arg", obj.site, name), name) if kwargs.open else None)


def _setting(obj: Obj, name: str) -> Value:
    """A field of a configuration: what it was given, else an unknown (the library's default)."""
    found = field_of(obj, name)
    if found is None:
        fact = obj.facts.get(records.fact_name(name))
        found = fact if isinstance(fact, (Const, Sym, SeqVal, DictVal, Choice)) else None
    return found if found is not None else Sym(("attr", ("obj", obj.site, obj.type), name), name)


def _holders(obj: Obj) -> list[Obj]:
    """The object and what it wraps: attributes of the base are readable through the wrapper."""
    out = [obj]
    while out[-1].wraps is not None:
        out.append(out[-1].wraps)
    return out


def _submodule_or_data(run: Run, obj: Obj, name: str) -> Value:
    if name in _DATA_ATTRIBUTES:
        if name == "device" and obj.model.device != "unknown":
            return Const(obj.model.device)
        return Sym(("attr", ("obj", obj.root.site), name), name)
    if name.endswith("config"):
        made = Obj(Kind.MODEL_CONFIG, "transformers.PretrainedConfig", obj.site)
        obj.attrs[name] = made
        return made
    # What holds the whole network has the methods of the network: `peft_model.base_model` passes them on.
    return obj.part(name, obj.root.type if name in WHOLE_PATHS and obj.root.type else "torch.nn.Module")


def item_of_object(run: Run, obj: Obj, index: Value, node: ir.Node) -> Value:
    """`obj[index]`: layers of a model, rows of a dataset, items of an unknown container."""
    if obj.kind is Kind.MODEL:
        held = iteration.held_modules(obj)
        return iteration.module_at(run, obj, index) if held is None else items.read_item(run, held, index, node)
    if obj.kind is Kind.ROW:
        return rows.item(run, obj, index, node)
    if obj.user_class is not None:
        field = records.item(obj, index)
        if field is not None:
            return field
        getter = obj.user_class.find("__getitem__")
        if isinstance(getter, FuncVal):
            return calls.call_function(run, getter, [(None, obj), (None, index)], node)
    if obj.kind is Kind.DATASET and run.store.find_method(obj.type, "__getitem__"):
        getter = run.store.find_method(obj.type, "__getitem__")
        return specs.apply_call(
            run, getter, f"{obj.type}.__getitem__", obj, Args([(index, None)]), node, run.module.scope
        )
    if rows.tells_fields(obj):
        row = rows.make(run, obj, node)
        return rows.item(run, row, index, node) if isinstance(index, Const) and isinstance(index.value, str) else row
    return Sym(("item", ("obj", obj.site, obj.type), key_of(index)), data=obj.kind in (Kind.LOADER, Kind.DATASET))


def write(run: Run, value: Value, name: str, new: Value, node: ir.Attr, scope: Scope) -> None:
    """`value.name = new`."""
    if isinstance(value, Sym) and value.obj is not None:
        value = value.obj
    if isinstance(value, Choice):
        for each in value.values:
            if not isinstance(each, Const):
                write(run, each, name, new, node, scope)
        return
    if name == "requires_grad":
        _write_requires_grad(run, value, new, node, scope)
        return
    drawn = run.drawn.get(value.key) if isinstance(value, Sym) else value
    if name == "data" and isinstance(drawn, (Element, ParamIter)):
        run.emit(Ev.CAST, node, {"model": drawn.model}, {"trained": True})
        return
    if name == "data" and isinstance(value, Sym) and "grad" in value.text:
        run.gradient_given()
    if name == "grad":
        run.witness(Ev.ZERO_GRAD, run.module.path)
        if isinstance(value, Element) and isinstance(new, Const) and new.value is None:
            param_loops.drop_gradient(run, value.name, node)
        elif not isinstance(new, Const):
            run.gradient_given()
    if name == "training" and isinstance(value, (Element, Sym)) and not (isinstance(new, Const) and not new.value):
        run.witnesses.add((MODE_WRITTEN, run.module.path))
    if isinstance(value, Obj):
        _write_object(run, value, name, new, node)
    elif isinstance(value, Tensor) and name not in ("data", "grad"):
        tensor_parts.write(run, value, name, new)
    elif isinstance(value, (Sym, ClassVal, FuncVal)):
        run.keep(value.attrs, name)
        value.attrs[name] = new
        if isinstance(value, Sym):
            run.use(new)  # a part of something that we do not know
    elif isinstance(value, DictVal) and value.dotted:
        value.items[name] = new
    elif isinstance(value, ModuleVal):
        run.keep_globals(value)
        value.scope.names[name] = new


def _write_object(run: Run, value: Obj, name: str, new: Value, node: ir.Attr) -> None:
    """An attribute of an object: state of the user's own objects, a part of a model, a setting of a config."""
    run.use(value)
    if isinstance(new, Obj) and not new.name:
        new.name = variable(node)
    if value.kind is Kind.MODEL and name == "training":
        return
    found = value.user_class.find(name) if value.user_class is not None else None
    if isinstance(found, FuncVal) and found.is_property and found.setter is not None:
        calls.call_function(run, found.setter, [(None, value), (None, new)], node)
        return
    if wrappers.put(run, found, value, new, node):
        return
    if isinstance(new, (FuncVal, Bound)) and value.kind is Kind.MODEL and run.store.find_method(value.type, name):
        _override(run, value, name, new, node)
    before = value.attrs.get(name)
    value.attrs[name] = new
    value.replaced(name)
    if value.kind is Kind.MODEL and (value.user_class is None or (isinstance(new, Obj) and new.is_made_of(before))):
        run.use(new)  # a part of the model from now on
    if value.kind is Kind.TOKENIZER and not name.startswith("_"):
        run.emit(Ev.TOKENS, node, {"tokenizer": value}, {"name": name, "value": new})
    if value.kind is not Kind.OBJECT and value.user_class is None:
        items.use_configs(run, [new])
    if value.kind is Kind.ADAPTER_CONFIG:
        value.facts[records.fact_name(name)] = new
        value.facts[f"set:{records.fact_name(name)}"] = run.statement


def _override(run: Run, model: Obj, name: str, new: FuncVal | Bound, node: ir.Attr) -> None:
    """A method of a model is replaced by a function of the user. kept: the statement that saved the old one for it, when
    nothing else reads what it saved: the function stands in the statement that replaces the method."""
    function = new.func if isinstance(new, Bound) else new
    kept = None
    for word in walk.names_in(function.node):
        old = function.scope.lookup(word)
        if isinstance(old, LibMethod) and old.name == name and old.receiver is model:
            kept = old.kept if isinstance(function.node, ir.Lambda) else None
    run.emit(Ev.OVERRIDE, node, {"model": model}, {"method": name, "kept": kept, "function": function.node})


def _write_requires_grad(run: Run, value: Value, new: Value, node: ir.Attr, scope: Scope) -> None:
    answer = conditions.truth(run, new)
    if param_loops.write_drawn(run, value, node):
        return
    if isinstance(value, Element):
        param_loops.write_element(run, value, answer, node)
    elif isinstance(value, Obj) and value.kind is Kind.MODEL:
        if not value.path:
            return  # a plain attribute of a module: its parameters stay as they are
        if not is_parameter(value):
            answer = Tri.UNKNOWN  # a parameter of its own name, or a module
        kind = Ev.THAW if answer.yes else Ev.FREEZE
        run.emit(kind, node, {"model": value}, {"value": answer, "text": variable(node.value)})
    elif answer.yes and (
        isinstance(value, Tensor) or (isinstance(value, Sym) and not value.data and isinstance(node.value, ir.Name))
    ):
        tensors.hacked_in_place(run, value, node, node.value, scope, called=False)
    elif isinstance(value, (ParamIter, ParamSet)):
        param_loops.write_all(run, value, answer, node)


def evaluate_receiver(run: Run, node: ir.Attr, scope: Scope) -> Value:
    """The receiver of a method call."""
    value = evaluation.evaluate(run, node.value, scope)
    if isinstance(value, Sym) and value.obj is not None:
        return value.obj
    return value
