"""Text to IR: by the fast front end, and by the reference where that one has no answer."""

from __future__ import annotations

from lora_lint.syntax import ir
from lora_lint.syntax.from_ast import lower_with_ast


def lower_module(text: str, path: str) -> ir.Module:
    """The IR of a module. SyntaxProblem: it does not parse, or is nested more deeply than can be followed."""
    module = lower_with_ast(text, path)
    if module is None:
        from lora_lint.syntax import from_libcst  # dear to import, and rarely needed

        module = from_libcst.lower_module(text, path)
    return module
