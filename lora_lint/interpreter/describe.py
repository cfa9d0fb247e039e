"""Short text of an expression, for messages and for the identity of conditions."""

from __future__ import annotations

from lora_lint.syntax import ir


def describe(node: ir.Expr | None) -> str:
    """The expression as source-like text, abbreviated where it is long."""
    if node is None:
        return ""
    if isinstance(node, ir.Name):
        return node.id
    if isinstance(node, ir.Attr):
        return f"{describe(node.value)}.{node.name}"
    if isinstance(node, ir.Const):
        text = repr(node.value)
        return text if len(text) <= 30 else text[:27] + "…"
    if isinstance(node, ir.Call):
        return f"{describe(node.func)}(…)" if node.args else f"{describe(node.func)}()"
    if isinstance(node, ir.Item):
        return f"{describe(node.value)}[{describe(node.index)}]"
    if isinstance(node, ir.Op):
        if node.op == "not":
            return f"not {describe(node.operands[0])}"
        if len(node.operands) == 2:
            return f"{describe(node.operands[0])} {node.op} {describe(node.operands[1])}"
        if node.op in ("and", "or"):
            return f" {node.op} ".join(describe(operand) for operand in node.operands)
        return "…"
    if isinstance(node, ir.Seq):
        return "(…)" if node.kind == "tuple" else "[…]"
    return "…"


def variable(node: ir.Expr | None) -> str:
    """The text of a plain variable like `model` or `self.model`; "" for anything else."""
    if isinstance(node, ir.Name):
        return node.id
    if isinstance(node, ir.Attr):
        head = variable(node.value)
        return f"{head}.{node.name}" if head else ""
    return ""
