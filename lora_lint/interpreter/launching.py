"""What is known of a program from the commands that start it."""

from __future__ import annotations

from collections.abc import Sequence

from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const
from lora_lint.launches import Launch
from lora_lint.lifecycle.vocabulary import Ev
from lora_lint.location import Location

_TRUTHS = frozenset({"true", "false", "yes", "no", "0", "1"})
_SETTINGS = ("mixed_precision", "zero_stage", "config")


def started(run: Run, launches: Sequence[Launch], at: Location) -> None:
    """Begin a run of a script. That one command starts it as several processes counts; a setting counts when all
    commands give the same. API specs read them as attributes of `$process`."""
    run.process.facts["started"] = [one.arguments for one in launches]
    many = [one for one in launches if one.processes is not None and one.processes > 1]
    if launches:
        # Where some of them start several processes, those are what the option matters to.
        run.trace.left = lambda option: any(not one.may_set(option) for one in many or launches)
    several = next(iter(many), None)
    if several is not None:
        how = f"{several.where} starts it as {several.processes} processes"
        run.emit(Ev.DISTRIBUTED, None, args={"how": how, "replicas": any(one.replicas for one in many)}, at=at)
        run.process.attrs["several"] = Const(True)
    for name in _SETTINGS:
        values = {getattr(one, name) for one in launches}
        if len(values) == 1 and None not in values:
            run.process.attrs[name] = Const(values.pop())


def given(run: Run, names: Sequence[str], with_value: bool) -> str | None:
    """What all commands that start the program give for an option, by any of its names; None where one does not, or they
    differ. with_value: False for a flag, which gives ""."""
    found = {_option(arguments, names, with_value) for arguments in run.process.facts.get("started", ())}
    return found.pop() if len(found) == 1 else None


def _option(arguments: Sequence[str], names: Sequence[str], with_value: bool) -> str | None:
    """What a command gives for an option, None where it does not or a variable stands there."""
    for index, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name not in names:
            continue
        after = (*arguments, "$")[index + 1]
        if not with_value:  # one that is given a value is not written for this parser
            return None if equals or after.lower() in _TRUTHS else ""
        value = value if equals else after
        return None if "$" in value or (value.startswith("-") and not equals) else value
    return None
