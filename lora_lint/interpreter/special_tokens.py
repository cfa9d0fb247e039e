"""Special tokens of tokenizers and their ids, as values: of one checkpoint they are the same wherever they are asked for."""

from __future__ import annotations

from collections.abc import Hashable

from lora_lint.apis.tables import architectures
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, DictVal, SeqVal, Sym, Value, default_text, key_of
from lora_lint.lifecycle.heap import Obj

_PADDING = "[padding]"  # of a checkpoint that surely has one
_END_TOKENS = ("bos_token", "eos_token", "unk_token")


def named(run: Run, inputs: list[Value]) -> Value:
    """A special token of a tokenizer: an unknown of its own, but a padding token that is surely there is a constant."""
    tokenizer, wanted = inputs
    if not isinstance(tokenizer, Obj) or not isinstance(wanted, Const):
        return Sym(("token", id(tokenizer)))
    source = tokenizer.facts.get("source")
    name = default_text(source).lower()
    if wanted.value in ("pad_token", "pad_token_id") and any(family in name for family in architectures().own_padding):
        return Const(_PADDING)
    if wanted.value in ("pad_token", "pad_token_id") and wanted.value not in tokenizer.attrs:
        tokenizer.facts["padding_asked"] = True
    return _own_token(tokenizer, str(wanted.value))


def is_special(value: Value) -> bool:
    """Whether a value is a special token of a tokenizer, or its id."""
    if isinstance(value, Const):
        return value.value == _PADDING
    return isinstance(value, Sym) and isinstance(value.key, tuple) and value.key[:1] == ("token",)


def is_text(value: Value) -> bool:
    """Whether a value is a special token as a text, and not its id."""
    return isinstance(value, Sym) and is_special(value) and str(value.key[-1]).endswith("_token")  # type: ignore[index]


def _own_token(tokenizer: Obj, name: str) -> Value:
    """A special token (or its id) that the user's code has set, or that the checkpoint brings."""
    return tokenizer.attrs.setdefault(name, Sym(("token", _identity(tokenizer), name), name))


def _identity(tokenizer: Obj) -> Hashable:
    """What tells the special tokens of tokenizers apart: the checkpoint, where it is known."""
    source = tokenizer.facts.get("source")
    return key_of(source) if isinstance(source, (Const, Sym)) else tokenizer.site


def all_of(run: Run, inputs: list[Value]) -> Value:
    """`tokenizer.special_tokens_map`: those that are there, whichever they are."""
    (tokenizer,) = inputs
    if not isinstance(tokenizer, Obj):
        return Sym(("token", id(tokenizer)))
    return DictVal({name: _own_token(tokenizer, name) for name in _END_TOKENS}, open=True)


def other_form(run: Run, inputs: list[Value]) -> Value:
    """The id of a special token, or the special token of an id; alone or as the only one in a list."""
    tokenizer, wanted = inputs
    alone = wanted.items[0] if isinstance(wanted, SeqVal) and len(wanted.items) == 1 and not wanted.open else wanted
    key = alone.key if isinstance(alone, Sym) else None
    if not isinstance(tokenizer, Obj) or not isinstance(key, tuple) or key[:2] != ("token", _identity(tokenizer)):
        return Sym(("token-form", key_of(tokenizer), key_of(wanted)), "", data=True)
    name = str(key[2])
    return _own_token(tokenizer, name.removesuffix("_id") if name.endswith("_id") else f"{name}_id")
