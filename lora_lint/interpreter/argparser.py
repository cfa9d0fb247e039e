"""argparse: the options of a command line and their defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.launching import given
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, LibRef, SeqVal, Setting, Sym, Value, is_none
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.vocabulary import Kind
from lora_lint.syntax import ir

TYPE = "argparse.ArgumentParser"
_TYPES: dict[str, Callable[[str], Any]] = {"builtins.str": str, "builtins.int": int, "builtins.float": float}
_FLAGS = {"store_true": True, "store_false": False}


@dataclass(frozen=True, slots=True)
class _Option:
    """An option of a parser. default: what the user made it, None where that is unknown. always: it is that whatever the
    command line says. names: how it is spelled there, where what is given for it can be read; flag: what it then sets
    without a value; kind: the type of its value."""

    default: Const | None
    always: bool = False
    names: tuple[str, ...] = ()
    flag: bool | None = None
    kind: str = ""


def parser(run: Run, node: ir.Node) -> Obj:
    """`argparse.ArgumentParser(…)`."""
    made = run.make(Kind.OBJECT, TYPE, node)
    made.facts["options"] = {}
    return made


def method(run: Run, obj: Obj, name: str, args: Args, node: ir.Node) -> Value:
    """A method of a parser. The namespace it gives has an unknown for each option, with the default the user named or, where
    the commands that start the program agree, what these give."""
    options: dict[str, _Option] = obj.facts["options"]
    if name == "add_argument":
        _add(options, args)
        return run.fresh(node)
    if name in ("add_argument_group", "add_mutually_exclusive_group"):
        return obj
    if name in ("parse_args", "parse_known_args"):
        space = run.make(Kind.OBJECT, "argparse.Namespace", node)
        own = all(map(is_none, args.values()))  # not the words of a list that the program has of its own
        for dest, option in options.items():
            started = _started_with(run, option) if own else None
            unknown = Sym(("option", obj.site, dest), f"args.{dest}", started or option.default, option=dest)
            always = option.default if option.always else None
            space.attrs[dest] = always or (Setting(started.value, unknown) if started is not None else unknown)
        return space if name == "parse_args" else SeqVal("tuple", [space, run.fresh(node)])
    if name == "set_defaults":
        for dest, (value, _) in args.keywords.items():
            default = value if isinstance(value, Const) else None
            options[dest] = replace(options.get(dest, _Option(None)), default=default, always=False)
    return run.fresh(node)


def _started_with(run: Run, option: _Option) -> Const | None:
    """What the commands that start the program give for an option; None where they do not, or it cannot be read."""
    text = given(run, option.names, option.flag is None)
    if text is None:
        return None
    try:
        return Const(option.flag if option.flag is not None else _TYPES[option.kind](text))
    except (KeyError, ValueError):
        return None


def _add(options: dict[str, _Option], args: Args) -> None:
    """Note an option."""
    names = [v.value for v, _ in args.positional if isinstance(v, Const) and isinstance(v.value, str)]
    long = next((n for n in names if n.startswith("--")), names[0] if names else "")
    dest = args.keywords.get("dest", (Const(long.lstrip("-").replace("-", "_")), None))[0]
    if not (isinstance(dest, Const) and isinstance(dest.value, str) and dest.value):
        return
    default = args.keywords.get("default", (None, None))[0]
    if isinstance(default, Sym):
        default = default.default  # an option for the default of another
    action = args.keywords.get("action", (Const(None), None))[0]
    acts = action.value if isinstance(action, Const) else "?"
    flag = _FLAGS.get(str(acts))
    if default is None and flag is not None:
        default = Const(not flag)
    if default is None and "required" not in args.keywords:
        default = Const(None)
    known = default if isinstance(default, Const) else None
    made_by = args.keywords.get("type", (None, None))[0]
    kind = "builtins.str" if made_by is None else made_by.name if isinstance(made_by, LibRef) else ""
    readable = (acts is None or flag is not None) and "nargs" not in args.keywords and long.startswith("-")
    options[dest.value] = _Option(
        known,
        kind == "builtins.bool" and known is not None and known.value is True,  # `type=bool` makes a True of "False"
        tuple(names) if readable else (),
        flag,
        kind,
    )
