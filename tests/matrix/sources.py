"""What a release accepts, read from the source in its wheel: nothing of it is installed or imported."""

from __future__ import annotations

import ast
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path


class Release:
    """The modules of one library in one wheel, parsed when they are asked for."""

    def __init__(self, path: Path, library: str) -> None:
        self.path = path
        self._library = library
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.startswith(f"{library}/") and n.endswith(".py")]
            self._texts = {name: archive.read(name).decode("utf-8") for name in names}
        self._trees: dict[str, ast.Module] = {}

    def _tree(self, name: str) -> ast.Module:
        if name not in self._trees:
            self._trees[name] = ast.parse(self._texts[name])
        return self._trees[name]

    def exports(self, name: str) -> bool:
        """Whether `from library import name` works: the package's own __init__ or, for newer ones, an `__all__` names it."""
        if f"{self._library}/{name}.py" in self._texts:
            return True
        top = self._tree(f"{self._library}/__init__.py")
        if any(isinstance(node, ast.Constant) and node.value == name for node in ast.walk(top)):
            return True
        if any(alias.name == name for n in ast.walk(top) if isinstance(n, ast.ImportFrom) for alias in n.names):
            return True
        if "define_import_structure" not in self._texts[f"{self._library}/__init__.py"]:
            return False
        return any(name in _public(self._tree(file)) for file, text in self._texts.items() if f'"{name}"' in text)

    def accepts(self, call: str, argument: str) -> bool | None:
        """Whether a class, function or method takes a keyword; None when the source has no such callable."""
        parts = call.split(".")[1:]
        owner, method = (parts[0], parts[1]) if len(parts) == 2 else (parts[0], "")
        for tree in self._defining(owner):
            for node in tree.body:
                if isinstance(node, ast.FunctionDef) and node.name == owner and not method:
                    return argument in _taken(node)
                if isinstance(node, ast.ClassDef) and node.name == owner:
                    return argument in self._of_class(node, method)
        return None

    def _defining(self, name: str) -> Iterator[ast.Module]:
        # Experimental modules have classes that are called like those they replace.
        for file, text in sorted(self._texts.items(), key=lambda item: "/experimental/" in item[0]):
            if f"class {name}(" in text or f"class {name}:" in text or f"def {name}(" in text:
                yield self._tree(file)

    def _of_class(self, node: ast.ClassDef, method: str) -> set[str]:
        """Keywords of a method, of the constructor, or the fields of a dataclass with those of its bases."""
        functions = {f.name: f for f in node.body if isinstance(f, ast.FunctionDef)}
        if method or "__init__" in functions:
            wanted = functions.get(method or "__init__")
            return _taken(wanted) if wanted is not None else self._of_bases(node, method)
        fields = {s.target.id for s in node.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)}
        return fields | self._of_bases(node, method)

    def inherits(self, call: str) -> bool:
        """Whether a class is one of the other library's training arguments, and takes what those take."""
        owner = call.split(".")[-1]
        if not owner.endswith("Config"):
            return False
        texts = [text for text in self._texts.values() if f"class {owner}(" in text]
        return any("TrainingArguments" in text or "OnPolicyConfig" in text or "BaseConfig" in text for text in texts)

    def _of_bases(self, node: ast.ClassDef, method: str) -> set[str]:
        found: set[str] = set()
        for base in node.bases:
            name = base.id if isinstance(base, ast.Name) else base.attr if isinstance(base, ast.Attribute) else ""
            for tree in self._defining(name) if name else ():
                for each in tree.body:
                    if isinstance(each, ast.ClassDef) and each.name == name:
                        found |= self._of_class(each, method)
        return found


def _taken(function: ast.FunctionDef) -> set[str]:
    """Parameters, names that a deprecation decorator still takes, and keywords that are read out of `**kwargs`."""
    arguments = function.args
    taken = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    for decorator in function.decorator_list:
        taken |= {n.value for n in ast.walk(decorator) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("pop", "get"):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                taken.add(first.value)
    return taken


def _public(tree: ast.Module) -> set[str]:
    """The names in a module's `__all__`."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            found |= {n.value for n in ast.walk(node.value) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return found


@lru_cache(maxsize=64)
def release(path: Path, library: str) -> Release:
    """The release in a wheel, read once."""
    return Release(path, library)
