"""Reads rules/apis/*.yaml into specs, strictly: an unknown key, verb, event, role or derivation is an error at
file:line. What may stand in a file is in `lora_lint.apis.grammar`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lora_lint.apis.grammar import COMMON_KEYS, DERIVATIONS, RETURN_FORMS, ROLES, TESTS, VERB_KEYS
from lora_lint.apis.spec import CallSpec, Default, Derived, Effect, Override, Ref, Term, Test, TypeSpec
from lora_lint.apis.yaml_reader import Mapping, read_yaml
from lora_lint.errors import KnowledgeError
from lora_lint.lifecycle.vocabulary import Ev, Kind


class Specs:
    """Everything that was read: calls by name, types by name, defaults, aliases, and the libraries' files."""

    def __init__(self) -> None:
        self.calls: dict[str, list[CallSpec]] = {}
        self.types: dict[str, TypeSpec] = {}
        self.defaults: list[Default] = []
        self.aliases: dict[str, str] = {}
        self.libraries: dict[str, tuple[str, ...]] = {}


def load_specs(files: list[Path]) -> Specs:
    """All specs of these YAML files. KnowledgeError with file:line when one is broken."""
    specs = Specs()
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise KnowledgeError(f"{path}:1: cannot be read: {error}") from error
        add_specs(specs, text, str(path))
    return specs


def add_specs(specs: Specs, text: str, path: str) -> None:
    """Add the specs of one YAML text. KnowledgeError with file:line when it is broken."""
    document = read_yaml(text, path)
    if document is None:
        return
    if not isinstance(document, Mapping):
        raise KnowledgeError(f"{path}:1: an API spec file is a mapping with library, types and calls")
    document.only({"library", "types", "calls", "defaults", "aliases"}, "an API spec file")
    specs.libraries[path] = _strings(document, "library")
    for entry in _mappings(document, "types"):
        kind = _type(entry, path)
        specs.types[kind.name] = kind
    for entry in _mappings(document, "calls"):
        for call in _calls(entry, path):
            specs.calls.setdefault(call.name, []).append(call)
    for entry in _mappings(document, "defaults"):
        entry.only({"prefix", "behaviour"}, "a default")
        behaviour = entry.data.get("behaviour")
        if behaviour not in ("pure", "propagate", "numpy", "havoc"):
            raise entry.error(f"behaviour {behaviour!r} is not one of pure, propagate, numpy, havoc", "behaviour")
        for prefix in _strings(entry, "prefix"):
            specs.defaults.append(Default(prefix, behaviour))
    aliases = document.data.get("aliases")
    if isinstance(aliases, Mapping):
        specs.aliases.update({key: str(value) for key, value in aliases.data.items()})


def _mappings(parent: Mapping, key: str) -> list[Mapping]:
    value = parent.data.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise parent.error(f"{key} must be a list of mappings", key)
    return value


def _strings(entry: Mapping, key: str) -> tuple[str, ...]:
    value = entry.data.get(key)
    if value is None:
        return ()
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in items):
        raise entry.error(f"{key} must be a string or a list of strings", key)
    return tuple(items)


_TYPE_KEYS = frozenset(
    [
        "type",
        "bases",
        "kind",
        "match",
        "pure",
        "attributes",
        "protocol",
        "changes",
        "computes",
        "conforms",
        "folds",
        "source",
        "group",
        "home",
        "versions",
        "overrides",
    ]
)


def _type(entry: Mapping, path: str) -> TypeSpec:
    entry.only(_TYPE_KEYS, "a type")
    name = entry.data.get("type")
    if not isinstance(name, str):
        raise entry.error("a type needs `type: qualified.Name`")
    kind = entry.data.get("kind")
    if kind is not None and kind not in {k.value for k in Kind}:
        raise entry.error(f"kind {kind!r} is not in the vocabulary: {', '.join(k.value for k in Kind)}", "kind")
    attributes = entry.data.get("attributes")
    forms = {}
    if isinstance(attributes, Mapping):
        forms = {key: _form(value, attributes, key) for key, value in attributes.data.items()}
    return TypeSpec(
        name=name,
        bases=_strings(entry, "bases"),
        kind=Kind(kind) if kind else None,
        match=_strings(entry, "match"),
        pure=_strings(entry, "pure"),
        attributes=forms,
        protocol=_effects(entry, "protocol", path),
        changes=_strings(entry, "changes"),
        place=f"{path}:{entry.line}",
        group=bool(entry.data.get("group", False)),
        home=str(entry.data.get("home", "")),
        versions=_versions(entry),
        overrides=tuple(_override(item) for item in _mappings(entry, "overrides")),
        computes=_strings(entry, "computes"),
        conforms=_strings(entry, "conforms"),
        folds=_strings(entry, "folds"),
    )


def _override(entry: Mapping) -> Override:
    entry.only({"method", "parameter", "place", "versions", "source", "callers"}, "an override")
    method, parameter = entry.data.get("method"), entry.data.get("parameter")
    if not isinstance(method, str) or not isinstance(parameter, str):
        raise entry.error("an override needs a method and the parameter that the library passes")
    return Override(method, parameter, int(entry.data.get("place", 0)), _versions(entry), _strings(entry, "callers"))


def _calls(entry: Mapping, path: str) -> list[CallSpec]:
    entry.only({"call", "params", "also", "home", "defaults", "effects", "versions", "source"}, "a call")
    names = _strings(entry, "call")
    if not names:
        raise entry.error("a call needs `call: qualified.name`")
    defaults = entry.data.get("defaults")
    effects = _effects(entry, "effects", path)
    also = _ranges(entry, "also")
    return [
        CallSpec(
            name=name,
            params=_strings(entry, "params"),
            defaults=dict(defaults.data) if isinstance(defaults, Mapping) else {},
            effects=effects,
            versions=_versions(entry),
            source=str(entry.data.get("source", "")),
            place=f"{path}:{entry.line}",
            also=also,
            home=str(entry.data.get("home", "")),
        )
        for name in names
    ]


def _versions(entry: Mapping) -> dict[str, str]:
    return _ranges(entry, "versions")


def _ranges(entry: Mapping, key: str) -> dict[str, str]:
    """A mapping from a name to a PEP 440 range."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    value = entry.data.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise entry.error(f"{key} is a mapping from a name to a PEP 440 range", key)
    for name, spec in value.data.items():
        try:
            SpecifierSet(str(spec))
        except InvalidSpecifier as error:
            raise value.error(f"{spec!r} is not a PEP 440 range", name) from error
    return {name: str(spec) for name, spec in value.data.items()}


def _effects(entry: Mapping, key: str, path: str) -> tuple[Effect, ...]:
    """A list of effects; a list in the list (an alias of an anchored one) stands for its items."""
    value = entry.data.get(key) or []
    items = value if isinstance(value, list) else [value]
    out: list[Effect] = []
    for item in items:
        for each in item if isinstance(item, list) else [item]:
            if not isinstance(each, Mapping):
                raise entry.error(f"{key} must be a list of effects", key)
            out.append(_effect(each, path))
    return tuple(out)


def _effect(entry: Mapping, path: str) -> Effect:
    verbs = [verb for verb in VERB_KEYS if verb in entry.data]
    if len(verbs) != 1:
        raise entry.error(f"an effect has exactly one verb of {', '.join(VERB_KEYS)}; this one has {verbs or 'none'}")
    verb = verbs[0]
    entry.only(VERB_KEYS[verb] | COMMON_KEYS, f"a {verb!r} effect")
    unknown = entry.data.get("unknown", "havoc")
    if unknown not in ("havoc", "skip"):
        raise entry.error("unknown is havoc or skip", "unknown")
    each = entry.data.get("each")
    common: dict[str, Any] = {
        "when": _test(entry.data["when"], entry) if "when" in entry.data else None,
        "versions": _versions(entry),
        "unknown": unknown,
        "each": _ref(each, entry, "each") if each is not None else None,
        "line": entry.line,
    }
    if verb == "emit":
        return _emit(entry, common)
    fields = {key: _field(entry, key) for key in sorted(VERB_KEYS[verb] & set(entry.data))}
    return Effect(verb=verb, fields=fields, **common)


def _field(entry: Mapping, key: str) -> Any:
    """The value of one key of an effect."""
    value = entry.data[key]
    items = value if isinstance(value, list) else [value]
    if key in ("facts", "attrs", "named"):
        if not isinstance(value, Mapping):
            raise entry.error(f"{key} is a mapping", key)
        return {name: _form(item, value, name) for name, item in value.data.items()}
    if key == "args":
        return tuple(_form(item, entry, key) for item in items)
    if key in ("return", "value"):
        return _form(value, entry, key)
    if key == "havoc":
        return tuple(_ref(item, entry, key) for item in items)
    if key == "kind":
        if value not in {k.value for k in Kind}:
            raise entry.error(f"kind {value!r} is not in the vocabulary", key)
        return Kind(value)
    if key in ("set", "link", "on", "call", "apply", "protocol", "attach", "to"):
        return _ref(value, entry, key)
    return _term(value, entry, key) if isinstance(value, str) and value.startswith("$") else value


def _emit(entry: Mapping, common: dict[str, Any]) -> Effect:
    name = entry.data["emit"]
    if name not in {e.value for e in Ev}:
        raise entry.error(f"event {name!r} is not in the vocabulary: {', '.join(e.value for e in Ev)}", "emit")
    args = entry.data.get("args")
    if args is not None and not isinstance(args, Mapping):
        raise entry.error("args of an event is a mapping", "args")
    return Effect(
        verb="emit",
        event=Ev(name),
        roles={role: _term(entry.data[role], entry, role) for role in ROLES & set(entry.data)},
        args={key: _form(value, args, key) for key, value in args.data.items()} if args else {},
        **common,
    )


def _form(value: Any, entry: Mapping, key: str) -> Any:
    """A return form, or a term, or a list of terms."""
    if isinstance(value, list):
        return tuple(_form(item, entry, key) for item in value)
    if not isinstance(value, Mapping):
        return _term(value, entry, key)
    heads = [head for head in RETURN_FORMS if head in value.data]
    if len(heads) != 1:
        if len(value.data) == 1 and next(iter(value.data)) in TESTS:
            return _test(value, entry)
        raise value.error(f"not a form: {', '.join(value.data)}; known: {', '.join(RETURN_FORMS)}")
    head = heads[0]
    if head == "derive":
        return _derived(value)
    value.only(RETURN_FORMS[head], f"a {head!r} form")
    inner = value.data[head]
    if head == "dict" and isinstance(inner, Mapping):
        return (head, {head: {name: _form(item, inner, name) for name, item in inner.data.items()}})
    return (head, {name: _form(item, value, name) for name, item in value.data.items()})


def _derived(value: Mapping) -> Derived:
    value.only({"derive", "from"}, "a derivation")
    function = value.data["derive"]
    if function not in DERIVATIONS:
        raise value.error(f"derivation {function!r} is not one of {', '.join(sorted(DERIVATIONS))}", "derive")
    inputs = value.data.get("from")
    items = inputs if isinstance(inputs, list) else [inputs]
    return Derived(function, tuple(_term(item, value, "from") for item in items))


def _term(value: Any, entry: Mapping, key: str) -> Term:
    if isinstance(value, str) and value.startswith("$"):
        return _ref(value, entry, key)
    if isinstance(value, Mapping):
        if "derive" in value.data:
            return _derived(value)
        return _test(value, entry)
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    raise entry.error(f"{key}: not a term: {value!r}", key)


def _ref(value: Any, entry: Mapping, key: str) -> Ref:
    if not isinstance(value, str) or not value.startswith("$") or len(value) < 2:
        raise entry.error(f"{key} must be a reference like $model, not {value!r}", key)
    head, *attrs = value[1:].split(".")
    return Ref(head, tuple(attrs))


def _test(value: Any, entry: Mapping) -> Test:
    if isinstance(value, str) and value.startswith("$"):
        return Test("true", (_ref(value, entry, "when"),))
    if not isinstance(value, Mapping) or len(value.data) != 1:
        raise entry.error(f"a condition is one of {', '.join(sorted(TESTS))} with its operands", "when")
    op, operand = next(iter(value.data.items()))
    if op not in TESTS:
        raise value.error(f"condition {op!r} is not one of {', '.join(sorted(TESTS))}", op)
    items = operand if isinstance(operand, list) else [operand]
    if op in ("not", "all", "any"):
        return Test(op, tuple(_test(item, value) for item in items))
    return Test(op, tuple(_term(item, value, op) for item in items))
