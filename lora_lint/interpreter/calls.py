"""Calls: user functions are interpreted with their actual arguments, library calls do what their spec says, and anything
else may do anything to the objects it gets."""

from __future__ import annotations

from contextlib import ExitStack

import lora_lint.interpreter.attributes as attributes
import lora_lint.interpreter.dispatch as dispatch
import lora_lint.interpreter.evaluate as evaluation
import lora_lint.interpreter.execute as execution
import lora_lint.interpreter.instances as instances
import lora_lint.interpreter.items as item_access
import lora_lint.interpreter.iteration as iteration
import lora_lint.interpreter.managers as managers
import lora_lint.interpreter.methods as methods
import lora_lint.interpreter.specs as specs
import lora_lint.interpreter.step_hooks as step_hooks
from lora_lint.interpreter import builtin, containers, encodings, looks, losses, outdated, records, tensors
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.describe import describe
from lora_lint.interpreter.keys import compound
from lora_lint.interpreter.parameter_values import ParamIter, ParamSet
from lora_lint.interpreter.run import MAX_DEPTH, Run
from lora_lint.interpreter.values import (
    Bound,
    Choice,
    ClassVal,
    Const,
    DictVal,
    FuncVal,
    Generator,
    Jump,
    LibMethod,
    LibRef,
    Partial,
    Returned,
    Scope,
    SeqVal,
    Sym,
    Value,
    key_of,
)
from lora_lint.interpreter.walk import last_name, named_by_string, nodes_in
from lora_lint.lifecycle.heap import Obj, havoc
from lora_lint.lifecycle.trace import GRADIENT_TAKEN, Tensor
from lora_lint.lifecycle.vocabulary import Cut, Ev, Graph, Kind
from lora_lint.syntax import ir


def call(run: Run, node: ir.Call, scope: Scope) -> Value:
    """The value of a call expression."""
    if not run.inspecting and looks.only_looks(run, node):
        with run.looking(True):
            return call(run, node, scope)
    func = _attribute(node.func)
    if isinstance(func, ir.Attr):
        receiver = attributes.evaluate_receiver(run, func, scope)
        args = evaluate_args(run, node, scope)
        return methods.call_method(run, receiver, func.name, args, node, scope, func.value)
    if isinstance(node.func, ir.Name) and node.func.id == "super" and not node.args:
        return builtin.super_value(run, scope, node)
    callee = evaluation.evaluate(run, node.func, scope)
    return call_value(run, callee, evaluate_args(run, node, scope), node, scope)


def _attribute(func: ir.Expr) -> ir.Expr:
    """What is called, `getattr(x, "name")` written as `x.name`: so it is known what an unknown x is asked for."""
    if not (isinstance(func, ir.Call) and len(func.args) == 2 and last_name(func.func) == "getattr"):
        return func
    name = named_by_string(func)
    return ir.Attr(func.loc, func.args[0].value, name) if name and isinstance(func.func, ir.Name) else func


def evaluate_args(run: Run, node: ir.Call, scope: Scope) -> Args:
    """Evaluate the arguments of a call in source order."""
    args = Args()
    for arg in node.args:
        value = evaluation.evaluate(run, arg.value, scope)
        args.add(arg, iteration.unpacked(run, value, arg) if arg.star == 1 else value)
    return args


def call_value(run: Run, callee: Value, args: Args, node: ir.Node, scope: Scope) -> Value:
    """Call a value with evaluated arguments."""
    if isinstance(callee, FuncVal):
        return call_function(run, callee, flat(args), node, args)
    if isinstance(callee, Bound):
        if isinstance(callee.receiver, Obj) and callee.receiver.kind is Kind.OPTIMIZER:
            return methods.call_own(run, callee.receiver, callee.func, args, node, scope, None)
        return call_function(run, callee.func, [(None, callee.receiver), *flat(args)], node, args)
    if isinstance(callee, ClassVal):
        return instances.instantiate(run, callee, args, node)
    if isinstance(callee, LibRef):
        return call_library(run, callee.name, args, node, scope)
    if isinstance(callee, LibMethod):
        return methods.call_bound(run, callee, args, node, scope)
    if isinstance(callee, Partial):
        merged = Args(
            [*((v, None) for v in callee.args), *args.positional], {}, args.open_positional, args.open_keywords
        )
        merged.keywords = {**{k: (v, None) for k, v in callee.kwargs.items()}, **args.keywords}
        return call_value(run, callee.func, merged, node, scope)
    if isinstance(callee, Obj):
        return methods.call_object(run, callee, args, node, scope)
    if isinstance(callee, Choice):
        real = [v for v in callee.values if not isinstance(v, Const)]
        if len(real) == 1:
            return call_value(run, real[0], args, node, scope)
        if all(isinstance(v, LibMethod) for v in real):  # `step = optimizers[task].step`
            return methods.call_each(run, real, args, node, scope)
    if isinstance(callee, Sym) and callee.read_of is not None:
        return methods.call_read(run, *callee.read_of, args, node, scope)
    return unknown_call(run, callee, args, node)


def flat(args: Args) -> list[tuple[str | None, Value]]:
    """Arguments as parameters are bound to them: by position, then by name."""
    return [
        *((None, value) for value, _ in args.positional),
        *((name, value) for name, (value, _) in args.keywords.items()),
    ]


def unknown_call(run: Run, callee: Value, args: Args, node: ir.Node) -> Value:
    """A call we cannot follow: whatever it got may have changed."""
    escape(run, args, node)
    if isinstance(callee, Sym):
        owner = callee.key
        if run.grad[-1].on.no:
            # Whatever was computed here has no graph, whoever computed it.
            return Tensor(
                Graph.DETACHED,
                (),
                Cut.NO_GRAD,
                run.loc(node),
                run.statement,
                run.conditions(),
                context_at=run.grad[-1].at,
            )
        losses.note_computed(run, args.values(), node)
        losses.note_cut(run, [*args.values(), *(callee.read_of or ())[:1]], node)
        result = run.fresh(node, f"{callee.text}(…)")
        if all(isinstance(value, (Const, Sym)) for value in args.values()) and builtin.is_query(callee.text):
            result = compound(
                ("call", owner, tuple(key_of(v) for v in args.values())), [callee, *args.values()], callee.text
            )
        return result
    return run.fresh(node)


def _note_gpu(run: Run, args: Args, node: ir.Node) -> None:
    """Note in a data loader worker that code we do not know is given the GPU: what it makes may be there."""
    if run.in_worker and containers.hands_gpu(args):
        run.emit(Ev.TOUCH_CUDA, node, args={"how": "device", "handed": True})


def escape(run: Run, args: Args, node: ir.Node) -> None:
    """Objects that go where we cannot follow: forget what is known of models, count configs as used."""
    event = None
    _note_gpu(run, args, node)
    stack = list(args.values())
    budget = 200
    while stack and budget:
        budget -= 1
        value = stack.pop()
        if isinstance(value, (SeqVal, Choice)):
            stack.extend(value.items if isinstance(value, SeqVal) else value.values)
        elif isinstance(value, DictVal):
            stack.extend(value.items.values())
        elif isinstance(value, (Partial, Bound)):
            stack.append(value.func)
            stack.extend(value.args if isinstance(value, Partial) else [value.receiver])
        elif isinstance(value, Obj):
            run.witnesses.add(("escaped", value.root.site))
            if value.user_class is not None:
                item_access.use_configs(run, value.attrs.values())
            if value.kind is Kind.ADAPTER_CONFIG:
                run.witnesses.add(("config-used", value.site))
            elif value.kind is Kind.MODEL:
                run.unfollowed += 1
                event = event or run.emit(Ev.CALL, node, args={"place": (run.module.path, node.loc), "given": []})
                event.args["given"].append(value)
                havoc(value, event)
            elif value.kind in (Kind.OBJECT, Kind.TRAINER, Kind.ACCELERATOR):
                value.facts.pop("prefix", None)  # of the names in a state dict
                stack.extend(v for v in value.attrs.values() if isinstance(v, Obj) and v is not value)
            elif value.kind is Kind.OPTIMIZER:
                value.facts["escaped"] = True
            elif value.kind is Kind.TOKENIZER and isinstance(node, ir.Call):
                value.facts.setdefault("given_to", []).append(describe(node.func))
        elif isinstance(value, FuncVal):
            step_hooks.note_passed(run, value)
        elif isinstance(value, Sym):
            run.witnesses.add(("escaped", value.key))
            item_access.use_entry(run, value)
        elif isinstance(value, (ParamIter, ParamSet)):
            run.witnesses.add((GRADIENT_TAKEN,))
        elif isinstance(value, Tensor):
            value.file = ""
            encodings.escaped(value)


def call_library(run: Run, name: str, args: Args, node: ir.Node, scope: Scope) -> Value:
    """A call of a library function or class."""
    special = builtin.call(run, name, args, node, scope)
    if special is not NotImplemented:
        return special
    found = run.store.find_call(name)
    if found and isinstance(args.first(), Obj) and specs.of_instance(found):
        (receiver, written), rest = _unbound(args)
        return specs.apply_call(run, found, name, receiver, rest, node, scope, written)
    if found:
        return specs.apply_call(run, found, name, None, args, node, scope)
    outdated.note_call(run, name, args, node)
    owner, _, method = name.rpartition(".")
    if owner and args.positional and run.store.type_of(owner) is not None and run.store.find_method(owner, method):
        (receiver, _), rest = _unbound(args)
        return methods.call_method(run, receiver, method, rest, node, scope, None)
    behaviour = run.store.default(run.store.canonical(name))
    type_spec = run.store.type_of(name)
    if type_spec is not None and type_spec.kind is not None:
        return specs.construct(run, type_spec, name, args, node)
    if behaviour == "pure":
        run.touch_args(args)
        _note_gpu(run, args, node)
        losses.note_cut(run, args.values(), node)
        return (
            run.fresh(node, f"{name}(…)")
            if not _stable(args)
            else compound(("call", name, tuple(key_of(v) for v in args.values())), args.values(), f"{name}(…)")
        )
    if behaviour in ("propagate", "numpy") and (kept := encodings.function(run, name, args, node)) is not None:
        return kept
    if behaviour == "propagate":
        return tensors.combine(run, args.values(), node)
    if behaviour == "numpy":
        combined = tensors.combine(run, args.values(), node)
        if not isinstance(combined, Tensor):
            return run.fresh(node, f"{name}(…)", data=True)
        return tensors.cut(run, combined, Cut.NUMPY, node)
    escape(run, args, node)
    if run.grad[-1].on.no:
        return unknown_call(run, Sym(("lib", name), name), Args(), node)
    losses.note_computed(run, args.values(), node)
    losses.note_cut(run, args.values(), node)
    return run.fresh(node, f"{name}(…)")


def _unbound(args: Args) -> tuple[tuple[Value, ir.Expr | None], Args]:
    """The receiver of `Class.method(receiver, …)`, as in `nn.Module.requires_grad_(model, False)`, and the other arguments."""
    receiver, *others = args.positional
    return receiver, Args(others, args.keywords, args.open_positional, args.open_keywords)


def _stable(args: Args) -> bool:
    return all(isinstance(value, (Const, Sym)) for value in args.values())


# --- user functions ---------------------------------------------------------------------------------------------------


def evaluate_defaults(run: Run, parameters: tuple[ir.Param, ...], scope: Scope) -> dict[str, Value]:
    """Default values of parameters, evaluated where the function is defined."""
    return {p.name: evaluation.evaluate(run, p.default, scope) for p in parameters if p.default is not None}


def call_function(
    run: Run,
    func: FuncVal,
    given: list[tuple[str | None, Value]],
    node: ir.Node,
    args: Args | None = None,
    eager: bool = False,
) -> Value:
    """Interpret a user function with these arguments. Recursion and depth are bounded; past the bound the result is
    unknown and the arguments escape. eager: run the body of a generator now."""
    if func.preset:
        given = dispatch.with_preset(func, given)
    if func.variants is not None:
        variant = dispatch.chosen(run, func, given)
        if variant is None:
            return unknown_call(run, func, Args([(value, None) for _, value in given]), node)
        return call_function(run, variant, given, node, args, eager)
    if run.stack.count(_frame_of(func)) >= 2 or len(run.stack) >= MAX_DEPTH:
        escape(run, Args([(value, None) for _, value in given]), node)
        return run.fresh(node)
    if getattr(func.node, "generator", False) and not eager:
        return Generator(func, given)
    run.executed.add(id(func.node))
    if func.cached:
        key = (id(func.node), tuple((name, key_of(value)) for name, value in given))
        if key not in run.cached:
            run.cached[key] = _interpret(run, func, given, node, args)
        return run.cached[key]
    return _interpret(run, func, given, node, args)


def _frame_of(func: FuncVal) -> tuple[int, int]:
    """What tells recursion: the wrappers that one decorator made of several functions are different functions."""
    return id(func.node), id(func.scope)


def _interpret(
    run: Run, func: FuncVal, given: list[tuple[str | None, Value]], node: ir.Node, args: Args | None
) -> Value:
    """Run the body of a user function; the value it returns."""
    local = Scope({}, func.scope.module, func.scope)
    if func.owner is not None:
        local.names["__class__"] = func.owner
    bind_parameters(run, func, given, local, node, args)
    before, run.callee = run.callee, func.node
    try:
        with run.frame(func.scope.module, node, _frame_of(func)):
            if not func.contexts:
                return _result(run, func, local)
            with ExitStack() as stack:
                for context, at, form in func.contexts:
                    managers.enter_context(run, context, at, stack, form)
                return _result(run, func, local)
    finally:
        run.callee = before


def _result(run: Run, func: FuncVal, local: Scope) -> Value:
    """What the body of a user function returns."""
    if isinstance(func.node, ir.Lambda):
        return evaluation.evaluate(run, func.node.body, local)
    try:
        execution.block(run, func.node.body, local)
    except Returned as returned:
        return returned.value
    except Jump:
        if not _gave_up(run, func.node):
            raise
        return run.fresh(func.node)
    return Const(None)


def _gave_up(run: Run, function: ir.FunctionDef) -> bool:
    """Whether a function has just run into the error at its end, having passed over each of its returns: nobody knows which
    of them it takes in a program that works."""
    last = function.body[-1]
    if not isinstance(last, ir.Raise) or run.statement != run.loc(last):
        return False
    return any(isinstance(node, ir.Return) and node.value is not None for node in nodes_in(function.body))


def bind_parameters(
    run: Run, func: FuncVal, given: list[tuple[str | None, Value]], local: Scope, node: ir.Node, args: Args | None
) -> None:
    """Bind arguments to the parameters of a user function; what is missing gets its default or an unknown."""
    positional = [value for name, value in given if name is None]
    keywords = {name: value for name, value in given if name is not None}
    unread = args.unread_of(len(positional)) if args else None
    for place, param in enumerate(func.node.params):
        left_out = param.kind != "keyword" and param.name in func.defaults.keys() - keywords
        if left_out and unread is not None and place >= unread[0]:
            key = ("given-by", key_of(unread[1]), place)
            local.names[param.name] = Sym(key, param.name, records.default_of(func.defaults[param.name]))
        elif param.kind == "*":
            local.names[param.name] = SeqVal(
                "tuple", positional, open=bool(args and (args.open_positional or args.unknown))
            )
            positional = []
        elif param.kind == "**":
            # Options that decorators declare are among them, also where another decorator's function passes all on.
            own = {each.name for each in func.node.params}
            others: dict[object, Value] = {k: v for k, v in func.defaults.items() if k not in own}
            others.update(keywords)
            local.names[param.name] = DictVal(
                others, open=bool(args and (args.open_keywords or args.unknown)), options=bool(args and args.options)
            )
        elif param.kind != "keyword" and positional:
            local.names[param.name] = positional.pop(0)
        elif param.name in keywords:
            local.names[param.name] = keywords.pop(param.name)
        elif param.name in func.defaults and not (args and args.open_keywords):
            local.names[param.name] = func.defaults[param.name]
        else:
            options = bool(args and args.options)
            group = records.group(run, param, func.scope, node) if options and param.name not in func.defaults else None
            sources = [value for value, _ in args.unpacked] if args and param.name not in func.defaults else []
            from_batch = bool(sources) and all(isinstance(one, Sym) and one.data for one in sources)  # `**batch`
            value = group or run.fresh(param, param.name, data=from_batch)
            if isinstance(value, Sym):
                value.default = records.default_of(func.defaults.get(param.name))
                value.option = param.name if options else ""
            local.names[param.name] = value
