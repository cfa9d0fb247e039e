"""Disguises of calls: methods called another way, library names reached another way."""

from __future__ import annotations

import ast

from tests.disguises.base import DISGUISES, Disguise, expression, fixed, module, rewritten
from tests.disguises.scopes import IMPORTS, bound_within, loaded

LIBRARIES = {"torch", "transformers", "peft", "trl", "accelerate", "datasets", "bitsandbytes"}


class _Methods(ast.NodeTransformer):
    """Statements that call a method become `how`, a text with OBJECT, METHOD, ARGUMENTS and NEW."""

    def __init__(self, how: str) -> None:
        self.how, self.count = how, 0

    def visit_Expr(self, node: ast.Expr) -> ast.AST | list[ast.stmt]:
        call = node.value
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or "super" in loaded(call):
            return node
        self.count += 1
        words = {
            "OBJECT": f"({ast.unparse(call.func.value)})",
            "METHOD": call.func.attr,
            "ARGUMENTS": ", ".join(ast.unparse(a) for a in [*call.args, *call.keywords]),
            "NEW": f"act_{self.count}",
        }
        return module(self.how.format(**words))


def _called(how: str, imports: str = "") -> Disguise:
    return rewritten(lambda: _Methods(how), imports)


DISGUISES["by_getattr"] = _called("getattr({OBJECT}, '{METHOD}')({ARGUMENTS})")
DISGUISES["by_a_bound_method"] = _called("{NEW} = {OBJECT}.{METHOD}\n{NEW}({ARGUMENTS})")
DISGUISES["in_a_try"] = _called("try:\n    {OBJECT}.{METHOD}({ARGUMENTS})\nexcept KeyboardInterrupt:\n    raise")
DISGUISES["in_a_with"] = _called(
    "with contextlib.nullcontext():\n    {OBJECT}.{METHOD}({ARGUMENTS})", "import contextlib"
)
DISGUISES["by_a_methodcaller"] = _called("operator.methodcaller('{METHOD}', {ARGUMENTS})({OBJECT})", "import operator")
DISGUISES["result_kept"] = _called("{NEW} = {OBJECT}.{METHOD}({ARGUMENTS})")


class Replaced(ast.NodeTransformer):
    """Names become other expressions."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return expression(self.names[node.id]) if node.id in self.names else node


def _of_a_library(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.ImportFrom) or statement.level or not statement.module:
        return False
    return statement.module.split(".")[0] in LIBRARIES and all(a.name != "*" for a in statement.names)


def _importing(prefix: str) -> Disguise:
    """`from library import name` becomes `import library`, under another name where there is a prefix for it."""

    def rewrite(tree: ast.Module) -> ast.Module | None:
        names: dict[str, str] = {}
        body: list[ast.stmt] = []
        for statement in tree.body:
            if isinstance(statement, ast.ImportFrom) and _of_a_library(statement):
                library = str(statement.module)
                short = prefix + library.replace(".", "_") if prefix else library
                body += module(f"import {library} as {short}" if prefix else f"import {library}")
                names |= {a.asname or a.name: f"{short}.{a.name}" for a in statement.names}
            else:
                body.append(statement)
        rest = ast.Module([s for s in body if not isinstance(s, IMPORTS)], [])
        if not names or names.keys() & bound_within(rest):
            return None
        return fixed(Replaced(names).visit(ast.Module(body, [])).body)

    return rewrite


DISGUISES["modules_imported"] = _importing("")
DISGUISES["modules_imported_as"] = _importing("lib_")
