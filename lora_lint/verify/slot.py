"""The place where the hooks find who observes now. Hooks are installed once per process; observations come and go."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lora_lint.verify.watch import Watch


class Through:
    """Reads and writes attributes of whatever `target` gives at that moment."""

    def __init__(self, target: Callable[[], Any]) -> None:
        object.__setattr__(self, "_target", target)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_target")(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(object.__getattribute__(self, "_target")(), name, value)


class Slot:
    """Holds the watch that observes now. Without one it holds an inactive watch, for which every hook does nothing."""

    def __init__(self, inactive: Watch) -> None:
        self.inactive = inactive
        self.current = inactive
        self.recorder: Any = Through(lambda: self.current.recorder)
        self.training: Any = Through(lambda: self.current.training)
        self.structure: Any = Through(lambda: self.current.structure)
        self.data: Any = Through(lambda: self.current.data)

    def guard(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with our own bugs kept from the user's program, in the hands of the present watch."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self.current.recorder.run(function, *args, **kwargs)

        return call

    def __getattr__(self, name: str) -> Any:
        return getattr(self.current, name)
