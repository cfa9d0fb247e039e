"""Holds API specs against the installed libraries: do the names exist, do they take the parameters, at these positions.

Libraries are imported only here, when it is asked for, by the name that a spec gives. A library that is not installed,
or whose installed version lies outside a spec's range, is skipped and counted.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from packaging.specifiers import SpecifierSet

from lora_lint.apis.spec import CallSpec, TypeSpec
from lora_lint.apis.store import ApiStore


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing a spec says that the installed library contradicts. place: file:line of the spec."""

    name: str
    place: str
    problem: str

    def __str__(self) -> str:
        return f"{self.place}: {self.name}: {self.problem}"


@dataclass(slots=True)
class Outcome:
    """drifts: what is wrong. checked: specs that were held against a library. skipped: why others were not, by name."""

    drifts: list[Drift] = field(default_factory=list)
    checked: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


def find_drift(store: ApiStore, files: frozenset[str] | None = None) -> Outcome:
    """Hold the specs (of these files, None for all) against what is installed."""
    outcome = Outcome()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in store.specs.types.values():
            if files is None or _file(kind.place) in files:
                try:
                    _check_type(kind, outcome)
                except _IncompleteError as error:
                    outcome.skipped[kind.name] = str(error)
        for specs in store.specs.calls.values():
            for spec in specs:
                if files is None or _file(spec.place) in files:
                    try:
                        _check_call(store, spec, outcome)
                    except _IncompleteError as error:
                        outcome.skipped[spec.name] = str(error)
    return outcome


def _file(place: str) -> str:
    return place.rpartition(":")[0]


def installed(library: str) -> str | None:
    """Version of an installed library; "" for one without metadata (the standard library), None when there is none."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "" if importlib.util.find_spec(library) is not None else None


def _applies(name: str, versions: Mapping[str, str]) -> str:
    """Why a spec cannot be held against what is installed; "" when it can."""
    library = name.split(".", 1)[0]
    version = installed(library)
    if version is None:
        return f"{library} is not installed"
    for needed, spec in versions.items():
        here = installed(needed)
        if here and not SpecifierSet(spec).contains(here, prereleases=True):
            return f"{needed} {here} is outside {spec}"
    return ""


def resolve(name: str) -> Any:
    """The object behind a qualified name. AttributeError or ImportError when there is none."""
    parts = name.split(".")
    found: Any = importlib.import_module(parts[0])
    for index, part in enumerate(parts[1:], 1):
        try:
            found = getattr(found, part)
        except AttributeError:
            if not inspect.ismodule(found):
                raise
            found = importlib.import_module(".".join(parts[: index + 1]))
    return found


def _find(name: str) -> tuple[Any, str]:
    """The object and "", or None and what is wrong; `_IncompleteError` when something that it needs is missing."""
    try:
        return resolve(name), ""
    except (AttributeError, ImportError, RuntimeError) as error:  # lazy modules raise RuntimeError when an import fails
        missing = _missing_module(error)
        if missing and missing.split(".", 1)[0] != name.split(".", 1)[0]:
            raise _IncompleteError(f"{name} needs {missing}, which is not installed") from error
        return None, f"there is no such name: {error}"


class _IncompleteError(Exception):
    """A library cannot be asked: something that it needs is not installed."""


def _missing_module(error: BaseException | None) -> str:
    """The module that could not be found, behind an error and what caused it; "" when it is something else."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError):
            return error.name or ""
        error = error.__cause__ or error.__context__
    return ""


def methods(kind: TypeSpec, method: str) -> Iterator[tuple[str, Any]]:
    """A method of each public class that the globs of a type match, in the modules that they name."""
    for glob in kind.match:
        module = glob.rpartition(".")[0]
        for name in dir(_find(module)[0]):
            if name.startswith("_") or not fnmatchcase(f"{module}.{name}", glob):
                continue
            try:
                value, problem = _find(f"{module}.{name}.{method}")
            except _IncompleteError:
                continue
            if not problem:
                yield f"{module}.{name}", value


def _check_type(kind: TypeSpec, outcome: Outcome) -> None:
    reason = _applies(kind.name, kind.versions)
    if reason:
        outcome.skipped[kind.name] = reason
        return
    outcome.checked += 1
    if kind.group:
        return
    _, problem = _find(kind.name)
    if problem and (not kind.home or _find(kind.home)[1]):
        outcome.drifts.append(Drift(kind.name, kind.place, problem))


def _check_call(store: ApiStore, spec: CallSpec, outcome: Outcome) -> None:
    owner, _, method = spec.name.rpartition(".")
    kind = store.specs.types.get(owner) or store.specs.types.get(spec.name)
    versions = {**(kind.versions if kind is not None else {}), **spec.versions}
    reason = _applies(spec.name, versions)
    if reason:
        outcome.skipped[spec.name] = reason
        return
    outcome.checked += 1
    if kind is not None and kind.group:
        _check_group(store, kind, spec, method, outcome)
        return
    name = f"{spec.home}.{method}" if spec.home else spec.name
    found, problem = _find(name)
    if problem and kind is not None and kind.home:
        name = kind.home if name == kind.name else f"{kind.home}.{method}"
        found, problem = _find(name)
    if problem and kind is not None:  # a method that only some of the classes have
        owner, found = next(methods(kind, method), (owner, None))
        name, problem = (name, problem) if found is None else (f"{owner}.{method}", "")
    if not problem:
        others = (function for _, function in methods(kind, method)) if kind is not None else ()
        problem = _signature_problem(found, spec, isinstance(_find(name.rpartition(".")[0])[0], type), others)
    if problem:
        outcome.drifts.append(Drift(spec.name, spec.place, problem))


def _check_group(store: ApiStore, kind: TypeSpec, spec: CallSpec, method: str, outcome: Outcome) -> None:
    """A spec for a group of classes without a common one: it holds if it holds for each that has the method."""
    for name, found in methods(kind, method):
        problem = _signature_problem(found, spec, True, ()) if store.type_of(name) is kind else ""
        if problem:
            outcome.drifts.append(Drift(f"{name}.{method}", spec.place, problem))


def _signature_problem(found: Any, spec: CallSpec, of_class: bool, overrides: Iterable[Any]) -> str:
    """What the parameters of a spec and of a callable disagree on; "" when nothing, or when it shows no signature.
    overrides: the same method of subclasses; a spec for all of them may name a parameter that only some take."""
    if not callable(found):
        return "" if not spec.params else "is not callable"
    try:
        parameters = list(inspect.signature(found).parameters.values())
    except (ValueError, TypeError):
        return ""
    bound = of_class and not inspect.ismethod(found) and not inspect.isclass(found)
    if bound and parameters and parameters[0].name in ("self", "cls", "_self"):
        parameters = parameters[1:]
    names = {p.name for p in parameters}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    # What a decorator adds (a deprecated name) does not show in the signature.
    for name, versions in spec.also.items():
        problem = _other_release(spec.name, name, versions, names, takes_any or hasattr(found, "__wrapped__"))
        if problem:
            return problem
    missing = [p for p in spec.params if not p.startswith("*") and p not in names]
    for other in overrides if missing and not takes_any else ():
        missing = [p for p in missing if p not in _parameter_names(other)]
    if missing and not takes_any:
        return f"takes no parameter {', '.join(missing)}"
    return _order_problem(spec.params, parameters)


def _parameter_names(function: Any) -> set[str]:
    try:
        return set(inspect.signature(function).parameters)
    except (ValueError, TypeError):
        return set()


def _other_release(owner: str, name: str, versions: str, names: set[str], takes_any: bool) -> str:
    library = owner.split(".", 1)[0]
    version = installed(library)
    if version:
        expected = SpecifierSet(versions).contains(version, prereleases=True)
        if expected and name not in names and not takes_any:
            return f"takes no parameter {name}, which {library} {versions} should have"
        if not expected and name in names:
            return f"takes {name} in {library} {version}, outside {versions}"
    return ""


def _order_problem(params: tuple[str, ...], parameters: list[inspect.Parameter]) -> str:
    """Positional parameters that stand elsewhere than the spec says: a positional argument would get the wrong name."""
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    for index, name in enumerate(params):
        if name.startswith("*"):
            break
        if name in positional and positional.index(name) != index:
            return f"{name} is positional parameter {positional.index(name)}, the spec has it at {index}"
    return ""
