"""Method calls and calls of objects."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

import lora_lint.interpreter.attributes as attributes
import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.dispatch as dispatch
import lora_lint.interpreter.elements as elements
import lora_lint.interpreter.iteration as iteration
import lora_lint.interpreter.param_loops as param_loops
import lora_lint.interpreter.params as params
import lora_lint.interpreter.specs as specs
from lora_lint.apis.spec import CallSpec
from lora_lint.apis.tables import architectures
from lora_lint.interpreter import (
    builtin,
    containers,
    encodings,
    found_modules,
    losses,
    module_classes,
    promotion,
    rows,
    tensors,
)
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.parameter_values import Element, ParamIter, ParamSet
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import (
    Bound,
    Choice,
    Const,
    DictVal,
    FuncVal,
    LibMethod,
    LibRef,
    Member,
    Scope,
    SeqVal,
    Super,
    Sym,
    Value,
    join,
)
from lora_lint.lifecycle.heap import Obj, havoc
from lora_lint.lifecycle.trace import Tensor
from lora_lint.lifecycle.vocabulary import Ev, Kind
from lora_lint.syntax import ir

# Methods that a ModuleList or ModuleDict has of the list or dict inside it.
_OF_COLLECTIONS = frozenset(["items", "values", "keys", "append", "extend", "insert", "update", "pop", "clear"])
# Methods that give a gradient other numbers than its own.
_GIVES = frozenset(["copy_", "add_", "set_", "lerp_", "index_add_", "index_copy_"])
_TENSOR_METHODS = frozenset(["backward", "detach", "item", "numpy", "requires_grad_", "detach_"])


def call_method(
    run: Run, receiver: Value, name: str, args: Args, node: ir.Node, scope: Scope, expr: ir.Expr | None = None
) -> Value:
    """Call `receiver.name(args)`."""
    if isinstance(receiver, LibMethod) and run.store.find_method(promotion.MODULE_TYPE, name):
        receiver = attributes.part_behind(run, receiver) or receiver
    tensors.note_hook(run, receiver, name)
    if isinstance(receiver, Choice):
        real = [v for v in receiver.values if not isinstance(v, Const) or v.value is not None]
        with run.one_of(real):
            results: list[Value] = []
            for one in real[:3]:
                if not (isinstance(one, LibRef) and results and _given_a_model(args)):  # two classes, and one model
                    results.append(call_method(run, one, name, args, node, scope, expr))
            return _either(run, results, node)
    if isinstance(receiver, Obj):
        return _of_object(run, receiver, name, args, node, scope, expr)
    if isinstance(receiver, Tensor):
        return _of_tensor(run, receiver, name, args, node, scope, expr)
    if isinstance(receiver, LibRef):
        return calls.call_library(run, f"{receiver.name}.{name}", args, node, scope)
    if isinstance(receiver, FuncVal) and name == "__get__" and args.positional:
        return Bound(receiver, args.positional[0][0])
    if isinstance(receiver, Element):
        return _of_element(run, receiver, name, args, node, scope, expr)
    if isinstance(receiver, Super):
        return _of_super(run, receiver, name, args, node, scope)
    if isinstance(receiver, Sym):
        return _of_unknown(run, receiver, name, args, node, scope, expr)
    if isinstance(receiver, Member) and receiver.cls.find(name) is not None:
        return calls.call_value(run, attributes.read(run, receiver, name, node), args, node, scope)
    if isinstance(receiver, (SeqVal, DictVal, Const)):
        return containers.method(run, receiver, name, args, node, scope)
    if isinstance(receiver, (ParamIter, ParamSet)):
        return params.after(receiver, name)
    if name in _GIVES and isinstance(receiver, LibMethod) and receiver.name == "grad":
        run.gradient_given()
    callee = attributes.read(run, receiver, name, node, scope)
    if isinstance(callee, LibMethod):
        if (entered := dispatch.register(run, callee, args)) is not None:
            return entered
        calls.escape(run, args, node)
        return run.fresh(node)
    return calls.call_value(run, callee, args, node, scope)


def _given_a_model(args: Args) -> bool:
    """Whether a model is among the arguments, or what was taken for one when the call was followed."""
    objects = (value.obj if isinstance(value, Sym) else value for value in args.values())
    return any(isinstance(one, Obj) and one.kind is Kind.MODEL for one in objects)


def call_each(run: Run, bound: list[Value], args: Args, node: ir.Node, scope: Scope) -> Value:
    """Call the same method of one of several objects, whichever it is."""
    found = [method for method in bound if isinstance(method, LibMethod)]
    with run.one_of([method.receiver for method in found]):
        return _either(run, [call_bound(run, method, args, node, scope) for method in found[:3]], node)


def _either(run: Run, results: list[Value], node: ir.Node) -> Value:
    return reduce(join, results) if results else run.fresh(node)


def call_bound(run: Run, method: LibMethod, args: Args, node: ir.Node, scope: Scope) -> Value:
    """Call a library method that was read before: not what the user put in its place since."""
    if isinstance(method.receiver, Obj):
        return _of_object(run, method.receiver, method.name, args, node, scope, method.receiver_expr, replaced=False)
    return call_method(run, method.receiver, method.name, args, node, scope, method.receiver_expr)


def call_read(run: Run, receiver: Value, name: str, args: Args, node: ir.Node, scope: Scope) -> Value:
    """Call an unknown attribute that was read before: `add = parser.add_argument; add("--lr")`."""
    if isinstance(receiver, Sym) and receiver.obj is not None:
        receiver = receiver.obj
    if isinstance(receiver, Obj):
        return _of_object(run, receiver, name, args, node, scope, None, replaced=False)
    return call_method(run, receiver, name, args, node, scope)


def _of_object(
    run: Run, obj: Obj, name: str, args: Args, node: ir.Node, scope: Scope, expr: ir.Expr | None, replaced: bool = True
) -> Value:
    run.use(obj)
    if obj.kind is Kind.ROW:
        return rows.method(run, obj, name, args, node)
    if replaced and name in obj.attrs:
        return calls.call_value(run, obj.attrs[name], args, node, scope)
    found = obj.user_class.find(name) if obj.user_class is not None else None
    if isinstance(found, FuncVal):
        return _of_class(run, obj, found, args, node, scope, expr)
    if obj.user_class is not None and isinstance(found, Obj):
        found = attributes.read(run, obj, name, node)  # a descriptor, perhaps
    elif found is None and obj.user_class is not None and not run.store.find_method(obj.type, name):
        found = attributes.delegate(run, obj, name, node)
    if found is not None:
        return calls.call_value(run, found, args, node, scope)
    for holder in (obj, obj.wraps, obj.wraps.wraps if obj.wraps is not None else None):
        if holder is None:
            break
        if holder is not obj and holder.user_class is not None:
            found = holder.user_class.find(name)
            if isinstance(found, FuncVal):
                return call_own(run, holder, found, args, node, scope, expr)
        spec = _listed(run, obj, holder, name, args)
        if spec:
            return specs.apply_call(run, spec, f"{holder.type}.{name}", obj, args, node, scope, expr)
    if obj.type and run.store.attribute(obj.type, name) is not None:
        return calls.call_value(run, attributes.read(run, obj, name, node), args, node, scope)
    held = iteration.held_modules(obj) if name in _OF_COLLECTIONS else None
    if held is not None:
        return containers.method(run, held, name, args, node, scope)
    special = builtin.object_method(run, obj, name, args, node)
    return _unlisted(run, obj, name, args, node, scope) if special is NotImplemented else special


def _unlisted(run: Run, obj: Obj, name: str, args: Args, node: ir.Node, scope: Scope) -> Value:
    """Call a method that no spec lists."""
    losses.note_cut(run, [obj, *args.values()], node)
    if obj.type and run.store.pure(obj.type, name):
        if obj.kind is Kind.MODEL and obj.model.device == "cuda" and args.positional and run.in_worker:
            run.emit(Ev.TOUCH_CUDA, node, args={"how": f".{name}()", "move": False})  # computes something of them
        run.touch_args(args)
        return run.fresh(node)
    if obj.kind is Kind.MODEL:
        return _unknown_model_method(run, obj, name, args, node, scope)
    if name == "forward" and obj.user_class is None:
        return call_object(run, obj, args, node, scope)
    calls.escape(run, args, node)
    if obj.user_class is not None and obj.user_class.opaque():
        calls.escape(run, Args([(obj, None)]), node)
    return run.fresh(node)


def _listed(run: Run, obj: Obj, holder: Obj, name: str, args: Args) -> tuple[CallSpec, ...]:
    """The specs of a method. None when an object that was taken for one of the library's, for its use alone, is given a keyword
    which that does not have: it is of a class of the user's (`optimizer.step(grad=…)`)."""
    known = run.store.find_method(holder.type, name) if holder.type else ()
    if not args.keywords or not obj.facts.get("promoted"):
        return known
    return tuple(
        spec
        for spec in known
        if any(param.startswith("**") for param in spec.params) or set(args.keywords) <= {*spec.params, *spec.also}
    )


def call_own(
    run: Run, obj: Obj, function: FuncVal, args: Args, node: ir.Node, scope: Scope, expr: ir.Expr | None
) -> Value:
    """Call a function of an object's class. `step` of the user's own optimizer is a step like any other, however it computes
    what it writes; one that is given more than a closure (gradients, say) is something else."""
    before = len(run.trace.events)
    result = calls.call_function(run, function, [(None, obj), *calls.flat(args)], node, args)
    if obj.kind is not Kind.OPTIMIZER or getattr(function.node, "name", "") != "step":
        return result
    plain = len(args.positional) <= 1 and set(args.keywords) <= {"closure"}
    if plain and not any(event.kind is Ev.STEP for event in run.trace.events[before:]):
        spec = run.store.find_method(obj.type, "step")
        specs.apply_call(run, spec, f"{obj.type}.step", obj, Args(), node, scope, expr)
    return result


def _of_class(
    run: Run, obj: Obj, found: FuncVal, args: Args, node: ir.Node, scope: Scope, expr: ir.Expr | None
) -> Value:
    """Call a function of the object's own class; of a property, what it gives: `self.net(batch)`."""
    if obj.kind is Kind.OPTIMIZER and not (found.is_property or found.static or found.of_class):
        return call_own(run, obj, found, args, node, scope, expr)
    if found.is_property:
        callee = calls.call_function(run, found, [(None, obj)], node)
    else:
        callee = found if found.static else Bound(found, obj.user_class if found.of_class else obj)
    if obj.kind is not Kind.MODEL or found.is_property:
        return calls.call_value(run, callee, args, node, scope)
    with run.entering(obj, node, itself=False):
        return calls.call_value(run, callee, args, node, scope)


def _unknown_model_method(run: Run, obj: Obj, name: str, args: Args, node: ir.Node, scope: Scope) -> Value:
    """A method the spec does not list: one that is named like a change may change anything, others compute something."""
    if run.store.changes(obj.type, name):
        havoc(obj, run.emit(Ev.CALL, node))
        run.unfollowed += 1
        calls.escape(run, args, node)
        return run.fresh(node)
    if name in architectures().embeddings and obj.root.user_class is None:
        return calls.call_value(run, attributes.read(run, obj, name, node), args, node, scope)  # a part, not a method
    if (
        obj.full_path
        and run.store.find_method(tensors.TYPE, name)
        and not run.store.find_method(promotion.MODULE_TYPE, name)
    ):
        return run.fresh(node)  # a weight, not a module: `clip.logit_scale.exp()`
    return tensors.attached(run, run.emit(Ev.FORWARD, node, {"model": obj}), node, args.values())


def _of_tensor(
    run: Run, tensor: Tensor, name: str, args: Args, node: ir.Node, scope: Scope, expr: ir.Expr | None = None
) -> Value:
    tensors.note_method(run, tensor, name, node)
    kept = encodings.method(run, tensor, name, args, node)
    if kept is not None:
        containers.note_device(run, name, args, node)
        return kept
    spec = run.store.find_method(tensors.TYPE, name)
    if spec:
        return specs.apply_call(run, spec, f"{tensors.TYPE}.{name}", tensor, args, node, scope, expr)
    containers.note_device(run, name, args, node)
    if name in ("items", "values", "keys"):
        return encodings.listed(run, tensor, name, node)
    moves = name in ("to", "cuda", "cpu")
    result = tensors.combine(run, [tensor] if moves else [tensor, *args.values()], node, tensor)
    if moves and isinstance(result, Tensor):
        device = containers.moved_to(name, args, tensor.device)
        # In a worker an event of its own tells of the move, and a CUDA tensor is one that it took from its parent.
        result.device = "unknown" if run.in_worker and device == "cuda" else device
    return result


def _of_element(
    run: Run, element: Element, name: str, args: Args, node: ir.Node, scope: Scope, expr: ir.Expr | None
) -> Value:
    module = found_modules.module_of(element) if not run.param_loops else None
    if module is not None:  # picked out in a loop that is over
        return _of_object(run, module, name, args, node, scope, expr)
    return elements.element_method(run, element, name, args, node)


def _of_unknown(
    run: Run, receiver: Sym, name: str, args: Args, node: ir.Node, scope: Scope, expr: ir.Expr | None
) -> Value:
    if (answer := module_classes.method(receiver, name, args)) is not None:
        return answer
    containers.note_device(run, name, args, node)
    if name in ("to", "cuda", "update", "pop"):
        # A batch of a class of its own may move in place; what it holds may be something else now.
        receiver.loader = None
    if name == "requires_grad_" and param_loops.write_drawn(run, receiver, node):
        return receiver
    shown = None if receiver.data else promotion.shown(receiver, name)
    if shown is not None:
        return _of_object(run, promotion.promote(run, receiver, *shown, expr), name, args, node, scope, expr)
    if name in _TENSOR_METHODS:
        tensor: Value = tensors.plain() if receiver.data else receiver
        spec = run.store.find_method(tensors.TYPE, name)
        result = specs.apply_call(run, spec, f"{tensors.TYPE}.{name}", tensor, args, node, scope)
        if name == "requires_grad_" and isinstance(expr, ir.Name) and isinstance(result, Tensor):
            scope.bind(expr.id, result)
        return result
    if name == "zero_grad" or (name == "zero_" and "grad" in receiver.text):
        run.witness(Ev.ZERO_GRAD, run.module.path)
        if held := elements.gradient_of(receiver.key):
            param_loops.drop_gradient(run, held, node)
    elif name in ("clamp_", "clip_") and elements.gradient_of(receiver.key):
        param_loops.clip_gradient(run, node)
    elif name in _GIVES and "grad" in receiver.text:
        run.gradient_given()
    if receiver.data:
        return tensors.of_data(run, receiver, name, args.values(), node)
    if (penalty := tensors.of_parameter(run, receiver, name, args, receiver)) is not receiver:
        return penalty
    if name == "split" and receiver.default is not None and isinstance(receiver.default.value, str):
        return containers.words(run, receiver, receiver.default, args, node, scope)
    return calls.unknown_call(run, attributes.read(run, receiver, name, node, scope), args, node)


def _of_super(run: Run, value: Super, name: str, args: Args, node: ir.Node, scope: Scope) -> Value:
    callee = attributes.read(run, value, name, node, scope)
    if isinstance(callee, (Bound, FuncVal, LibRef)):
        return calls.call_value(run, callee, args, node, scope)
    base = value.owner.library_base()
    receiver = value.receiver
    if name == "__init__":
        if base and isinstance(receiver, Obj):
            specs.initialise(run, receiver, base, args, node)
        return Const(None)
    if base and isinstance(receiver, Obj):
        spec = run.store.find_method(base, name)
        if spec:
            return specs.apply_call(run, spec, f"{base}.{name}", receiver, args, node, scope)
        if run.store.pure(base, name):
            return run.fresh(node)
        if receiver.kind is Kind.MODEL and not run.store.changes(base, name):
            return tensors.attached(run, run.emit(Ev.FORWARD, node, {"model": receiver}), node)
    calls.escape(run, args, node)
    return run.fresh(node)


def call_object(run: Run, obj: Obj, args: Args, node: ir.Node, scope: Scope) -> Value:
    """Call an object: its __call__ or forward, or what its library type does when called."""
    run.use(obj)
    if obj.user_class is not None:
        for name in ("__call__", "forward"):
            found = obj.user_class.find(name)
            if isinstance(found, FuncVal):
                return _call_user_object(run, obj, found, args, node)
    function = args.first()
    if obj.kind is Kind.CONTEXT and isinstance(function, (FuncVal, Bound)):
        return _within(run, obj, function, node)  # a decorator, called by hand
    if obj.wraps is not None and obj.root.user_class is not None and obj.wraps.user_class is not None:
        with run.inside(obj):
            return call_object(run, obj.wraps, args, node, scope)
    spec = run.store.find_method(obj.type, "__call__") if obj.type else ()
    if spec:
        written = node.func if isinstance(node, ir.Call) else None
        return specs.apply_call(run, spec, f"{obj.type}.__call__", obj, args, node, scope, written)
    if obj.kind is Kind.MODEL:
        return tensors.attached(run, run.emit(Ev.FORWARD, node, {"model": obj}), node, args.values())
    if obj.kind in (Kind.TOKENIZER, Kind.COLLATOR):
        return tensors.plain()
    if obj.type and run.store.default(run.store.canonical(obj.type)) == "propagate":
        return tensors.combine(run, args.values(), node)
    calls.escape(run, args, node)
    return run.fresh(node)


def _within(run: Run, context: Obj, function: FuncVal | Bound, node: ir.Node) -> FuncVal | Bound:
    """The function with a context around every call of it."""
    if isinstance(function, Bound):
        inner = _within(run, context, function.func, node)
        return Bound(inner, function.receiver) if isinstance(inner, FuncVal) else function
    return replace(function, contexts=(*function.contexts, (context, run.loc(node), "")))


def _call_user_object(run: Run, obj: Obj, function: FuncVal, args: Args, node: ir.Node) -> Value:
    flat: list[tuple[str | None, Value]] = [(None, obj), *((None, v) for v, _ in args.positional)]
    flat.extend((name, value) for name, (value, _) in args.keywords.items())
    if obj.kind is not Kind.MODEL:
        return calls.call_function(run, function, flat, node, args)
    with run.entering(obj, node, itself=True):
        return calls.call_function(run, function, flat, node, args)
