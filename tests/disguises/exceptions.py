"""Where a program in disguise is judged differently: because it is different, or because of a limit we know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """Under some disguises a code is lost or added; programs of the rule `shown_by` show it."""

    disguises: tuple[str, ...]
    code: str
    shown_by: str
    reason: str

    def __str__(self) -> str:
        return f"{self.code}-{self.disguises[0]}"


EXCEPTIONS: tuple[Known, ...] = ()
