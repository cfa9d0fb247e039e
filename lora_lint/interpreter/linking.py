"""Which file an import means, and which names other files mention."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from lora_lint.interpreter.relevance import children
from lora_lint.syntax import ir


class Linker:
    """Resolves imports among the files of a project: relative ones, scripts beside modules, packages and src layouts."""

    def __init__(self, units: Mapping[str, ir.Module]) -> None:
        self._paths = {PurePosixPath(path).as_posix(): path for path in units}
        self._units = units
        self._mentions: dict[str, frozenset[str]] = {}
        self._found: dict[tuple[str, str, int], str | None] = {}

    def find(self, importer: str, module: str, level: int) -> str | None:
        """Path of the module that `importer` imports, None when it is not a file of the project."""
        key = (importer.rpartition("/")[0], module, level)
        if key not in self._found:
            self._found[key] = self._search(importer, module, level)
        return self._found[key]

    def _search(self, importer: str, module: str, level: int) -> str | None:
        here = PurePosixPath(importer).parent
        parts = module.split(".") if module else []
        if level:
            base = here
            for _ in range(level - 1):
                base = base.parent
            return self._at(base, parts)
        for depth, base in enumerate([here, *here.parents]):
            if depth > 8:
                break
            for root in (base, base / "src"):
                found = self._at(root, parts)
                if found is not None and found != importer:
                    return found
        return None

    def _at(self, base: PurePosixPath, parts: list[str]) -> str | None:
        target = base.joinpath(*parts)
        for candidate in (target / "__init__.py", target.with_name(f"{target.name}.py") if target.name else target):
            text = candidate.as_posix()
            if text in self._paths:
                return self._paths[text]
        return None

    def submodule(self, package: str, name: str) -> str | None:
        """Path of `name` inside the package whose `__init__.py` is `package`."""
        path = PurePosixPath(package)
        return self._at(path.parent, [name]) if path.name == "__init__.py" else None

    def referenced_elsewhere(self, path: str, name: str) -> bool:
        """Whether another file of the project mentions a name (so it may well call it)."""
        return any(name in self.mentioned(other) for other in self._units if other != path)

    def mentioned(self, path: str) -> frozenset[str]:
        """Names and attributes that a file mentions."""
        found = self._mentions.get(path)
        if found is None:
            names: set[str] = set()
            stack: list[object] = list(self._units[path].body)
            while stack:
                node = stack.pop()
                if isinstance(node, ir.Name):
                    names.add(node.id)
                elif isinstance(node, ir.Attr):
                    names.add(node.name)
                elif isinstance(node, ir.Import):
                    names.update(name for name, _ in node.names or ())
                stack.extend(children(node))
            found = self._mentions[path] = frozenset(names)
        return found
