"""Runs the interpreter on a snippet and keeps what happened, for tests of API specs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lora_lint.apis.store import ApiStore
from lora_lint.checks.base import Check, Report
from lora_lint.interpreter.program import Program
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import Ev, Kind
from lora_lint.syntax.lowering import lower_module
from lora_lint.version_finder import VersionFinder

STORE = ApiStore.bundled()


@dataclass
class Seen:
    """The events and objects of the first path through a snippet."""

    events: list[Event] = field(default_factory=list)
    objects: list[Obj] = field(default_factory=list)

    def of(self, *kinds: Ev) -> list[Event]:
        """Events of these kinds."""
        return [event for event in self.events if event.kind in kinds]

    def kinds(self, *wanted: Ev) -> list[str]:
        """Kinds of the events, those wanted (all by default), in order."""
        return [e.kind.value for e in self.events if not wanted or e.kind in wanted]

    def object(self, name: str, kind: Kind = Kind.MODEL) -> Obj:
        """The last object of a kind that was bound to a name."""
        return [o for o in self.objects if o.kind is kind and o.name == name][-1]


def follow(code: str, versions: Mapping[str, str] | None = None, store: ApiStore = STORE) -> Seen:
    """Interpret a snippet as a script."""
    paths: list[Seen] = []

    def record(event: Event, trace: Trace) -> Iterator[Report]:
        paths.append(Seen(list(trace.events), list(trace.objects)))
        return iter(())

    path = str(Path("/project/script.py"))
    finder = VersionFinder(dict(versions or {}), Path("/project"))
    text = textwrap.dedent(code)
    program = Program(
        {path: lower_module(text, path)}, store, [Check("LL999", (Ev.END,), record)], lambda p: finder.for_file(p, ())
    )
    program.run(path)
    program.finish()
    return next((seen for seen in paths if len(seen.events) > 1), paths[0])
