"""Short text of an expression, for messages and for the identity of conditions."""

from __future__ import annotations

from lora_lint.syntax import ir

# Deeper parts of an expression are left out of its text.
_DEPTH = 12


def describe(node: ir.Expr | None, depth: int = _DEPTH) -> str:
    """The expression as source-like text, abbreviated where it is long or deep."""
    if node is None:
        return ""
    if isinstance(node, ir.Name):
        return node.id
    if isinstance(node, ir.Const):
        text = repr(node.value)
        return text if len(text) <= 30 else text[:27] + "…"
    if isinstance(node, ir.Seq):
        return "(…)" if node.kind == "tuple" else "[…]"
    if depth == 0:
        return "…"
    below = depth - 1
    if isinstance(node, ir.Attr):
        return f"{describe(node.value, below)}.{node.name}"
    if isinstance(node, ir.Call):
        return f"{describe(node.func, below)}(…)" if node.args else f"{describe(node.func, below)}()"
    if isinstance(node, ir.Item):
        return f"{describe(node.value, below)}[{describe(node.index, below)}]"
    if isinstance(node, ir.Op):
        if node.op == "not":
            return f"not {describe(node.operands[0], below)}"
        if len(node.operands) == 2 or node.op in ("and", "or"):
            return f" {node.op} ".join(describe(operand, below) for operand in node.operands[:_DEPTH])
    return "…"


def variable(node: ir.Expr | None) -> str:
    """The text of a plain variable like `model` or `self.model`; "" for anything else."""
    if isinstance(node, ir.Name):
        return node.id
    if isinstance(node, ir.Attr):
        head = variable(node.value)
        return f"{head}.{node.name}" if head else ""
    return ""
