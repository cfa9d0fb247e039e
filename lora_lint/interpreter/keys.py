"""Unknown values made of other values: their keys hold the keys of the parts, and stay small whatever a program computes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from lora_lint.interpreter.values import DictVal, SeqVal, Sym, Value, key_of

# Larger keys and texts than this say nothing a finding or a condition could use.
MAX_PARTS = 60
MAX_TEXT = 200

# Longer lists are remembered by their first items.
MAX_ITEMS = 1_000

# Longer strings are not computed.
MAX_CONSTANT = 2_000


def compound(key: Hashable, parts: Iterable[Value], text: str = "", *, data: bool = False) -> Sym:
    """The unknown with this key, which is built of the keys of these parts. A key that would become too large is replaced
    by its hash: still the same in every run."""
    size = 1 + sum(part.size for part in parts if isinstance(part, Sym))
    if size > MAX_PARTS:
        key, size = ("large", hash(key)), 1
    return Sym(key, text if len(text) <= MAX_TEXT else text[-MAX_TEXT:], data=data, size=size)


def put_together(parts: tuple[Hashable, ...], values: Iterable[Value], text: str = "") -> Sym:
    """A text made of others, of which not all are known: the same wherever it is put together of the same."""
    return compound(("fstring", parts), values, text)


def parts_of(value: Value) -> tuple[Hashable, ...] | None:
    """The keys of the parts of such a text, None for anything else."""
    key = value.key if isinstance(value, Sym) else None
    found = key[1] if isinstance(key, tuple) and len(key) == 2 and key[0] == "fstring" else None
    return found if isinstance(found, tuple) else None


def one_of_texts(texts: list[Value], which: Hashable) -> Sym | None:
    """One of several texts that all end alike: a text that ends like them. None where they do not."""
    ends = {_end(text) for text in texts}
    return put_together((("item", which), *ends), texts) if len(ends) == 1 and None not in ends else None


def _end(text: Value) -> Hashable:
    """The key of the last part of a text, or of what may be one, that others were joined to; None for anything else."""
    key = text.key if isinstance(text, Sym) else None
    joined_ = isinstance(key, tuple) and len(key) > 1 and (key[0] == "fstring" or key[:2] == ("op", "+"))
    return key[-1][-1] if joined_ and isinstance(key, tuple) else None


# Unknowns that are surely something: texts put together, paths computed, what is in a file, and numbers.
_NEVER_NONE = frozenset({"fstring", "path", "contents", "number"})


def never_none(value: Sym) -> bool:
    """Whether this unknown comes from an operation that gives no None."""
    return value.some or (isinstance(value.key, tuple) and bool(value.key) and value.key[0] in _NEVER_NONE)


def never_empty(value: Sym) -> bool:
    """Whether this unknown is a text with a known part in it (`f"out/{step}"`)."""
    parts = (part for part in parts_of(value) or () if isinstance(part, tuple) and len(part) == 3)
    return any(part[0] == "const" and part[2] not in ("", None) for part in parts)


def holds_text(value: Value, text: object) -> bool:
    """Whether this unknown is a text with a known part that holds another text."""
    parts = (
        part for part in parts_of(value) or () if isinstance(part, tuple) and len(part) == 3 and part[0] == "const"
    )
    return isinstance(text, str) and any(isinstance(part[2], str) and text in part[2] for part in parts)


def joined(values: Iterable[Value], opened: bool = False) -> tuple[list[Value], bool]:
    """The items of several values in a row, and whether there may be others."""
    items: list[Value] = []
    for value in values:
        if isinstance(value, SeqVal):
            items.extend(value.items[: MAX_ITEMS - len(items)])
            opened = opened or value.open or len(items) >= MAX_ITEMS
        else:
            opened = True
    return items, opened


def question(op: str, left: Value, right: Value) -> tuple[Hashable, ...]:
    """The identity of a comparison. Whether an unknown key is in a dict with unknown keys is one question for all dicts that
    have these keys."""
    keys = right.items if op == "in" and isinstance(left, Sym) and isinstance(right, DictVal) else {}
    others = frozenset(key for key in keys if isinstance(key, tuple) and key[:1] == ("unknown",))
    return ("again", key_of(left), others) if others else (op, key_of(left), key_of(right))
