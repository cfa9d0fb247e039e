"""Commands that a script gives to a shell by a call: `get_ipython().system("pip install …")`, as notebooks are exported,
`os.system("…")`, `subprocess.run([sys.executable, "-m", "pip", "install", "…"])`."""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from collections.abc import Iterator

_SHELLS = re.compile(
    r"get_ipython\(\)\.(?:system|getoutput|run_line_magic)|os\.(?:system|popen)"
    r"|subprocess\.(?:run|call|check_call|check_output|getoutput|Popen)"
)
# Both have to be there; looked for one by one, as together they take a time that grows with the square of a file.
_OWNERS = re.compile(r"get_ipython\(\)|\bos\.|\bsubprocess\.")
_INSTALL = re.compile(r"\binstall\b")


def shell_calls(text: str) -> Iterator[tuple[int, str]]:
    """The commands that name something to install, each with its line. Those that are not written out are left out."""
    if _INSTALL.search(text) is None or _OWNERS.search(text) is None:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # whoever reads the file as a program says so
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and _SHELLS.fullmatch(ast.unparse(node.func)):
            command = _command(node.args)
            if "install" in command.split():
                yield node.lineno, command


def _command(args: list[ast.expr]) -> str:
    """The command line of a call's arguments: one text, the name of a magic and its line, or a list of words."""
    first = args[0]
    if isinstance(first, (ast.List, ast.Tuple)):
        words = [word.value for word in first.elts if isinstance(word, ast.Constant) and isinstance(word.value, str)]
        return shlex.join(words[1:] if words[:1] == ["-m"] else words)  # python stands in front: sys.executable
    return " ".join(arg.value for arg in args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))
