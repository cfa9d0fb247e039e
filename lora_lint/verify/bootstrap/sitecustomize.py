"""Imported by Python itself at start-up, because `lora-lint verify` puts this folder on PYTHONPATH.

Runs the sitecustomize that this one hides, then starts the observation. Without the environment variable it does
nothing else, so a process that drops the variable is a plain process.
"""

import importlib.machinery
import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _run_hidden() -> None:
    others = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


_run_hidden()

if os.environ.get("LORA_LINT_VERIFY"):
    _package = os.path.dirname(os.path.dirname(os.path.dirname(_HERE)))
    if _package not in sys.path:
        sys.path.append(_package)  # last: nothing of the user's is hidden
    from lora_lint.verify.child import install

    install(os.environ["LORA_LINT_VERIFY"])
