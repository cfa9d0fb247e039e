"""What is wrong with a file that cannot be read as Python."""

from __future__ import annotations

from lora_lint.errors import InputError

ONLY_AST = 0x400  # `ast.PyCF_ONLY_AST`: `compile` only parses (importing `ast` costs ten milliseconds)


class SyntaxProblem(InputError):  # noqa: N818  it is the user's problem, not an error of ours
    """A file that does not parse: where (1-based line and column in code points) and why. valid: Python itself takes it."""

    def __init__(self, path: str, line: int, column: int, message: str, *, valid: bool = False) -> None:
        super().__init__(f"{path}:{line}:{column}: {message}")
        self.path = path
        self.line = line
        self.column = column
        self.message = message
        self.valid = valid
