"""Code that only looks at an object: it prints it, or counts what it holds. That makes no use of the object."""

from __future__ import annotations

from collections.abc import Iterable

from lora_lint.interpreter.run import Run
from lora_lint.interpreter.walk import nodes_in
from lora_lint.syntax import ir

_LOOKS = frozenset({"print", "type", "repr", "id", "isinstance", "hasattr", "len"})
_LOGS = frozenset({"critical", "debug", "error", "info", "warning"})  # methods of loggers
_MEASURES = frozenset(
    {"device", "dtype", "element_size", "nelement", "ndim", "numel", "requires_grad", "shape", "size"}
)


def only_looks(run: Run, node: ir.Call) -> bool:
    """Whether a call only shows something about its arguments."""
    if isinstance(node.func, ir.Name):
        return node.func.id in _LOOKS
    if not isinstance(node.func, ir.Attr):
        return False
    name, named = node.func.name, isinstance(node.func.value, (ir.Name, ir.Attr))
    if name in _LOGS:  # what is called for a message may do more
        return named and not any(isinstance(each, ir.Call) for arg in node.args for each in nodes_in(arg.value))
    return name.startswith("print_") or (named and run.store.only_counts(name))


def only_measures(run: Run, target: ir.Expr, source: ir.Expr, body: Iterable[ir.Node]) -> bool:
    """Whether code only counts what a model holds: `sum(p.numel() for p in model.parameters() if p.requires_grad)`."""
    item = target.items[-1] if isinstance(target, ir.Seq) and target.items else target
    called = source.func if isinstance(source, ir.Call) else None
    if not isinstance(called, ir.Attr) or not isinstance(called.value, (ir.Name, ir.Attr)):
        return False
    if not isinstance(item, ir.Name) or not run.store.find_method("torch.nn.Module", called.name):
        return False
    inside = [each for node in body for each in nodes_in(node)]
    asked = sum(isinstance(n, ir.Attr) and n.name in _MEASURES and _is_name(n.value, item.id) for n in inside)
    written = (n.targets for n in inside if isinstance(n, ir.Assign))
    stored = any(isinstance(each, ir.Attr) and _is_name(each.value, item.id) for targets in written for each in targets)
    return not stored and asked == sum(_is_name(n, item.id) for n in inside)


def _is_name(node: ir.Node, name: str) -> bool:
    return isinstance(node, ir.Name) and node.id == name
