"""Statements inserted, removed, replaced and bound in every layout."""

from __future__ import annotations

import ast

import pytest

from lora_lint.findings import BindResult, InsertStatement, RemoveStatement, ReplaceText, SetKeyword
from tests.fix.places import at, built, fixed, refusal

# --- inserting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "anchor", "after", "expected"),
    [
        ("a()\nb()\n", "a()", True, "a()\nnew()\nb()\n"),
        ("a()\nb()\n", "b()", False, "a()\nnew()\nb()\n"),
        ("a()", "a()", True, "a()\nnew()"),
        ("a()", "a()", False, "new()\na()"),
        ("a()  # why\nb()\n", "a()", True, "a()  # why\nnew()\nb()\n"),
        ("a()\n# about b\nb()\n", "b()", False, "a()\nnew()\n# about b\nb()\n"),
        ("a()\n# section\n\nb()\n", "b()", False, "a()\n# section\n\nnew()\nb()\n"),
        ("if x:\n\ta()\n", "a()", True, "if x:\n\ta()\n\tnew()\n"),
        ("if x:\n    a()\nb()\n", "x", True, "if x:\n    a()\nnew()\nb()\n"),
        ("if x:\n    a()\n    # tail\nb()\n", "x", True, "if x:\n    a()\n    # tail\nnew()\nb()\n"),
        ("if x:\n    a()\nelif y:\n    b()\n", "y", False, "new()\nif x:\n    a()\nelif y:\n    b()\n"),
        ("@d\ndef f():\n    pass\n", "def f():\n    pass", False, "new()\n@d\ndef f():\n    pass\n"),
        ("a(\n    1,\n)\nb()\n", "1", True, "a(\n    1,\n)\nnew()\nb()\n"),
        ("x = 1; a()\n", "a()", True, "x = 1; a()\nnew()\n"),
        ("x = 1; a()\n", "x = 1", False, "new()\nx = 1; a()\n"),
        ("a()\r\nb()\r\n", "a()", True, "a()\r\nnew()\r\nb()\r\n"),
        ("#!/usr/bin/env python\na()\n", "a()", False, "#!/usr/bin/env python\nnew()\na()\n"),
        ("# %% cell\na()\n", "a()", False, "# %% cell\nnew()\na()\n"),
        ("x = '''\n# no comment'''\na()\n", "a()", False, "x = '''\n# no comment'''\nnew()\na()\n"),
    ],
)
def test_insert(before: str, anchor: str, after: bool, expected: str) -> None:
    result = fixed(before, InsertStatement(at(before, anchor), "new()", after))
    ast.parse(result)
    assert result == expected


def test_insert_several_lines_at_the_indentation_of_the_anchor() -> None:
    text = "def f(m):\r\n    a(m)\r\n"
    lines = "for p in m.parameters():\n    p.requires_grad = True\n"
    expected = "def f(m):\r\n    a(m)\r\n    for p in m.parameters():\r\n        p.requires_grad = True\r\n"
    assert fixed(text, InsertStatement(at(text, "a(m)"), lines, True)) == expected


@pytest.mark.parametrize(
    ("before", "anchor", "after", "reason"),
    [
        ("if x: a()\n", "a()", True, "header"),
        ("a(); b()\n", "a()", True, "shares its line"),
        ("a(); b()\n", "b()", False, "shares its line"),
        ("def f():\n    return a()\n", "a()", True, "nothing runs after"),
        ("a()\n", "a()", True, ""),
    ],
)
def test_insert_refused(before: str, anchor: str, after: bool, reason: str) -> None:
    text = "new(" if not reason else "new()"
    assert (reason or "do not parse") in refusal(before, InsertStatement(at(before, anchor), text, after))


def test_rebinding_a_name_of_an_outer_scope_is_refused() -> None:
    text = "model = load()\ndef main():\n    train(model)\nmain()\n"
    insertion = InsertStatement(at(text, "train(model)"), "model = get_peft_model(model, cfg)", False)
    assert refusal(text, insertion) == "'model' is not a local variable of main()"
    declared = text.replace("    train", "    global model\n    train")
    insertion = InsertStatement(at(declared, "train(model)"), "model = get_peft_model(model, cfg)", False)
    # `global model` makes the binding reach the outer name, so nothing is local and nothing may be refused for it.
    assert "model = get_peft_model(model, cfg)\n" in fixed(declared, insertion)
    local = text.replace("main():", "main(model):")
    insertion = InsertStatement(at(local, "train(model)"), "model = get_peft_model(model, cfg)", False)
    assert "    model = get_peft_model(model, cfg)\n    train(model)\n" in fixed(local, insertion)


# --- removing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "what", "expected"),
    [
        ("a()\nb()\nc()\n", "b()", "a()\nc()\n"),
        ("a()\nb()  # gone\nc()\n", "b()", "a()\nc()\n"),
        ("a()\n# stays\nb()\n", "b()", "a()\n# stays\n"),
        ("a()\nb()", "b()", "a()"),
        ("if x:\n    b()\nc()\n", "b()", "c()\n"),
        ("if not x.y and z > 1:\n    b()\nc()\n", "b()", "c()\n"),
        ("if x:\n    if y: b()\nc()\n", "b()", "c()\n"),
        ("if x():\n    b()\nc()\n", "b()", "if x():\n    pass\nc()\n"),
        ("if x:\n    b()\nelse:\n    c()\n", "b()", "if x:\n    pass\nelse:\n    c()\n"),
        ("if x:\n    b()  # why\nc()\n", "b()", "if x:\n    pass  # why\nc()\n"),
        ("if x: b()\nc()\n", "b()", "c()\n"),
        ("if x(): b()\n", "b()", "if x(): pass\n"),
        ("if x: a(); b()\n", "b()", "if x: a()\n"),
        ("if x: b(); a()\n", "b()", "if x: a()\n"),
        ("a(); b(); c()\n", "b()", "a(); c()\n"),
        ("a(); b()\n", "b()", "a()\n"),
        ("b(); a()\n", "b()", "a()\n"),
        ("b(\n    1,\n)\nc()\n", "1", "c()\n"),
        ("for p in m:\n    p.x = 1\nc()\n", "for p in m:\n    p.x = 1", "c()\n"),
        ("try:\n    b()\nfinally:\n    c()\n", "b()", "try:\n    pass\nfinally:\n    c()\n"),
        ("a()\r\nb()\r\n", "b()", "a()\r\n"),
        ("if x():\n\tb()\n", "b()", "if x():\n\tpass\n"),
    ],
)
def test_remove(before: str, what: str, expected: str) -> None:
    result = fixed(before, RemoveStatement(at(before, what)))
    ast.parse(result)
    assert result == expected


def test_removing_a_whole_block_leaves_one_pass() -> None:
    text = "while x:\n    a()\n    b()\nc()\n"
    result = fixed(text, RemoveStatement(at(text, "a()")), RemoveStatement(at(text, "b()")))
    assert result == "while x:\n    pass\nc()\n"
    text = text.replace("while", "if")
    result = fixed(text, RemoveStatement(at(text, "a()")), RemoveStatement(at(text, "b()")))
    assert result == "c()\n"


def test_part_of_a_header_is_not_removed() -> None:
    text = "with prepare(m):\n    a()\n"
    assert "compound" in refusal(text, RemoveStatement(at(text, "prepare(m)")))
    text = "if a:\n    b()\nelif prepare(m):\n    c()\n"
    assert "compound" in refusal(text, RemoveStatement(at(text, "prepare(m)")))


# --- binding and replacing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("model.merge()\n", "model = model.merge()\n"),
        ("if x: model.merge(); save()\n", "if x: model = model.merge(); save()\n"),
        ("(model\n  .merge())  # fold\n", "model = (model\n  .merge())  # fold\n"),
        ("def f(model):\n\tmodel.merge()\n", "def f(model):\n\tmodel = model.merge()\n"),
    ],
)
def test_bind_result(before: str, expected: str) -> None:
    result = fixed(before, BindResult(at(before, "model"[:5], before.count("model") - 1), "model"))
    assert result == expected


def test_bind_result_refused() -> None:
    text = "x = model.merge()\n"
    assert refusal(text, BindResult(at(text, "model.merge()"), "model")) == "the result is already used"
    text = "def f():\n    model.merge()\n"
    assert "not a local variable of f()" in refusal(text, BindResult(at(text, "model.merge()"), "model"))
    text = "class T:\n    def f(self):\n        self.model.merge()\n"
    result = fixed(text, BindResult(at(text, "self.model.merge()"), "self.model"))
    assert "        self.model = self.model.merge()\n" in result


@pytest.mark.parametrize(
    ("before", "what", "new", "expected"),
    [
        ("x = loss.item()\n", "loss.item()", "loss", "x = loss\n"),
        ("x = (loss.item()) / n\n", "loss.item()", "loss + 1", "x = (loss + 1) / n\n"),
        ("x = loss.item() / n\n", "loss.item()", "loss + 1", "x = (loss + 1) / n\n"),
        ("x = f(loss.item())\n", "loss.item()", "loss + 1", "x = f(loss + 1)\n"),
        ("x = a.b\n", "a", "c.d", "x = c.d.b\n"),
        ("é = '🦙', a\n", "a", "b", "é = '🦙', b\n"),
        ("a = 1; b = 2\n", "a = 1", "a = 3", "a = 3; b = 2\n"),
    ],
)
def test_replace_text(before: str, what: str, new: str, expected: str) -> None:
    result = fixed(before, ReplaceText(at(before, what), new))
    ast.parse(result)
    assert result == expected


def test_replace_text_refused() -> None:
    text = "x = [\n  1,  # one\n]\n"
    assert "comments" in refusal(text, ReplaceText(at(text, "[\n  1,  # one\n]"), "y"))
    text = "x = abc\n"
    assert "not found" in refusal(text, ReplaceText(at(text, "bc"), "y"))
    assert "not parse" in refusal(text, ReplaceText(at(text, "abc"), "y ="))


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "# Generated by make_model.py\n",
        "#!/usr/bin/env python\n# @generated\n",
        "#  This file was automatically generated from src/modular.py.\n#\n",
        "# DO NOT EDIT\n",
    ],
)
def test_generated_files_are_left_alone(header: str) -> None:
    text = header + "f()\n"
    assert "generated" in refusal(text, SetKeyword(at(text, "f()"), "k", "v"))


def test_a_notebook_export_with_such_a_docstring_is_no_generated_file() -> None:
    text = '"""Automatically generated by Colab."""\nf()\n'
    assert fixed(text, SetKeyword(at(text, "f()"), "k", "v")).endswith("f(k=v)\n")


def test_unreadable_text_and_places_outside_are_refused() -> None:
    text = "f()\n"
    assert "cannot be parsed" in refusal("f(\n", SetKeyword(at(text, "f"), "k", "v"))
    assert "not found" in refusal(text, SetKeyword(at("\n\n\nf()", "f()"), "k", "v"))
    assert "another file" in refusal(text, SetKeyword(at(text, "f()", path="other.py"), "k", "v"))
    deep = "x = " + "(" * 3000 + ")" * 3000 + "\n"
    assert built(deep, SetKeyword(at(deep, "x"), "k", "v")).refused
    long = "x = " + " + ".join(["f()"] * 5000) + "\n"
    fix = built(long, SetKeyword(at(long, "f()"), "k", "v"))
    assert fix.refused or len(fix.edits) == 1


def test_overlapping_intents_are_refused() -> None:
    text = "a()\nx = f(b)\n"
    both = (RemoveStatement(at(text, "x = f(b)")), SetKeyword(at(text, "f(b)"), "k", "v"))
    assert refusal(text, *both) == "its changes overlap"
