"""What a module binds and what its functions use of it, as far as the disguises ask."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)
BUILTINS = frozenset(dir(builtins)) | {"__name__", "__file__"}


def imported(tree: ast.AST) -> set[str]:
    """Names that imports anywhere in `tree` bind."""
    return {
        alias.asname or alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, IMPORTS)
        for alias in node.names
    }


def stored(nodes: Iterable[ast.AST]) -> set[str]:
    """Names that statements bind in their own scope, but for imports and definitions."""
    return {n.id for node in nodes for n in own(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def defined(nodes: Iterable[ast.AST]) -> set[str]:
    """Names of functions and classes that are defined in the own scope of `nodes`."""
    return {n.name for node in nodes for n in own(node) if isinstance(n, DEFINITIONS)}


def own(node: ast.AST) -> Iterator[ast.AST]:
    """`node` and what lies in it, but for the insides of functions, classes and comprehensions' own names."""
    yield node
    if isinstance(node, (*DEFINITIONS, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        return
    for child in ast.iter_child_nodes(node):
        yield from own(child)


def loaded(node: ast.AST) -> set[str]:
    """Names that anything in `node` reads."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def bound_within(node: ast.AST) -> set[str]:
    """Names that anything in `node` binds: parameters, targets, definitions, comprehensions."""
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    names |= {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
    names |= {n.name for n in ast.walk(node) if isinstance(n, DEFINITIONS)}
    return names | {n.name for n in ast.walk(node) if isinstance(n, ast.ExceptHandler) and n.name} | imported(node)


def globals_of_functions(tree: ast.Module) -> set[str]:
    """Names of the module that its functions and classes read."""
    inner = [n for n in ast.walk(tree) if isinstance(n, (*DEFINITIONS, ast.Lambda))]
    return {name for n in inner for name in loaded(n)} & stored(tree.body)


def declares(tree: ast.AST) -> bool:
    """Whether something in `tree` declares names global or nonlocal."""
    return any(isinstance(n, (ast.Global, ast.Nonlocal)) for n in ast.walk(tree))


def is_main_guard(node: ast.stmt) -> bool:
    """Whether `node` is `if __name__ == "__main__":`, and nothing else."""
    if not isinstance(node, ast.If) or node.orelse or not isinstance(node.test, ast.Compare):
        return False
    return "__name__" in loaded(node.test) and isinstance(node.test.ops[0], ast.Eq)


def assigned_names(tree: ast.AST) -> set[str]:
    """Names that are assigned anywhere in `tree`, also as parameters."""
    stores = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return stores | {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}


def evaluated_at_definition(node: ast.stmt) -> set[str]:
    """Names that a definition reads when it is executed: decorators, defaults, bases, the fields of a class."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        defaults = [d for d in [*node.args.defaults, *node.args.kw_defaults] if d is not None]
        return {name for n in [*node.decorator_list, *defaults] for name in loaded(n)}
    if isinstance(node, ast.ClassDef):
        names = {name for n in [*node.decorator_list, *node.bases, *node.keywords] for name in loaded(n)}
        return names | {name for s in node.body for name in evaluated_at_definition(s)}
    return loaded(node)
