"""Functions that datasets are mapped with. They are long, take no part in training, and are mapped on every path: one that
did nothing but read fields of a dataset nobody knows is not run again where it would find the same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from lora_lint.interpreter import rows
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.keys import parts_of
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, DictVal, FuncVal, LibRef, Scope, SeqVal, Sym, Value, key_of
from lora_lint.interpreter.walk import names_in
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Tensor
from lora_lint.lifecycle.vocabulary import Ev, Graph, Kind

Key = tuple[Hashable, ...]


class Mapped:
    """The calls of such functions that need not be repeated, for all runs of a program."""

    def __init__(self) -> None:
        self._done: dict[Key, rows.Texts] = {}
        self._free: dict[int, frozenset[str]] = {}

    def key(self, function: Value, given: Args, contexts: list[str]) -> Key | None:
        """What a call with these arguments depends on, None when it is none of these."""
        if not isinstance(function, FuncVal) or function.contexts or given.keywords:
            return None
        values = [value for value, _ in given.positional]
        if not values or not all(map(_is_any_row, values)):
            return None
        names = self._free.get(id(function.node))
        if names is None:
            names = self._free[id(function.node)] = frozenset(names_in(function.node))
        return (id(function.node), *contexts, *map(type, values), *_around(function.scope, names))

    def is_done(self, key: Key | None, given: Args) -> bool:
        """Whether a call would only repeat an earlier one, and give the same."""
        if key is None or key not in self._done:
            return False
        rows.give(given, {name: text and replace(text, attrs={}) for name, text in self._done[key].items()})
        return True

    @contextmanager
    def running(self, run: Run, key: Key | None) -> Iterator[Callable[[Args, Value], None]]:
        """Make a call, and note it if it did nothing. Gives what is to be told of what the call gives."""
        events, written, promoted = len(run.trace.events), len(run.written), len(run.promoted)
        texts: rows.Texts = {}

        def told(given: Args, result: Value) -> None:
            texts.update(_texts(given, result))
            rows.give(given, texts)

        yield told
        if (
            key is not None
            and written == len(run.written)
            and promoted == len(run.promoted)
            and all(event.kind is Ev.FIELD for event in run.trace.events[events:])
        ):
            self._done[key] = texts


def _texts(given: Args, result: Value) -> rows.Texts:
    """The texts that a function puts into a row: those that it returns in a dict, or that it wrote into the row it got."""
    if isinstance(result, DictVal) and not result.open:
        held = {name: value for name, value in result.items.items() if isinstance(name, str)}
        return {name: _text(value) for name, value in held.items()} if len(held) == len(result.items) else {}
    row = given.first()
    if isinstance(row, Obj) and result is row and not row.facts.get("tested"):
        texts: rows.Texts = {rows.OTHERS: None}
        texts.update({name: _text(row.attrs.get(f"[{name}]")) for name in row.facts["own"]})
        return texts
    return {}


def _text(value: Value) -> Sym | None:
    """A text that is put together; of those of a batch, one."""
    items = value.items if isinstance(value, SeqVal) else [value]
    texts = [item for item in items if isinstance(item, Sym) and parts_of(item) is not None]
    alike = len(texts) == len(items) and len({text.key for text in texts}) == 1
    return replace(texts[0], attrs={}, data=True) if alike else None


def _is_any_row(value: Value) -> bool:
    """Whether a value is a row of a dataset nobody knows, or data of which nothing is told."""
    if isinstance(value, Tensor):
        return value.graph is Graph.PLAIN
    if not isinstance(value, Obj) or value.kind is not Kind.ROW:
        return False
    dataset = value.facts.get("dataset")
    return not (isinstance(dataset, Obj) and (rows.tells_fields(dataset) or rows.tells_texts(dataset)))


def _around(scope: Scope | None, names: frozenset[str]) -> Iterator[Hashable]:
    """What a function finds in the functions around it."""
    while scope is not None and scope.parent is not None:
        for name, value in scope.names.items():
            if name in names:
                yield name, _shape(value)
        scope = scope.parent


def _shape(value: Value) -> Hashable:
    """The same for values that such a function does the same with."""
    if isinstance(value, (Const, Sym, LibRef)):
        return key_of(value)
    if isinstance(value, Obj):
        return value.kind, value.type
    return type(value).__name__
