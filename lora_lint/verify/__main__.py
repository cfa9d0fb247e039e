"""`python -m lora_lint.verify` is `lora-lint verify`."""

from __future__ import annotations

from lora_lint.cli.verify import verify

if __name__ == "__main__":
    verify(prog_name="lora-lint verify")
