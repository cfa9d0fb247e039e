"""The hooks go in before the libraries, as in an observed process. Without an observation they do nothing."""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("torch") is not None:
    from lora_lint.verify.hooks import install_hooks

    install_hooks()
