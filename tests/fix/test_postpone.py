"""Calls taken out of a statement and made below another one, renames, attributes, and what methods make in between."""

from __future__ import annotations

import pytest

from lora_lint.findings import (
    FollowAttribute,
    MoveStatement,
    NeedsGuard,
    Postpone,
    Rename,
    ReplaceText,
    SetKeyword,
    Unwrap,
)
from tests.fix.places import at, fixed, refusal


def late(text: str, call: str, argument: str, anchor: str) -> Postpone:
    return Postpone(at(text, call), at(text, argument), at(text, anchor))


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("m = wrap(load(x))\nc = 1\ninject()\nend()\n", "m = load(x)\nc = 1\ninject()\nm = wrap(m)\nend()\n"),
        ("m = wrap(load(x), ids=[r])\ninject()", "m = load(x)\ninject()\nm = wrap(m, ids=[r])"),
        (
            "def f(self):\r\n\tself.m = wrap(\r\n\t\tload(x),\r\n\t\tids=1,\r\n\t)\r\n\tinject()  # why\r\n",
            "def f(self):\r\n\tself.m = load(x)\r\n\tinject()  # why\r\n\tself.m = wrap(\r\n\t\tself.m,\r\n\t\tids=1,\r\n\t)\r\n",
        ),
    ],
)
def test_a_call_is_made_later(before: str, expected: str) -> None:
    start = before.index("wrap(")
    call = before[start : before.index("\n" if ",\r\n" not in before else "\r\n\tinject", start)]
    assert fixed(before, late(before, call, "load(x)", "inject()")) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("m = wrap(load(x))\nprint(m)\ninject()\n", "line 2 uses or binds 'm'"),
        ("m = wrap(load(x), r)\nr = 2\ninject()\n", "line 2 uses or binds 'r'"),
        ("def f():\n    m = wrap(load(x))\n    if y:\n        return\n    inject()\n", "may leave the block"),
        ("m = wrap(load(x))\nwhile y:\n    inject()\n", "different blocks"),
        ("m, n = wrap(load(x)), 1\ninject()\n", "not all of what is assigned"),
        ("m[0] = wrap(load(x))\ninject()\n", "plain name"),
    ],
)
def test_a_call_that_cannot_be_made_later(text: str, reason: str) -> None:
    start = text.index("wrap(")
    call = text[start : text.index(")", text.index("load(x)") + 7) + 1]
    assert reason in refusal(text, late(text, call, "load(x)", "inject()"))


def test_renames_take_the_longest_name_and_no_attribute_of_others() -> None:
    text = "thaw(d.module, d, other.d, d=1)\nd.module = 2\n"
    assert fixed(text, Rename(at(text, "thaw"), (("d", "m"), ("d.module", "m")))) == (
        "thaw(m, m, other.d, d=1)\nd.module = 2\n"
    )
    assert "'e' was not found" in refusal(text, Rename(at(text, "thaw"), (("e", "m"),), needed="e"))


def test_a_rename_reaches_the_loop_around_a_place() -> None:
    text = "for p in d.module.parameters():\n    p.x = 1\n"
    assert fixed(text, Rename(at(text, "p.x"), (("d.module", "m"),), needed="d.module")) == (
        "for p in m.parameters():\n    p.x = 1\n"
    )


def test_what_a_statement_uses_after_a_rename_decides_whether_it_moves() -> None:
    text = "d = wrap(m)\nd.module = inject(d.module)\n"
    names = Rename(at(text, "d.module ="), (("d.module", "m"),))
    move = MoveStatement(at(text, "d = wrap(m)"), at(text, "d.module ="), after=True)
    assert fixed(text, names, move) == "m = inject(m)\nd = wrap(m)\n"
    assert "uses 'd'" in refusal(text, move)


def test_an_attribute_is_followed() -> None:
    text = "save(m.state_dict())\nsave(a + b)\n"
    assert fixed(text, FollowAttribute(at(text, "m"), "module")) == "save(m.module.state_dict())\nsave(a + b)\n"
    assert "no plain one" in refusal(text, FollowAttribute(at(text, "a + b"), "module"))


def test_a_replacement_that_would_say_nothing_removes_the_statement() -> None:
    text = "m = inject(m)\nx = m.go()\nm.go()\nend()\n"
    assert fixed(text, ReplaceText(at(text, "inject(m)"), "m")) == "x = m.go()\nm.go()\nend()\n"
    assert fixed(text, Unwrap(at(text, "m.go()", 1), at(text, "m", 3))) == ("m = inject(m)\nx = m.go()\nend()\n")


CLASSES = """class Base:
    def __init__(self):
        self.model = load()
        self.optimizer = make(self.model)

    def freeze(self):
        self.model.stop()


class Own(Base):
    def __init__(self):
        super().__init__()
        self.model = inject(self.model)
        self.freeze()
"""


def test_a_method_is_not_moved_below_what_uses_what_it_makes() -> None:
    move = MoveStatement(at(CLASSES, "super().__init__()"), at(CLASSES, "self.model = inject"), after=True)
    assert "uses 'self.model', which the statement to move makes in a method" in refusal(CLASSES, move)


def test_a_method_that_makes_nothing_moves() -> None:
    move = MoveStatement(at(CLASSES, "self.freeze()"), at(CLASSES, "self.model = inject"), after=False)
    assert "        self.freeze()\n        self.model = inject(self.model)\n" in fixed(CLASSES, move)
    elsewhere = CLASSES.replace("class Own(Base)", "class Own(other.Base)")
    above = MoveStatement(at(elsewhere, "self.freeze()"), at(elsewhere, "super().__init__()"), after=False)
    assert "line 12 may set attributes in the parent's __init__()" in refusal(elsewhere, above)


@pytest.mark.parametrize(
    ("before", "guarded"),
    [
        ("load(x)\n", False),
        ("if y:\n    load(x)\n", False),
        ("def f():\n    load(x)\n", True),
        ('if __name__ == "__main__":\n    load(x)\n', True),
    ],
)
def test_a_plan_for_scripts_with_a_guard_only(before: str, guarded: bool) -> None:
    intents = (SetKeyword(at(before, "load(x)"), "k", "1"), NeedsGuard(at(before, "load(x)")))
    if guarded:
        assert fixed(before, *intents) == before.replace("load(x)", "load(x, k=1)")
    else:
        assert "__main__ guard" in refusal(before, *intents)
