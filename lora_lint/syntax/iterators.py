"""Loops that ask an iterator for each item are loops over it."""

from __future__ import annotations

from lora_lint.syntax import ir


def loop(loc: ir.Loc, test: ir.Expr, body: tuple[ir.Stmt, ...], orelse: tuple[ir.Stmt, ...]) -> ir.For | ir.While:
    """A while loop. `while True: try: x = next(it) except StopIteration: break` is `for x in it`, jumps and all."""
    endless = isinstance(test, ir.Const) and test.value is True
    asking = _asked(body[0]) if endless and body and not orelse else None
    if asking is None:
        return ir.While(loc, test, body, orelse)
    target, iterator = asking
    return ir.For(loc, target, iterator, body[1:], ())


def _asked(node: ir.Stmt) -> tuple[ir.Expr, ir.Expr] | None:
    """What gets the next item of which iterator, in a statement that leaves the loop when there is none."""
    if not isinstance(node, ir.Try) or node.orelse or node.final or len(node.body) != 1 or len(node.handlers) != 1:
        return None
    step, handler = node.body[0], node.handlers[0]
    if not isinstance(handler.type, ir.Name) or handler.type.id != "StopIteration":
        return None
    leave = handler.body[0] if len(handler.body) == 1 else None
    if not isinstance(leave, ir.Jump) or leave.kind != "break":
        return None
    if not isinstance(step, ir.Assign) or len(step.targets) != 1 or not isinstance(step.value, ir.Call):
        return None
    call = step.value
    if not isinstance(call.func, ir.Name) or call.func.id != "next" or len(call.args) != 1:
        return None
    (item,) = call.args
    # A call there would be made anew at each turn: `next(iter(data))`.
    return (step.targets[0], item.value) if item.name is None and isinstance(item.value, (ir.Name, ir.Attr)) else None
