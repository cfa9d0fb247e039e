"""Regular expressions that the user's own constants make up: filters on parameter names, mostly.

What cannot be tried is an unknown that stays the same for the same pattern and text.
"""

from __future__ import annotations

import fnmatch
import re

from lora_lint.interpreter import filters
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.parameter_values import ParamName
from lora_lint.interpreter.regexes import compiled
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, Sym, Value, key_of
from lora_lint.lifecycle.vocabulary import Kind
from lora_lint.syntax import ir

FUNCTIONS = frozenset({"match", "search", "fullmatch"})
_MAX_TEXT = 300
_BLOCKS = 100


def literal_head(pattern: str) -> str:
    """The text with which whatever a pattern matches begins; of a plain text, the text itself."""
    if "|" in _without_groups(pattern):
        return ""
    head: list[str] = []
    rest = iter(pattern.removeprefix("^"))
    for char in rest:
        if char == "\\":
            char = next(rest, "")
            if char.isalnum():
                break
            head.append(char)
        elif char in "*?{+":
            del head[-1:]
            break
        elif char in "[]()$^":
            break
        else:
            head.append(char)  # a dot stands for any character, but means itself in these patterns
    return "".join(head)


def _without_groups(pattern: str) -> str:
    """A pattern without what stands in parentheses or brackets, or behind a backslash."""
    bare = re.sub(r"\\.|\[[^]]*\]", "", pattern)
    while (fewer := re.sub(r"\([^()]*\)", "", bare)) != bare:
        bare = fewer
    return bare


def compile_(run: Run, args: Args, node: ir.Node) -> Value:
    """`re.compile(pattern)`: flags make it unknown."""
    first = args.first()
    pattern = compiled(first) if first is not None and len(list(args.values())) == 1 else None
    return Const(pattern) if pattern is not None else run.fresh(node, "re.compile(…)")


def match(run: Run, how: str, pattern: Value, text: Value, node: ir.Node) -> Value:
    """What `re.search(pattern, text)` and its kin give: a match, None, or something unknown."""
    known = compiled(pattern)
    subject = text.value if isinstance(text, Const) else None
    if known is not None and isinstance(text, ParamName):
        head = literal_head(known.pattern) if how != "search" or known.pattern.startswith("^") else ""
        filters.note(
            run,
            text,
            node,
            Const(None),
            lambda name: getattr(known, how)(name) is not None or bool(head and name.startswith(head)),
        )
    if known is None or not isinstance(subject, str) or len(subject) > _MAX_TEXT:
        return Sym(("call", f"re.{how}", key_of(pattern), key_of(text)), f"re.{how}(…)")
    if getattr(known, how)(subject) is None:
        if isinstance(text, ParamName) and _other_block(known, how, subject):
            return Sym(("call", f"re.{how}", key_of(pattern), key_of(text)), f"re.{how}(…)")
        return Const(None)
    return run.make(Kind.OBJECT, "re.Match", node)


def _other_block(pattern: re.Pattern[str], how: str, name: str) -> bool:
    """Whether a pattern that names numbers matches a name with the number of another block in it: one stands for all."""
    if not re.search(r"[0-9]", pattern.pattern) or not re.search(r"\.[0-9]+\.", name):
        return False
    others = (re.sub(r"\.[0-9]+\.", f".{number}.", name, count=1) for number in range(_BLOCKS))
    return any(getattr(pattern, how)(other) is not None for other in others)


def function(run: Run, how: str, args: Args, node: ir.Node) -> Value:
    """`re.match`, `re.search` or `re.fullmatch`."""
    given = [value for value, _ in args.positional]
    if len(given) != 2 or args.keywords:
        return run.fresh(node, f"re.{how}(…)")
    return match(run, how, given[0], given[1], node)


def glob(run: Run, args: Args, node: ir.Node) -> Value:
    """`fnmatch.fnmatch(text, pattern)`: whether the regular expression of that pattern matches."""
    given = [value for value, _ in args.positional]
    pattern = given[1].value if len(given) == 2 and isinstance(given[1], Const) else None
    if not isinstance(pattern, str):
        return run.fresh(node, "fnmatch(…)")
    found = match(run, "match", Const(fnmatch.translate(pattern)), given[0], node)
    return found if isinstance(found, Sym) else Const(not isinstance(found, Const))
