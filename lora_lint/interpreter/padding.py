"""Rows of ids that are filled up to one length after the texts were encoded: `tokenizer.pad(rows)`, `pad_sequence(rows)`."""

from __future__ import annotations

from dataclasses import replace

import lora_lint.interpreter.tensors as tensors
from lora_lint.interpreter import encodings
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.special_tokens import is_special
from lora_lint.interpreter.values import Const, DictVal, SeqVal, Value
from lora_lint.lifecycle.trace import Encoding, Tensor
from lora_lint.lifecycle.vocabulary import Graph, Tri
from lora_lint.syntax import ir


def batch(run: Run, padding: Value, rows: Value, kind: Value, node: ir.Node) -> Tensor:
    """The batch that a tokenizer makes of rows. Of rows that nobody here has encoded it is not known whether any is shorter
    than the others, unless they are ids that were picked out to be padded."""
    ids = [_ids_of(row) for row in _listed(rows)]
    made = encodings.make(run, padding, rows, kind, node)
    assert made.encoding is not None
    made.encoding.parts, made.encoding.text = tuple(row.ids for row in _all_ids(ids) if row.ids is not None), None
    if any(one is None for one in ids) or any(part.fixed for part in made.encoding.parts):
        made.encoding.padded = Tri.UNKNOWN if made.encoding.padded.yes else made.encoding.padded
    return made


def stacked(run: Run, rows: Value, filler: Value, node: ir.Node) -> Value:
    """What several rows of ids become in one tensor: `torch.stack(rows)`, `pad_sequence(rows, padding_value=filler)`. With a
    special token for a filler they are ids that are filled up with it, also where nobody here has encoded them."""
    whole = tensors.combine(run, [rows], node)
    if isinstance(whole, Tensor) and whole.graph is Graph.ATTACHED:
        return whole
    device = whole.device if isinstance(whole, Tensor) else "unknown"
    if not is_special(filler):
        return together(run, rows, device, node) or whole
    several = rows.open or len(rows.items) > 1 if isinstance(rows, SeqVal) else _in_batch(run, rows)
    return _padded(run, _all_ids(_listed(rows)), True, device, node) if several else whole


def together(run: Run, rows: Value, device: str, node: ir.Node) -> Tensor | None:
    """One tensor of rows of ids that have one length; None where not all of them are known to be filled up."""
    if isinstance(rows, Tensor) and _is_filled(rows):  # a list of copies of its rows
        return replace(rows)
    ids = _all_ids(rows.items) if isinstance(rows, SeqVal) else []
    return _padded(run, ids, True, device, node) if ids and all(_is_filled(one) for one in ids) else None


def operated(run: Run, op: str, values: list[Value], node: ir.Node) -> Value | None:
    """`[token] * number`, and `ids + [token] * number`: the ids of a text that are filled up; None for anything else."""
    first, second = values if len(values) == 2 else (None, None)
    fillers = second if op == "+" else first
    if not isinstance(fillers, SeqVal) or not fillers.items or not all(map(is_special, fillers.items)):
        return None
    if op == "*" and not isinstance(second, Const):
        return SeqVal(fillers.kind, list(fillers.items), open=True)
    if op == "+" and fillers.open and isinstance(first, Tensor) and first.ids is not None and not first.ids.tensors:
        return _padded(run, [first], False, first.device, node)
    return None


def _padded(run: Run, rows: list[Tensor], tensors_: bool, device: str, node: ir.Node) -> Tensor:
    """Rows in one tensor. What was masked in them before they were filled up says nothing of the padding."""
    parts = tuple(row.ids for row in rows if row.ids is not None)
    ids = Encoding(Tri.YES, tensors_, run.loc(node), collated="worker" in run.contexts, parts=parts)
    ids.fixed, ids.rewritten = any(part.fixed for part in parts), any(part.rewritten for part in parts)
    taken = tuple(dict.fromkeys(event for row in rows for event in row.taken))
    return Tensor(
        Graph.PLAIN, device=device, ids=ids, masked=any(r.masked and _is_filled(r) for r in rows), taken=taken
    )


def _is_filled(ids: Tensor) -> bool:
    return ids.ids is not None and ids.ids.padded.yes


def _in_batch(run: Run, rows: Value) -> bool:
    """Whether a row, or rows that cannot be seen, belong to a batch."""
    return "worker" in run.contexts or (isinstance(rows, Tensor) and rows.ids is not None)


def _listed(rows: Value) -> list[Value]:
    """The rows, of a list of them or of a dict of lists."""
    if isinstance(rows, DictVal):
        held = rows.items.get("input_ids")
        return [DictVal({"input_ids": item}) for item in held.items] if isinstance(held, SeqVal) else [held]
    return list(rows.items) if isinstance(rows, SeqVal) else [rows]


def _ids_of(row: Value) -> Value:
    """The ids in a row, None where it cannot be seen."""
    if isinstance(row, Tensor) and row.encoding is not None:
        return encodings.item(row, "input_ids")
    return row.items.get("input_ids") if isinstance(row, DictVal) else None


def _all_ids(rows: list[Value]) -> list[Tensor]:
    """The rows that hold ids of texts; nothing where one of them is not known to."""
    known = [row for row in rows if isinstance(row, Tensor) and row.ids is not None]
    return known if len(known) == len(rows) else []
