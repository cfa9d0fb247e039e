"""Paths of files, the text in them, and the configurations that a program reads out of them.

A file that the program names literally gives constants. One whose name is only the default of an option gives unknowns
with these constants as their defaults: the user may name another file.
"""

from __future__ import annotations

import posixpath
from collections.abc import Hashable
from typing import Any

from lora_lint.interpreter.keys import compound
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, DictVal, SeqVal, Setting, Sym, Value, key_of
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.vocabulary import Kind
from lora_lint.syntax import ir

PATH = "pathlib.Path"
_PLACE = "__fspath__"  # what a path object stands for
_NAME = "name"  # the file that an open stream, or a text, comes from
_METHODS = frozenset(dir(dict))


def path(run: Run, value: Value, node: ir.Node) -> Obj:
    """An object of type pathlib.Path."""
    made = run.make(Kind.OBJECT, PATH, node)
    made.attrs[_PLACE] = place(value)
    return made


def place(value: Value) -> Value:
    """The text of a path: that of a path object, else the value itself."""
    return value.attrs.get(_PLACE, value) if isinstance(value, Obj) else value


def joined(parts: list[Value]) -> Value:
    """`os.path.join(…)`."""
    flat: list[Value] = []
    for part in parts:
        flat.extend(part.items if isinstance(part, SeqVal) and not part.open else [part])
    return _computed("join", [place(part) for part in flat], lambda texts: posixpath.join(*texts) if texts else ".")


def folder(value: Value) -> Value:
    """`os.path.dirname(…)`. Above the folder of the run lies its parent: `__file__` is relative to it here."""
    return _computed("folder", [place(value)], lambda texts: _above(texts[0]))


def _above(text: str) -> str:
    up = text == "" or posixpath.basename(text) == ".."
    return posixpath.join(text, "..") if up else posixpath.dirname(text)


def _computed(what: str, parts: list[Value], compute: Any) -> Value:
    """A text computed from other texts; an unknown with a default when some are options with a default."""
    known = [part.default if isinstance(part, Sym) else part for part in parts]
    texts = [one.value for one in known if isinstance(one, Const) and isinstance(one.value, str)]
    text = compute(texts) if len(texts) == len(parts) else None
    if text is not None and all(isinstance(part, Const) for part in parts):
        return Const(text)
    result = compound(("path", what, *(key_of(part) for part in parts)), parts, f"os.path.{what}(…)")
    result.default = Const(text) if text is not None else None
    return result


def contents(value: Value) -> Value:
    """What is in a file: an unknown text that remembers the file. value: a path, an open stream, or such a text."""
    if isinstance(value, Obj) and _PLACE not in value.attrs:
        name = value.attrs.get(_NAME, Sym(("name", value.site)))
    elif _is_contents(value):
        name = value.attrs[_NAME]
    else:
        name = place(value)
    return Sym(("contents", key_of(name)), "contents", attrs={_NAME: name})


def _is_contents(value: Value) -> bool:
    return isinstance(value, Sym) and isinstance(value.key, tuple) and value.key[:1] == ("contents",)


def parsed(run: Run, source: Value, kind: str, dotted: bool, node: ir.Node) -> Value:
    """The configuration in a file; an unknown where nothing is known of it. source: a stream, or a text of `contents`."""
    if not (isinstance(source, Obj) or _is_contents(source)):
        return run.fresh(node)
    name = source.attrs.get(_NAME)
    known = name.default if isinstance(name, Sym) else name
    if not isinstance(known, Const) or not isinstance(known.value, str):
        return run.fresh(node)
    data = run.program.read_data(run.module.path, known.value, kind)
    if data is None:
        return run.fresh(node)
    certain = name is known or isinstance(run.by_default(name), Setting)
    return _value(data, ("config", known.value), certain, dotted)


def in_folder(run: Run, folder_: Value, name: Value) -> dict[str, Any] | None:
    """The settings in a JSON file of a folder; where the user names the folder, those that all such files of the project
    have in common. None when there is no such file."""
    where = place(folder_)
    if isinstance(where, Sym) and where.default is not None:
        where = where.default
    if not isinstance(name, Const):
        return None
    literal = where.value if isinstance(where, Const) else None
    path = posixpath.join(literal, str(name.value)) if isinstance(literal, str) else f"**/{name.value}"
    return run.program.read_data(run.module.path, path, "json")


def _value(data: object, key: Hashable, certain: bool, dotted: bool, text: str = "config") -> Value:
    """Plain data as values. certain: this is the file, not only the default of an option."""
    if isinstance(data, dict):
        items: dict[object, Value] = {}
        for name, item in data.items():
            items[name] = _value(item, (key, str(name)), certain, dotted, f"{text}.{name}")
        return DictVal(items, open=not certain, dotted=dotted, origin=key if certain else None)
    if isinstance(data, list):
        entries = [_value(item, (key, index), certain, dotted, text) for index, item in enumerate(data)]
        return SeqVal("list", entries, open=not certain)
    plain = data is None or isinstance(data, (bool, int, float, str))
    if not plain or (isinstance(data, str) and "${" in data):  # a date, or text that another part is put into
        return Sym(key, text)
    return _setting(data, key, text) if certain else Sym(key, text, Const(data), fallback=Const(data))


def _setting(data: object, key: Hashable, text: str) -> Setting:
    return Setting(data, Sym(key, text, Const(data), fixed=True))


def absent(value: DictVal, key: object, fallback: Value) -> Value:
    """What `config.get(key, fallback)` gives where the configuration has no such key."""
    if value.origin is None or not isinstance(fallback, Const):
        return fallback
    return _setting(fallback.value, (value.origin, str(key)), str(key))


def holds(value: DictVal, key: object) -> Setting | None:
    """`key in config`; None for other dicts."""
    if value.origin is None:
        return None
    return _setting(key in value.items, (value.origin, "has", str(key)), f"{key} in config")


def with_dots(value: Value) -> Value:
    """The same dict, whose items are read as attributes too, in every depth."""
    if isinstance(value, DictVal):
        value.dotted = True
        for item in value.items.values():
            with_dots(item)
    return value


def attribute(run: Run, value: DictVal, name: str, node: ir.Node) -> Value | None:
    """An item of a dict read as an attribute, None when the attribute is none of its items."""
    if not value.dotted or (name in _METHODS and name not in value.items):
        return None
    found: Value | None = value.items.get(name)
    return found if found is not None else run.fresh(node, name)
