"""argparse: the options of a command line and their defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.launching import given
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, LibRef, SeqVal, Setting, Sym, Value
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.vocabulary import Kind
from lora_lint.syntax import ir

TYPE = "argparse.ArgumentParser"
_TYPES: dict[str, Callable[[str], Any]] = {"builtins.str": str, "builtins.int": int, "builtins.float": float}
_FLAGS = {"store_true": True, "store_false": False}


def parser(run: Run, node: ir.Node) -> Obj:
    """`argparse.ArgumentParser(…)`."""
    made = run.make(Kind.OBJECT, TYPE, node)
    made.facts["options"] = {}
    made.facts["spelled"] = {}
    made.facts["always"] = set()
    return made


def method(run: Run, obj: Obj, name: str, args: Args, node: ir.Node) -> Value:
    """A method of a parser. The namespace it gives has an unknown for each option, with the default the user named or, where
    the commands that start the program agree, what these give."""
    options: dict[str, Const | None] = obj.facts["options"]
    if name == "add_argument":
        _add(options, args, obj.facts["always"], obj.facts["spelled"])
        return run.fresh(node)
    if name in ("add_argument_group", "add_mutually_exclusive_group"):
        return obj
    if name in ("parse_args", "parse_known_args"):
        space = run.make(Kind.OBJECT, "argparse.Namespace", node)
        own = all(isinstance(value, Const) and value.value is None for value in args.values())
        for option, default in options.items():
            always = default if option in obj.facts["always"] else None
            started = (
                _started_with(run, obj.facts["spelled"][option]) if own and option in obj.facts["spelled"] else None
            )
            unknown = Sym(("option", obj.site, option), f"args.{option}", started or default, option=option)
            space.attrs[option] = always or (Setting(started.value, unknown) if started is not None else unknown)
        return space if name == "parse_args" else SeqVal("tuple", [space, run.fresh(node)])
    if name == "set_defaults":
        for option, (value, _) in args.keywords.items():
            obj.facts["always"].discard(option)
            options[option] = value if isinstance(value, Const) else None
    return run.fresh(node)


def _started_with(run: Run, spelled: tuple[tuple[str, ...], bool | None, str]) -> Const | None:
    """What the commands that start the program give for an option; None where they do not, or it cannot be read."""
    names, flag, kind = spelled
    text = given(run, names, flag is None)
    if text is None:
        return None
    try:
        return Const(flag if flag is not None else _TYPES[kind](text))
    except (KeyError, ValueError):
        return None


def _add(
    options: dict[str, Const | None],
    args: Args,
    always: set[str],
    spelled: dict[str, tuple[tuple[str, ...], bool | None, str]],
) -> None:
    """Note an option. spelled: its names, what it sets as a flag, and the type of its value. always: those that are true
    whatever the command line says: `type=bool` makes a True of "False"."""
    names = [v.value for v, _ in args.positional if isinstance(v, Const) and isinstance(v.value, str)]
    long = next((n for n in names if n.startswith("--")), names[0] if names else "")
    dest = args.keywords.get("dest", (Const(long.lstrip("-").replace("-", "_")), None))[0]
    if not (isinstance(dest, Const) and isinstance(dest.value, str) and dest.value):
        return
    default = args.keywords.get("default", (None, None))[0]
    if isinstance(default, Sym):
        default = default.default  # an option for the default of another
    action = args.keywords.get("action", (Const(None), None))[0]
    if default is None and isinstance(action, Const) and action.value in ("store_true", "store_false"):
        default = Const(action.value == "store_false")
    if default is None and "required" not in args.keywords:
        default = Const(None)
    options[dest.value] = default if isinstance(default, Const) else None
    made_by = args.keywords.get("type", (None, None))[0]
    kind = "builtins.str" if made_by is None else made_by.name if isinstance(made_by, LibRef) else ""
    acts = action.value if isinstance(action, Const) else "?"
    if (acts is None or acts in _FLAGS) and "nargs" not in args.keywords and names and long.startswith("-"):
        spelled[dest.value] = (tuple(names), _FLAGS.get(str(acts)), kind)
    if (
        isinstance(made_by, LibRef)
        and made_by.name == "builtins.bool"
        and isinstance(default, Const)
        and default.value is True
    ):
        always.add(dest.value)
