"""Functions that libraries make commands of: their options, and the application that runs them."""

from __future__ import annotations

from lora_lint.interpreter import records
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, FuncVal, SeqVal, Sym
from lora_lint.lifecycle.heap import Obj

COMMANDS = "commands"


def decorate(run: Run, made: Obj, func: FuncVal) -> None:
    """What a decorator object says of a function: it is an option of it (facts `flags`, `default`), it parses the command line
    for its first parameter (fact `parses`), or it enters it among the commands of an application (fact `registers`)."""
    flags, owner = made.facts.get("flags"), made.facts.get("registers")
    if isinstance(flags, SeqVal):
        name = _parameter([v.value for v in flags.items if isinstance(v, Const) and isinstance(v.value, str)])
        default = made.facts.get("default")
        if name and isinstance(default, Const):
            func.defaults[name] = Sym(("option", made.site, name), name, default, option=name)
    first = func.node.params[0] if func.node.params else None
    if "parses" in made.facts and first is not None and (parsed := records.group(run, first, func.scope, first)):
        func.defaults[first.name] = parsed
    if isinstance(owner, Obj):
        run.keep(owner.attrs, COMMANDS)
        held = owner.attrs.get(COMMANDS)
        owner.attrs[COMMANDS] = SeqVal("list", [*(held.items if isinstance(held, SeqVal) else ()), func])


def _parameter(flags: list[str]) -> str:
    """The parameter that an option is given as: as named without dashes, else after its first long flag."""
    plain = [flag for flag in flags if not flag.startswith("-")]
    longest = sorted(flags, key=lambda flag: len(flag) - len(flag.lstrip("-")), reverse=True)
    name = next(iter([*plain, *longest]), "")
    return name.partition("/")[0].lstrip("-").replace("-", "_").lower()
