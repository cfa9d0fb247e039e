"""Following autograd graphs: which values hang on a model's forward, and what took the graph away."""

from __future__ import annotations

from collections.abc import Iterable

from lora_lint.interpreter import losses
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.parameter_values import Element, ParamIter, ParamSet
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Choice, Const, DictVal, Scope, SeqVal, Sym, Value
from lora_lint.lifecycle.heap import Obj, adapters_of
from lora_lint.lifecycle.trace import GRADIENT_HOOKED, GRADIENT_READ, Event, Tensor
from lora_lint.lifecycle.vocabulary import Cut, Ev, Graph, Kind
from lora_lint.location import Location
from lora_lint.syntax import ir

TYPE = "torch.Tensor"
HOOKS = frozenset(
    ["register_hook", "register_post_accumulate_grad_hook"]
)  # give a gradient to a function of the user's
_WEIGHTS, _PENALTY = "weights", "penalty"  # first parts of the keys of what is computed from parameters alone
_OWN_CUTS = frozenset({Cut.DETACH, Cut.ITEM, Cut.DATA, Cut.NUMPY, Cut.REBUILT})  # by code of the user


def attached(run: Run, event: Event | None, node: ir.Node, inputs: Iterable[Value] = ()) -> Tensor:
    """The result of a forward: on the graph, unless gradients are off here. It hangs on the
    forwards behind its inputs too."""
    sources = (event,) if event is not None else ()
    tensors = [leaf for leaf in losses.leaves(inputs) if isinstance(leaf, Tensor)]
    run.witnesses |= {(GRADIENT_READ, t.hack_at) for t in tensors if t.hack_at is not None and not t.leaf}  # no loss
    before = (tensor for tensor in tensors if tensor.graph in (Graph.ATTACHED, Graph.UNKNOWN))
    sources = tuple(dict.fromkeys((*sources, *(source for tensor in before for source in tensor.sources))))
    outputs = (*(_outputs(tensors) or ()), *((event,) if event is not None else ()))
    result = Tensor(Graph.ATTACHED, sources, outputs_of=outputs, behind=_behind(tensors, event))
    result.device = "cuda" if event is not None and _on_gpu(run, event) else "unknown"
    return _under_grad_mode(run, result, node)


def _outputs(values: Iterable[Value]) -> tuple[Event, ...] | None:
    """The forwards that values are made of, beside data; None where there may be something else in them."""
    found: dict[int, Event] = {}
    for value in values:
        if isinstance(value, Tensor) and value.graph is Graph.ATTACHED and value.outputs_of and value.hack_at is None:
            found.update((id(event), event) for event in value.outputs_of)
        elif isinstance(value, Tensor):
            if value.graph not in (Graph.PLAIN, Graph.DETACHED):
                return None
        elif not (isinstance(value, Sym) and value.data):
            return None
    return tuple(found.values())


def _on_gpu(run: Run, forward: Event) -> bool:
    """Whether what a model gives is on the GPU: the user moved it there. One that is spread over devices gives its output
    where the input was."""
    model = forward.model
    if model is None or model.model.device != "cuda" or not forward.by or run.in_worker:
        return False
    moved = (m for e in run.trace.of(Ev.MOVE) if e.model is not None for m in e.model.models())
    return any(m.root is model.root for m in moved)


def is_one(value: Value) -> bool:
    """Whether a value is a tensor for certain, and neither a number nor an array of numpy."""
    if not isinstance(value, Tensor) or value.leaf or not value.computed:
        return False
    return value.graph in (Graph.ATTACHED, Graph.UNKNOWN)


def parameter(run: Run, node: ir.Node) -> Tensor:
    """A new learnable leaf: no model computed it, and it wants gradients whatever the mode is. What is computed from it has
    a graph; a backward on itself has nowhere to go."""
    return Tensor(Graph.ATTACHED, leaf=True, hack_at=run.loc(node), hack_statement=run.statement)


def plain(device: str = "unknown") -> Tensor:
    """Data: never had a graph."""
    return Tensor(Graph.PLAIN, device=device)


def _under_grad_mode(run: Run, tensor: Tensor, node: ir.Node) -> Tensor:
    mode = run.grad[-1]
    if mode.on.yes or tensor.graph in (Graph.DETACHED, Graph.PLAIN):
        return tensor
    if mode.on.no:
        return Tensor(
            Graph.DETACHED,
            tensor.sources,
            Cut.NO_GRAD,
            run.loc(node),
            run.statement,
            run.conditions(),
            context_at=mode.at,
            context_form=mode.form,
            device=tensor.device,
        )
    return Tensor(Graph.UNKNOWN, tensor.sources, device=tensor.device)


def combine(run: Run, values: Iterable[Value], node: ir.Node, receiver: Tensor | None = None) -> Value:
    """The result of an operation on these values: attached when one is, detached when all that could carry a graph were
    cut, unknown in doubt. None of them a tensor: an ordinary unknown. receiver: the tensor whose method it is."""
    tensors: list[Tensor] = []
    doubt = penalized = False
    leaves = list(losses.leaves(values))
    if run.in_worker and any(isinstance(value, Tensor) and value.device == "cuda" for value in leaves):
        run.emit(Ev.TOUCH_CUDA, node, args={"how": "a CUDA tensor", "move": False})
    for value in leaves:
        if behind := losses.sources_behind(run, value):
            tensors.append(Tensor(Graph.UNKNOWN, behind))
        elif isinstance(value, Tensor):
            stays = value is receiver or _stays_hacked(value, node)
            hacked_loss = _only_scaled(run, value, leaves, node) if value.leaf else stays
            kept = value.hack_at is None or hacked_loss
            made_at = value.hack_at if value.leaf else None
            tensors.append(value if kept else Tensor(Graph.ATTACHED, leaf=True, made_at=made_at))
        elif isinstance(value, Obj) and value.kind is Kind.MODEL:
            doubt = True  # e.g. a weight of the model in the loss
        elif _weights(value) == _PENALTY:
            penalized = True
        elif (isinstance(value, Sym) and not _is_plain(value)) or isinstance(value, (Element, ParamIter, ParamSet)):
            doubt = True
    if not tensors:
        return made_of_weights(run, leaves, node)
    on_gpu = any(tensor.device == "cuda" for tensor in tensors)
    sources = tuple(dict.fromkeys(source for tensor in tensors for source in tensor.sources))
    hack = next((t for t in tensors if t.hack_at is not None), None)
    cuts = [t for t in tensors if t.graph is Graph.DETACHED]
    # A reference is computed without gradients on purpose: of several cuts, one in the user's own code is to blame, but not
    # a number that hangs on no forward (a temperature read of a weight) beside an output. Where all ran without gradients,
    # that is the first operand: what a model computes stands before what it is compared with (`leaves` goes backwards). What
    # a model without adapters computed is a reference, beside what one with adapters did.
    blamed = [t for t in cuts if t.sources or not t.number] or cuts
    blamed = [t for t in blamed if any(s.model is not None and adapters_of(s.model) for s in t.sources)] or blamed
    first_cut = next((t for t in blamed if t.cut is not Cut.NO_GRAD), blamed[-1] if blamed else None)
    on_graph = [t for t in tensors if t.graph is Graph.ATTACHED]
    if first_cut is not None and sources and all(_made_within(run, t, node) for t in on_graph):
        on_graph = []  # nobody can ever ask for the gradients of such leaves: they only make a backward run
    if on_graph:
        only_leaves = not sources and all(t.leaf or t.graph is Graph.PLAIN for t in tensors)
        made_at = on_graph[0].made_at if only_leaves and len(on_graph) == 1 else None
        result = Tensor(Graph.ATTACHED, sources, leaf=only_leaves, made_at=made_at, behind=_behind(tensors))
        result.outputs_of = _outputs(leaves) or ()
    elif doubt or penalized or any(t.graph is Graph.UNKNOWN for t in tensors):
        result = Tensor(Graph.UNKNOWN, sources)
        result.only = None if doubt else _only_cut(tensors, first_cut, node)
    elif first_cut is not None:
        result = Tensor(Graph.DETACHED, sources)
        _copy_cut(first_cut, result)  # that nothing has a graph hangs on the conditions of all cuts
        result.cut_guards = tuple(dict.fromkeys((*first_cut.cut_guards, *(g for t in cuts for g in t.cut_guards))))
        result.number = all(t.number or t.graph is Graph.PLAIN for t in tensors)
    else:  # what is computed from a number in a tensor of its own is one again
        result = Tensor(Graph.PLAIN, cut=next((t.cut for t in tensors if t.cut is Cut.REBUILT), None))
    result.device = "cuda" if on_gpu else "unknown"
    result.needs = frozenset().union(*(t.needs for t in tensors))
    result.scaler = next((t.scaler for t in tensors if t.scaler is not None), None)
    result.computed = receiver is None and isinstance(node, (ir.Op, ir.Call))
    if hack is not None:
        _copy_hack(hack, result)
        if result.cut is None:
            _copy_cut(hack, result)
    return _under_grad_mode(run, result, node)


def _only_cut(tensors: list[Tensor], cut: Tensor | None, node: ir.Node) -> Tensor | None:
    """What was cut of a sum whose other terms are computed from parameters alone: of its forwards nothing is learned."""
    before = next((t.only for t in tensors if t.only is not None), None)
    if any(t.graph is Graph.UNKNOWN and t.only is None for t in tensors):
        return None
    added = isinstance(node, (ir.Op, ir.AugAssign)) and node.op in ("+", "-")
    return before or (cut if added and cut is not None and cut.sources and cut.cut in _OWN_CUTS else None)


def made_of_weights(run: Run, values: Iterable[Value], node: ir.Node) -> Sym:
    """The unknown that an operation gives, which tells whether it is computed from parameters of models alone, and whether it
    is a single number."""
    made, operands = run.fresh(node), list(losses.leaves(values))
    called = node.func.name if isinstance(node, ir.Call) and isinstance(node.func, ir.Attr) else ""
    alone = isinstance(node, ir.Call) and len(node.args) == 1 and run.store.folds(TYPE, called)
    return _from_weights(operands, made, alone) if operands else made


def of_parameter(run: Run, value: Value, name: str, args: Args, made: Sym) -> Sym:
    """The result of a method of a parameter, or of what is computed from parameters. made: what it is else."""
    if not _weights(value) or name.endswith("_") or not all(isinstance(each, Const) for each in args.values()):
        return made
    alone = run.store.folds(TYPE, name) and len(list(args.values())) <= (name == "norm")
    return _from_weights([value], Sym((made.key, name), name), alone)


def _from_weights(operands: list[Value], made: Sym, alone: bool) -> Sym:
    kinds = {_weights(value) for value in operands}
    if "" in kinds:
        return made
    return Sym((_PENALTY if alone or kinds == {_PENALTY} else _WEIGHTS, made.key), made.text)


def _weights(value: Value) -> str:
    """Whether a value is a parameter or computed from parameters and constants alone ("weights"), and whether it is a single
    number, as a penalty on their norm ("penalty")."""
    if isinstance(value, Element):
        return "" if value.module else _WEIGHTS
    return _kind_of_key(value.key) if isinstance(value, Sym) else ""


def _kind_of_key(key: object) -> str:
    if not isinstance(key, tuple) or not key:
        return ""
    if key[0] != "op":
        return key[0] if key[0] in (_WEIGHTS, _PENALTY) else ""
    kinds = {_kind_of_key(part) for part in key[2] if not (isinstance(part, tuple) and part[:1] == ("const",))}
    return "" if "" in kinds or not kinds else _PENALTY if kinds == {_PENALTY} else _WEIGHTS


def _is_plain(value: Sym) -> bool:
    """Whether an unknown is no tensor that could carry a graph: data, or an option with a number or a text for a default."""
    return value.data or (value.default is not None and value.default.value is not None)


def _behind(tensors: Iterable[Tensor], forward: Event | None = None) -> tuple[tuple[Event, Tensor], ...]:
    """The forwards that have a part in some tensors only through what the user's own code cut from its graph."""
    cut: dict[int, tuple[Event, Tensor]] = {}
    alive = {id(forward)}
    for tensor in tensors:
        if tensor.graph is not Graph.DETACHED:
            dead = {id(event): (event, by) for event, by in tensor.behind}
            alive |= {id(event) for event in tensor.sources} - set(dead)
            cut |= dead
        elif tensor.cut in _OWN_CUTS:
            cut |= {id(event): (event, tensor) for event in tensor.sources}
    return tuple(pair for key, pair in cut.items() if key not in alive)


def of_data(run: Run, data: Sym, name: str, values: Iterable[Value], node: ir.Node) -> Value:
    """The result of a method of data: data again, unless it computes with a tensor that may have a graph
    (`batch["weight"].mul(losses)`)."""
    operands = [] if run.store.conforms(TYPE, name) else list(losses.leaves(values))
    if any(isinstance(value, Tensor) and value.graph is not Graph.PLAIN for value in operands):
        return combine(run, operands, node)
    unknown = any(isinstance(value, Sym) and not _is_plain(value) for value in operands)
    return Sym(("method", data.key, name), data=not (unknown and run.store.computes(TYPE, name.rstrip("_"))))


def _made_within(run: Run, leaf: Tensor, node: ir.Node) -> bool:
    """Whether a tensor that requires gradients of its own was made in this very expression, so that nothing else has it."""
    return leaf.leaf and leaf.made_at is not None and not leaf.name and run.loc(node).covers(leaf.made_at)


def _stays_hacked(tensor: Tensor, node: ir.Node) -> bool:
    """Whether what an operation makes of a tensor with requires_grad set by hand is still that loss. What a function
    computes from a tensor that no forward gave, or that was detached on purpose, is not: the tensor was an input."""
    return not isinstance(node, ir.Call) or (bool(tensor.sources) and tensor.cut is not Cut.DETACH)


def _only_scaled(run: Run, leaf: Tensor, operands: list[Value], node: ir.Node) -> bool:
    """Whether an operation only scales a leaf that was made to require gradients, as a loss is scaled for accumulation. Where
    no model ran, the leaf may be what is learned."""
    alone = all(value is leaf or (isinstance(value, Sym) and not losses.cuts_behind(run, value)) for value in operands)
    return alone and isinstance(node, ir.Op) and node.op in ("/", "*", "u-") and any(run.trace.of(Ev.FORWARD))


def _copy_cut(source: Tensor, target: Tensor) -> None:
    target.cut, target.cut_at, target.cut_statement = source.cut, source.cut_at, source.cut_statement
    target.cut_guards, target.cut_inner = source.cut_guards, source.cut_inner
    target.context_at, target.context_form = source.context_at, source.context_form


def _copy_hack(source: Tensor, target: Tensor) -> None:
    target.hack_at, target.hack_statement, target.hack_inner = source.hack_at, source.hack_statement, source.hack_inner


def cut(run: Run, value: Value, kind: Cut, node: ir.Node) -> Value:
    """The value without its graph. Data and constants stay what they are."""
    if isinstance(value, Choice):
        value = next((v for v in value.values if isinstance(v, Tensor)), value)
    if isinstance(value, (SeqVal, DictVal)):
        cuts = [cut for leaf in losses.leaves([value]) for cut in losses.cuts_behind(run, leaf)]
        inner = combine(run, [value, *cuts] if kind is Cut.REBUILT else [value], node)
        computed = kind is Cut.REBUILT and any(isinstance(leaf, Sym) for leaf in losses.leaves([value]))
        value = inner if isinstance(inner, Tensor) else value
        if not isinstance(value, Tensor):
            return Tensor(Graph.PLAIN, cut=kind) if computed else plain()
    if isinstance(value, Tensor) and value.graph is Graph.PLAIN:
        return value
    if isinstance(value, Tensor) and (value.leaf or (kind is Cut.WHOLE and not value.sources)):
        return plain(value.device)
    if kind is Cut.WHOLE and not isinstance(value, Tensor):
        return plain()  # labels, as a rule
    if isinstance(value, Sym) and kind is Cut.REBUILT:
        behind = losses.cuts_behind(run, value)
        # torch.tensor of something unknown: data, unless it is known what that was computed from
        return combine(run, behind, node) if behind else Tensor(Graph.PLAIN, cut=kind)
    if isinstance(value, Const):
        return Tensor(Graph.PLAIN, fill=value.value)
    if isinstance(value, Sym) and value.data:
        return plain()
    number = kind is Cut.ITEM
    result = Tensor(Graph.DETACHED, number=number)
    if isinstance(value, Tensor):
        result.device = value.device if kind in (Cut.DETACH, Cut.DATA) else "unknown"
        result.sources = value.sources
        _copy_hack(value, result)
        if value.graph is Graph.DETACHED and value.cut is not None:
            _copy_cut(value, result)
            if kind is not Cut.REBUILT or value.cut is Cut.NO_GRAD:
                return result
    result.cut, result.cut_at, result.cut_statement = kind, run.loc(node), run.statement
    result.cut_guards, result.cut_inner = run.conditions(), run.inner(node)
    return result


def scaled(run: Run, value: Value, scaler: Obj, node: ir.Node) -> Value:
    """The value multiplied by a gradient scaler."""
    result = combine(run, [value], node, value if isinstance(value, Tensor) else None)
    if isinstance(result, Tensor):
        result.scaler = scaler
    return result


def hacked(run: Run, value: Value, node: ir.Node, inner: Location | None = None) -> Value:
    """The value after someone set requires_grad on it by hand: a leaf of its own when it is data. inner: where the value
    stands inside a call that does so and returns it. A number that the program computed, in a tensor of its own: a
    backward on it would have nowhere to go; one that the user wrote down may stand for a loss that is not there.
    """
    if isinstance(value, Tensor):
        if value.graph is Graph.PLAIN and value.cut is Cut.REBUILT:
            value.graph, value.leaf, value.cut = Graph.ATTACHED, True, None  # as `parameter`, but this very tensor
            value.hack_at, value.hack_statement = run.loc(node), run.statement
            return value
        if value.graph is Graph.PLAIN or value.leaf:
            return Tensor(Graph.ATTACHED, leaf=True, made_at=run.loc(node))
        value.hack_at, value.hack_statement = run.loc(node), run.statement
        value.hack_inner = inner
        return value
    if isinstance(value, Sym) and not value.data:
        return Tensor(Graph.UNKNOWN, hack_at=run.loc(node), hack_statement=run.statement, hack_inner=inner)
    return Tensor(Graph.ATTACHED, leaf=True)


def hacked_in_place(
    run: Run, value: Value, node: ir.Node, expr: ir.Expr | None, scope: Scope | None, called: bool = True
) -> Value:
    """The same, and what the variable holds from then on. expr: what the user wrote for the value; called: in a call."""
    inner = run.loc(expr) if called and expr is not None else None
    result = hacked(run, value, node, inner)
    if isinstance(expr, ir.Name) and scope is not None:
        scope.bind(expr.id, result)
    return result


def filled(run: Run, tensor: Tensor, value: Value, node: ir.Node) -> None:
    """`tensor[index] = value`: what is written into a tensor brings its graph along (`log_probs = zeros(…);
    log_probs[:, i] = …`). Token ids stay data. What was read from a file is no longer what is in there."""
    tensor.file = ""
    if tensor.leaf or tensor.ids is not None or tensor.encoding is not None:
        return
    result = combine(run, [tensor, value], node)
    if isinstance(result, Tensor) and result.graph in (Graph.ATTACHED, Graph.UNKNOWN):
        tensor.graph, tensor.sources, tensor.behind = result.graph, result.sources, result.behind
        tensor.needs, tensor.number = result.needs, False
        _copy_cut(result, tensor)


def keep_output(run: Run, value: Value, node: ir.Node) -> Value:
    """The result of an operation whose backward needs its output (softmax, exp): a write to it breaks the graph."""
    result = combine(run, [value], node)
    if isinstance(result, Tensor) and result.graph is Graph.ATTACHED:
        result.kept = run.loc(node)
        result.needs |= {result.kept}
    return result


def note_write(run: Run, value: Value, node: ir.Node, augmented: bool = False) -> None:
    """Emit an event when a tensor that backward needs is written in place while gradients are recorded."""
    if isinstance(value, Tensor):
        value.outputs_of = ()
    if isinstance(value, Tensor) and value.kept is not None and run.grad[-1].on.yes:
        run.emit(Ev.IN_PLACE, node, args={"kept": value.kept, "name": value.name, "augmented": augmented})


def note_hook(run: Run, receiver: Value, name: str) -> None:
    """Note that a function of the user's gets the gradient of a tensor or parameter: it may step, or clear."""
    if name in HOOKS:
        run.witnesses.update((GRADIENT_HOOKED, path) for path in run.modules)


def note_method(run: Run, tensor: Tensor, name: str, node: ir.Node) -> None:
    """What a call of a tensor's method shows besides its result: a write in place, or a function that gets the gradient and
    may pass it on."""
    if name in HOOKS:
        run.witnesses.add((GRADIENT_READ, tensor.hack_at))
    elif name in ("pop", "update", "clear"):  # of what was read from a file
        tensor.file = ""
    elif name.endswith("_") and not name.startswith("_") and name != "requires_grad_":
        note_write(run, tensor, node)
