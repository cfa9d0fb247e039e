"""Reads rules/apis/*.yaml into specs, strictly: an unknown key, verb, event, role or derivation is an error at file:line.

A file is a mapping with `library` (top-level names that are never looked for in the project; none for utilities, whose names
projects use for modules of their own), `types`, `calls`, `defaults`, `aliases` (another qualified name -> the spec's name).

An effect is a mapping with one verb:
  new: NAME, kind: …, type: …, facts: {…}      make an object, bind it as $NAME
  emit: EVENT, ROLE: $x …, args: {…}            something happens
  set: $object, facts: {…}                      facts of an object
  link: $object, attrs: {name: $x …}            attributes of an object
  call: $callable or on: $object + method: m, args: […], context: worker, as: NAME      run the user's callback
                                                open: true: it may get more keyword arguments, of any value
  apply: $object, method: m, args: […], as: NAME      call a method, the library's own too
  protocol: $object                             what the framework does with an instance of a user subclass
  let: NAME, value: FORM                        bind $NAME; the object a constructor makes is bound by its first `new`
  havoc: [$x …]                                 anything may happen to these objects
  return: FORM
and optionally when, versions, unknown (havoc | skip), each ($list, binds $item).

A return FORM is a term, or {view: $x, type: T}, {parameters: $x, named: bool, modules: bool}, {tensor: plain}, {attached: $event…},
{like: [$x …]} (a tensor that depends on these),
{scaled: $x, by: $scaler}, {wrapped: $x} (what a wrapper
wraps), {base: $x} (the same through all wrappers),
{saved: $file} (what this program saved there), {cut: detach, of: $x}, {hack: $x}, {unpack: $list}, {submodule: $x, path: p}, {text: s}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lora_lint.apis.spec import CallSpec, Default, Derived, Effect, Ref, Term, Test, TypeSpec
from lora_lint.apis.yaml_reader import Mapping, read_yaml
from lora_lint.errors import KnowledgeError
from lora_lint.lifecycle.vocabulary import Ev, Kind

ROLES = frozenset(
    "model config optimizer scheduler scaler loader dataset collator tokenizer trainer arguments accelerator loss "
    "object reference".split()
)
DERIVATIONS = frozenset(
    "quantization device dtype truth inference trainable checkpointing workers spawn mode adapter parts architecture "
    "negated grad-enabled precision prefix native checkpointing-hook token".split()
)
TESTS = frozenset("set unset equals adapted checkpointed peft quantized defined not all any true kind type text".split())
_VERB_KEYS: dict[str, frozenset[str]] = {
    "new": frozenset({"new", "kind", "type", "facts"}),
    "emit": frozenset({"emit", "args"}) | ROLES,
    "set": frozenset({"set", "facts"}),
    "link": frozenset({"link", "attrs"}),
    "call": frozenset({"call", "args", "context", "as", "open"}),
    "on": frozenset({"on", "method", "args", "context", "as", "open"}),
    "apply": frozenset({"apply", "method", "args", "as", "open"}),
    "protocol": frozenset({"protocol"}),
    "let": frozenset({"let", "value"}),
    "havoc": frozenset({"havoc"}),
    "return": frozenset({"return"}),
}
_COMMON = frozenset({"when", "versions", "unknown", "each"})
RETURN_FORMS: dict[str, frozenset[str]] = {
    "view": frozenset({"view", "type"}),
    "parameters": frozenset({"parameters", "named", "modules"}),
    "tensor": frozenset({"tensor", "device"}),
    "attached": frozenset({"attached"}),
    "like": frozenset({"like"}),
    "scaled": frozenset({"scaled", "by"}),
    "base": frozenset({"base"}),
    "wrapped": frozenset({"wrapped"}),
    "saved": frozenset({"saved"}),
    "cut": frozenset({"cut", "of"}),
    "hack": frozenset({"hack"}),
    "unpack": frozenset({"unpack"}),
    "submodule": frozenset({"submodule", "path"}),
    "derive": frozenset({"derive", "from"}),
    "text": frozenset({"text"}),
    "spread": frozenset({"spread"}),
    "views": frozenset({"views", "kind"}),
    "pick": frozenset({"pick", "of"}),
    "unknown": frozenset({"unknown", "default"}),
    "dataclasses": frozenset({"dataclasses"}),
    "dict": frozenset({"dict"}),
    "frame": frozenset({"frame"}),
    "first": frozenset({"first"}),
}


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


def _type(entry: Mapping, path: str) -> TypeSpec:
    entry.only(
        {"type", "bases", "kind", "match", "pure", "attributes", "protocol", "changes", "source", "group", "home", "versions"}, "a type"
    )
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
    )


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
    verbs = [verb for verb in _VERB_KEYS if verb in entry.data]
    if len(verbs) != 1:
        raise entry.error(f"an effect has exactly one verb of {', '.join(_VERB_KEYS)}; this one has {verbs or 'none'}")
    verb = verbs[0]
    entry.only(_VERB_KEYS[verb] | _COMMON, f"a {verb!r} effect")
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
    fields: dict[str, Any] = {}
    for key in _VERB_KEYS[verb] & set(entry.data):
        value = entry.data[key]
        if key in ("facts", "attrs"):
            if not isinstance(value, Mapping):
                raise entry.error(f"{key} is a mapping", key)
            fields[key] = {name: _form(item, value, name) for name, item in value.data.items()}
        elif key == "args":
            fields[key] = tuple(_form(item, entry, key) for item in (value if isinstance(value, list) else [value]))
        elif key in ("return", "value"):
            fields[key] = _form(value, entry, key)
        elif key == "havoc":
            fields[key] = tuple(_ref(item, entry, key) for item in (value if isinstance(value, list) else [value]))
        elif key == "kind":
            if value not in {k.value for k in Kind}:
                raise entry.error(f"kind {value!r} is not in the vocabulary", key)
            fields[key] = Kind(value)
        elif key in ("set", "link", "on", "call", "apply", "protocol"):
            fields[key] = _ref(value, entry, key)
        else:
            fields[key] = _term(value, entry, key) if isinstance(value, str) and value.startswith("$") else value
    return Effect(verb=verb, fields=fields, **common)


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
