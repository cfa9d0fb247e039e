"""The live models of the process and their objects on the heap."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.record import ModelRecord
from lora_lint.lifecycle.vocabulary import Kind
from lora_lint.location import Location
from lora_lint.verify.parts import Row, walk

# Wrappers that pass everything on to one inner module, with the attribute that holds it.
_WRAPPERS = {
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "FullyShardedDataParallel": "_fsdp_wrapped_module",
    "OptimizedModule": "_orig_mod",
    "DeepSpeedEngine": "module",
}


def unwrapped(module: Any) -> Any:
    """The module inside DDP, FSDP and torch.compile wrappers."""
    while type(module).__name__ in _WRAPPERS:
        inner = module._modules.get(_WRAPPERS[type(module).__name__])
        if inner is None:
            return module
        module = inner
    return module


@dataclass(eq=False)
class Live:
    """One model: the module, its object on the heap and what is recorded of it. inner: models that are part of it.
    loaded: it came from a checkpoint, in which the parameters `fresh` were missing. resized_from: rows of its embedding
    before they became more."""

    reference: weakref.ref[Any]
    obj: Obj
    record: ModelRecord
    inner: list[Live] = field(default_factory=list)
    outer: Live | None = None
    forward_input: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    shell: weakref.ref[Any] | None = None  # the PeftModel around it
    loaded: bool = False
    fresh: tuple[str, ...] = ()
    resized_from: int | None = None

    @property
    def module(self) -> Any:
        """The module, None when it is gone."""
        return self.reference()

    @property
    def named(self) -> Any:
        """The module whose names are shown: the PeftModel when there is one."""
        shell = self.shell() if self.shell is not None else None
        return shell if shell is not None else self.module

    @property
    def top(self) -> Live:
        """The outermost model this one is a part of."""
        here = self
        while here.outer is not None:
            here = here.outer
        return here

    def rows(self) -> list[Row]:
        """Its parameters."""
        module = self.named
        return [] if module is None else list(walk(module))


class Models:
    """Registry of live models by the identity of their modules and parameters."""

    def __init__(self) -> None:
        self.all: list[Live] = []
        self._by_module: dict[int, tuple[weakref.ref[Any], Live]] = {}
        self._by_parameter: dict[int, tuple[weakref.ref[Any], Live]] = {}

    def known(self, module: Any) -> Live | None:
        """The model a module is the root or the wrapper of, None when not registered."""
        found = self._by_module.get(id(module))
        return found[1] if found is not None and found[0]() is module else None

    def owner(self, parameter: Any) -> Live | None:
        """The model a parameter belongs to."""
        found = self._by_parameter.get(id(parameter))
        return found[1] if found is not None and found[0]() is parameter else None

    def add(self, module: Any, at: Location) -> Live:
        """The model of a module, registered now if it is new: it may be a wrapper of one, a part of one, or hold
        some."""
        live = self.known(module)
        if live is not None:
            return live
        inside = unwrapped(module)
        if inside is not module:
            live = self.add(inside, at)
            self.alias(module, live)
            return live
        owners = self._owners(module)
        if owners is None:
            kind = type(module)
            name = f"{kind.__module__}.{kind.__qualname__}"
            live = Live(weakref.ref(module), Obj(Kind.MODEL, name, at), ModelRecord(name, at))
            self.all.append(live)
            for part in self._contained(module):
                if part.outer is None and part is not live:
                    part.outer = live
                    live.inner.append(part)
                    live.obj.attrs[f"inner{len(live.inner)}"] = part.obj
        else:
            live = owners
        self.alias(module, live)
        self.claim(live)
        return live

    def alias(self, module: Any, live: Live) -> None:
        """Let a module stand for a model."""
        self._by_module[id(module)] = (weakref.ref(module), live)

    def claim(self, live: Live) -> None:
        """Note which parameters belong to the model; inner models keep theirs."""
        module = live.named
        if module is None:
            return
        for parameter in module.parameters():
            if self.owner(parameter) is None:
                self._by_parameter[id(parameter)] = (weakref.ref(parameter), live)

    def _contained(self, module: Any) -> Iterator[Live]:
        for child in module.modules():
            live = self.known(child)
            if live is not None:
                yield live

    def _owners(self, module: Any) -> Live | None:
        """The registered model that the module is a part of (all its parameters belong to it)."""
        found: Live | None = None
        count = 0
        for parameter in module.parameters():
            live = self.owner(parameter)
            if live is None or (found is not None and live is not found):
                return None
            found = live
            count += 1
        if found is None or count == 0:
            return None
        root = found.module
        if root is not None and any(child is root for child in module.modules()):
            return None if module is not root and self._adds_structure(module, root) else found
        return found

    def _adds_structure(self, module: Any, root: Any) -> bool:
        """Whether a module around a known root is more than a thin shell: a user's module with code of its own."""
        return type(module).__name__ not in _WRAPPERS and not _peft_shell(module, root)


def _peft_shell(module: Any, root: Any) -> bool:
    return any(kind.__name__ in ("PeftModel", "PeftMixedModel", "BaseTuner") for kind in type(module).__mro__)
