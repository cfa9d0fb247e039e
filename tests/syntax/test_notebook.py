"""Notebooks: cells to module text, places back to cells, and edits that leave all else byte for byte."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from lora_lint.errors import InputError
from lora_lint.syntax.lowering import lower_module
from lora_lint.syntax.source import SourceFile, read_source, source_from_bytes


def code(source: str | list[str], **more: Any) -> dict[str, Any]:
    return {"cell_type": "code", "execution_count": 1, "metadata": {}, "outputs": [], "source": source, **more}


def text_cell(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source.splitlines(True)}


def notebook(*cells: dict[str, Any], indent: int | None = 1, **metadata: Any) -> bytes:
    content = {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return (json.dumps(content, indent=indent, ensure_ascii=False) + "\n").encode()


def read(*cells: dict[str, Any], **how: Any) -> SourceFile:
    return source_from_bytes(notebook(*cells, **how), "n.ipynb", is_notebook=True)


def cell_text(source: SourceFile, number: int = 0) -> str:
    """The part of the module text of one code cell."""
    assert source.notebook is not None
    return source.notebook.cells[number].body


def test_code_cells_are_joined_and_located(tmp_path: Path) -> None:
    path = tmp_path / "train.ipynb"
    path.write_bytes(
        notebook(text_cell("# title"), code(["a = 1\n", "b = 2"]), text_cell("x"), code("c = 3\n\nd = 4\n"))
    )
    source = read_source(path, "train.ipynb")
    lines = source.text.splitlines()
    assert [line for line in lines if not line.startswith("# %%")] == ["a = 1", "b = 2", "c = 3", "", "d = 4"]
    places = {line: source.locate(lines.index(line) + 1) for line in lines if " = " in line}
    assert places == {"a = 1": (2, 1), "b = 2": (2, 2), "c = 3": (4, 1), "d = 4": (4, 3)}
    assert lower_module(source.text, "train.ipynb").body[2].loc == (5, 1, 5, 6)
    assert source.problems == source.shell_lines == ()
    assert source.encode(source.text) == source.raw


def test_format_3() -> None:
    cells = [{"cell_type": "code", "input": ["a = 1\n", "b"], "language": "python", "outputs": []}, text_cell("x")]
    content = {"metadata": {"name": ""}, "nbformat": 3, "nbformat_minor": 0, "worksheets": [{"cells": cells}]}
    raw = json.dumps(content).encode()
    source = source_from_bytes(raw, "old.ipynb", is_notebook=True)
    assert cell_text(source) == "a = 1\nb\n"
    edited = source.encode(source.text.replace("a = 1", "a = 2"))
    assert edited == raw.replace(b"a = 1", b"a = 2")


@pytest.mark.parametrize(
    ("line", "python", "shell"),
    [
        ("%matplotlib inline", "pass", "%matplotlib inline"),
        ("!pip install trl==0.22.2", "pass", "!pip install trl==0.22.2"),
        ("    !ls", "    pass", "!ls"),
        ("pip install -q peft==0.18.0", "pass", "pip install -q peft==0.18.0"),
        ("model?", "pass", "model?"),
        ("?model.fit", "pass", "?model.fit"),
        ("model.fit??", "pass", "model.fit??"),
        ("x = !ls *.py", "x = get_ipython()", "!ls *.py"),
        ("x, y = %time f()", "x, y = get_ipython()", "%time f()"),
    ],
)
def test_magic_lines_are_blanked_in_place(line: str, python: str, shell: str) -> None:
    before = "if a:\n" if line.startswith(" ") else "a\n"
    source = read(code(f"{before}{line}\nb = 1\n"))
    lines = source.text.splitlines()
    assert lines[2].split("  #")[0] == python
    assert lines[3] == "b = 1"
    assert source.shell_lines == ((3, shell),)
    assert source.problems == ()
    ast.parse(source.text)
    assert source.encode(source.text) == source.raw


def test_lines_that_only_look_like_magics_stay() -> None:
    text = 'x = (a\n% b)\ny = """\n%not magic\n!neither\n"""\nz = a != b  # !\n%magic\nw = """\n!x\n"""; t = [\n"?"]\n'
    source = read(code(text))
    assert cell_text(source).replace("pass  # lora-lint blanked line 1", "%magic") == text
    assert source.shell_lines == ((9, "%magic"),)


def test_python_that_parses_is_never_touched() -> None:
    text = "a = b \\\n% c\nd = '''\n!pip\n'''\n"
    assert cell_text(read(code(text))) == text


def test_continued_shell_line() -> None:
    source = read(code("!pip install -q \\\n    trl==0.9 \\\n    peft\nx = 1\n"))
    assert source.shell_lines == ((2, "!pip install -q trl==0.9 peft"),)
    assert source.text.splitlines()[4] == "x = 1"
    ast.parse(source.text)
    assert source.encode(source.text) == source.raw


@pytest.mark.parametrize("magic", ["%%time", "%%capture out", "%%timeit -n 1"])
def test_cell_magic_with_python_body(magic: str) -> None:
    source = read(code(f"{magic}\nx = 1\n"))
    assert source.text.splitlines()[1].startswith("pass")
    assert source.text.splitlines()[2] == "x = 1"


def test_foreign_cells_are_blanked_whole() -> None:
    source = read(code("%%bash\npip install peft\n\nif x; then\n"), code("%%writefile a.py\nx = (\n"), code("y = 1"))
    assert [line for line in source.text.splitlines() if line and not line.startswith("#")] == ["y = 1"]
    assert source.shell_lines == ((2, "%%bash"), (3, "pip install peft"), (5, "if x; then"), (7, "%%writefile a.py"))
    assert source.problems == ()
    assert source.encode(source.text) == source.raw


def test_comments_may_stand_above_a_foreign_cell_magic() -> None:
    source = read(code("#@title Music\n# to stay connected\n%%html\n<audio src=x>\n"), code("y = 1"))
    assert [line for line in source.text.splitlines() if line and not line.startswith("#")] == ["y = 1"]
    assert source.problems == ()


def test_an_indented_cell_runs_as_it_does_in_ipython() -> None:
    source = read(code("  co = f(\n    a=1\n  )\n  !ls\n  for x in co:\n    print(x)\n\ny = 2\n"))
    assert source.problems == ()
    assert [line.split("  #")[0] for line in source.text.splitlines()[1:]] == [
        "co = f(", "  a=1", ")", "pass", "for x in co:", "  print(x)", "", "y = 2",
    ]  # fmt: skip
    assert source.encode(source.text) == source.raw
    edited = json.loads(source.encode(source.text.replace("y = 2", "y = 3")))
    assert "".join(edited["cells"][0]["source"]) == "co = f(\n  a=1\n)\n!ls\nfor x in co:\n  print(x)\n\ny = 3\n"


@pytest.mark.parametrize("text", ["  # a note\nif a:\n    b = 1\n", "x = 1\n  y = 2\n", "# a note\n  y = 2\n"])
def test_no_other_cell_loses_its_indentation(text: str) -> None:
    source = read(code(text))
    assert source.notebook is not None
    assert "".join(source.written(line) for line in cell_text(source).splitlines(True)) == text
    assert len(source.problems) == (0 if text.startswith(" ") else 1)


def test_broken_cell_does_not_destroy_the_others() -> None:
    source = read(code("a = 1"), code("!pip install trl==0.9\nx = (\ny ="), code("b = 2"))
    statements = lower_module(source.text, "n.ipynb").body
    assert [statement.loc[0] for statement in statements] == [2, 8]
    ((line, message),) = source.problems
    assert source.locate(line) in ((2, 2), (2, 3))
    assert message
    assert source.shell_lines == ((4, "!pip install trl==0.9"),)
    assert source.encode(source.text) == source.raw


def test_top_level_await_is_no_problem() -> None:
    source = read(code("await f()\nasync for x in y: pass\n"))
    assert source.problems == ()


def test_other_languages_have_no_code() -> None:
    kernel = {"language": "R", "name": "ir", "display_name": "R"}
    source = read(code("x <- 1"), kernelspec=kernel)
    assert source.text == ""
    assert source.encode("") == source.raw
    assert read(code("x = 1"), language_info={"name": "ipython"}).text.endswith("x = 1\n")


# --- writing back -----------------------------------------------------------------------------------------------------

UGLY = (
    b'{ "nbformat_minor":5,\r\n"metadata" :{"x":"\\u00e9 \xc3\xa9", "cells": [1, {"source": "a = 1"}]},\r\n'
    b'"cells":[{"source":"# a = 1","cell_type":"markdown"},\r\n'
    b'  {"outputs":[{"text":["a = 1\\n"],"data":{"image/png":"iVBO\\/w0KGgo="}}] , "source" : [\r\n'
    b'      "a = 1\\n",\r\n      "p = \'\\u00e9\\/\'\\n",\r\n      "%matplotlib\\n",\r\n      "b = 2"\r\n    ], '
    b'"cell_type":"code"},\r\n'
    b'{"cell_type":"code","source":"c = \\"x\\"\\nd = 4"} ,{"cell_type":"code","source":[]}],\r\n"nbformat":4}  \r\n'
)


def test_untouched_notebook_stays_byte_for_byte() -> None:
    source = source_from_bytes(UGLY, "n.ipynb", is_notebook=True)
    assert source.encode(source.text) == UGLY


def test_edit_changes_only_the_source_of_its_cell() -> None:
    source = source_from_bytes(UGLY, "n.ipynb", is_notebook=True)
    edited = source.with_cell_edits(source.text.replace("b = 2", "b = 'é'\nz = 3"))
    assert edited == UGLY.replace(b'"b = 2"', b'"b = \'\xc3\xa9\'\\n",\r\n      "z = 3"')
    edited = source.with_cell_edits(source.text.replace('c = "x"', 'c = "y"'))
    assert edited == UGLY.replace(b'c = \\"x\\"', b'c = \\"y\\"')
    edited = source.with_cell_edits(source.text.replace("a = 1\n", ""))
    assert edited == UGLY.replace(b'[\r\n      "a = 1\\n",\r\n', b"[\r\n", 1)


def test_magics_move_with_the_lines_around_them() -> None:
    source = read(code(["a = 1\n", "  \n", "%pip install x\n", "b = 2"]), code("!ls"))
    lines = source.text.split("\n")
    lines.insert(1, "import os")
    edited = json.loads(source.encode("\n".join(lines)))
    assert edited["cells"][0]["source"] == ["import os\n", "a = 1\n", "  \n", "%pip install x\n", "b = 2"]
    assert edited["cells"][1]["source"] == "!ls"


def test_text_at_the_very_top_goes_to_the_first_cell() -> None:
    source = read(text_cell("t"), code("a = 1"))
    edited = json.loads(source.encode("import os\n" + source.text))
    assert edited["cells"][1]["source"] == "import os\na = 1"


def test_escapes_follow_the_file() -> None:
    raw = json.dumps({"cells": [code(["x = 'é'\n", "y = 1"])], "metadata": {}, "nbformat": 4}).encode()
    source = source_from_bytes(raw, "n.ipynb", is_notebook=True)
    assert source.encode(source.text.replace("y = 1", "y = 'ü'")) == raw.replace(b"y = 1", b"y = '\\u00fc'")


def test_empty_and_emptied_cells() -> None:
    source = read(code([]), code("x = 1"))
    edited = json.loads(source.encode(source.text.replace("cell 1\n", "cell 1\ny = 2\nz = 3\n").replace("x = 1\n", "")))
    assert [cell["source"] for cell in edited["cells"]] == [["y = 2\n", "z = 3\n"], ""]


def test_edit_that_lost_a_cell_is_refused() -> None:
    source = read(code("a"), code("b"))
    with pytest.raises(InputError, match="does not have the cells"):
        source.encode(source.text.replace("# %% lora-lint cell 2\n", ""))
    with pytest.raises(InputError, match="no code cell"):
        read(text_cell("x")).encode("a = 1\n")


def test_byte_order_mark_is_kept() -> None:
    raw = b"\xef\xbb\xbf" + notebook(code("a = 1"))
    source = source_from_bytes(raw, "n.ipynb", is_notebook=True)
    assert source.encode(source.text) == raw


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"x = 1",
        b"[]",
        b'{"nbformat": 2}',
        b'{"nbformat": 4}',
        b'{"nbformat": 4, "cells": {}}',
        b'{"nbformat": 4, "cells": [1]}',
        b'{"nbformat": 4, "cells": [{"cell_type": "code"}]}',
        b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": 1}]}',
        b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": ["a", 1]}]}',
        b'{"nbformat": 4, "cells": [',
        b"[" * 100_000,
    ],
)
def test_no_notebook(raw: bytes) -> None:
    with pytest.raises(InputError, match=r"^n\.ipynb: not a notebook"):
        source_from_bytes(raw, "n.ipynb", is_notebook=True)
