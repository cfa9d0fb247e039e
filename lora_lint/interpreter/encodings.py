"""What tokenizers return: a batch of tensors of which it is known whether texts were padded, and what becomes of its ids on
the way to the labels."""

from __future__ import annotations

from dataclasses import replace

from lora_lint.interpreter import masks
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.containers import device_of
from lora_lint.interpreter.describe import variable
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Choice, Const, DictVal, SeqVal, Sym, Value, is_slice
from lora_lint.lifecycle.trace import Encoding, Labels, Tensor
from lora_lint.lifecycle.vocabulary import Ev, Graph, Tri
from lora_lint.syntax import ir

_MOVES = frozenset({"to", "cuda", "cpu"})
_COPIES = frozenset(
    {"clone", "copy", "contiguous", "long", "int", "detach", "squeeze", "unsqueeze", "view", "reshape", "flatten"}
    | {"array", "asarray"}
)
# What every tokenizer puts into a batch.
_ENTRIES = ("input_ids", "attention_mask")
# What other labels are made with.
_REMAKES = frozenset({"masked_fill", "masked_fill_", "where", "tolist", "numpy"})


def make(run: Run, padding: Value, text: Value, kind: Value, node: ir.Node) -> Tensor:
    """The batch that a tokenizer returns."""
    tensors = isinstance(kind, Const) and kind.value == "pt"
    fixed = isinstance(padding, Const) and padding.value == "max_length"
    collated = "worker" in run.contexts
    encoding = Encoding(_padded(run, padding, text), tensors, run.loc(node), collated=collated, fixed=fixed, text=text)
    return Tensor(Graph.PLAIN, device="cpu" if tensors else "unknown", encoding=encoding)


def _padded(run: Run, padding: Value, text: Value) -> Tri:
    """Whether rows are padded: one text alone is not, unless to a fixed length."""
    if isinstance(padding, Choice):
        answers = {_padded(run, one, text) for one in padding.values}
        return answers.pop() if len(answers) == 1 else Tri.UNKNOWN
    if type(padding).__name__ == "Unset":
        return Tri.NO
    if not isinstance(padding, Const):
        return Tri.UNKNOWN
    if padding.value in (False, None, "do_not_pad"):
        return Tri.NO
    if padding.value == "max_length":
        return Tri.YES
    listed = isinstance(text, SeqVal) and (text.open or len(text.items) > 1)
    several = "batched" in run.contexts or listed
    return Tri.YES if several and padding.value in (True, "longest") else Tri.UNKNOWN


def item(batch: Tensor, name: object) -> Tensor:
    """One entry of a tokenizer's batch; the same one whenever it is asked for."""
    encoding = batch.encoding
    assert encoding is not None
    key = str(name)
    if key not in encoding.entries:
        ids = encoding if key == "input_ids" else None
        encoding.entries[key] = Tensor(Graph.PLAIN, device=batch.device, ids=ids)
    return encoding.entries[key]


def mapping(batch: Tensor) -> DictVal:
    """The entries of a tokenizer's batch in a dict of their own: `dict(batch)`."""
    assert batch.encoding is not None
    entries: dict[object, Value] = {name: item(batch, name) for name in _ENTRIES}
    return DictVal(entries | {**batch.encoding.entries}, open=True)


def listed(run: Run, tensor: Tensor, name: str, node: ir.Node) -> SeqVal:
    """What `items()`, `values()` and `keys()` give: the entries of a tokenizer's batch, else what a tensor holds."""
    held: dict[Value, Value] = {run.fresh(node, data=True): tensor}
    if tensor.encoding is not None:
        held = {Const(key): value for key, value in mapping(tensor).items.items()}
    pairs: list[Value] = [SeqVal("tuple", [key, value]) for key, value in held.items()]
    return SeqVal("list", {"items": pairs, "values": list(held.values())}.get(name, list(held)), open=True)


def cut(ids: Tensor, index: Value) -> Tensor:
    """`ids[index]`: a computed end or a mask may leave the padding out."""
    parts = index.items if isinstance(index, SeqVal) else [index]
    computed = any(isinstance(part, Tensor) or (isinstance(part, Sym) and is_slice(part)) for part in parts)
    return replace(ids, masked=True) if computed else ids


def bind(run: Run, tensor: Tensor, index: Value, value: Value, target: ir.Item) -> None:
    """`tensor[index] = value`: an entry of a batch, or some positions of labels."""
    if tensor.ids is not None:
        _mask(tensor)
        masks.written(run, tensor, index, value, target)
    if tensor.encoding is not None and isinstance(index, Const) and isinstance(index.value, str):
        replaced(tensor.encoding.entries.get(index.value), value)
        known = isinstance(value, Tensor)
        tensor.encoding.entries[index.value] = value if known else Tensor(Graph.PLAIN, device=tensor.device)
        if index.value == "labels":
            note_labels(run, value, target, variable(target.value))


def note_labels(run: Run, value: Value, node: ir.Node, batch: str = "") -> None:
    """Emit an event when padded ids become labels; not again when these are passed on."""
    value = _one_by_one(value) or value
    if isinstance(value, Tensor) and value.ids is not None and value.ids.padded is Tri.YES and value.labels is None:
        value.labels = Labels()
        run.emit(Ev.LABELS, node, args={"labels": value, "tensors": value.ids.tensors, "batch": batch})
    elif isinstance(value, Tensor) and value.labels is not None:
        value.labels.taken += value.taken


def _one_by_one(value: Value) -> Tensor | None:
    """The ids of which a list holds each in turn, with one token taken out: `labels.append(-100 if token == pad else token)`."""
    items = [item for item in value.items if isinstance(item, Tensor)] if isinstance(value, SeqVal) else []
    alike = bool(items) and all(item.ids is items[0].ids and item.masked and item.taken for item in items)
    return items[0] if alike and len(items) == len(value.items) else None


def replaced(before: Value | None, after: Value) -> None:
    """Labels gave way to another value, which may be what was made of them."""
    if isinstance(before, Tensor) and (not isinstance(after, Tensor) or after.labels is not before.labels):
        _mask(before)
        if before.ids is not None and before.labels is not None:
            before.ids.rewritten = True


def _mask(tensor: Tensor) -> None:
    if tensor.labels is not None:
        tensor.labels.masked = True


def method(run: Run, tensor: Tensor, name: str, args: Args, node: ir.Node) -> Tensor | None:
    """What copies and moves leave of a tokenizer's batch or ids; None for other methods."""
    if tensor.encoding is None and tensor.ids is None:
        return None
    if name in _REMAKES:
        _mask(tensor)
    told = masks.method(run, tensor, name, args, node) if tensor.ids is not None else None
    if told is not None:
        return told
    if name.endswith("_") and tensor.ids is not None:
        tensor.masked = tensor.ids.rewritten = True
        _mask(tensor)
    if name in _MOVES:
        device = name if name != "to" else next((d for d in map(device_of, args.values()) if d != "unknown"), "unknown")
        if run.in_worker and device == "cuda":
            device = "unknown"  # told by an event of its own, and no tensor that the worker took from its parent
        if tensor.encoding is None:
            return replace(tensor, device=device)
        tensor.device = device  # a batch moves its tensors and returns itself
        for key, entry in tensor.encoding.entries.items():
            tensor.encoding.entries[key] = replace(entry, device=device)
        return tensor
    return replace(tensor) if name in _COPIES else None


def escaped(tensor: Tensor) -> None:
    """A copy of ids goes where we cannot follow: its padding may be taken out there."""
    if tensor.ids is not None and tensor.ids.entries.get("input_ids") is not tensor:
        tensor.masked = tensor.ids.rewritten = True
        _mask(tensor)


def rows_copied(ids: Tensor, node: ir.Comp, made: list[Value]) -> Tensor | None:
    """The copy that a comprehension makes of ids row by row, None for anything else: `[list(row) for row in ids]`."""
    if ids.ids is None or node.kind != "list" or len(node.clauses) > 1 or node.clauses[0].conditions or not made:
        return None
    rows = [value.whole if isinstance(value, SeqVal) else value for value in made]
    if not all(isinstance(row, Tensor) and row.ids is ids.ids for row in rows):
        return None
    copies = [row for row in rows if isinstance(row, Tensor)]
    return replace(copies[0]) if len({copy.masked for copy in copies}) == 1 else None


def function(run: Run, name: str, args: Args, node: ir.Node) -> Tensor | None:
    """The same for the functions that these methods have: `torch.clone(ids)`."""
    first = args.first()
    short = name.rpartition(".")[2]
    if short in _REMAKES:
        for value in args.values():
            if isinstance(value, Tensor):
                _mask(value)
    if isinstance(first, Tensor) and short in _COPIES:
        return method(run, first, short, Args(), node)
    return masks.function(run, short, args, node)
