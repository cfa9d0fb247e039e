"""Reading files and writing them back."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from lora_lint.errors import InputError
from lora_lint.syntax.source import read_source, source_from_bytes, source_from_text


@pytest.mark.parametrize(
    ("raw", "text", "encoding"),
    [
        (b"", "", "utf-8"),
        (b"x = 1\n", "x = 1\n", "utf-8"),
        ("é = 'ü'\n".encode(), "é = 'ü'\n", "utf-8"),
        (b"# coding: latin-1\nx = '\xe9'\n", "# coding: latin-1\nx = 'é'\n", "iso8859-1"),
        (b"#!/usr/bin/python\n# -*- coding: cp1252 -*-\n'\x80'", None, "cp1252"),
        (b"\n# vim: set fileencoding=utf8 :\n", None, "utf-8"),
        (b"x = 1\n# coding: latin-1\n", None, "utf-8"),
        (b"# a\n# b\n# coding: latin-1\n", None, "utf-8"),
        ("# coding: shift_jis\nx = '日本'\n".encode("shift_jis"), "# coding: shift_jis\nx = '日本'\n", "shift_jis"),
        (b"a\r\nb\rc\nd\x0ce", "a\r\nb\rc\nd\x0ce", "utf-8"),
        (b"# coding: utf-8-sig\n", None, "utf-8"),
    ],
)
@pytest.mark.parametrize("bom", [b"", codecs.BOM_UTF8])
def test_text_and_bytes_round_trip(raw: bytes, text: str | None, encoding: str, bom: bytes) -> None:
    if bom and encoding != "utf-8":
        with pytest.raises(InputError, match="declares the encoding"):
            source_from_bytes(bom + raw, "file.py")
        return
    source = source_from_bytes(bom + raw, "dir/file.py")
    assert source.path == "dir/file.py"
    assert source.encoding == encoding
    assert source.bom is bool(bom)
    if text is not None:
        assert source.text == text
    assert source.encode(source.text) == source.raw == bom + raw
    assert source.encode(source.text + "# end\n") == bom + raw + b"# end\n"


@pytest.mark.parametrize(("raw", "newline"), [(b"", "\n"), (b"a\nb\r\n", "\n"), (b"a\r\nb", "\r\n"), (b"a\rb\n", "\r")])
def test_newline_kind(raw: bytes, newline: str) -> None:
    assert source_from_bytes(raw, "file.py").newline == newline


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"x = '\xe9'\n", "not valid utf-8 (line 1, byte 5)"),
        (b"\x00\x01\x02", "null bytes"),
        ("x = 1".encode("utf-16"), "UTF-16"),
        (b"# coding: nonsense\n", "unknown encoding 'nonsense'"),
        (b"# coding: hex\n", "unknown encoding 'hex'"),
        (b"# coding: utf-16\n", "unknown encoding 'utf-16'"),
        (b"# coding: ascii\n'\xe9'\n", "not valid ascii (line 2"),
        (b"# coding: utf-7\nx = '+AGE-'\n", "cannot be written back unchanged"),
    ],
)
def test_bytes_that_are_no_python_text(raw: bytes, message: str) -> None:
    with pytest.raises(InputError) as caught:
        source_from_bytes(raw, "dir/file.py")
    assert str(caught.value).startswith("dir/file.py: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_that_the_encoding_cannot_hold() -> None:
    source = source_from_bytes(b"# coding: latin-1\n", "file.py")
    with pytest.raises(InputError, match="cannot be written in iso8859-1"):
        source.encode("# coding: latin-1\nx = '日'\n")


def test_read_source(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(b"x = 1\r\n")
    source = read_source(file, "shown.py")
    assert (source.path, source.text, source.notebook) == ("shown.py", "x = 1\r\n", None)
    assert source.locate(1) is None
    assert source.shell_lines == source.problems == ()
    with pytest.raises(InputError, match=r"not a notebook"):
        source.with_cell_edits("x")


def test_unreadable_paths(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^gone.py: No such file"):
        read_source(tmp_path / "gone.py", "gone.py")
    with pytest.raises(InputError, match=r"^folder.py: "):
        read_source(tmp_path, "folder.py")


def test_source_from_text() -> None:
    source = source_from_text("\ufeffx = 'é'\n", "stdin.py")
    assert (source.text, source.bom) == ("x = 'é'\n", True)
    assert source.raw == source.encode(source.text) == codecs.BOM_UTF8 + "x = 'é'\n".encode()
    for text in ("a\0", "\ud800"):
        with pytest.raises(InputError, match=r"^stdin\.py: "):
            source_from_text(text, "stdin.py")


def test_a_script_with_the_magics_of_a_notebook() -> None:
    text = "# %%\n!pip install -q trl==0.22.2\nimport trl\nfiles = !ls\nif files:\n    %matplotlib inline\n"
    source = source_from_bytes(text.encode(), "colab.py")
    compile(source.text, "colab.py", "exec")
    assert source.text.count("\n") == text.count("\n")
    assert source.shell_lines == ((2, "!pip install -q trl==0.22.2"), (4, "!ls"), (6, "%matplotlib inline"))
    assert source.encode(source.text.replace("import trl", "import peft")).decode() == text.replace(
        "import trl", "import peft"
    )


@pytest.mark.parametrize("text", ["x = (3\n% 2)\n", '"""\n!no\n"""\n', "!pip install x\ndef (:\n"])
def test_a_script_that_parses_or_never_will_stays(text: str) -> None:
    source = source_from_text(text, "script.py")
    assert source.text == text
    assert source.blanking is None


def test_calls_that_install_are_shell_lines() -> None:
    text = """import os, subprocess, sys
get_ipython().system('pip install -q "trl==0.21.0"')
get_ipython().run_line_magic('pip', 'install peft==0.17.1')
os.system("pip install transformers==4.55.4 && ls")
subprocess.check_call(
    [sys.executable, "-m", "pip", "install", "accelerate>=1,<2"],
)
os.system("nvidia-smi")
subprocess.run(["pip", "install", wanted])
os.system(f"pip install torch=={version}")
install("trl")
"""
    source = source_from_bytes(text.encode(), "a.py")
    assert source.shell_lines == (
        (2, 'pip install -q "trl==0.21.0"'),
        (3, "pip install peft==0.17.1"),
        (4, "pip install transformers==4.55.4 && ls"),
        (5, "pip install 'accelerate>=1,<2'"),
        (9, "pip install"),
    )
    assert source_from_bytes(b"import os\nos.system('pip install x' +\n", "a.py").shell_lines == ()


def test_a_long_file_without_installations_is_no_work() -> None:
    text = "import os\n" + "x = os.path.join(a, b)\n" * 40_000
    assert source_from_text(text, "a.py").shell_lines == ()
