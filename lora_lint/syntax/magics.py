"""IPython's extensions in a code cell: replaced by Python that keeps lines and columns, and put back.

A magic or shell line becomes `pass` at its indentation with a numbered comment; `x = !ls` keeps its left side and gets
a call nobody knows, so that `x` is unknown; the body of a foreign cell (`%%bash`) becomes comments.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field

from lora_lint.syntax.problem import ONLY_AST, SyntaxProblem

# Cell magics whose body is ordinary Python in the notebook's own namespace.
_PYTHON_BODY = frozenset({"capture", "debug", "memit", "prun", "pyinstrument", "scalene", "time", "timeit", "wandb"})
_SHELL_BODY = frozenset({"bash", "sh", "script", "shell", "system", "sx", "!"})

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|\Z)")
_CELL_MAGIC = re.compile(r"(?:\s*#[^\r\n]*[\r\n])*\s*%%(!|\w+)")  # comments may stand above it: forms of Colab do
_MAGIC = re.compile(r"(?P<indent>[ \t]*)(?:[%!]|\?{1,2}[\w%*]|(?:%{0,2}[\w.*]+)\?{1,2}[ \t]*$)")
# "Automagic": these work without the percent sign. Looked for only in cells that do not parse.
_PLAIN_MAGIC = re.compile(
    r"(?P<indent>[ \t]*)(?:(?:pip3?|conda|mamba|uv)[ \t]+[a-z-]+\b(?![ \t]*[=.(])"
    r"|(?:cd|ls|ll|mkdir|rmdir|rm|cp|mv|cat|env|load_ext|reload_ext|matplotlib|timeit|time)[ \t]+"
    r"(?!(?:in|is|and|or|if|for|not)\b)[\w./~$-])"
)
_ASSIGNED = re.compile(r"(?P<left>[ \t]*[^\s=!%'\"#(][^=!%'\"#(]*=[ \t]*)(?P<magic>(?:!|%(?=[A-Za-z_]))[^\r\n]*)")
_INDENTED = re.compile(r"(?:[ \t]*[\r\n]+)*(?P<indent>[ \t]+)[^ \t\r\n]")
_PLACEHOLDER = re.compile(r"^.*# lora-lint blanked line (\d+)(?=\r?$)", re.MULTILINE)
_TOKEN = re.compile(
    r"""\#.*|'''|\"\"\"|'(?:[^\\'\r\n]|\\.)*'?|"(?:[^\\"\r\n]|\\.)*"?|[()\[\]{}]|\\(?=[\r\n])""", re.DOTALL
)
_TRIPLE_END = {
    "'''": re.compile(r"(?:[^\\]|\\.)*?'''", re.DOTALL),
    '"""': re.compile(r'(?:[^\\]|\\.)*?"""', re.DOTALL),
}


@dataclass(slots=True)
class Blanking:
    """What was taken out of a notebook: lines by placeholder number, and which of them were shell or magic lines."""

    originals: list[str] = field(default_factory=list)
    shell_lines: list[tuple[int, str]] = field(default_factory=list)

    def comment(self, original: str) -> str:
        """A comment that stands for `original` (a line without its line end)."""
        self.originals.append(original)
        return f"# lora-lint blanked line {len(self.originals)}"


def restore(text: str, blanking: Blanking) -> str:
    """`text` with every placeholder line replaced by the line it stands for."""

    def original(match: re.Match[str]) -> str:
        number = int(match.group(1))
        return blanking.originals[number - 1] if 0 < number <= len(blanking.originals) else match.group()

    return _PLACEHOLDER.sub(original, text)


def without_indentation(source: str) -> str:
    """A cell as IPython runs it: what its first line is indented by is taken off every line that starts with it. Columns
    are then those of a traceback. A cell that is Python as it stands is not touched."""
    found = _INDENTED.match(source)
    if found is None or _refusal(source) is None:
        return source
    indent = found.group("indent")
    return "".join(text.removeprefix(indent) + end for text, end in _split(source))


def blank_cell(source: str, line: int, blanking: Blanking) -> tuple[str, tuple[int, str] | None]:
    """A cell's source as Python, line for line, and the problem (line, message) if it cannot be parsed.

    line: where the source starts in the module text. A cell with a problem is blanked as a whole.
    """
    if _refusal(source) is None:
        return source, None
    magic = _CELL_MAGIC.match(source)
    if magic is not None and magic.group(1) not in _PYTHON_BODY:
        return _foreign_cell(source, magic.group(1), line, blanking), None
    text = _blank_lines(source, line, blanking)
    refusal = _refusal(text)
    if refusal is None or _newer_python(text):
        return text, None
    offset, message = refusal
    return _as_comments(source, blanking), (line + offset - 1, message)


def _refusal(source: str) -> tuple[int, str] | None:
    """Line and message of what keeps the running Python from parsing `source`, None if it parses."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, "<cell>", "exec", dont_inherit=True, flags=ONLY_AST)
    except SyntaxError as error:
        return (error.lineno or 1, error.msg)
    except (ValueError, RecursionError, MemoryError) as error:
        return (1, str(error) or "nested too deeply")
    return None


def _newer_python(source: str) -> bool:
    """Whether LibCST parses what the running Python does not."""
    from lora_lint.syntax.from_libcst import parse  # dear to import, and rarely needed

    try:
        parse(source, "<cell>")
    except SyntaxProblem:
        return False
    return True


def _split(source: str) -> list[tuple[str, str]]:
    """The lines of `source`, each as text and line end."""
    lines = []
    for found in _LINE.findall(source):
        if found:
            text = found.rstrip("\r\n")
            lines.append((text, found[len(text) :]))
    return lines


def _as_comments(source: str, blanking: Blanking) -> str:
    return "".join((blanking.comment(text) if text.strip() else text) + end for text, end in _split(source))


def _foreign_cell(source: str, magic: str, line: int, blanking: Blanking) -> str:
    for number, (text, _) in enumerate(_split(source), line):
        if text.strip() and (magic in _SHELL_BODY or number == line):
            blanking.shell_lines.append((number, text.strip()))
    return _as_comments(source, blanking)


def _blank_lines(source: str, line: int, blanking: Blanking) -> str:
    out = []
    state = _State()
    continued = False
    for number, (text, end) in enumerate(_split(source), line):
        if continued:
            first, before = blanking.shell_lines[-1]
            blanking.shell_lines[-1] = (first, before.removesuffix("\\").rstrip() + " " + text.strip())
            continued = text.endswith("\\")
            out.append(blanking.comment(text) + end)
            continue
        replaced = None if state.inside else _blank_line(text, number, blanking)
        if replaced is None:
            state.feed(text + end)
        else:
            continued = text.endswith("\\")
        out.append((text if replaced is None else replaced) + end)
    return "".join(out)


def _blank_line(text: str, number: int, blanking: Blanking) -> str | None:
    """The replacement of a line that is a magic, None if it is none."""
    found = _MAGIC.match(text) or _PLAIN_MAGIC.match(text)
    if found is not None:
        blanking.shell_lines.append((number, text.strip()))
        return f"{found.group('indent')}pass  {blanking.comment(text)}"
    found = _ASSIGNED.fullmatch(text)
    if found is not None:
        blanking.shell_lines.append((number, found.group("magic").strip()))
        return f"{found.group('left')}get_ipython()  {blanking.comment(text)}"
    return None


class _State:
    """Whether the next line starts inside a bracket, a triple-quoted string or a continued line."""

    __slots__ = ("_continued", "_depth", "_quote")

    def __init__(self) -> None:
        self._depth = 0
        self._quote = ""
        self._continued = False

    @property
    def inside(self) -> bool:
        return bool(self._depth > 0 or self._quote or self._continued)

    def feed(self, line: str) -> None:
        """Take one line with its line end."""
        pos = 0
        self._continued = False
        while pos < len(line):
            if self._quote:
                closing = _TRIPLE_END[self._quote].match(line, pos)
                if closing is None:
                    return
                self._quote, pos = "", closing.end()
            found = _TOKEN.search(line, pos)
            if found is None:
                return
            pos = found.end()
            token = found.group()
            if token in _TRIPLE_END:
                self._quote = token
            elif token in "([{":
                self._depth += 1
            elif token in ")]}":
                self._depth = max(0, self._depth - 1)
            elif token == "\\":
                self._continued = True
