"""Terms, conditions and return forms of API specs: what they are worth at a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import lora_lint.interpreter.attributes as attributes
import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.derive as derive
import lora_lint.interpreter.iteration as iteration
import lora_lint.interpreter.spec_tests as spec_tests
from lora_lint.apis.spec import CallSpec, Derived, Ref, Test
from lora_lint.interpreter import conditions, config_files, encodings, padding, records, rows, tensors
from lora_lint.interpreter.arguments import Args, Bindings
from lora_lint.interpreter.containers import device_of
from lora_lint.interpreter.environment import UNSET, Env, Unset
from lora_lint.interpreter.parameter_values import ParamIter
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import (
    Choice,
    ClassVal,
    Const,
    DictVal,
    LibRef,
    SeqVal,
    Sym,
    Value,
    key_of,
)
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Tensor
from lora_lint.lifecycle.vocabulary import Cut, Ev, Graph, Kind, Tri
from lora_lint.location import Location
from lora_lint.syntax import ir


def term(run: Run, value: Any, env: Env, node: ir.Node) -> Any:
    """The value of a term: a reference, a derivation, a test, or a literal."""
    if isinstance(value, Ref):
        found = run.process if value.name == "process" else env.get(value.name)
        for attr in value.attrs:
            if found is run.process:
                found = run.process.attrs.get(attr, UNSET)
                continue
            if found is UNSET:
                return UNSET
            if isinstance(found, Obj) and attr not in found.attrs and found.kind in (Kind.TRAINER, Kind.ARGUMENTS):
                found = attributes.field_of(found, attr)
                if found is None:
                    return UNSET
                continue
            if isinstance(found, DictVal):
                missing = Sym(("item", key_of(found), attr), attr) if found.open else UNSET
                found = found.items.get(attr, missing)
                continue
            found = attributes.read(run, found, attr, node)
        return found
    if isinstance(value, Derived):
        return derive.derive(run, value.function, [term(run, i, env, node) for i in value.inputs], node)
    if isinstance(value, Test):
        return evaluate_test(run, value, env, node)
    if isinstance(value, (str, int, float, bool)) or value is None:
        return Const(value)
    return value


def evaluate_test(run: Run, test: Test, env: Env, node: ir.Node) -> Tri:
    """The answer of a condition of a spec."""
    if test.op in ("not", "all", "any"):
        answers = [evaluate_test(run, t, env, node) for t in test.operands if isinstance(t, Test)]
        return spec_tests.combined(test.op, answers)
    return spec_tests.answer(run, test.op, [term(run, t, env, node) for t in test.operands])


def form_value(run: Run, form: Any, env: Env | dict[str, Value], node: ir.Node) -> Any:
    """The value of a return form."""
    if isinstance(env, dict):
        plain = Env(_EMPTY, Bindings(dict(env)), env.get("self"), "", None)
        return form_value(run, form, plain, node)
    if isinstance(form, tuple) and len(form) == 2 and isinstance(form[0], str) and isinstance(form[1], dict):
        return _FORMS[form[0]](run, form[1], env, node)
    if isinstance(form, tuple):
        return SeqVal("list", [form_value(run, item, env, node) for item in form])
    return term(run, form, env, node)


_EMPTY = CallSpec("", (), {}, (), {}, "", "")


def type_of(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> str:
    """The type that a spec names, or takes from a value (`$class`); "" when it says none."""
    given = fields.get("type", "")
    value = term(run, given, env, node) if isinstance(given, Ref) else given
    return value.name if isinstance(value, LibRef) else str(value or "")


def _view(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    base = form_value(run, fields["view"], env, node)
    if isinstance(base, Sym) and base.obj is not None:
        base = base.obj
    if not isinstance(base, Obj):
        return run.fresh(node)
    view = _view_of(run, base, type_of(run, fields, env, node) or base.type, node)
    if "mark" in fields:
        view.facts[str(fields["mark"])] = True
        rows.hand_over(view)
    return view


def _view_of(run: Run, base: Obj, type_name: str, node: ir.Node) -> Obj:
    view = run.make(base.kind, type_name, node)
    view.wraps = base
    view.event = run.trace.events[-1] if run.trace.events else None
    return view


def _parameters(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    model = form_value(run, fields["parameters"], env, node)
    if not isinstance(model, Obj):
        return run.fresh(node)
    return ParamIter(model, bool(fields.get("named")), bool(fields.get("modules")), collected=run.loc(node))


def _attached(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    if fields["attached"] is None:
        return tensors.parameter(run, node)
    last = run.trace.events[-1] if run.trace.events else None
    inputs = [env.values[name] for name in ("args", "kwargs") if name in env.values]
    return tensors.attached(run, last if last is not None and last.kind is Ev.FORWARD else None, node, inputs)


def _like(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    value = form_value(run, fields["like"], env, node)
    return tensors.keep_output(run, value, node) if fields.get("kept") else tensors.combine(run, [value], node)


def _scaled(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    value = form_value(run, fields["scaled"], env, node)
    scaler = form_value(run, fields["by"], env, node)
    return tensors.scaled(run, value, scaler, node) if isinstance(scaler, Obj) else tensors.combine(run, [value], node)


def _base(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    """What a wrapper wraps, through all wrappers; anything else is its own base."""
    value = form_value(run, fields["base"], env, node)
    while (
        isinstance(value, Obj) and value.wraps is not None and value.event is not None and value.event.kind in _WRAPPING
    ):
        value = value.wraps
    return value


def _wrapped(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    """What a wrapper wraps directly."""
    value = form_value(run, fields["wrapped"], env, node)
    return value.wraps if isinstance(value, Obj) and value.wraps is not None else value


def _saved(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    """What this program saved under the same literal name before; None when that is not known."""
    name = _file_name(form_value(run, fields["saved"], env, node))
    for event in reversed(run.trace.events):
        if event.kind is Ev.SAVE and name and event.args.get("file") == name:
            return event.args.get("content")
    return Const(None)


def _file_name(value: Value) -> str:
    """The literal name of a file, or the one that the user's own default gives; "" when it is not known."""
    value = config_files.place(value)
    known = value.default if isinstance(value, Sym) else value
    return known.value if isinstance(known, Const) and isinstance(known.value, str) else ""


_WRAPPING = (Ev.WRAP, Ev.COMPILE)


def _cut(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    value = form_value(run, fields["of"], env, node)
    if "keeps" in fields and _may_have_graph(value):
        result: Value = value
    else:
        result = tensors.cut(run, value, Cut(fields["cut"]), node)
        result = padding.together(run, value, "unknown", node) or result
    device = env.get("device")
    if not isinstance(device, Unset) and isinstance(result, Tensor) and (name := device_of(device)) != "unknown":
        result = replace(result, device=name if not run.in_worker else "unknown")
        if name == "cuda":
            run.emit(Ev.TOUCH_CUDA, node, args={"how": "device=", "move": True})
    asked = env.get("requires_grad")
    if asked is not UNSET and conditions.truth(run, asked).yes:
        return tensors.hacked(run, result, node)
    return result


def _may_have_graph(value: Value) -> bool:
    """Whether a value may be a tensor with a graph."""
    if isinstance(value, Tensor):
        return value.graph in (Graph.ATTACHED, Graph.UNKNOWN)
    return isinstance(value, Sym) and not value.data


def _at(run: Run, argument: Any, env: Env) -> Location | None:
    """Where the user wrote an argument, or the receiver of a method call."""
    expr = env.exprs.get(argument.name) if isinstance(argument, Ref) else None
    return run.loc(expr) if expr is not None else None


def _submodule(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Any:
    model = form_value(run, fields["submodule"], env, node)
    path = form_value(run, fields["path"], env, node)
    if not isinstance(model, Obj):
        return run.fresh(node)
    kind = str(fields.get("type", "torch.nn.Module"))
    if isinstance(path, Const) and isinstance(path.value, str) and path.value != "*":
        return model.part(path.value, kind)
    return Obj(Kind.MODEL, kind, model.site, parent=model, path="*")


def _unpack(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    value = form_value(run, fields["unpack"], env, node)
    if isinstance(value, SeqVal) and len(value.items) == 1 and not value.open:
        return value.items[0]
    return value


def _tensor(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    device = form_value(run, fields["device"], env, node) if "device" in fields else "unknown"
    asked = env.get("requires_grad")
    tensor = tensors.plain(device if isinstance(device, str) and not run.in_worker else "unknown")
    tensor.file = _file_name(form_value(run, fields["file"], env, node)) if "file" in fields else ""
    if isinstance(device, str) and device == "cuda":
        run.emit(Ev.TOUCH_CUDA, node, args={"how": "device=", "move": True})
    if asked is not UNSET and conditions.truth(run, asked).yes:
        return tensors.hacked(run, tensor, node)
    return tensor


class Spread:
    """Positional arguments that a list stands for."""

    def __init__(self, value: Value) -> None:
        self.items: list[Value] = value.items if isinstance(value, SeqVal) else []
        self.open = not isinstance(value, SeqVal) or value.open


def _views(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    """The same list with a view in the place of each object of a kind."""
    values = form_value(run, fields["views"], env, node)
    wanted = form_value(run, fields["kind"], env, node)
    items: list[Value] = []
    for item in values.items if isinstance(values, SeqVal) else ():
        if isinstance(item, Obj) and isinstance(wanted, Const) and item.kind.value == wanted.value:
            item = _view_of(run, item, item.type, node)
        items.append(item)
    return SeqVal("tuple", items, open=not isinstance(values, SeqVal) or values.open)


def _pick(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    """The objects of a kind anywhere in a nested value, as a list."""
    wanted = form_value(run, fields["pick"], env, node)
    found: list[Value] = []
    stack = [form_value(run, fields["of"], env, node)]
    budget = 100
    while stack and budget:
        budget -= 1
        value = stack.pop(0)
        if isinstance(value, SeqVal):
            stack.extend(value.items)
        elif isinstance(value, Choice):
            stack.extend(value.values)
        elif isinstance(value, DictVal):
            stack.extend(value.items.values())
        elif (
            isinstance(value, Obj)
            and isinstance(wanted, Const)
            and value.kind.value == wanted.value
            and value not in found
        ):
            found.append(value)
    return SeqVal("list", found)


def _unknown(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    """An unknown that is the same wherever the same is asked for, with the default the user names. fixed: code that asks is
    there for other ways to start it as well; a path that takes another arm makes no findings."""
    asked = form_value(run, fields["unknown"], env, node)
    default = form_value(run, fields["default"], env, node) if "default" in fields else None
    text = str(asked.value) if isinstance(asked, Const) else ""
    known = default if isinstance(default, Const) else None
    return Sym(("asked", key_of(asked)), text, known, fixed="fixed" in fields)


def _dataclasses(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    """An instance of each class: of a mapping, else from the command line, where every field may differ from its default."""
    types = form_value(run, fields["dataclasses"], env, node)
    given = form_value(run, fields["given"], env, node) if "given" in fields else None
    classes = types.items if isinstance(types, SeqVal) else [types]
    made: list[Value] = []
    for each in classes:
        if isinstance(each, (ClassVal, LibRef)):
            options = Args(open_keywords=True, options="given" not in fields)
            args = records.picked(run, each, given, classes) if isinstance(given, DictVal) else options
            made.append(calls.call_value(run, each, args, node, run.module.scope))
        else:
            made.append(run.fresh(node))
    return SeqVal("tuple", made)


def _first(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    value = form_value(run, fields["first"], env, node)
    return value.items[0] if isinstance(value, SeqVal) and value.items else run.fresh(node)


def _chain(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Any:
    """The modules that run one after the other, where all are known and one of them is more than a layer of torch: those
    are one module as good as many."""
    found = form_value(run, fields["chain"], env, node)
    if isinstance(found, SeqVal) and len(found.items) == 1 and isinstance(found.items[0], DictVal):
        found = SeqVal("list", list(found.items[0].items.values()), found.open or found.items[0].open)
    if not isinstance(found, SeqVal) or found.open:
        return UNSET
    modules = [item for item in found.items if isinstance(item, Obj)]
    matters = any(m.user_class or m.wraps or m.event or iteration.held_modules(m) for m in modules)
    return SeqVal("list", list(modules)) if matters and len(modules) == len(found.items) else UNSET


def _held(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Any:
    return iteration.held_modules(form_value(run, fields["held"], env, node)) or UNSET


def _dict(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    given = {name: form_value(run, form, env, node) for name, form in fields["dict"].items()}
    return DictVal({name: value for name, value in given.items() if value is not UNSET}, open=bool(fields.get("open")))


def _frame(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    """The names that the function around the call has bound so far: its arguments, when it is called first."""
    made = run.make(Kind.OBJECT, "arguments", node)
    if env.scope is not None:
        made.attrs.update({name: v for name, v in env.scope.names.items() if name not in ("self", "__class__")})
    return made


def _row(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    row = rows.make(run, form_value(run, fields["row"], env, node), node)
    return SeqVal("list", [row], open=True) if fields.get("several") else row


def _encoded(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    text, filled, kind = (form_value(run, fields[key], env, node) for key in ("encoded", "padding", "tensors"))
    made = (padding.batch if fields.get("rows") else encodings.make)(run, filled, text, kind, node)
    device = form_value(run, fields.get("device", UNSET), env, node)
    return made if device is UNSET else replace(made, device=device_of(device))


def _parsed(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    source = form_value(run, fields["parsed"], env, node)
    return config_files.parsed(run, source, str(fields["format"]), bool(fields.get("attributes")), node)


_FORMS: dict[str, Callable[..., Any]] = {
    "view": _view,
    "parameters": _parameters,
    "attached": _attached,
    "like": _like,
    "scaled": _scaled,
    "base": _base,
    "wrapped": _wrapped,
    "saved": _saved,
    "cut": _cut,
    "hack": lambda run, f, env, node: tensors.hacked_in_place(
        run, form_value(run, f["hack"], env, node), node, env.exprs.get(f["hack"].name), env.scope
    ),
    "place": lambda run, f, env, node: _at(run, f["place"], env) or UNSET,
    "unpack": _unpack,
    "submodule": _submodule,
    "tensor": _tensor,
    "text": lambda run, f, env, node: form_value(run, f["text"], env, node),
    "spread": lambda run, f, env, node: Spread(form_value(run, f["spread"], env, node)),
    "views": _views,
    "pick": _pick,
    "unknown": _unknown,
    "dataclasses": _dataclasses,
    "dict": _dict,
    "frame": _frame,
    "first": _first,
    "chain": _chain,
    "held": _held,
    "encoded": _encoded,
    "stacked": lambda run, f, env, node: padding.stacked(
        run, form_value(run, f["stacked"], env, node), form_value(run, f["filler"], env, node), node
    ),
    "row": _row,
    "location": lambda run, f, env, node: config_files.path(run, form_value(run, f["location"], env, node), node),
    "contents": lambda run, f, env, node: config_files.contents(form_value(run, f["contents"], env, node)),
    "parsed": _parsed,
    "dotted": lambda run, f, env, node: config_files.with_dots(form_value(run, f["dotted"], env, node)),
}
