"""The one place where the observer's own bugs are caught, so that they do not become bugs of the observed program."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any


class Faults:
    """Tracebacks of our own bugs, each once; reported as LL000."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What the function returns, None when it failed."""
        try:
            return function(*args, **kwargs)
        except Exception:  # noqa: BLE001 - the observed program must go on; the user is told
            text = traceback.format_exc()
            if text not in self.found:
                self.found.append(text)
            return None
