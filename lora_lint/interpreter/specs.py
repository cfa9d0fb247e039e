"""Makes the effects of an API spec happen at a call."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.events as events
import lora_lint.interpreter.items as item_access
import lora_lint.interpreter.methods as methods
import lora_lint.interpreter.param_loops as param_loops
from lora_lint.apis.spec import CallSpec, Effect, Ref, TypeSpec
from lora_lint.interpreter import generators, losses, outdated, spec_tests, step_hooks, varying
from lora_lint.interpreter.arguments import Args, Bindings, bind_spec
from lora_lint.interpreter.environment import UNSET, Env, Unset
from lora_lint.interpreter.forms import Spread, evaluate_test, form_value, term, type_of
from lora_lint.interpreter.parameter_values import ParamIter, ParamSet
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import (
    Bound,
    ClassVal,
    Const,
    DictVal,
    FuncVal,
    Generator,
    Jump,
    LibMethod,
    Partial,
    Scope,
    SeqVal,
    Sym,
    Value,
)
from lora_lint.lifecycle.heap import Obj, havoc
from lora_lint.lifecycle.vocabulary import Ev, Kind, Tri, Verb
from lora_lint.syntax import ir

_SELF = Ref("self")


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
    outdated.note_call(run, name, args, node)
    spec = _choose(run, specs)
    if spec is None:
        calls.escape(run, args, node)
        return run.fresh(node)
    run.touch_args(args)
    bindings = bind_spec(spec.params, args, spec.also)
    _take_defaults(run, bindings.values)
    if receiver_expr is not None:
        bindings.exprs["self"] = receiver_expr
    owner = name if spec.name.endswith(".__init__") and not name.endswith("__init__") else name.rpartition(".")[0]
    if name in run.store.specs.types or (spec.name == name and name.rsplit(".", 1)[-1][:1].isupper()):
        owner = name
    env = Env(spec, bindings, receiver, owner, existing)
    env.scope = scope
    site = Site(env, node, scope, len(run.trace.events), name)
    result = _run_effects(run, spec.effects, site)
    item_access.use_configs(run, args.values())
    return Const(None) if result is UNSET and spec.effects else run.fresh(node) if result is UNSET else result


def _take_defaults(run: Run, values: dict[Any, Value]) -> None:
    """Make options what they are by default (`Run.by_default`), also among other keywords."""
    for name, value in values.items():
        if isinstance(value, Sym):
            values[name] = run.by_default(value)
        elif isinstance(value, DictVal) and any(isinstance(item, Sym) for item in value.items.values()):
            items = dict(value.items)
            _take_defaults(run, items)
            values[name] = replace(value, items=items)


def of_instance(specs: tuple[CallSpec, ...]) -> bool:
    """Whether a spec tells what a method does to its receiver: not a constructor, a class method or a function."""
    return any(_SELF in effect.roles.values() for spec in specs for effect in spec.effects)


@dataclass(slots=True)
class Site:
    """A call whose effects are made to happen. first: events before it; name: what the user called."""

    env: Env
    node: ir.Node
    scope: Scope
    first: int
    name: str


def _run_effects(run: Run, effects: tuple[Effect, ...], site: Site) -> Value:
    """Make effects happen in order; the value of the last `return`, UNSET without one."""
    result: Value = UNSET
    for effect in effects:
        outcome = _apply(run, effect, site)
        if outcome is not UNSET:
            result = outcome
    return result


def run_protocol(run: Run, obj: Obj, node: ir.Node, scope: Scope) -> None:
    """What the framework does with an instance of a user subclass."""
    env = Env(CallSpec("", (), {}, (), {}, "", ""), Bindings(), obj, obj.type, None)
    _run_effects(run, run.store.protocol(obj.type), Site(env, node, scope, len(run.trace.events), obj.type))


def _choose(run: Run, specs: tuple[CallSpec, ...]) -> CallSpec | None:
    """The first spec that may hold. A call that the targeted versions have no more fails there, or the versions that are
    declared are not those it runs with: then it does what it did in those that had it. Of a call before its first version
    nothing is known."""
    path, targets = run.module.path, run.program.targets
    for spec in specs:
        if not spec.versions:
            return spec
        if targets.holds(path, spec.versions) is not False and not targets.may_predate(path, spec.versions):
            return spec
    gone = (spec for spec in specs if any("<" in one or "==" in one for one in spec.versions.values()))
    return next(gone, None)


def _apply(run: Run, effect: Effect, site: Site) -> Value:
    """One effect, for each item of its list if it has one; UNSET unless it returns something."""
    maybe = ""
    if effect.versions:
        holds = run.program.holds(run.module.path, effect.versions)
        if holds is False:
            targets, path = run.program.targets, run.module.path
            if effect.verb == "let" and effect.unknown != "skip" and targets.undecided(path, effect.versions):
                site.env.values[effect.fields["let"]] = Tri.UNKNOWN
            return UNSET
        if holds is None:
            if effect.verb == "let" and effect.unknown == "skip":
                return UNSET
            maybe = ", ".join(f"{library} {versions}" for library, versions in effect.versions.items())
    if effect.each is None:
        return _apply_once(run, effect, site, maybe)
    items = term(run, effect.each, site.env, site.node)
    if isinstance(items, (ParamIter, ParamSet)):

        def once(item: Value) -> None:
            site.env.values["item"] = item
            _apply_once(run, effect, site, maybe)

        param_loops.over(run, items, site.node, once)
        return UNSET
    for item in items.items if isinstance(items, SeqVal) else ():
        site.env.values["item"] = item
        _apply_once(run, effect, site, maybe)
    return UNSET


def _apply_once(run: Run, effect: Effect, site: Site, maybe: str) -> Value:
    if effect.when is not None:
        answer = evaluate_test(run, effect.when, site.env, site.node)
        if answer.no:
            return UNSET
        if not answer.known:
            if effect.unknown == "havoc":
                _havoc_roles(run, effect, site.env, site.node)
            return UNSET
    return _do(run, effect, site, maybe)


def _havoc_roles(run: Run, effect: Effect, env: Env, node: ir.Node) -> None:
    value = term(run, effect.roles["model"], env, node) if "model" in effect.roles else None
    if isinstance(value, Obj) and value.kind is Kind.MODEL:
        havoc(value, run.emit(Ev.CALL, node))


def _do(run: Run, effect: Effect, site: Site, maybe: str) -> Value:
    verb, fields, env, node = effect.verb, effect.fields, site.env, site.node
    if verb == "emit":
        events.emit(run, effect, env, node, site.first, maybe, site.name)
    elif verb == "return":
        return form_value(run, fields["return"], env, node)
    elif verb == "new":
        _new(run, fields, env, node)
    elif verb == "let":
        env.values[fields["let"]] = form_value(run, fields["value"], env, node)
    elif verb == "set":
        target = _target(run, fields["set"].name, env)
        if isinstance(target, Obj):
            _set_facts(run, target, fields.get("facts", {}), env, node)
    elif verb == "link":
        _link(run, fields, env, node)
    elif verb == "havoc":
        refs = [term(run, ref, env, node) for ref in fields["havoc"]]
        calls.escape(run, Args([(v, None) for v in refs if v is not UNSET]), node)
    elif verb == "attach":
        owner = _target(run, fields["to"].name, env)
        step_hooks.attach(run, owner, term(run, fields["attach"], env, node), str(fields["runs"]), node)
    elif verb == "protocol":
        _protocol(run, fields, site)
    else:
        _callback(run, verb, fields, site)
    return UNSET


def _target(run: Run, name: str, env: Env) -> Any:
    """The object that an effect changes."""
    return run.process if name == "process" else env.get(name)


def _link(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> None:
    target = _target(run, fields["link"].name, env)
    if isinstance(target, Obj):
        for attr, value in fields["attrs"].items():
            linked = form_value(run, value, env, node)
            if not isinstance(linked, Unset):
                target.attrs[attr] = linked


def _protocol(run: Run, fields: dict[str, Any], site: Site) -> None:
    """Run the protocol of an object's type, the object being `$self` and the names of the call staying readable."""
    value = term(run, fields["protocol"], site.env, site.node)
    while isinstance(value, Obj) and value.user_class is None and value.wraps is not None:
        value = value.wraps
    if isinstance(value, Obj):
        before = site.env.values.get("self")
        site.env.values["self"] = value
        _run_effects(run, run.store.protocol(value.type), site)
        site.env.values["self"] = before


def _new(run: Run, fields: dict[str, Any], env: Env, node: ir.Node) -> None:
    type_name = type_of(run, fields, env, node)
    obj, env.existing = env.existing, None
    if obj is None:
        obj = run.make(fields["kind"], type_name, node)
    elif not obj.type:
        obj.type = type_name
    _set_facts(run, obj, fields.get("facts", {}), env, node)
    if obj.kind is Kind.CONTEXT:
        obj.guards = (*obj.guards, *varying.behind(run, env.values.values()))
    env.values[fields["new"]] = obj


def _set_facts(run: Run, obj: Obj, facts: dict[str, Any], env: Env, node: ir.Node) -> None:
    for key, form in facts.items():
        value = form_value(run, form, env, node)
        if value is not UNSET:
            obj.facts[key] = value


def _callback(run: Run, verb: Verb | str, fields: dict[str, Any], site: Site) -> None:
    """Run a callback of the user: only code we can see; anything else has no effect here. `apply` calls a method of any
    object, the library's own too."""
    target = term(run, fields[str(verb)], site.env, site.node)
    if verb == "apply":
        if isinstance(target, Obj):
            given, name = _given(run, fields, site), str(fields["method"])
            with _in_contexts(run, fields):
                if name == "__call__":
                    value = calls.call_value(run, target, given, site.node, site.scope)
                else:
                    value = methods.call_method(run, target, name, given, site.node, site.scope)
            _bind(fields, site, value)
    elif verb == "on":
        for owner, method in spec_tests.owners(target, str(fields["method"])):
            callee = method if method.static else Bound(method, owner)
            _bind(fields, site, _call_back(run, callee, fields, site, owner))
    elif isinstance(target, (FuncVal, Bound, Partial, ClassVal, LibMethod)) or (
        isinstance(target, Obj) and (target.user_class is not None or target.root.user_class is not None)
    ):
        _bind(fields, site, _call_back(run, target, fields, site, None))


def _contexts(fields: dict[str, Any]) -> list[str]:
    """The contexts that a callback runs in: one name, or a list of them."""
    named = fields.get("context", [])
    return [named] if isinstance(named, str) else list(named)


def _in_contexts(run: Run, fields: dict[str, Any]) -> ExitStack:
    stack = ExitStack()
    for name in _contexts(fields):
        stack.enter_context(run.context(name))
    return stack


_ROWS = frozenset({"worker", "batched"})  # contexts in which rows of a data set are made


def _call_back(run: Run, callee: Value, fields: dict[str, Any], site: Site, owner: Obj | None) -> Value:
    given = _given(run, fields, site)
    with _in_contexts(run, fields) as stack:
        if owner is not None:
            stack.enter_context(run.inside(owner))
        key = run.program.mapped.key(callee, given, run.contexts) if "as" not in fields else None
        if run.program.mapped.is_done(key, given):
            return run.fresh(site.node)
        told = stack.enter_context(run.program.mapped.running(run, key))
        try:
            result = calls.call_value(run, callee, given, site.node, site.scope)
        except Jump as jump:
            if jump.kind != "raise" or not _ROWS.intersection(_contexts(fields)):
                raise
            return run.fresh(site.node)  # rows that a program refuses are not the ones that it trains on
        told(given, result)
        if isinstance(result, Generator) and "worker" in _contexts(fields):
            generators.collect(run, result, site.node)
    return result


def _bind(fields: dict[str, Any], site: Site, value: Value) -> None:
    if "as" in fields:
        site.env.values[fields["as"]] = value


def _given(run: Run, fields: dict[str, Any], site: Site) -> Args:
    """The arguments of a callback; one that was not given to the spec's own call is an unknown."""
    given = Args(open_keywords=bool(fields.get("open")), options=fields.get("open") == "options")
    for form in fields.get("args", ()):
        value = form_value(run, form, site.env, site.node)
        if isinstance(value, Spread):
            given.positional.extend((item, None) for item in value.items)
            given.open_positional = given.open_positional or value.open
        else:
            given.positional.append((run.fresh(site.node) if isinstance(value, Unset) else value, None))
    for name, form in fields.get("named", {}).items():
        value = form_value(run, form, site.env, site.node)
        given.keywords[name] = (run.fresh(site.node) if isinstance(value, Unset) else value, None)
    return given


def construct(run: Run, spec: TypeSpec, name: str, args: Args, node: ir.Node) -> Value:
    """An object of a library type whose construction has no spec of its own."""
    run.touch_args(args)
    made = run.make(spec.kind or Kind.OBJECT, name, node)
    losses.note_made(run, made, args.values())
    return made


def initialise(run: Run, obj: Obj, base: str, args: Args, node: ir.Node) -> None:
    """`super().__init__(…)` of a user's subclass of a library class."""
    found = run.store.find_method(base, "__init__")
    if found:
        apply_call(run, found, base, obj, args, node, run.module.scope, existing=obj)
