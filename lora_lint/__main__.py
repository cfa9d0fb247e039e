"""`python -m lora_lint` is the command `lora-lint`."""

from __future__ import annotations

import os
import sys

# `python -m` puts the current folder first: a file `inspect.py` of the project that is looked at would be run by our imports.
if __name__ == "__main__" and sys.path[:1] in ([""], [os.getcwd()]):
    del sys.path[0]

from lora_lint.cli.main import main

if __name__ == "__main__":
    main()
