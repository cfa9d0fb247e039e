"""The arguments of a call, and binding them to parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from lora_lint.interpreter.describe import variable
from lora_lint.interpreter.values import DictVal, SeqVal, Sym, Value
from lora_lint.syntax import ir


@dataclass(slots=True)
class Args:
    """Evaluated arguments, each with the expression it came from (None when there is none).

    open_positional / open_keywords: there may be more, from a `*args` or `**kwargs` that cannot be read.
    unpacked: what an unreadable `**` took keywords from, and its name.
    unknown: the caller is not known, so `*` and `**` parameters may hold anything. options: what may be given more comes from
    the command line alone. unread: where a `*` stands that cannot be read: there and behind it all may be left out.
    """

    positional: list[tuple[Value, ir.Expr | None]] = field(default_factory=list)
    keywords: dict[str, tuple[Value, ir.Expr | None]] = field(default_factory=dict)
    open_positional: bool = False
    open_keywords: bool = False
    unknown: bool = False
    unpacked: tuple[tuple[Value, str], ...] = ()
    options: bool = False
    unread: int | None = None

    def values(self) -> Iterator[Value]:
        """All argument values."""
        for value, _ in self.positional:
            yield value
        for value, _ in self.keywords.values():
            yield value

    def first(self) -> Value | None:
        """The first argument, positional or keyword; None without arguments."""
        return next(self.values(), None)

    def get(self, index: int, name: str) -> Value | None:
        """The argument at a position or by name."""
        if name in self.keywords:
            return self.keywords[name][0]
        return self.positional[index][0] if index < len(self.positional) else None

    def unread_of(self, count: int) -> tuple[int, Value] | None:
        """Where the unread `*` stands among so many positional arguments, which others were put before, and what it is of."""
        if self.unread is None:
            return None
        return self.unread + count - len(self.positional), self.positional[self.unread][0]

    def before(self, *values: Value) -> Args:
        """The same arguments with more positional ones in front."""
        return Args(
            [*((v, None) for v in values), *self.positional], self.keywords, self.open_positional, self.open_keywords
        )

    def add(self, arg: ir.Arg, value: Value) -> None:
        """Add one evaluated argument, unpacking stars as far as they are known."""
        if arg.star == 1:
            if isinstance(value, SeqVal):
                self.positional.extend((item, None) for item in value.items)
                self.open_positional = self.open_positional or value.open
            else:
                self.open_positional = True
                self.unread = len(self.positional) if self.unread is None else self.unread
                self.positional.append((value, arg.value))
        elif arg.star == 2:
            if isinstance(value, DictVal):
                for key, item in value.items.items():
                    if isinstance(key, str):
                        self.keywords[key] = (item, None)
                self.open_keywords = self.open_keywords or value.open
                self.options = self.options or value.options
            else:
                put = value.put if isinstance(value, Sym) else None
                self.keywords.update((key, (item, None)) for key, item in (put or {}).items())
                self.open_keywords = True
                self.unpacked = (*self.unpacked, (value, variable(arg.value)))
        elif arg.name is not None:
            self.keywords[arg.name] = (value, arg.value)
        else:
            self.positional.append((value, arg.value))


@dataclass(slots=True)
class Bindings:
    """Arguments bound to a spec's parameters. A name in neither `values` nor `maybe` is unset; `maybe` are parameters an
    unreadable star may have set."""

    values: dict[str, Value] = field(default_factory=dict)
    exprs: dict[str, ir.Expr | None] = field(default_factory=dict)
    maybe: set[str] = field(default_factory=set)


@lru_cache(maxsize=4096)
def _kinds(
    params: tuple[str, ...], also: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...], str | None, str | None]:
    """All plain parameters, those that take positional arguments, and the names of `*rest` and `**extra`."""
    plain = (*(p for p in params if not p.startswith("*")), *also)
    rest = next((p[1:] for p in params if p.startswith("*") and not p.startswith("**")), None)
    extra = next((p[2:] for p in params if p.startswith("**")), None)
    return plain, plain[: next((i for i, p in enumerate(params) if p.startswith("*")), len(params))], rest, extra


def bind_spec(params: tuple[str, ...], args: Args, also: Iterable[str] = ()) -> Bindings:
    """Bind arguments to the parameter list of an API spec; `*name` takes the rest, `**name` the other keywords. also:
    names that are only given by keyword."""
    out = Bindings()
    plain, head, rest, extra = _kinds(params, tuple(also))
    for index, (value, expr) in enumerate(args.positional):
        if index < len(head):
            out.values[head[index]], out.exprs[head[index]] = value, expr
    if rest is not None:
        out.values[rest] = SeqVal("tuple", [v for v, _ in args.positional[len(head) :]], args.open_positional)
    others: dict[object, Value] = {}
    for name, (value, expr) in args.keywords.items():
        if name in plain or extra is None:
            out.values[name], out.exprs[name] = value, expr
        else:
            others[name] = value
            out.exprs[name] = expr
    if extra is not None:
        out.values[extra] = DictVal(others, args.open_keywords, args.unpacked)
    if args.open_keywords:
        out.maybe.update(p for p in plain if p not in out.values)
    if args.open_positional:
        out.maybe.update(p for p in head if p not in out.values)
    return out
