"""Makes the effects of an API spec happen at a call."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import lora_lint.interpreter.attributes as attributes
import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.derive as derive
import lora_lint.interpreter.events as events
from lora_lint.apis.spec import CallSpec, Derived, Effect, Ref, Test, TypeSpec
from lora_lint.interpreter import conditions, tensors
from lora_lint.interpreter.arguments import Args, Bindings, bind_spec
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import (
    Bound,
    ClassVal,
    Const,
    FuncVal,
    LibRef,
    ParamIter,
    Partial,
    Scope,
    SeqVal,
    Sym,
    Value,
)
from lora_lint.lifecycle.heap import Obj, havoc
from lora_lint.lifecycle.vocabulary import Cut, Ev, Kind, Mode, Quant, Tri
from lora_lint.syntax import ir

MODE_TRAIN = Mode.TRAIN
QUANT_NONE = Quant.NONE


class Unset:
    """The value of a parameter that was not given."""


UNSET = Unset()


class Env:
    """Names an effect can refer to: bound parameters, self, class, and what `new` and `as` bound."""

    def __init__(self, spec: CallSpec, bindings: Bindings, receiver: Value, class_name: str, existing: Obj | None) -> None:
        self.values: dict[str, Value] = dict(bindings.values)
        self.exprs = bindings.exprs
        self.maybe = bindings.maybe
        self.given = set(bindings.values)
        self.existing = existing
        for name, value in spec.defaults.items():
            if name not in self.values and name not in self.maybe:
                self.values[name] = Const(value)
        if receiver is not None:
            self.values["self"] = receiver
        self.values["class"] = LibRef(class_name)

    def get(self, name: str) -> Value:
        """The value of a name, UNSET when it was not given, an unknown when it may have been."""
        if name in self.values:
            return self.values[name]
        return Sym(("maybe", name), name) if name in self.maybe else UNSET


def fact_name(attribute: str) -> str:
    """The fact that an attribute of a config stands for."""
    return {"inference_mode": "inference"}.get(attribute, attribute)


def apply_call(
    run: Run,
    specs: tuple[CallSpec, ...],
    name: str,
    receiver: Value,
    args: Args,
    node: ir.Node,
    scope: Scope,
    receiver_expr: ir.Expr | None = None,
    existing: Obj | None = None,
) -> Value:
    """What a call with a spec does; the value it returns."""
    spec = _choose(run, specs)
    if spec is None:
        calls.escape(run, args, node)
        return run.fresh(node)
    run.touch_args(args)
    bindings = bind_spec(spec.params, args)
    if receiver_expr is not None:
        bindings.exprs["self"] = receiver_expr
    owner = name if spec.name.endswith(".__init__") and not name.endswith("__init__") else name.rpartition(".")[0]
    if name in run.store.specs.types or (spec.name == name and name.rsplit(".", 1)[-1][:1].isupper()):
        owner = name
    env = Env(spec, bindings, receiver, owner, existing)
    first_event = len(run.trace.events)
    result: Value = UNSET
    for effect in spec.effects:
        outcome = _apply(run, effect, env, spec, node, scope, first_event, name)
        if outcome is not UNSET:
            result = outcome
    _use_configs(run, args, env)
    return Const(None) if result is UNSET and spec.effects else run.fresh(node) if result is UNSET else result


def _choose(run: Run, specs: tuple[CallSpec, ...]) -> CallSpec | None:
    for spec in specs:
        if run.program.holds(run.module.path, spec.versions) is not False:
            return spec
    return None


def _use_configs(run: Run, args: Args, env: Env) -> None:
    """Adapter configs handed to a call that makes something of them count as used."""
    for value in args.values():
        if isinstance(value, Obj) and value.kind is Kind.ADAPTER_CONFIG:
            run.witnesses.add(("config-used", value.site))
        elif isinstance(value, (SeqVal,)) or hasattr(value, "items"):
            for item in value.items.values() if isinstance(value.items, dict) else value.items if isinstance(value.items, list) else ():
                if isinstance(item, Obj) and item.kind is Kind.ADAPTER_CONFIG:
                    run.witnesses.add(("config-used", item.site))


def _apply(
    run: Run, effect: Effect, env: Env, spec: CallSpec, node: ir.Node, scope: Scope, first: int, name: str
) -> Value:
    maybe = ""
    if effect.versions:
        holds = run.program.holds(run.module.path, effect.versions)
        if holds is False:
            return UNSET
        if holds is None:
            maybe = ", ".join(f"{library} {versions}" for library, versions in effect.versions.items())
    if effect.when is not None:
        answer = evaluate_test(run, effect.when, env, node)
        if answer.no:
            return UNSET
        if not answer.known:
            if effect.unknown == "havoc":
                _havoc_roles(run, effect, env, node)
            return UNSET
    if effect.each is not None:
        items = term(run, effect.each, env, node)
        for item in items.items if isinstance(items, SeqVal) else ():
            env.values["item"] = item
            _do(run, effect, env, node, scope, first, maybe, name)
        return UNSET
    return _do(run, effect, env, node, scope, first, maybe, name)


def _havoc_roles(run: Run, effect: Effect, env: Env, node: ir.Node) -> None:
    value = term(run, effect.roles["model"], env, node) if "model" in effect.roles else None
    if isinstance(value, Obj) and value.kind is Kind.MODEL:
        havoc(value, run.emit(Ev.CALL, node))


def _do(run: Run, effect: Effect, env: Env, node: ir.Node, scope: Scope, first: int, maybe: str, name: str) -> Value:
    verb = effect.verb
    fields = effect.fields
    if verb == "emit":
        events.emit(run, effect, env, node, first, maybe, name)
    elif verb == "return":
        return form_value(run, fields["return"], env, node)
    elif verb == "new":
        _new(run, fields, env, node)
    elif verb == "set":
        target = env.get(fields["set"].name) if fields["set"].name != "process" else run.process
        if isinstance(target, Obj):
            _set_facts(run, target, fields.get("facts", {}), env, node)
    elif verb == "link":
        target = env.get(fields["link"].name)
        if isinstance(target, Obj):
            for attr, value in fields["attrs"].items():
                linked = form_value(run, value, env, node)
                if linked is not UNSET and not isinstance(linked, Unset):
                    target.attrs[attr] = linked
    elif verb == "havoc":
        refs = [term(run, ref, env, node) for ref in fields["havoc"]]
        calls.escape(run, Args([(v, None) for v in refs if v is not UNSET]), node)
    elif verb in ("call", "on"):
        _callback(run, verb, fields, env, node, scope)
    return UNSET


def _new(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> None:
    type_term = fields.get("type", "")
    type_value = term(run, type_term, env, node) if isinstance(type_term, Ref) else type_term
    type_name = type_value.name if isinstance(type_value, LibRef) else str(type_value)
    obj = env.existing
    if obj is None:
        obj = run.make(fields["kind"], type_name, node)
    elif not obj.type:
        obj.type = type_name
    _set_facts(run, obj, fields.get("facts", {}), env, node)
    env.values[fields["new"]] = obj


def _set_facts(run: Run, obj: Obj, facts: dict[str, Any], env: Env, node: ir.Node) -> None:
    for key, form in facts.items():
        value = form_value(run, form, env, node)
        if value is not UNSET:
            obj.facts[key] = value


def _callback(run: Run, verb: str, fields: dict[str, Any], env: Env, node: ir.Node, scope: Scope) -> None:
    """Run a callback of the user: only code we can see; anything else has no effect here."""
    given = Args([(form_value(run, a, env, node), None) for a in fields.get("args", ())])
    given.positional = [(run.fresh(node) if isinstance(v, Unset) else v, e) for v, e in given.positional]
    callee: Value
    if verb == "on":
        owner = term(run, fields["on"], env, node)
        method = str(fields["method"])
        found = owner.user_class.find(method) if isinstance(owner, Obj) and owner.user_class is not None else None
        if not isinstance(found, FuncVal):
            return
        callee = found if found.static else Bound(found, owner)
    else:
        callee = term(run, fields["call"], env, node)
        if isinstance(callee, Obj) and callee.user_class is None:
            return
        if not isinstance(callee, (FuncVal, Bound, Partial, ClassVal, Obj)):
            return
    context = fields.get("context")
    with run.context(context) if context else nullcontext():
        result = calls.call_value(run, callee, given, node, scope)
    if isinstance(result, calls.Generator) and context == "worker":
        calls.iterate_generator(run, result, node)
    if "as" in fields:
        env.values[fields["as"]] = result


# --- terms, tests, forms ----------------------------------------------------------------------------------------------


def term(run: Run, value: Any, env: Env, node: ir.Node) -> Any:
    """The value of a term: a reference, a derivation, a test, or a literal."""
    if isinstance(value, Ref):
        if value.name == "process":
            return run.process
        found = env.get(value.name)
        for attr in value.attrs:
            if found is UNSET:
                return UNSET
            if isinstance(found, Obj) and attr not in found.attrs and found.kind in (Kind.TRAINER, Kind.ARGUMENTS):
                kwargs = found.facts.get("kwargs")
                if kwargs is not None and isinstance(getattr(kwargs, "items", None), dict):
                    found = kwargs.items.get(attr, Sym(("arg", attr)) if kwargs.open else UNSET)
                    continue
                return UNSET
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
    op = test.op
    if op in ("not", "all", "any"):
        answers = [evaluate_test(run, t, env, node) for t in test.operands if isinstance(t, Test)]
        if op == "not":
            return Tri.NO if answers[0].yes else Tri.YES if answers[0].no else Tri.UNKNOWN
        stop = Tri.NO if op == "all" else Tri.YES
        if stop in answers:
            return stop
        return Tri.UNKNOWN if Tri.UNKNOWN in answers else Tri.YES if op == "all" else Tri.NO
    values = [term(run, t, env, node) for t in test.operands]
    first = values[0]
    if op in ("set", "unset"):
        answer = _is_set(run, first)
        return answer if op == "set" else Tri.YES if answer.no else Tri.NO if answer.yes else Tri.UNKNOWN
    if op == "true":
        return Tri.NO if first is UNSET else first if isinstance(first, Tri) else conditions.truth(run, first)
    if op == "equals":
        if isinstance(first, Const) and isinstance(values[1], Const):
            return Tri.of(first.value == values[1].value)
        return Tri.NO if first is UNSET else Tri.UNKNOWN
    if op == "defined":
        name = values[1].value if isinstance(values[1], Const) else ""
        if not isinstance(first, Obj) or first.user_class is None:
            return Tri.NO
        return Tri.of(isinstance(first.user_class.find(str(name)), FuncVal))
    if op == "kind":
        wanted = values[1].value if isinstance(values[1], Const) else ""
        return Tri.of(first.kind.value == wanted) if isinstance(first, Obj) else Tri.UNKNOWN
    if not isinstance(first, Obj) or first.kind is not Kind.MODEL:
        return Tri.UNKNOWN
    state = first.model
    if op == "quantized":
        return Tri.UNKNOWN if state.quantization is Quant.UNKNOWN else Tri.of(state.quantization.bnb)
    if op == "adapted":
        return Tri.YES if state.adapters else Tri.of(False if state.adapters_known and not state.escaped else None)
    if op == "peft":
        return derive.is_peft_model(run, first)
    return Tri.UNKNOWN


def _is_set(run: Run, value: Value) -> Tri:
    if value is UNSET:
        return Tri.NO
    if isinstance(value, Const):
        return Tri.of(value.value is not None)
    if isinstance(value, Sym):
        return Tri.of(run.oracle.known(value.key))
    if hasattr(value, "values") and isinstance(value.values, tuple):
        answers = {_is_set(run, v) for v in value.values}
        return answers.pop() if len(answers) == 1 else Tri.UNKNOWN
    return Tri.YES


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


def _view(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    base = form_value(run, fields["view"], env, node)
    if isinstance(base, Sym) and base.obj is not None:
        base = base.obj
    if not isinstance(base, Obj):
        return run.fresh(node)
    view = run.make(base.kind, str(fields.get("type") or base.type), node)
    view.wraps = base
    view.event = run.trace.events[-1] if run.trace.events else None
    return view


def _parameters(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    model = form_value(run, fields["parameters"], env, node)
    if not isinstance(model, Obj):
        return run.fresh(node)
    return ParamIter(model, bool(fields.get("named")), bool(fields.get("modules")), collected=run.loc(node))


def _attached(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    last = run.trace.events[-1] if run.trace.events else None
    return tensors.attached(run, last if last is not None and last.kind is Ev.FORWARD else None, node)


def _like(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    value = form_value(run, fields["like"], env, node)
    return tensors.combine(run, [value], node)


def _cut(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    value = form_value(run, fields["of"], env, node)
    result = tensors.cut(run, value, Cut(fields["cut"] if isinstance(fields["cut"], str) else fields["cut"]), node)
    asked = env.get("requires_grad")
    if asked is not UNSET and conditions.truth(run, asked).yes:
        return tensors.hacked(run, result, node)
    return result


def _submodule(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    model = form_value(run, fields["submodule"], env, node)
    path = form_value(run, fields["path"], env, node)
    if not isinstance(model, Obj):
        return run.fresh(node)
    text = path.value if isinstance(path, Const) and isinstance(path.value, str) else "*"
    return Obj(Kind.MODEL, "torch.nn.Module", model.site, parent=model, path=text)


def _unpack(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    value = form_value(run, fields["unpack"], env, node)
    if isinstance(value, SeqVal) and len(value.items) == 1 and not value.open:
        return value.items[0]
    return value


def _tensor(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> Value:
    device = form_value(run, fields["device"], env, node) if "device" in fields else "unknown"
    asked = env.get("requires_grad")
    tensor = tensors.plain(device if isinstance(device, str) else "unknown")
    if isinstance(device, str) and device == "cuda":
        run.emit(Ev.TOUCH_CUDA, node, args={"how": "device=", "move": True})
    if asked is not UNSET and conditions.truth(run, asked).yes:
        return tensors.hacked(run, tensor, node)
    return tensor


_FORMS = {
    "view": _view,
    "parameters": _parameters,
    "attached": _attached,
    "like": _like,
    "cut": _cut,
    "hack": lambda run, f, env, node: tensors.hacked(run, form_value(run, f["hack"], env, node), node),
    "unpack": _unpack,
    "submodule": _submodule,
    "tensor": _tensor,
    "text": lambda run, f, env, node: form_value(run, f["text"], env, node),
}


def construct(run: Run, spec: TypeSpec, name: str, args: Args, node: ir.Node) -> Value:
    """An object of a library type whose construction has no spec of its own."""
    run.touch_args(args)
    obj = run.make(spec.kind or Kind.OBJECT, name, node)
    return obj


def initialise(run: Run, obj: Obj, base: str, args: Args, node: ir.Node) -> None:
    """`super().__init__(…)` of a user's subclass of a library class."""
    found = run.store.find_method(base, "__init__")
    if found:
        apply_call(run, found, base, obj, args, node, run.module.scope, existing=obj)


