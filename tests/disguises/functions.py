"""Disguises of functions: they are methods, entries of a table, decorated, or give their results back in dicts."""

from __future__ import annotations

import ast

from tests.disguises.base import after_imports, at_the_start, disguise, fixed, module, suspends
from tests.disguises.calls import Replaced
from tests.disguises.scopes import BUILTINS, DEFINITIONS, IMPORTS, assigned_names, evaluated_at_definition, imported

TIMED = """
def timed(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        start = time.perf_counter()
        result = function(*args, **kwargs)
        SECONDS[function.__name__] = time.perf_counter() - start
        return result
    return inner

SECONDS = {}
"""


@disguise
def decorated(tree: ast.Module) -> ast.Module | None:
    """Functions of the module are wrapped by a decorator that passes everything on."""
    functions = [s for s in tree.body if isinstance(s, ast.FunctionDef) and not suspends(s)]
    for function in functions:
        function.decorator_list.append(ast.Name("timed", ast.Load()))
    if not functions:
        return None
    return at_the_start(after_imports(tree, module(TIMED)), module("import functools\nimport time"))


def _movable(tree: ast.Module) -> list[ast.FunctionDef]:
    """Functions of a module that may move behind the last of them, and whose names mean nothing else."""
    functions = [s for s in tree.body if isinstance(s, ast.FunctionDef) and not s.decorator_list]
    names = {f.name for f in functions}
    if not functions or len(names) < len(functions) or names & (assigned_names(tree) | imported(tree) | BUILTINS):
        return []
    before = tree.body[: tree.body.index(functions[-1])]
    between = before[before.index(functions[0]) :] if len(functions) > 1 else []
    early = {name for s in before for name in evaluated_at_definition(s)}
    if any(not isinstance(s, (*IMPORTS, *DEFINITIONS)) for s in between) or names & early:
        return []
    return functions


def _behind(tree: ast.Module, functions: list[ast.FunctionDef], new: list[ast.stmt]) -> ast.Module:
    """`tree` with `new` in the place of the last of the functions, and without them."""
    place = tree.body.index(functions[-1])
    return fixed([s for s in [*tree.body[:place], *new, *tree.body[place:]] if s not in functions])


@disguise
def methods_of_an_object(tree: ast.Module) -> ast.Module | None:
    """Functions of the module are methods of an object."""
    functions = _movable(tree)
    if not functions or any(isinstance(n, ast.Name) and n.id == "self" for f in functions for n in ast.walk(f)):
        return None
    owner, made = module("class Recipe:\n    pass\n\nrecipe = Recipe()\n")
    assert isinstance(owner, ast.ClassDef)
    inside = Replaced({f.name: f"self.{f.name}" for f in functions})
    owner.body = [inside.visit(f) for f in functions]
    for function in functions:
        function.args.args.insert(0, ast.arg("self"))
    outside = Replaced({f.name: f"recipe.{f.name}" for f in functions})
    tree.body = [s if s in functions else outside.visit(s) for s in tree.body]
    return _behind(tree, functions, [owner, made])


@disguise
def static_methods(tree: ast.Module) -> ast.Module | None:
    """Functions of the module are static methods of a class."""
    functions = _movable(tree)
    if not functions:
        return None
    tree = Replaced({f.name: f"Tools.{f.name}" for f in functions}).visit(tree)
    owner = module("class Tools:\n    pass\n")[0]
    assert isinstance(owner, ast.ClassDef)
    owner.body = [*functions]
    for function in functions:
        function.decorator_list = [ast.Name("staticmethod", ast.Load())]
    return _behind(tree, functions, [owner])


class _ByTable(ast.NodeTransformer):
    """Calls of functions go through a table of them."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in self.names:
            node.func = ast.Subscript(ast.Name("TABLE", ast.Load()), ast.Constant(node.func.id), ast.Load())
        return node


@disguise
def called_through_a_table(tree: ast.Module) -> ast.Module | None:
    """Functions of the module are called through a table."""
    functions = _movable(tree)
    if not functions:
        return None
    names = {f.name for f in functions}
    tree = _ByTable(names).visit(tree)
    place = tree.body.index(functions[-1]) + 1
    table = module("TABLE = {" + ", ".join(f"'{n}': {n}" for n in sorted(names)) + "}")
    return fixed([*tree.body[:place], *table, *tree.body[place:]])


class _ResultsInDicts(ast.NodeTransformer):
    """Functions return dicts, and their calls take the result out."""

    def __init__(self, functions: list[ast.FunctionDef]) -> None:
        self.functions, self.names, self.inside = functions, {f.name for f in functions}, False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        outer, self.inside = self.inside, node in self.functions
        self.generic_visit(node)
        self.inside = outer
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        if self.inside:
            node.value = ast.Dict([ast.Constant("result")], [node.value or ast.Constant(None)])
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in self.names:
            return ast.Subscript(node, ast.Constant("result"), ast.Load())
        return node


@disguise
def results_in_dicts(tree: ast.Module) -> ast.Module | None:
    """Functions return their result as an item of a dict."""
    uses = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name)]
    calls = [n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    others = assigned_names(tree) | imported(tree) | BUILTINS
    functions = [
        s
        for s in tree.body
        if isinstance(s, ast.FunctionDef)
        and not s.decorator_list
        and isinstance(s.body[-1], ast.Return)
        and not suspends(s)
        and not any(isinstance(n, (*DEFINITIONS, ast.Lambda)) and n is not s for n in ast.walk(s))
        and uses.count(s.name) == calls.count(s.name) > 0
        and s.name not in others
    ]
    return fixed(_ResultsInDicts(functions).visit(tree).body) if functions else None
