"""Disguises of loops: the same items come another way, the body is a function."""

from __future__ import annotations

import ast

from tests.disguises.base import (
    DISGUISES,
    Disguise,
    after_imports,
    disguise,
    expression,
    fixed,
    function,
    module,
    suspends,
)
from tests.disguises.scopes import DEFINITIONS, IMPORTS, globals_of_functions, loaded, stored

COUNTERS = {"range", "enumerate", "zip", "itertools.count", "count"}
# Nobody takes parameters out of their iterator by hand, or through a generator: such loops are over data.
OF_A_MODEL = {f"{named}{what}" for what in ("parameters", "modules", "children", "buffers") for named in ("", "named_")}
OVER_DATA = {"every(ITEMS)"}


def _counts(node: ast.For) -> bool:
    return isinstance(node.iter, ast.Call) and ast.unparse(node.iter.func) in COUNTERS


def _of_a_model(node: ast.For) -> bool:
    return not OF_A_MODEL.isdisjoint(n.attr for n in ast.walk(node.iter) if isinstance(n, ast.Attribute))


def _leaves(node: ast.For) -> bool:
    """Whether a loop ends early, goes on early or has an else."""
    return bool(node.orelse) or any(isinstance(n, (ast.Break, ast.Continue)) for s in node.body for n in ast.walk(s))


class _Loops(ast.NodeTransformer):
    """Loops over `ITEMS` go over another expression, and take TARGET out of another target."""

    def __init__(self, items: str, target: str) -> None:
        self.items, self.target, self.count = items, target, 0

    def visit_For(self, node: ast.For) -> ast.AST:
        self.generic_visit(node)
        if _counts(node) or (self.items in OVER_DATA and _of_a_model(node)):
            return node
        self.count += 1
        node.iter = expression(self.items.replace("ITEMS", ast.unparse(node.iter)))
        target = self.target.replace("NEW", f"turn_{self.count}").replace("TARGET", ast.unparse(node.target))
        loop = module(f"for {target} in x:\n    pass")[0]
        assert isinstance(loop, ast.For)
        node.target = loop.target
        return node


def _looped(items: str, target: str = "TARGET", head: str = "") -> Disguise:
    def rewrite(tree: ast.Module) -> ast.Module | None:
        work = _Loops(items, target)
        tree = work.visit(tree)
        return after_imports(tree, module(head)) if work.count else None

    return rewrite


DISGUISES["loops_that_count"] = _looped("enumerate(ITEMS)", "NEW, (TARGET)")
DISGUISES["loops_over_a_generator"] = _looped(
    "every(ITEMS)", head="def every(items):\n    for item in items:\n        yield item\n"
)
DISGUISES["loops_with_a_bar"] = _looped("tqdm.tqdm(ITEMS)", head="import tqdm")


class _Next(ast.NodeTransformer):
    """Loops over data ask an iterator for each item."""

    count = 0

    def visit_For(self, node: ast.For) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        plain = isinstance(node.iter, (ast.Call, ast.Name))  # an attribute may be a list of modules
        if not plain or _counts(node) or _leaves(node) or _of_a_model(node):
            return node
        self.count += 1
        new = f"turn_{self.count}"
        first, loop = module(
            f"{new} = iter({ast.unparse(node.iter)})\nwhile True:\n    try:\n"
            f"        {ast.unparse(node.target)} = next({new})\n    except StopIteration:\n        break\n"
        )
        assert isinstance(loop, ast.While)
        loop.body += node.body
        return [first, loop]


@disguise
def loops_by_next(tree: ast.Module) -> ast.Module | None:
    """`for x in data` becomes `while True: x = next(iterator)`."""
    work = _Next()
    tree = work.visit(tree)
    return fixed(tree.body) if work.count else None


def _carried(loop: ast.For) -> set[str]:
    """Names that the body of a loop may read before it assigns them: they come from the turn before."""
    names: set[str] = set()
    seen: set[str] = set()
    for statement in loop.body:
        plain = isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None
        sure = stored([statement]) if plain else set()
        read = loaded(statement.value) if isinstance(statement, ast.Assign) else loaded(statement)
        names |= (read | stored([statement]) - sure) - seen
        seen |= sure
    return names


@disguise
def loop_bodies_as_functions(tree: ast.Module) -> ast.Module | None:
    """The body of each loop of a script is a function of its own, which gets the loop variables."""
    done: list[ast.stmt] = []
    shared = globals_of_functions(tree)
    for place, loop in enumerate(tree.body):
        done.append(loop)
        if not isinstance(loop, ast.For) or _leaves(loop) or suspends(loop):
            continue
        if any(isinstance(n, (*IMPORTS, *DEFINITIONS)) for n in ast.walk(loop)):
            continue
        targets = stored([loop.target])
        after = {n for s in tree.body[place + 1 :] for n in loaded(s)}
        elsewhere = after | stored(tree.body[:place]) | shared | _carried(loop)
        kept = sorted((stored(loop.body) - targets) & elsewhere)
        row = ", ".join(sorted(targets))
        statements = [ast.Global(kept), *loop.body] if kept else loop.body
        done.insert(-1, function(f"turn_{place}({row})", statements))
        loop.body = module(f"turn_{place}({row})")
    return fixed(done) if len(done) > len(tree.body) else None
