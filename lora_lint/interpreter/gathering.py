"""Lists of parameters or modules that a loop over those fills: what is put into them, and whether it is certain."""

from __future__ import annotations

from dataclasses import replace

import lora_lint.interpreter.params as params
from lora_lint.interpreter.parameter_values import Element, ParamIter, ParamName, ParamSet
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import DictVal, SeqVal, Value, key_of
from lora_lint.syntax import ir


def element_in(item: Value) -> Element | None:
    """The parameter or module that an item of a list is, by itself or behind its name."""
    pair = item.items if isinstance(item, SeqVal) and len(item.items) == 2 else ()
    if pair and not isinstance(pair[0], ParamName):
        return None
    found = pair[1] if pair else item
    return found if isinstance(found, Element) else None


def put_into(run: Run, held: SeqVal, item: Value, node: ir.Node) -> Value:
    """What a list that something is appended to holds of it. One that a loop over parameters or modules fills with those is
    known to hold these alone."""
    state = run.param_loops[-1] if run.param_loops else None
    before = held.whole if isinstance(held.whole, ParamIter) else None
    if state is not None and before is not None and state.model is not None and before.model is not state.model:
        _closed(run, held, node)
        before = None
    if before is not None:
        held.whole = None
    if state is None or state.model is None or element_in(item) is None:
        return item
    if all(isinstance(each, ParamSet) for each in held.items) or (before is not None and before.model is state.model):
        held.whole = before or ParamIter(state.model, collected=run.loc(node), since=len(run.trace.events))
        state.lists.append(held)
    return in_doubt(item) if state.weak or state.doubt else item


def _closed(run: Run, held: SeqVal, node: ir.Node) -> None:
    """Take what a list holds of one model together, before a loop over another one adds to it."""
    sets = [item for item in held.items if isinstance(item, ParamSet)]
    rest = SeqVal(held.kind, [item for item in held.items if not isinstance(item, ParamSet)], whole=held.whole)
    if (iterator := params.of_list(run, rest)) is not None:
        held.items[:] = [*sets, params.materialise(run, iterator, node)]


def put_under(run: Run, held: DictVal, key: Value, item: Value) -> None:
    """Put an item into a dict under a key that is not known."""
    held.keyed = bool(run.param_loops) and (held.keyed or not held.open)
    held.items["unknown", key_of(key)], held.open = item, True


def grouped(value: Value) -> DictVal | None:
    """The dict of parameters under keys that are not known of which a value holds everything: its values, its pairs, its
    keys, or a list of these."""
    for _ in range(_DEPTH):
        if not isinstance(value, SeqVal):
            break
        value = value.whole
    return value if isinstance(value, DictVal) and value.keyed else None


_DEPTH = 4  # list(sorted(groups.items()))


def are_groups(held: DictVal) -> bool:
    """Whether a dict holds nothing but lists of parameters, or groups of them for an optimizer."""
    found = [item.items.get("params") if isinstance(item, DictVal) else item for item in held.items.values()]
    return bool(found) and all(isinstance(item, SeqVal) and isinstance(item.whole, ParamIter) for item in found)


def is_group(item: Value) -> bool:
    """Whether an item is a group for an optimizer of one parameter that a loop is at: `{"params": [p], "lr": 1e-4}`."""
    held = item.items.get("params") if isinstance(item, DictVal) else None
    one = held.items[0] if isinstance(held, SeqVal) and len(held.items) == 1 else held
    return isinstance(one, Element) and not one.module


def note_growth(run: Run, held: SeqVal) -> None:
    """Note that something is put into a list. In a turn of a loop over something unknown, in which the list was there before,
    nobody knows how much is in it by now."""
    held.grows = held.grows or (held.born is not None and held.born < run.turn)


def values_of(pairs: SeqVal) -> SeqVal:
    """A list of modules out of one in which each stands behind its name."""
    return SeqVal("list", [pair.items[1] for pair in pairs.items], pairs.open, pairs.whole)


def in_doubt(item: Value) -> Value:
    """An item of a list that may not be there."""
    if isinstance(item, SeqVal):
        return SeqVal(item.kind, [in_doubt(each) for each in item.items])
    return replace(item, doubt=True) if isinstance(item, Element) else item
