"""Disguises of places: what a script does stands in a function, an object, two functions or two files."""

from __future__ import annotations

import ast

from tests.disguises.base import (
    DISGUISES,
    Disguise,
    Shape,
    disguise,
    fixed,
    function,
    imports_within,
    is_future,
    module,
    parts,
    suspends,
)
from tests.disguises.scopes import (
    DEFINITIONS,
    IMPORTS,
    bound_within,
    declares,
    defined,
    globals_of_functions,
    loaded,
    stored,
)


def main_part(tree: ast.Module) -> tuple[list[ast.stmt], list[ast.stmt]] | None:
    """Head of a module and the statements that may move into a function: no other one reads their variables."""
    head, body = parts(tree)
    shared = globals_of_functions(ast.Module([*head, *body], [])) & stored(body)
    if not body or defined(body) or shared or imports_within(body) or declares(tree):
        return None
    return head, body


@disguise
def in_a_main_function(tree: ast.Module) -> ast.Module | None:
    """All that a script does stands in a main function."""
    halves = main_part(tree)
    if halves is None:
        return None
    head, body = halves
    guard = module("if __name__ == '__main__':\n    start_here()\n")
    return fixed([*head, function("start_here()", body), *guard])


class _OnSelf(ast.NodeTransformer):
    """Names become attributes of self."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Attribute(ast.Name("self", ast.Load()), node.id, node.ctx) if node.id in self.names else node


@disguise
def on_an_object(tree: ast.Module) -> ast.Module | None:
    """Variables of a script become attributes of an object that is built, then run."""
    halves = main_part(tree)
    if halves is None or len(halves[1]) < 4:
        return None
    head, body = halves
    names = stored(body)
    nodes = [n for s in body for n in ast.walk(s)]
    targets = [n.target for n in nodes if isinstance(n, ast.comprehension)]
    if "self" in bound_within(tree) & names or names & stored(targets):
        return None
    if any(isinstance(n, (ast.NamedExpr, ast.Lambda, ast.AnnAssign)) for n in nodes):
        return None
    moved = [_OnSelf(names).visit(s) for s in body]
    cut = len(body) // 2
    owner, start = module("class Experiment:\n    pass\n\nExperiment().run()\n")
    assert isinstance(owner, ast.ClassDef)
    owner.body = [function("__init__(self)", moved[:cut]), function("run(self)", moved[cut:])]
    return fixed([*head, owner, start])


def _halves(tree: ast.Module) -> tuple[list[ast.stmt], list[ast.stmt], list[ast.stmt], list[str]] | None:
    """Head, first and second half of a script (from its first loop on), and the names the second needs of the first."""
    moving = main_part(tree)
    if moving is None or len(moving[1]) < 4 or any(suspends(s) for s in moving[1]):
        return None
    head, body = moving
    loops = [i for i, s in enumerate(body) if isinstance(s, (ast.For, ast.While, ast.With))]
    cut = loops[0] if loops else len(body) - 1
    first, second = body[:cut], body[cut:]
    needed = stored(first) & ({n for s in second for n in loaded(s)} | stored(second))
    sure = stored(s for s in first if isinstance(s, (ast.Assign, ast.AnnAssign, ast.Expr)))
    return (head, first, second, sorted(needed)) if needed and needed <= sure else None


def _cut(result: str, use: str = "", elsewhere: str = "") -> Disguise:
    """A script as two functions, in one file or two.

    result: what the first returns, with ROW and PAIRS; use: how the second gets at a NAME of it.
    """

    def rewrite(tree: ast.Module) -> Shape | None:
        halves = _halves(tree)
        if halves is None:
            return None
        head, first, second, names = halves
        row, pairs = ", ".join(names), ", ".join(f"{n}={n}" for n in names)
        taken = module("\n".join(use.replace("NAME", n) for n in names)) if use else []
        prepare = function(
            "set_up()", [*first, *module("return " + result.replace("ROW", f"{row},").replace("PAIRS", pairs))]
        )
        work = function("work(made)" if use else f"work({row})", [*taken, *second])
        calls = module("made = set_up()\nwork(made)\n" if use else f"{row}, = set_up()\nwork({row})\n")
        future = [s for s in head if is_future(s)]
        imports: list[ast.stmt] = [s for s in head if isinstance(s, IMPORTS) and s not in future]
        imports += module("from types import SimpleNamespace") if "SimpleNamespace" in result else []
        rest = [s for s in head if not isinstance(s, IMPORTS)]
        if not elsewhere:
            return fixed([*future, *imports, *rest, prepare, work, *calls])
        if any(isinstance(s, ast.ImportFrom) and s.level for s in imports):
            return None
        shared = stored(rest) | defined(rest)
        wanted = {"set_up"} | {n for s in [work, *calls] for n in loaded(s)} & shared
        back = module(f"from {elsewhere} import {', '.join(sorted(wanted))}")
        library = fixed([*future, *imports, *rest, prepare])
        return fixed([*future, *imports, *back, work, *calls]), {f"{elsewhere}.py": ast.unparse(library) + "\n"}

    return rewrite


DISGUISES["two_functions"] = _cut("(ROW)")
DISGUISES["two_functions_with_a_dict"] = _cut("dict(PAIRS)", "NAME = made['NAME']")
DISGUISES["two_functions_with_a_namespace"] = _cut("SimpleNamespace(PAIRS)", "NAME = made.NAME")
DISGUISES["two_files"] = _cut("(ROW)", elsewhere="first_half")
DISGUISES["two_files_with_a_dict"] = _cut("dict(PAIRS)", "NAME = made['NAME']", "first_half")


@disguise
def definitions_elsewhere(tree: ast.Module) -> Shape | None:
    """Functions and classes of a script are imported from a file beside it, with the constants that they use."""
    head, _ = parts(tree)
    moved = [s for s in head if isinstance(s, DEFINITIONS)]
    needed = {name for s in moved for name in loaded(s)}
    constants = [s for s in head if not isinstance(s, (*IMPORTS, *DEFINITIONS)) and (stored([s]) & needed)]
    rest = [s for s in tree.body if s not in moved and s not in constants and not isinstance(s, IMPORTS)]
    imports = [s for s in head if isinstance(s, IMPORTS)]
    if not moved or stored(rest) & needed or declares(tree) or not rest:
        return None
    if any(isinstance(s, ast.ImportFrom) and s.level for s in imports):
        return None
    back = module(f"from parts_beside import {', '.join(sorted(stored(constants) | defined(moved)))}")
    library = ast.unparse(fixed([*imports, *constants, *moved])) + "\n"
    return fixed([*imports, *back, *rest]), {"parts_beside.py": library}
