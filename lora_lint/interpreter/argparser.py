"""argparse: the options of a command line and their defaults."""

from __future__ import annotations

from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, SeqVal, Sym, Value
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.vocabulary import Kind
from lora_lint.syntax import ir

TYPE = "argparse.ArgumentParser"


def parser(run: Run, node: ir.Node) -> Obj:
    """`argparse.ArgumentParser(…)`."""
    made = run.make(Kind.OBJECT, TYPE, node)
    made.facts["options"] = {}
    return made


def method(run: Run, obj: Obj, name: str, args: Args, node: ir.Node) -> Value:
    """A method of a parser. The namespace it gives has an unknown for each option, with the default the user named."""
    options: dict[str, Const | None] = obj.facts["options"]
    if name == "add_argument":
        _add(options, args)
        return run.fresh(node)
    if name in ("add_argument_group", "add_mutually_exclusive_group"):
        return obj
    if name in ("parse_args", "parse_known_args"):
        space = run.make(Kind.OBJECT, "argparse.Namespace", node)
        for option, default in options.items():
            space.attrs[option] = Sym(("option", obj.site, option), f"args.{option}", default)
        return space if name == "parse_args" else SeqVal("tuple", [space, run.fresh(node)])
    if name == "set_defaults":
        for option, (value, _) in args.keywords.items():
            options[option] = value if isinstance(value, Const) else None
    return run.fresh(node)


def _add(options: dict[str, Const | None], args: Args) -> None:
    names = [v.value for v, _ in args.positional if isinstance(v, Const) and isinstance(v.value, str)]
    long = next((n for n in names if n.startswith("--")), names[0] if names else "")
    dest = args.keywords.get("dest", (Const(long.lstrip("-").replace("-", "_")), None))[0]
    if not (isinstance(dest, Const) and isinstance(dest.value, str) and dest.value):
        return
    default = args.keywords.get("default", (None, None))[0]
    action = args.keywords.get("action", (Const(None), None))[0]
    if default is None and isinstance(action, Const) and action.value in ("store_true", "store_false"):
        default = Const(action.value == "store_false")
    if default is None and "required" not in args.keywords:
        default = Const(None)
    options[dest.value] = default if isinstance(default, Const) else None
