"""Loops that do one thing with each of their elements, and may be moved as a whole."""

from __future__ import annotations

from collections.abc import Iterable

import libcst as cst

from lora_lint.fix.names import dotted


def is_about_its_targets(loop: cst.For) -> bool:
    """Whether a loop does nothing but set attributes of its elements, call their methods, print, count and collect, under
    whatever conditions: `for n, p in model.named_parameters(): …`."""
    return loop.orelse is None and _all_about(loop.body, set(_names(loop.target)))


def _names(target: cst.BaseExpression) -> Iterable[str]:
    """Plain names that a target binds."""
    if isinstance(target, cst.Name):
        yield target.value
    elif isinstance(target, (cst.Tuple, cst.List)):
        for element in target.elements:
            yield from _names(element.value)


def _all_about(body: cst.BaseSuite, targets: set[str]) -> bool:
    """Whether every statement of a block is about the elements, or does not matter to others."""
    for node in body.body:
        if isinstance(node, cst.If):
            branch: cst.If | cst.Else | None = node
            while branch is not None:
                if not _all_about(branch.body, targets):
                    return False
                branch = branch.orelse if isinstance(branch, cst.If) else None
        elif isinstance(node, cst.SimpleStatementLine):
            if not all(_is_about(small, targets) for small in node.body):
                return False
        elif not (isinstance(node, cst.BaseSmallStatement) and _is_about(node, targets)):
            return False
    return True


def _is_about(small: cst.BaseSmallStatement, targets: set[str]) -> bool:
    """Whether a statement changes an element, or only prints, counts or collects."""
    if isinstance(small, (cst.Pass, cst.Continue)):
        return True
    if isinstance(small, cst.AugAssign):
        return isinstance(small.target, cst.Name)
    if isinstance(small, cst.Assign):
        return all(_first(target.target) in targets for target in small.targets)
    if isinstance(small, cst.Expr) and isinstance(small.value, cst.Call):
        function = small.value.func
        if isinstance(function, cst.Attribute):
            return _first(function) in targets or function.attr.value in ("append", "add")
        return dotted(function) == "print"
    return False


def _first(node: cst.BaseExpression) -> str:
    """The variable at the beginning of `p.data.x`, "" for a plain name or anything else."""
    name = dotted(node) or ""
    return name.split(".")[0] if "." in name else ""
