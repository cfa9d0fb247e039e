"""Functions that end in an error: what stands behind the last arm that returns is its other arm."""

from __future__ import annotations

from dataclasses import replace

from lora_lint.syntax import ir


def of_function(body: tuple[ir.Stmt, ...]) -> tuple[ir.Stmt, ...]:
    """The body of a function. `if c: return x`, then only the making of an error, is `if c: return x` with an `else`: so a
    reader of the branch sees that there is no going on without it."""
    if not body or not isinstance(body[-1], ir.Raise):
        return body
    last = next((at for at in range(len(body) - 2, -1, -1) if not isinstance(body[at], (ir.ExprStmt, ir.Assign))), None)
    branch = body[last] if last is not None else None
    if last is None or not isinstance(branch, ir.If):
        return body
    arms = [branch]
    while len(arms[-1].orelse) == 1 and isinstance(inner := arms[-1].orelse[0], ir.If):
        arms.append(inner)
    if arms[-1].orelse or not all(arm.body and isinstance(arm.body[-1], ir.Return) for arm in arms):
        return body
    orelse = body[last + 1 :]
    for arm in reversed(arms):
        orelse = (replace(arm, orelse=orelse),)
    return (*body[:last], *orelse)
