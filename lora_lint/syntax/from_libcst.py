"""The reference front end: LibCST's tree to IR. Positions come from `positions`, not from metadata providers."""

from __future__ import annotations

import re
import warnings

import libcst as cst

from lora_lint.syntax import ir
from lora_lint.syntax import lower_compound as _handlers  # noqa: F401  importing it fills the tables
from lora_lint.syntax.comments import put_aside
from lora_lint.syntax.dispatch import UnknownNodeError, lower_statements
from lora_lint.syntax.nesting import check_nesting, with_deep_stack
from lora_lint.syntax.positions import Cursor
from lora_lint.syntax.problem import ONLY_AST, SyntaxProblem

_PLACE = re.compile(r"error at (\d+):(\d+)")


def lower_module(text: str, path: str) -> ir.Module:
    """The IR of a module. SyntaxProblem: it does not parse, or is nested more deeply than can be followed."""
    return lower_tree(parse(text, path), text, path)


def parse(text: str, path: str) -> cst.Module:
    """LibCST's tree of a module. SyntaxProblem: it does not parse, or is nested too deeply."""
    risky = check_nesting(text, path)
    try:
        return with_deep_stack(lambda: cst.parse_module(text)) if risky else cst.parse_module(text)
    except cst.ParserSyntaxError as error:
        raise _explain(text, path, error.message) from None
    except cst.CSTValidationError as error:
        raise _explain(text, path, str(error)) from None
    except (RecursionError, MemoryError):
        raise SyntaxProblem(path, 1, 1, "nested too deeply to be parsed") from None
    except ValueError as error:  # text that cannot be encoded: lone surrogates
        raise SyntaxProblem(path, 1, 1, f"not valid text: {error}") from None


def lower_tree(tree: cst.Module, text: str, path: str) -> ir.Module:
    """The IR of a tree that `parse` made of this very text."""
    at = Cursor(text)
    try:
        body = lower_statements(at, tree.body)
    except RecursionError:
        raise SyntaxProblem(path, *_place(at), "nested too deeply to be analyzed") from None
    except UnknownNodeError as error:
        raise SyntaxProblem(path, *_place(at), f"unsupported syntax ({error})") from None
    except ValueError as error:  # a literal that Python refuses as well
        raise SyntaxProblem(path, *_place(at), f"invalid literal: {error}") from None
    if not at.at_end():
        raise AssertionError(f"{path}:{at.loc(at.pos)[0]}: the lowering lost its place")
    return ir.Module(path, body, put_aside(text))


def _place(at: Cursor) -> tuple[int, int]:
    line, column, *_ = at.loc(at.pos)
    return line, column


def _explain(text: str, path: str, message: str) -> SyntaxProblem:
    """LibCST often blames line 1 with a list of tokens; the running Python says it better, if it refuses too."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, path, "exec", dont_inherit=True, flags=ONLY_AST)
    except SyntaxError as error:
        line = error.lineno or 1
        return SyntaxProblem(path, line, max(error.offset or 1, 1), error.msg)
    except (ValueError, RecursionError, MemoryError) as error:
        return SyntaxProblem(path, 1, 1, str(error) or "nested too deeply to be parsed")
    found = _PLACE.search(message)
    line, column = (int(found[1]), int(found[2])) if found else (1, 1)
    if column == 0 and line > 1:  # behind the end of a line: blame that line
        line -= 1
    return SyntaxProblem(path, line, max(column, 1), "valid for this Python, but LibCST cannot parse it", valid=True)
