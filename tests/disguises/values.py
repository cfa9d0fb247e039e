"""Disguises of values: `x = call()` gives x its value another way, and calls get their keyword arguments another way."""

from __future__ import annotations

import ast

from tests.disguises.base import (
    DISGUISES,
    Disguise,
    OutsideClassBodies,
    after_imports,
    constants,
    disguise,
    expression,
    fixed,
    function,
    module,
    read,
    rewritten,
    suspends,
)
from tests.disguises.scopes import (
    BUILTINS,
    DEFINITIONS,
    IMPORTS,
    declares,
    defined,
    imported,
    loaded,
    own,
)


def _moves(value: ast.expr) -> bool:
    """Whether a value is the result of a call that may stand in a function of its own."""
    inner = any(isinstance(n, ast.NamedExpr) for n in ast.walk(value))
    return isinstance(value, ast.Call) and not inner and not suspends(value) and "super" not in loaded(value)


class _Through(OutsideClassBodies):
    """Every plain assignment of a call to a name becomes `how`, a text with VALUE, TARGET and NEW."""

    def __init__(self, how: str) -> None:
        self.how, self.count = how, 0

    def visit_Assign(self, node: ast.Assign) -> ast.AST | list[ast.stmt]:
        if len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name) or not _moves(node.value):
            return node
        self.count += 1
        text = self.how.replace("NEW", f"kept_{self.count}").replace("TARGET", node.targets[0].id)
        return module(text.replace("VALUE", f"({ast.unparse(node.value)})"))


def _assigned(how: str, imports: str = "") -> Disguise:
    return rewritten(lambda: _Through(how), imports)


DISGUISES["behind_an_alias"] = _assigned("NEW = VALUE\nTARGET = NEW")
DISGUISES["out_of_a_dict"] = _assigned("NEW = {'it': VALUE}\nTARGET = NEW['it']")
DISGUISES["out_of_a_tuple"] = _assigned("TARGET, NEW = VALUE, None")
DISGUISES["out_of_a_list"] = _assigned("NEW = []\nNEW.append(VALUE)\nTARGET = NEW[0]")
DISGUISES["out_of_a_namespace"] = _assigned(
    "NEW = SimpleNamespace()\nNEW.it = VALUE\nTARGET = NEW.it", "from types import SimpleNamespace"
)
DISGUISES["by_a_lambda"] = _assigned("NEW = lambda: VALUE\nTARGET = NEW()")
DISGUISES["with_a_walrus"] = _assigned(
    "if (TARGET := VALUE) is None:\n    print('nothing there', file=sys.stderr)", "import sys"
)


class _Extract(ast.NodeTransformer):
    """The values of plain assignments come from functions, which get what they need."""

    def __init__(self, tree: ast.Module) -> None:
        self.known = imported(tree) | BUILTINS | defined(tree.body)
        self.known |= {n.id for s in constants(tree) for n in ast.walk(s) if isinstance(n, ast.Name)}
        self.made: list[ast.stmt] = []

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        value = node.value
        on_self = any("self" in loaded(t) for t in node.targets)
        if on_self or not _moves(value) or any(isinstance(n, ast.Lambda) for n in ast.walk(value)):
            return node
        inner = {n.id for n in ast.walk(value) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        needed = sorted(loaded(value) - self.known - inner)
        name = f"make_{len(self.made)}"
        self.made.append(function(f"{name}({', '.join(needed)})", [ast.Return(value)]))
        node.value = ast.Call(read(name), [read(n) for n in needed], [])
        return node


@disguise
def made_by_functions(tree: ast.Module) -> ast.Module | None:
    """`x = call(a)` becomes `x = make(a)`, with a function that returns the call."""
    functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    if any(isinstance(n, (*IMPORTS, *DEFINITIONS)) and n is not f for f in functions for n in ast.walk(f)):
        return None
    first = constants(tree)
    work = _Extract(tree)
    tree = work.visit(tree)
    rest = fixed([s for s in tree.body if s not in first])
    return after_imports(rest, [*first, *work.made]) if work.made else None


class _Renamed(ast.NodeTransformer):
    """Variables get other names."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self.names.get(node.id, node.id), node.ctx)


@disguise
def under_other_names(tree: ast.Module) -> ast.Module | None:
    """Variables have names that say nothing."""
    classes = [s for c in ast.walk(tree) if isinstance(c, ast.ClassDef) for s in c.body]
    fields = {n.id for s in classes for n in own(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    names -= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)} | fields | imported(tree) | {"_"}
    names -= {n.name for n in ast.walk(tree) if isinstance(n, (ast.ExceptHandler, *DEFINITIONS)) and n.name}
    names -= {n for n in names if n.startswith("__")}
    if not names or declares(tree):
        return None
    return fixed(_Renamed({name: f"v{i}" for i, name in enumerate(sorted(names))}).visit(tree).body)


class _Keywords(OutsideClassBodies):
    """Keyword arguments of calls are given as `how`, a text with FUNCTION, POSITIONAL, KEYWORDS and TABLE."""

    def __init__(self, how: str) -> None:
        self.how, self.count = how, 0

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        named = [k for k in node.keywords if k.arg]
        if not named or len(named) != len(node.keywords) or "super" in loaded(node.func):
            return node
        if suspends(node) or any(isinstance(n, ast.NamedExpr) for n in ast.walk(node)):
            return node
        self.count += 1
        table = ast.unparse(ast.Dict([ast.Constant(k.arg) for k in named], [k.value for k in named]))
        words = {
            "FUNCTION": ast.unparse(node.func),
            "POSITIONAL": "".join(f"{ast.unparse(a)}, " for a in node.args),
            "KEYWORDS": ", ".join(f"{k.arg}={ast.unparse(k.value)}" for k in named),
            "TABLE": table,
        }
        return expression(self.how.format(**words))


def _keyworded(how: str) -> Disguise:
    return rewritten(lambda: _Keywords(how), "import functools")


DISGUISES["keywords_of_a_display"] = _keyworded("{FUNCTION}({POSITIONAL}**{TABLE})")
DISGUISES["keywords_of_dict"] = _keyworded("{FUNCTION}({POSITIONAL}**dict({KEYWORDS}))")
DISGUISES["by_partial"] = _keyworded("functools.partial({FUNCTION}, {KEYWORDS})({POSITIONAL})")
