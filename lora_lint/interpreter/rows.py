"""Rows of a dataset, as the user's functions see them: which fields they read, by which names."""

from __future__ import annotations

from lora_lint.apis.known_datasets import is_known
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Bound, Const, DictVal, FuncVal, Partial, SeqVal, Sym, Value, key_of
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.vocabulary import Ev, Kind, Tri
from lora_lint.syntax import ir


def make(run: Run, dataset: Value, node: ir.Node) -> Obj:
    """A row of a dataset (of something unknown: then only what is read of it is known)."""
    row = run.make(Kind.ROW, "", node)
    known = isinstance(dataset, Obj) and dataset.kind is Kind.DATASET and "one-of" not in run.contexts
    row.facts["dataset"] = dataset if known else None
    row.facts["own"] = set()
    return row


def tells_fields(dataset: Obj) -> bool:
    """Whether it is a dataset whose fields are known and unchanged."""
    if dataset.kind is not Kind.DATASET:
        return False
    path = dataset.root.facts.get("path")
    return isinstance(path, Const) and is_known(path.value) and not changed(dataset)


def changed(dataset: Obj) -> bool:
    """Whether fields were added, renamed or removed between loading and here."""
    here: Obj | None = dataset
    while here is not None:
        if here.facts.get("changed"):
            return True
        here = here.wraps
    return False


def replaced(dataset: Obj) -> None:
    """`dataset["train"] = …`: its splits, and their fields, are no longer those that were loaded."""
    dataset.root.facts.pop("path", None)


def item(run: Run, row: Obj, index: Value, node: ir.Node) -> Value:
    """`row[index]`: a field, which an event tells of unless the user put it there."""
    if not isinstance(index, Const) or not isinstance(index.value, str):
        return Sym(("field", row.site, key_of(index)), data=True)
    _read(run, row, index.value, node, certain=True)
    name = f"[{index.value}]"
    if name not in row.attrs:
        row.attrs[name] = Sym(("field", row.site, index.value), index.value, data=True)
    return row.attrs[name]


def _read(run: Run, row: Obj, name: str, node: ir.Node, certain: bool) -> None:
    if name in row.facts["own"]:
        return
    where = node.index if isinstance(node, ir.Item) else node
    args = {"row": row, "name": name, "certain": certain, "key": run.loc(where)}
    dataset = row.facts["dataset"]
    run.emit(Ev.FIELD, node, {"dataset": dataset} if dataset is not None else {}, args)


def bind(row: Obj, index: Value, value: Value) -> None:
    """`row[index] = value`."""
    if isinstance(index, Const) and isinstance(index.value, str):
        row.facts["own"].add(index.value)
        row.attrs[f"[{index.value}]"] = value
    else:
        row.facts["tested"] = True


def method(run: Run, row: Obj, name: str, args: Args, node: ir.Node) -> Value:
    """A method of a row: the ones of dict."""
    first = args.first()
    if name in ("get", "pop") and isinstance(first, Const) and isinstance(first.value, str):
        # pop() of a field that is not there fails, unless it is given what to return then.
        required = name == "pop" and len(list(args.values())) == 1 and not args.open_positional
        _read(run, row, first.value, node, certain=required)
        if not required:
            row.facts["own"].add(first.value)  # the user reckons with a row that has no such field
        return Sym(("field", row.site, first.value), first.value, data=True)
    if name in ("update", "keys"):
        row.facts["tested"] = True  # by what is asked of the keys
    if name in ("items", "keys", "values"):
        pair: list[Value] = [run.fresh(node), run.fresh(node, data=True)]
        return SeqVal("list", [SeqVal("tuple", pair) if name == "items" else pair[name == "values"]], open=True)
    if name == "copy":
        return row
    return run.fresh(node, data=True)


def tested(value: Value, name: Value) -> None:
    """`"name" in row`, `"name" in datasets`, `"name" in dataset.column_names`: the user asks for what there is."""
    if isinstance(value, Obj) and value.kind is Kind.ROW:
        value.facts["tested"] = True
        return
    of, kind = value, "splits"
    if isinstance(value, Sym) and value.read_of is not None and value.read_of[1] in ("column_names", "features"):
        of, kind = value.read_of[0], "fields"
    if isinstance(of, Obj) and of.kind is Kind.DATASET:
        of.root.facts.setdefault(f"asked {kind}", set()).add(name.value if isinstance(name, Const) else None)


def is_cold(run: Run, function: Value) -> Tri:
    """Whether a function of the user cannot change the state of any object with a lifecycle."""
    while isinstance(function, (Partial, Bound)):
        function = function.func
    if isinstance(function, Obj) and function.kind is Kind.OBJECT and function.user_class is not None:
        function = function.user_class.find("__call__")
    if not isinstance(function, FuncVal):
        return Tri.UNKNOWN
    body = function.node.body
    return Tri.of(not (run.program.hot_block(body) if isinstance(body, tuple) else run.program.is_hot(body)))


def fields(value: Value) -> DictVal | None:
    """A row unpacked with `**`: nobody knows what is in it."""
    return DictVal({}, open=True) if isinstance(value, Obj) and value.kind is Kind.ROW else None
