"""Looks up specs: by qualified name, through re-export paths, type patterns and base types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from lora_lint.apis.load import Specs, load_specs
from lora_lint.apis.spec import CallSpec, Effect, TypeSpec
from lora_lint.lifecycle.vocabulary import Ev


def rules_directory() -> Path:
    """Folder of the knowledge files: inside the wheel, else in the checkout."""
    packaged = Path(__file__).resolve().parent.parent / "_rules"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parent.parent.parent / "rules"


class ApiStore:
    """All API specs, with the lookups the interpreter needs.

    Public names are canonical: `peft.tuners.lora.LoraConfig` finds the spec of `peft.LoraConfig`.
    """

    def __init__(self, specs: Specs) -> None:
        self.specs = specs
        patterns = [(glob, spec) for spec in specs.types.values() for glob in spec.match]
        # By library, the more exact pattern first: torch.optim.lr_scheduler.* before torch.optim.*
        self._patterns: dict[str, list[tuple[str, TypeSpec]]] = {}
        for glob, spec in sorted(patterns, key=lambda pattern: -len(pattern[0])):
            library = glob.split(".", 1)[0]
            self._patterns.setdefault("" if set(library) & set("*?[") else library, []).append((glob, spec))
        self._renamed = {
            old[:-1]: new[:-1] for old, new in specs.aliases.items() if old.endswith(".*") and new.endswith(".*")
        }
        self._defaults = sorted(specs.defaults, key=lambda d: -len(d.prefix))
        self.libraries = frozenset(name for names in specs.libraries.values() for name in names)
        self.canonical = lru_cache(maxsize=4096)(self._canonical)
        self.type_of = lru_cache(maxsize=4096)(self._type_of)
        self.mro = lru_cache(maxsize=1024)(self._mro)
        self.find_call = lru_cache(maxsize=4096)(self._find_call)
        self.find_method = lru_cache(maxsize=4096)(self._find_method)
        self.attribute = lru_cache(maxsize=4096)(self._attribute)
        self.changes = self._listed(lambda spec: spec.changes)
        self.pure = self._listed(lambda spec: spec.pure)
        self.computes = self._listed(lambda spec: spec.computes)
        self.folds = self._listed(lambda spec: spec.folds)
        self.conforms = self._listed(lambda spec: spec.conforms)
        self.default = lru_cache(maxsize=8192)(self._default)
        self._counting = frozenset(self._only_counting())

    @classmethod
    def bundled(cls, extra: tuple[Path, ...] = ()) -> ApiStore:
        """The store of the bundled specs plus the user's own files."""
        return cls(load_specs([*sorted((rules_directory() / "apis").glob("*.yaml")), *extra]))

    def _canonical(self, name: str) -> str:
        """The name under which specs know `name`: itself, an alias, or the same tail under the library's top level."""
        if name in self.specs.aliases:
            return self.specs.aliases[name]
        for old, new in self._renamed.items():
            if name.startswith(old):
                return self._canonical(new + name[len(old) :])
        if self._is_named(name):
            return name
        parts = name.split(".")
        for keep in (2, 1):
            if len(parts) > keep + 1 or (len(parts) == keep + 1 and keep == 1):
                short = ".".join([parts[0], *parts[-keep:]])
                if short in self.specs.aliases:
                    return self.specs.aliases[short]
                if self._is_named(short):
                    return short
        return name

    def _is_named(self, name: str) -> bool:
        """Whether specs know a function or class under this name."""
        return name in self.specs.calls or name in self.specs.types or f"{name}.__init__" in self.specs.calls

    def is_named(self, name: str) -> bool:
        """Whether specs know a function or class that is imported under this name."""
        return self._is_named(self.canonical(name))

    def _type_of(self, name: str) -> TypeSpec | None:
        """The type a class name is, by name or by pattern."""
        canonical = self._canonical(name)
        exact = self.specs.types.get(canonical)
        if exact is not None:
            return exact
        parts = canonical.split(".")
        if any(part[:1].isupper() for part in parts[1:-1]):
            return None  # a method of a class: `transformers.AutoModel*` means no `AutoModel.register`
        short = f"{parts[0]}.{parts[-1]}"
        for patterns in (self._patterns.get(parts[0], ()), self._patterns.get("", ())):
            for glob, spec in patterns:
                if fnmatchcase(canonical, glob) or fnmatchcase(short, glob):
                    return spec
        return None

    def _mro(self, name: str) -> tuple[TypeSpec, ...]:
        """The type and its bases, nearest first."""
        out: list[TypeSpec] = []
        queue = [name]
        while queue and len(out) < 20:
            spec = self._type_of(queue.pop(0))
            if spec is not None and spec not in out:
                out.append(spec)
                queue.extend(spec.bases)
        return tuple(out)

    def _find_call(self, name: str) -> tuple[CallSpec, ...]:
        """Specs of a call by qualified name: a function, a class (its construction) or `Class.method`."""
        canonical = self._canonical(name)
        exact = self.specs.calls.get(canonical)
        if exact:
            return tuple(exact)
        if "." in canonical:
            owner, method = canonical.rsplit(".", 1)
            if self._type_of(owner) is not None and owner.rsplit(".", 1)[-1][:1].isupper():
                found = self._find_method(owner, method)
                if found:
                    return found
        return self._find_method(canonical, "__init__") if self._type_of(canonical) else ()

    def _find_method(self, type_name: str, method: str) -> tuple[CallSpec, ...]:
        """Specs of a method, looked up through the bases of the type."""
        canonical = self._canonical(type_name)
        own = self.specs.calls.get(f"{canonical}.{method}")
        if own:
            return tuple(own)
        for spec in self._mro(type_name):
            found = self.specs.calls.get(f"{spec.name}.{method}")
            if found:
                return tuple(found)
        return ()

    def only_counts(self, method: str) -> bool:
        """Whether every method of this name that specs know does no more than count parameters."""
        return method in self._counting

    def _only_counting(self) -> Iterator[str]:
        events: dict[str, set[Ev | None]] = {}
        for name, specs in self.specs.calls.items():
            happens = events.setdefault(name.rpartition(".")[2], set())
            happens.update(effect.event for spec in specs for effect in spec.effects)
        return (method for method, happens in events.items() if happens - {None} == {Ev.COUNTED})

    def _listed(self, globs: Callable[[TypeSpec], tuple[str, ...]]) -> Callable[[str, str], bool]:
        """Whether a method of a type is among those that its specs, or those of its bases, list under a key (see TypeSpec)."""

        def among(type_name: str, method: str) -> bool:
            return any(fnmatchcase(method, glob) for spec in self.mro(type_name) for glob in globs(spec))

        return lru_cache(maxsize=4096)(among)

    def _attribute(self, type_name: str, name: str) -> object | None:
        """The return form of an attribute, None when the type says nothing."""
        for spec in self.mro(type_name):
            if name in spec.attributes:
                form: object = spec.attributes[name]
                return form
        return None

    def protocol(self, type_name: str) -> tuple[Effect, ...]:
        """What the framework does with an instance of a user subclass."""
        for spec in self.mro(type_name):
            if spec.protocol:
                return spec.protocol
        return ()

    def _default(self, name: str) -> str | None:
        """Behaviour of a call without a spec, by the longest matching module prefix; None when nothing is said."""
        for default in self._defaults:
            if name == default.prefix or name.startswith(default.prefix + "."):
                return default.behaviour
        return None

    def is_a(self, type_name: str, base: str) -> bool:
        """Whether a type is `base` or derives from it."""
        return any(spec.name == base for spec in self.mro(type_name))
