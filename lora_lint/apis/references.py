"""Names in API specs: every `$name` of a call must be a parameter of it, or made by one of its effects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lora_lint.apis.spec import CallSpec, Derived, Effect, Ref, Test
from lora_lint.errors import KnowledgeError

# What an effect can refer to without making it.
_GIVEN = frozenset({"self", "class", "process", "item"})
_MAKING = ("new", "let", "as")


def check_references(call: CallSpec) -> None:
    """KnowledgeError with file:line for a name that a call does not have. Loading is not as strict: the bundled specs share
    effects between calls, some of which lack a parameter, and use keywords that are passed on."""
    path = call.place.rsplit(":", 1)[0]
    known = _GIVEN | {name.lstrip("*") for name in (*call.params, *call.also)}
    known |= {
        effect.fields[key] for effect in call.effects for key in _MAKING if isinstance(effect.fields.get(key), str)
    }
    for effect in call.effects:
        for ref in _refs(_parts(effect)):
            if ref.name not in known:
                what = f"`${ref.name}` is no parameter of {call.name}, and no effect makes it"
                raise KnowledgeError(f"{path}:{effect.line}: {what}")


def _parts(effect: Effect) -> tuple[Any, ...]:
    return (effect.fields, effect.roles, effect.args, effect.when, effect.each)


def _refs(value: Any) -> Iterator[Ref]:
    """All references in a nested value of a spec."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, (Derived, Test)):
        yield from _refs(value.inputs if isinstance(value, Derived) else value.operands)
    elif isinstance(value, Mapping):
        yield from _refs(tuple(value.values()))
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _refs(item)
