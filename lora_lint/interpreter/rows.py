"""Rows of a dataset, as the user's functions see them: which fields they read, by which names."""

from __future__ import annotations

from lora_lint.apis.known_datasets import is_known
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Bound, Const, DictVal, FuncVal, Partial, SeqVal, Sym, Value, key_of
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import ONE_OF
from lora_lint.lifecycle.vocabulary import Ev, Kind, Tri
from lora_lint.syntax import ir

Texts = dict[str, Sym | None]  # by the names of fields; None for a field of which nothing is told
OTHERS = ""  # stands for the fields that a function may have changed elsewhere
_GIVEN, _TEXTS = "texts given", "texts"  # facts of a dataset: what a function just gave of its rows, what its rows hold


def make(run: Run, dataset: Value, node: ir.Node) -> Obj:
    """A row of a dataset (of something unknown: then only what is read of it is known)."""
    row = run.make(Kind.ROW, "", node)
    known = isinstance(dataset, Obj) and dataset.kind is Kind.DATASET and ONE_OF not in run.contexts
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
        text = _text_in(row.facts["dataset"], index.value)
        found = text or Sym(("field", row.site, index.value), index.value, data=True)
        row.attrs[name] = SeqVal("list", [text], open=True) if text is not None and "batched" in run.contexts else found
    return row.attrs[name]


def hand_over(made: Obj) -> None:
    """A dataset was mapped: its rows hold what the function gave."""
    source = made.wraps
    if made.kind is Kind.DATASET and source is not None and (texts := source.facts.pop(_GIVEN, None)):
        made.facts[_TEXTS] = texts


def _text_in(dataset: Value, name: str) -> Sym | None:
    """The text that a row has under a name since a dataset was mapped; None where that is not known."""
    here = dataset if isinstance(dataset, Obj) else None
    while here is not None:
        texts = here.facts.get(_TEXTS)
        if isinstance(texts, dict) and name in texts:
            found = texts[name]
            return found if isinstance(found, Sym) else None
        if here.facts.get("changed") and (texts is None or OTHERS in texts):
            return None
        here = here.wraps
    return None


def tells_texts(dataset: Obj) -> bool:
    """Whether something is known of the texts in a dataset."""
    here: Obj | None = dataset
    while here is not None and _TEXTS not in here.facts:
        here = here.wraps
    return here is not None


def give(given: Args, texts: Texts) -> None:
    """What a function gave, which the dataset of the row that it got is mapped with."""
    row = given.first()
    dataset = row.facts.get("dataset") if isinstance(row, Obj) and row.kind is Kind.ROW else None
    if isinstance(dataset, Obj):
        dataset.facts[_GIVEN] = texts


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
