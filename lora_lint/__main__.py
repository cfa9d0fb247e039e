"""`python -m lora_lint` is the command `lora-lint`."""

from __future__ import annotations

from lora_lint.cli.main import main

if __name__ == "__main__":
    main()
