"""Turns the `emit` of a spec into an event: resolves roles to objects and arguments to plain facts."""

from __future__ import annotations

from typing import Any

import lora_lint.interpreter.conditions as conditions
import lora_lint.interpreter.forms as forms
import lora_lint.interpreter.params as params
from lora_lint.apis.spec import Effect, Ref
from lora_lint.interpreter import losses, promotion, records, step_hooks
from lora_lint.interpreter.describe import variable
from lora_lint.interpreter.environment import Env, Unset
from lora_lint.interpreter.parameter_values import ParamIter, ParamSet
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Choice, Const, DictVal, LibRef, SeqVal, Sym, Value
from lora_lint.lifecycle.heap import Obj, UnknownName, trainable
from lora_lint.lifecycle.trace import SHARED_CONFIG, Guard, Tensor
from lora_lint.lifecycle.vocabulary import Ev, Graph, Kind, Mode, Quant, Tri
from lora_lint.syntax import ir

_TRI_ARGS = frozenset(
    {
        "trainable",
        "active",
        "value",
        "input_grads",
        "workers",
        "context",
        "upcast",
        "original",
        "apart",
        "static",
        "unused",
        "peft",
        "drops",
        "labelled",
    }
)
# The object that an event of this kind is the making of.
_MADE = {Ev.LOAD: "model", Ev.CONFIGURE: "config", Ev.ARGUMENTS: "arguments"}
_CONFIGS = frozenset({Kind.QUANT_CONFIG, Kind.ADAPTER_CONFIG, Kind.ARGUMENTS, Kind.MODEL_CONFIG})
_NEEDS_NAMES = frozenset({Ev.CONFIGURE, Ev.OPTIMIZER, Ev.TRAINER})  # where a fix may put an injection
_WITHOUT_MODEL = frozenset({Ev.TRAINER, Ev.TRAIN, Ev.SAVE})
_PROMOTED = {"model": (Kind.MODEL, "torch.nn.Module"), "optimizer": (Kind.OPTIMIZER, "torch.optim.Optimizer")}


def emit(run: Run, effect: Effect, env: Env, node: ir.Node, first: int, maybe: str, name: str) -> None:
    """Make the event of an `emit` effect happen."""
    roles, args = _gather(run, effect, env, node)
    kind = _kind(effect, args)
    if kind is None or ("model" in effect.roles and "model" not in roles and kind not in _WITHOUT_MODEL):
        return
    if kind is Ev.OPTIMIZER:
        _optimizer(run, roles, args, node)
        if roles["optimizer"].facts.get("captures") is None:
            run.unfollowed += 1
    elif kind is Ev.BACKWARD:
        _backward(run, args, roles)
    elif kind is Ev.CLIP:
        _clip(args, roles)
        args["func"] = run.loc(node.func) if isinstance(node, ir.Call) else None
    elif kind in (Ev.LOADER, Ev.WORKERS):
        contexts = {"worker"} if kind is Ev.LOADER else {"forked", "child"}
        args["touches"] = [e for e in run.trace.events[first:] if not contexts.isdisjoint(e.contexts)]
    if kind in _NEEDS_NAMES and env.scope is not None:
        args["bound"] = records.bound(env.scope)
    if kind is Ev.CONFIGURE:
        args["put_aside"] = run.module.node.put_aside
    prepared = roles["optimizer"].facts.get("prepared") if "optimizer" in roles else None
    if isinstance(prepared, Obj):
        roles.setdefault("accelerator", prepared)
    if kind is Ev.STEP:
        step_hooks.call(run, roles.get("optimizer"), "before", node)
    event = run.emit(kind, node, roles, args, name, maybe, given=_given(env))
    if kind is Ev.STEP:
        step_hooks.call(run, roles.get("optimizer"), "after", node)
    made = roles.get(_MADE.get(kind, ""))
    if made is not None and (kind is Ev.LOAD or made.event is None):
        made.event = event
    if kind is Ev.MOVE and args.get("device") == "cuda" and run.in_worker:
        run.emit(Ev.TOUCH_CUDA, node, args={"how": ".to()", "move": True})


def _gather(run: Run, effect: Effect, env: Env, node: ir.Node) -> tuple[dict[str, Obj], dict[str, Any]]:
    """The objects by role and the arguments of an event, with the names and places of what the user wrote."""
    roles: dict[str, Obj] = {}
    args: dict[str, Any] = {}
    for role, reference in effect.roles.items():
        value = forms.term(run, reference, env, node)
        expr = env.exprs.get(reference.name) if isinstance(reference, Ref) else None
        found = _object(run, role, value, expr)
        if found is not None:
            roles[role] = found
        elif not isinstance(value, Unset):
            args[f"{role}_value"] = value
        if expr is not None:
            args.setdefault("spans", {})[role] = run.loc(expr)
            if text := variable(expr):
                args.setdefault("names", {})[role] = text
    args["written"] = frozenset(name for name, expr in env.exprs.items() if expr is not None)
    for key, form in effect.args.items():
        args[key] = plain(run, key, forms.form_value(run, form, env, node))
        expr = env.exprs.get(form.name) if isinstance(form, Ref) else None
        if expr is not None:
            args.setdefault("spans", {})[key] = run.loc(expr)
            if isinstance(form, Ref) and not form.attrs and key not in effect.roles and (text := variable(expr)):
                args.setdefault("names", {})[key] = text
    if "config" in roles and effect.event is not Ev.CONFIGURE:
        run.witnesses.add(("config-used", roles["config"].site))
    if effect.event is Ev.INJECT and "config" in roles and "model" in roles:
        _note_injection(run, roles["config"], roles["model"].root)
    return roles, args


def _note_injection(run: Run, config: Obj, root: Obj) -> None:
    """Witness that one config is for models of several kinds: a name in it is to fit one of them, not each."""
    earlier = (e for e in run.trace.of(Ev.INJECT) if e.role("config") is config and e.model is not None)
    if any(e.model is not None and e.model.root.type != root.type for e in earlier):
        run.witnesses.add((SHARED_CONFIG, config.site))


def _kind(effect: Effect, args: dict[str, Any]) -> Ev | None:
    """The kind that the event turns out to be: a freeze may thaw, a move may only cast; None when it does nothing."""
    kind = effect.event
    if kind in (Ev.FREEZE, Ev.THAW):
        return Ev.THAW if args.get("value") is Tri.YES else Ev.FREEZE
    if kind is Ev.MOVE and args.get("device") in (None, "unknown"):
        return Ev.CAST if args.get("dtype") not in (None, "", "unknown") else None
    return kind


def _given(env: Env) -> tuple[Guard, ...]:
    """The conditions under which the arguments of a call were made: a config under a flag, say."""
    made = (v.guards for v in env.values.values() if isinstance(v, Obj) and v.kind in _CONFIGS)
    return tuple(dict.fromkeys(guard for guards in made for guard in guards))


def _object(run: Run, role: str, value: Value, expr: ir.Expr | None) -> Obj | None:
    """The object behind a role's value; an unknown is taken for what its role says."""
    if isinstance(value, Sym) and value.obj is not None:
        value = value.obj
    if isinstance(value, Choice):
        real = [v for v in value.values if isinstance(v, Obj)]
        value = real[0] if len(real) == 1 else value
    if isinstance(value, Obj):
        return value
    if isinstance(value, Sym) and not value.data and role in _PROMOTED:
        kind, type_name = _PROMOTED[role]
        return promotion.promote(run, value, kind, type_name, expr)
    return None


def plain(run: Run, key: str, value: Any) -> Any:
    """A term's value as the plain fact an event carries."""
    if type(value).__name__ == "Unset":
        return None
    if key in _TRI_ARGS:
        if isinstance(value, Const) and value.value in ("yes", "no", "unknown"):
            return Tri(value.value)
        if isinstance(value, Const) and isinstance(value.value, str):
            return value.value  # a kind that the spec names, as of checkpointing
        if isinstance(value, str):
            return value  # one that was derived
        return value if isinstance(value, Tri) else conditions.truth(run, value)
    if key == "mode":
        return Mode(value.value) if isinstance(value, Const) and isinstance(value.value, str) else value
    if key == "quantization":
        return Quant(value.value) if isinstance(value, Const) and isinstance(value.value, str) else value
    if key == "adapter":
        if isinstance(value, SeqVal):
            return [_adapter_name(each) for each in value.items]
        return _adapter_name(value)
    if isinstance(value, Const):
        return value.value
    return value.name if isinstance(value, LibRef) else value


def _adapter_name(value: Value) -> object:
    """The name of an adapter: a text, else what is the same wherever the value is; None where nothing is known."""
    if isinstance(value, Sym):
        return UnknownName(value.key)
    return value.value if isinstance(value, Const) else None


def _optimizer(run: Run, roles: dict[str, Obj], args: dict[str, Any], node: ir.Node) -> None:
    """Fix which parameters the optimizer holds from now on."""
    optimizer = roles["optimizer"]
    given = args.get("params")
    captures = params.captures_of(run, given, node) if given is not None else None
    if args.get("adds"):
        held = optimizer.facts.get("captures")
        if given is not None and params.are_own(given):
            return
        optimizer.facts["captures"] = None if held is None or captures is None else [*held, *captures]
        return
    optimizer.facts["captures"] = captures
    for capture in captures or () if args.get("trained") else ():  # of the parameters only those that require gradients
        capture.chosen.update((id(a), trainable(capture.model.model, a)[0]) for a in capture.adapters)
    if isinstance(given, (ParamIter, ParamSet)) and captures and len(captures) == 1:
        roles.setdefault("model", captures[0].model)


def _clip(args: dict[str, Any], roles: dict[str, Obj]) -> None:
    """Name the model whose gradients are clipped."""
    value = args.get("object_value")
    models: list[Obj] = []
    if isinstance(value, ParamIter):
        models = [value.model]
    elif isinstance(value, ParamSet):
        models = [capture.model for capture in value.captures]
    if models and all(m.root is models[0].root for m in models):
        roles.setdefault("model", models[0])
    if isinstance(value, ParamSet):
        args["captures"] = value.captures
    args["unread"] = isinstance(value, Sym)  # what one of several optimizers holds, perhaps


def _backward(run: Run, args: dict[str, Any], roles: dict[str, Obj]) -> None:
    """Name the models the loss comes from."""
    value = args.get("loss_value")
    if isinstance(value, Choice):
        either = sorted((v for v in value.values if isinstance(v, Tensor)), key=lambda v: v.hack_at is not None)
        value = either[0] if either else value
    if isinstance(value, SeqVal) and value.items:
        value = value.items[0]
    if isinstance(value, DictVal):
        value = value.items.get("loss", value)
    if behind := losses.sources_behind(run, value):
        value = Tensor(Graph.UNKNOWN, behind)
    args["loss"] = value if isinstance(value, Tensor) else None
    models: list[Obj] = []
    # Where the loss may have a graph, that comes from elsewhere than from a forward that recorded none (a teacher).
    recorded = isinstance(value, Tensor) and value.graph in (Graph.ATTACHED, Graph.UNKNOWN)
    for source in value.sources if isinstance(value, Tensor) else ():
        if recorded and source.args.get("grad") is Tri.NO:
            continue
        if source.model is not None and all(source.model.root is not m.root for m in models):
            models.append(source.model)
    if not models:
        models = losses.models_behind(run, value)
    args["models"] = models
    if len(models) == 1:
        roles["model"] = models[0]
