"""Where an adapter is put: LL110."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from lora_lint.apis.tables import Family, architectures, loads_anything
from lora_lint.checks.base import Report, check
from lora_lint.checks.common import maker
from lora_lint.checks.values import literal, read_off, strings
from lora_lint.findings import Applicability, FixPlan, SetKeyword, Severity
from lora_lint.lifecycle.heap import WHOLE_PATHS, Adapter, Obj
from lora_lint.lifecycle.trace import SHARED_CONFIG, Event, Trace
from lora_lint.lifecycle.vocabulary import Ev

_KEYWORDS = ("all-linear",)
_LAYERS = 100  # layer numbers that a regular expression may ask for


@check("LL110", on=Ev.INJECT)
def target_modules_mismatch(event: Event, trace: Trace) -> Iterator[Report]:
    """A name in target_modules fits no module of the model's family."""
    config, model = event.role("config"), event.model
    if config is None or config.event is None or model is None or model.full_path or model.root.user_class is not None:
        return
    targets = config.facts.get("target_modules")
    family = _family(model.root)
    pattern = literal(targets)
    if isinstance(pattern, str):
        yield from _of_expression(config, pattern, family, event)
        return
    listed = strings(targets)
    if family is None or not listed:
        return
    missing = [name for name in listed if name not in read_off(targets) and not _fits(name, family, model.root)]
    counted = event.args.get("without_layer")  # in a run: the names for which no layer got an adapter
    if counted is not None:
        missing = [name for name in missing if name in counted]
    if missing and not _for_many_families(listed, missing):
        none = len(missing) == len(listed)
        report = Report(
            config.event,
            f"{_quoted(missing)} {'fits' if len(missing) == 1 else 'fit'} no module of {_model(model.root)}: "
            + ("no layer gets an adapter" if none else "those layers get no adapter, silently"),
            help=f"modules of this model: {', '.join(sorted(_layer_names(family)))}",
            story=((event, "injected here"),),
            severity=Severity.ERROR if counted is not None else None,
            plan=_name_modules(config, listed, missing, family),
            unless=frozenset() if none else frozenset({(SHARED_CONFIG, config.site)}),
        )
        if not (_loaded_by_default(model.root) and any(guard.default for guard in report.conditions())):
            yield report


def _loaded_by_default(root: Obj) -> bool:
    """Whether the checkpoint is the default of an option: it need not go together with what another option gives."""
    return root.event is not None and root.event.args.get("by-default") is True


def finds_targets(adapter: Adapter, child: Obj, path: str) -> bool:
    """Whether an adapter that was injected into a user's model certainly has layers in a library model inside it."""
    targets = adapter.config.facts.get("target_modules") if adapter.config is not None else None
    pattern = literal(targets)
    if isinstance(pattern, str):
        return pattern == "all-linear" or path.split(".")[-1] in pattern
    family = _family(child.root)
    return family is not None and any(name in _layer_names(family) for name in strings(targets) or ())


def only_inside(adapter: Adapter, root: Obj, part: str) -> bool:
    """Whether all layers that an adapter has are certainly inside one part of a library's model, as the encoder."""
    place = [step for step in adapter.path.split(".") if step and step not in WHOLE_PATHS]
    if place:
        return place[0] == part
    family = _family(root)
    targets = adapter.config.facts.get("target_modules") if adapter.config is not None else None
    found = [path for path in family.modules if _aimed_at(targets, path)] if family is not None else []
    return bool(found) and all(part in path.split(".")[:2] for path in found)


def all_outside(adapter: Adapter, root: Obj, part: str) -> bool:
    """Whether certainly no layer that an adapter has is inside a part of a library's model, as its embeddings."""
    family = _family(root)
    targets = strings(adapter.config.facts.get("target_modules")) if adapter.config is not None else None
    if family is None or not targets or adapter.path:
        return False
    found = [[path for path in family.modules if f".{path}".endswith(f".{name}")] for name in targets]
    return all(found) and not any(part in path.split(".") for paths in found for path in paths)


def _aimed_at(targets: object, path: str) -> bool:
    """Whether target_modules name a module, in some layer."""
    pattern = literal(targets)
    if isinstance(pattern, str):
        return _matches(pattern, (path,))
    listed = tuple(f".{name}" for name in strings(targets) or ())
    return bool(listed) and any(f".{candidate}".endswith(listed) for candidate in _candidates(path))


def _family(root: Obj) -> Family | None:
    """The family of a model from the library, None for other code."""
    load = root.event
    if load is None or load.kind is not Ev.LOAD or root.model.escaped or load.args.get("remote") not in (None, False):
        return None
    return architectures().family(root.type, root.model.architecture)


def _model(root: Obj) -> str:
    return root.model.architecture if loads_anything(root.type) else root.type.rsplit(".", 1)[-1]


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _layer_names(family: Family) -> set[str]:
    """The modules inside the layers."""
    return {path.rsplit(".", 1)[-1] for path in family.modules if ".0." in path}


def _fits(name: str, family: Family, root: Obj) -> bool:
    """Whether a name of a list fits a module: it is compared with the end of the path, or names a whole block."""
    heads = {module for head in architectures().heads for module in head.modules}
    last = name.rsplit(".", 1)[-1]
    if last in family.leaves or last in heads or last in root.attrs or last.isdigit():
        return True
    return any(last in path.split(".") for path in family.modules)


def _for_many_families(listed: list[str], missing: list[str]) -> bool:
    """Whether a list names the modules of several families on purpose: what the missing ones stand for is covered by the
    others under the name of this family."""
    if len(missing) == len(listed):
        return False
    covered = {role for name in listed if name not in missing for role in _roles(name)}
    return all(_roles(name) and _roles(name) & covered for name in missing)


def _roles(name: str) -> frozenset[str]:
    roles = set(architectures().role(name.rsplit(".", 1)[-1]))
    if "qkv" in roles:
        roles |= {"q", "k", "v"}
    if "gate_up" in roles:
        roles |= {"gate", "up"}
    return frozenset(roles)


def _name_modules(config: Obj, listed: list[str], missing: list[str], family: Family) -> FixPlan | None:
    """Write the names that this family has for the same roles."""
    found = [name for name in listed if name not in missing]
    for name in missing:
        same = [leaf for leaf in sorted(_layer_names(family)) if _roles(leaf) & _roles(name)]
        found.extend(leaf for leaf in same if leaf not in found)
    call = maker(config)
    if call is None or not found or found == [name for name in listed if name not in missing]:
        return None
    intent = SetKeyword(call, "target_modules", f"[{_quoted(found)}]")
    return FixPlan(Applicability.UNSAFE, "use the names of this architecture", (intent,))


# --- a string is a regular expression for the whole path --------------------------------------------------------------


def _of_expression(config: Obj, pattern: str, family: Family | None, event: Event) -> Iterator[Report]:
    if pattern in _KEYWORDS or config.event is None or event.model is None:
        return
    known = family.modules if family is not None else _all_modules() if _is_library(event.model.root) else ()
    if not known or _matches(pattern, known):
        return
    plain = re.fullmatch(r"\w+", pattern) is not None
    if family is None and (not plain or not any(path.endswith(f".{pattern}") for path in known)):
        return
    call = maker(config)
    intent = SetKeyword(call, "target_modules", f'["{pattern}"]') if call is not None and plain else None
    yield Report(
        config.event,
        f'"{pattern}" is a regular expression for the whole path of a module and fits none of {_model(event.model.root)}: '
        "no layer gets an adapter",
        help=f'pass a list, ["{pattern}"], or r".*\\.{pattern}"'
        if plain
        else "match the whole path, from the first part on",
        story=((event, "injected here"),),
        plan=FixPlan(Applicability.UNSAFE, "pass the name in a list", (intent,)) if intent is not None else None,
    )


def _is_library(root: Obj) -> bool:
    load = root.event
    return load is not None and load.kind is Ev.LOAD and bool(root.model.architecture) and not root.model.escaped


def _all_modules() -> tuple[str, ...]:
    return tuple(path for family in architectures().families for path in family.modules)


def _matches(pattern: str, paths: tuple[str, ...]) -> bool:
    """Whether an expression matches some module, in any layer and from any part of the path on. One that is no regular
    expression may be anything."""
    try:
        compiled = re.compile(pattern)
    except re.error:
        return True
    # An expression without a digit treats all numbers of the same length alike.
    layers = range(_LAYERS) if any(map(str.isdigit, pattern)) else (0, 10)
    return any(compiled.fullmatch(candidate) for path in paths for candidate in _candidates(path, layers))


def _candidates(path: str, layers: Iterable[int] = range(_LAYERS)) -> Iterator[str]:
    """The path in each layer; models of other heads have a part more or less in front."""
    for head in (path, path.partition(".")[2], f"model.{path}"):
        if ".0." not in head:
            yield head
            continue
        for layer in layers:
            yield head.replace(".0.", f".{layer}.", 1)
