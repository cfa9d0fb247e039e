"""What the disguises have in common: their table, and how a module is taken apart and put together."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Protocol

from tests.disguises.scopes import DEFINITIONS, IMPORTS, is_main_guard, loaded

Shape = ast.Module | tuple[ast.Module, dict[str, str]]  # a script, and files beside it
Disguise = Callable[[ast.Module], "Shape | None"]
DISGUISES: dict[str, Disguise] = {}


def disguise(function: Disguise) -> Disguise:
    """Enter a disguise under its name: it rewrites a module so that it does the same, or answers None where it cannot."""
    DISGUISES[function.__name__] = function
    return function


def parts(tree: ast.Module) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """Statements that stay at the head of a module (imports, definitions, constants), and the others, in their order."""
    kept = constants(tree)
    head: list[ast.stmt] = []
    body: list[ast.stmt] = []
    for statement in tree.body:
        if isinstance(statement, (*IMPORTS, *DEFINITIONS)) or statement in kept:
            head.append(statement)
        elif is_main_guard(statement) and isinstance(statement, ast.If):
            body += statement.body
        elif not _is_docstring(statement):
            body.append(statement)
    return head, body


def constants(tree: ast.Module) -> list[ast.stmt]:
    """Assignments of literals, and of constants before them, to names in capitals that nothing assigns again."""
    stores = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    found: list[ast.stmt] = []
    known: set[str] = set()
    for statement in tree.body:
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            continue
        target = statement.targets[0]
        if not isinstance(target, ast.Name) or not target.id.isupper() or stores.count(target.id) > 1:
            continue
        if loaded(statement.value) <= known and not any(isinstance(n, ast.Call) for n in ast.walk(statement.value)):
            known.add(target.id)
            found.append(statement)
    return found


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def module(text: str) -> list[ast.stmt]:
    """Statements of a piece of source."""
    return ast.parse(text).body


def expression(text: str) -> ast.expr:
    """One expression, from its source."""
    return ast.parse(text, mode="eval").body


def read(name: str) -> ast.Name:
    """The use of a variable."""
    return ast.Name(name, ast.Load())


def function(text: str, body: list[ast.stmt]) -> ast.FunctionDef:
    """A function with the signature `text` and another body."""
    made = module(f"def {text}:\n    pass\n")[0]
    assert isinstance(made, ast.FunctionDef)
    made.body = body
    return made


def at_the_start(tree: ast.Module, new: list[ast.stmt]) -> ast.Module:
    """`tree` with `new` statements in front of all but its docstring and future imports."""
    place = next((i for i, s in enumerate(tree.body) if not _is_docstring(s) and not is_future(s)), len(tree.body))
    return fixed([*tree.body[:place], *new, *tree.body[place:]])


class Counting(Protocol):
    """A transformer that counts what it rewrites."""

    count: int

    def visit(self, node: ast.Module) -> ast.Module:
        """The rewritten module."""


def rewritten(make: Callable[[], Counting], imports: str = "") -> Disguise:
    """A disguise by a transformer, with what it needs imported; it does not apply where nothing is rewritten."""

    def rewrite(tree: ast.Module) -> ast.Module | None:
        work = make()
        tree = work.visit(tree)
        return at_the_start(tree, module(imports)) if work.count else None

    return rewrite


def after_imports(tree: ast.Module, new: list[ast.stmt]) -> ast.Module:
    """`tree` with `new` statements in front of the first that is no import or docstring."""
    place = next(
        (i for i, s in enumerate(tree.body) if not isinstance(s, IMPORTS) and not _is_docstring(s)), len(tree.body)
    )
    return fixed([*tree.body[:place], *new, *tree.body[place:]])


def is_future(statement: ast.stmt) -> bool:
    """Whether a statement is `from __future__ import ...`."""
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"


def fixed(body: list[ast.stmt]) -> ast.Module:
    """A module of statements, with places in a text of its own."""
    return ast.parse(ast.unparse(ast.fix_missing_locations(ast.Module(body, []))))


def suspends(tree: ast.AST) -> bool:
    """Whether something in `tree` awaits or yields."""
    return any(isinstance(n, (ast.Await, ast.Yield, ast.YieldFrom)) for n in ast.walk(tree))


def imports_within(body: list[ast.stmt]) -> bool:
    """Whether statements import something, at any depth."""
    return any(isinstance(n, IMPORTS) for s in body for n in ast.walk(s))


class OutsideClassBodies(ast.NodeTransformer):
    """A rewriting that leaves alone what is evaluated where functions and classes are defined: defaults, fields."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        body: list[ast.stmt] = []
        for statement in node.body:
            new = self.visit(statement)
            body += new if isinstance(new, list) else [new]
        node.body = body
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = [self.visit(s) if isinstance(s, DEFINITIONS) else s for s in node.body]
        return node
