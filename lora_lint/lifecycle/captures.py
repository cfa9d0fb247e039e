"""Collections of a model's parameters, as an optimizer holds them."""

from __future__ import annotations

from dataclasses import dataclass, field

from lora_lint.lifecycle.heap import Adapter, Obj
from lora_lint.lifecycle.vocabulary import Part, Tri
from lora_lint.location import Location


@dataclass(slots=True, eq=False)
class Capture:
    """Parameters of one model collected at one moment: which parts, and which adapters existed. extras, inside: names by
    which the user told parameters apart, of modules that are held with it, and of such whose adapters may be."""

    model: Obj
    path: str
    parts: dict[Part, Tri]
    adapters: tuple[Adapter, ...]
    seq: int
    location: Location
    statement: Location | None = None
    chosen: dict[int, Tri] = field(default_factory=dict)  # by id of an adapter, where it is known of each
    extras: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()

    def holds(self, adapter: Adapter) -> Tri:
        """Whether the collection holds this adapter's parameters."""
        if adapter not in self.adapters:
            return Tri.NO
        if id(adapter) in self.chosen:
            return self.chosen[id(adapter)]
        return self.parts.get(Part.ADAPTER, Tri.NO)
