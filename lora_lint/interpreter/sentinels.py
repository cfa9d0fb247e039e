"""Names that hold nothing until a turn of a loop sets them: `saved = None`, and `saved = train(saved)` in the loop.

A test of such a name is there to tell the first turn from the later ones. It found nothing in the first; what a later turn
has put there, from code that cannot be followed, is taken to be something.
"""

from __future__ import annotations

from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, Sym, Value
from lora_lint.syntax import ir

_NOTHING = (None, "")


def was_set(run: Run, value: Value, node: ir.Node) -> bool:
    """Whether a test that found nothing in an earlier turn, in the same function called from the same place, now finds an
    unknown value. node: what is tested, or the comparison with None."""
    if not run.loops:
        return False
    if isinstance(value, Const):
        if value.value in _NOTHING:
            run.unset.add((node, tuple(run.chain)))
        return False
    return (
        bool(run.unset) and isinstance(value, Sym) and value.default is None and (node, tuple(run.chain)) in run.unset
    )


def asks_for_nothing(op: str, values: list[Value]) -> bool:
    """Whether a comparison is `x is None` or `not x`."""
    return op == "not" or (op in ("is", "==") and isinstance(values[1], Const) and values[1].value is None)
