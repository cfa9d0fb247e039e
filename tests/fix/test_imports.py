"""Imports that a fix adds."""

from __future__ import annotations

import ast

import pytest

from lora_lint.findings import InsertStatement
from tests.fix.places import at, fixed, refusal

NEED = (("peft", "get_peft_model"),)


def with_import(text: str, cells: tuple[int, ...] = (), imports: tuple[tuple[str, str], ...] = NEED) -> str:
    result = fixed(text, InsertStatement(at(text, "run()"), "new()", False), imports=imports, cells=cells)
    ast.parse(result)
    return result.replace("new()\n", "", 1).replace("new()\r\n", "", 1)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from peft import LoraConfig\nrun()\n", "from peft import LoraConfig, get_peft_model\nrun()\n"),
        ("from peft import (LoraConfig)\nrun()\n", "from peft import (LoraConfig, get_peft_model)\nrun()\n"),
        (
            "from peft import (\n    LoraConfig,\n    TaskType,\n)\nrun()\n",
            "from peft import (\n    LoraConfig,\n    TaskType,\n    get_peft_model,\n)\nrun()\n",
        ),
        (
            "from peft import (\n    LoraConfig,\n    TaskType,  # kind\n    prepare,\n)\nrun()\n",
            "from peft import (\n    LoraConfig,\n    TaskType,  # kind\n    get_peft_model,\n    prepare,\n)\nrun()\n",
        ),
        ("from peft import a, prepare\nrun()\n", "from peft import a, get_peft_model, prepare\nrun()\n"),
        ("from peft import prepare, a\nrun()\n", "from peft import prepare, a, get_peft_model\nrun()\n"),
        ("from peft import a, \\\n    b\nrun()\n", "from peft import a, \\\n    b, get_peft_model\nrun()\n"),
        ("from peft import a; run()\n", None),
        ("import peft\nrun()\n", "import peft\nfrom peft import get_peft_model\nrun()\n"),
        (
            "import os\nimport sys\nx = 1\nrun()\n",
            "import os\nimport sys\nfrom peft import get_peft_model\nx = 1\nrun()\n",
        ),
        ("import os\r\nrun()\r\n", "import os\r\nfrom peft import get_peft_model\r\nrun()\r\n"),
        ("run()\n", "from peft import get_peft_model\n\nrun()\n"),
        ('"""Doc."""\nrun()\n', '"""Doc."""\n\nfrom peft import get_peft_model\nrun()\n'),
        ("#!/usr/bin/env python\nrun()\n", "#!/usr/bin/env python\nfrom peft import get_peft_model\n\nrun()\n"),
        (
            '"""Doc."""\nfrom __future__ import annotations\nrun()\n',
            '"""Doc."""\nfrom __future__ import annotations\nfrom peft import get_peft_model\nrun()\n',
        ),
        ("run()\nimport os\n", "from peft import get_peft_model\n\nrun()\nimport os\n"),
        ("from peft import LoraConfig as L\nrun()\n", "from peft import LoraConfig as L, get_peft_model\nrun()\n"),
        # there already
        ("from peft import get_peft_model\nrun()\n", "from peft import get_peft_model\nrun()\n"),
        ("from peft import *\nrun()\n", "from peft import *\nrun()\n"),
        ("from peft.mapping import get_peft_model\nrun()\n", "from peft.mapping import get_peft_model\nrun()\n"),
        (
            "try:\n    from peft import get_peft_model\nexcept ImportError:\n    pass\nrun()\n",
            "try:\n    from peft import get_peft_model\nexcept ImportError:\n    pass\nrun()\n",
        ),
        (
            "def f():\n    from peft import get_peft_model\n    run()\n",
            "def f():\n    from peft import get_peft_model\n        run()\n".replace("        run", "    run"),
        ),
        # not there at run time
        (
            "import typing\nif typing.TYPE_CHECKING:\n    from peft import get_peft_model\nrun()\n",
            (
                "import typing\nfrom peft import get_peft_model\nif typing.TYPE_CHECKING:\n"
                "    from peft import get_peft_model\nrun()\n"
            ),
        ),
    ],
)
def test_imports(before: str, after: str | None) -> None:
    if after is None:
        assert "shares its line" in refusal(before, InsertStatement(at(before, "run()"), "new()", False), imports=NEED)
        return
    result = fixed(before, InsertStatement(at(before, "run()"), "new()", False), imports=NEED)
    ast.parse(result)
    lines = [line for line in result.splitlines(keepends=True) if line.strip() != "new()"]
    assert "".join(lines) == after


def test_a_long_import_line_is_not_made_longer() -> None:
    names = ", ".join(f"SomeVeryLongConfigurationName{index}" for index in range(3))
    text = f"from peft import {names}\nrun()\n"
    assert with_import(text) == f"from peft import {names}\nfrom peft import get_peft_model\nrun()\n"


def test_a_module_and_several_names() -> None:
    imports = (("torch", ""), ("peft", "b"), ("peft", "a"), ("peft", "a"))
    assert (
        with_import("import os\nrun()\n", imports=imports) == "import os\nimport torch\nfrom peft import b, a\nrun()\n"
    )
    assert with_import("import torch\nrun()\n", imports=(("torch", ""),)) == "import torch\nrun()\n"


@pytest.mark.parametrize(
    "text",
    [
        "from unsloth import get_peft_model\nrun()\n",
        "def get_peft_model(m): pass\nrun()\n",
        "get_peft_model = None\nrun()\n",
        "def f(get_peft_model):\n    run()\n",
    ],
)
def test_a_name_that_means_something_else_is_refused(text: str) -> None:
    reason = refusal(text, InsertStatement(at(text, "run()"), "new()", False), imports=NEED)
    assert "'get_peft_model'" in reason
    assert "means something else" in reason


def test_imports_of_a_notebook_go_to_its_import_cell() -> None:
    text = "\n\nimport os\nx = 1\n\nrun()\n"
    assert with_import(text, cells=(1, 3, 6)) == "\n\nimport os\nfrom peft import get_peft_model\nx = 1\n\nrun()\n"
    text = "\n\nx = 1\n\nrun()\n"
    assert with_import(text, cells=(1, 3, 5)) == "\n\nx = 1\n\nfrom peft import get_peft_model\n\nrun()\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "import os\n\nimport torch\nfrom transformers import A\n\nfrom data import x\n\nrun()\n",
            "import os\n\nimport torch\nfrom peft import get_peft_model\nfrom transformers import A\n\nfrom data import x\n\nrun()\n",
        ),
        (
            "from datasets import x\nimport torch\nrun()\n",
            "from datasets import x\nfrom peft import get_peft_model\nimport torch\nrun()\n",
        ),
        (
            "import os\n\nfrom transformers import A\nrun()\n",
            "import os\n\nfrom peft import get_peft_model\nfrom transformers import A\nrun()\n",
        ),
        # not sorted, or not certain to be a place for imports
        (
            "from transformers import A\nimport torch\nimport datasets\nrun()\n",
            "from transformers import A\nimport torch\nimport datasets\nfrom peft import get_peft_model\nrun()\n",
        ),
        (
            "# about this file\nfrom transformers import A\nrun()\n",
            "# about this file\nfrom transformers import A\nfrom peft import get_peft_model\nrun()\n",
        ),
        (
            "import torch\ntorch.manual_seed(0)\nfrom transformers import A\nrun()\n",
            "import torch\ntorch.manual_seed(0)\nfrom transformers import A\nfrom peft import get_peft_model\nrun()\n",
        ),
    ],
)
def test_a_new_import_goes_among_the_sorted_ones(before: str, after: str) -> None:
    assert with_import(before) == after


def test_imports_of_two_kinds_go_to_two_places() -> None:
    imports = (("json", ""), ("peft", "get_peft_model"))
    text = with_import("import os\n\nfrom transformers import A\nrun()\n", imports=imports)
    assert text == "import json\nimport os\n\nfrom peft import get_peft_model\nfrom transformers import A\nrun()\n"


def test_an_import_at_the_start_of_a_cell_stays_behind() -> None:
    text = with_import("\n\nfrom transformers import A\n\nrun()\n", cells=(1, 3, 5))
    assert text == "\n\nfrom transformers import A\nfrom peft import get_peft_model\n\nrun()\n"
