"""Patching modules right after they execute, before anyone binds their names."""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

Patcher = Callable[[ModuleType], None]


class _PatchingLoader(importlib.abc.Loader):
    """The real loader, and the patcher after it."""

    def __init__(self, real: Any, patcher: Patcher) -> None:
        self._real = real
        self._patcher = patcher

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """The real loader's module."""
        made: ModuleType | None = self._real.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module with its own loader in place, then patch it."""
        module.__loader__ = self._real
        if module.__spec__ is not None:
            module.__spec__.loader = self._real
        self._real.exec_module(module)
        self._patcher(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class PostImport(importlib.abc.MetaPathFinder):
    """A meta-path finder that patches the modules of its table after they were executed."""

    def __init__(self, patchers: Mapping[str, Patcher]) -> None:
        self._patchers = dict(patchers)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec that the other finders give, with a loader that patches; None for modules not in the table."""
        patcher = self._patchers.get(fullname)
        if patcher is None:
            return None
        for finder in sys.meta_path:
            if finder is self:
                continue
            find = getattr(finder, "find_spec", None)
            spec: importlib.machinery.ModuleSpec | None = find(fullname, path, target) if find else None
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _PatchingLoader(spec.loader, patcher)
                return spec
        return None

    def install(self) -> None:
        """Stand first on the meta path; patch what is imported already."""
        sys.meta_path.insert(0, self)
        for name, patcher in self._patchers.items():
            module = sys.modules.get(name)
            if module is not None:
                patcher(module)


def wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    """Replace a function or method `owner.name` by `around(original, *args, **kwargs)`; absent names are left alone."""
    held = owner.__dict__.get(name) if isinstance(owner, type) else getattr(owner, name, None)
    if held is None:
        return
    kind = type(held) if isinstance(held, (classmethod, staticmethod)) else None
    original = held.__func__ if kind is not None else held

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        return around(original, *args, **kwargs)

    setattr(owner, name, kind(call) if kind is not None else call)
