"""Guard against code nested so deeply that the native parser would run out of stack, which kills the process."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import TypeVar

from lora_lint.syntax.problem import SyntaxProblem

MAX_BRACKETS = 200  # CPython's own limit, so no working program is refused
MAX_CHAIN = 3_000  # LibCST's time grows with the square of a chain's length: two seconds here
MAX_ELIFS = 5_000
_RISKY_BRACKETS = 50
_RISKY_CHAIN = 100
_RISKY_ELIFS = 300
_STACK_BYTES = 64 * 1024 * 1024

_TOKEN = re.compile(
    r"""(?P<skip>\#[^\r\n]*|\\(?:\r\n|[\r\n]))
      |(?P<string>'''(?:[^\\]|\\.)*?(?:'''|\Z)|\"\"\"(?:[^\\]|\\.)*?(?:\"\"\"|\Z)
        |'(?:[^\\'\r\n]|\\.)*'?|"(?:[^\\"\r\n]|\\.)*"?)
      |(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<line>[\r\n])|(?P<end>[,;])
      |(?P<link>\*\*|//|<<|>>|[-+*/%@&|^~.]|\b(?:and|or|not|else|lambda|await|for)\b)""",
    re.VERBOSE | re.DOTALL,
)
_ELIF = re.compile(r"^[ \t]*elif\b", re.MULTILINE)

_Result = TypeVar("_Result")


def check_nesting(text: str, path: str) -> bool:
    """Whether parsing `text` needs a deep stack. SyntaxProblem: it is nested beyond what can be parsed at all."""
    elifs = text.count("elif")
    if elifs > _RISKY_ELIFS:
        elifs = len(_ELIF.findall(text))
    if elifs > MAX_ELIFS:
        raise SyntaxProblem(path, 1, 1, f"nested too deeply: more than {MAX_ELIFS} elif branches")
    depth, chain = _measure(text, path)
    return depth > _RISKY_BRACKETS or chain > _RISKY_CHAIN or elifs > _RISKY_ELIFS


def _measure(text: str, path: str) -> tuple[int, int]:
    """The deepest bracket nesting and the longest chain of operators, attributes or strings in one expression."""
    chains = [0]  # one running count per open bracket
    depth = longest = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "link" or kind == "string":
            chains[-1] += 1
        elif kind == "open":
            chains[-1] += 1
            chains.append(0)
            depth = max(depth, len(chains) - 1)
        elif kind == "skip" or (kind == "line" and len(chains) > 1):
            continue
        else:
            longest = max(longest, chains[-1])
            if kind == "close" and len(chains) > 1:
                chains.pop()
            elif kind != "close":
                chains[-1] = 0
        if depth > MAX_BRACKETS or chains[-1] > MAX_CHAIN:
            line = text.count("\n", 0, match.start()) + 1
            column = match.start() - text.rfind("\n", 0, match.start())
            raise SyntaxProblem(path, line, column, "nested too deeply to be parsed")
    return depth, max(longest, *chains)


def with_deep_stack(work: Callable[[], _Result]) -> _Result:
    """The result of `work()` run on a thread with a large stack; what it raises is raised here."""
    from concurrent.futures import ThreadPoolExecutor  # rarely needed and dear to import

    before = threading.stack_size(_STACK_BYTES)
    try:
        with ThreadPoolExecutor(max_workers=1) as pool:
            return pool.submit(work).result()
    finally:
        threading.stack_size(before)
