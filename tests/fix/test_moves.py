"""Statements moved within their block, and the moves that are refused."""

from __future__ import annotations

import ast

import pytest

from lora_lint.findings import MoveStatement, RemoveStatement, SetKeyword
from tests.fix.places import at, fixed, refusal


def up(text: str, what: str, anchor: str) -> MoveStatement:
    return MoveStatement(at(text, what), at(text, anchor), after=False)


def down(text: str, what: str, anchor: str) -> MoveStatement:
    return MoveStatement(at(text, what), at(text, anchor), after=True)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("inject()\nfreeze()\n", "freeze()\ninject()\n"),
        ("inject()\nfreeze()", "freeze()\ninject()"),
        ("a()\ninject()\nb()\nfreeze()\nc()\n", "a()\nfreeze()\ninject()\nb()\nc()\n"),
        ("inject()\n# why\n# so\nfreeze()  # now\nc()\n", "# why\n# so\nfreeze()  # now\ninject()\nc()\n"),
        ("inject()\n# section\n\nfreeze()\n", "freeze()\ninject()\n# section\n\n"),
        ("# about inject\ninject()\nfreeze()\n", "freeze()\n# about inject\ninject()\n"),
        ("def f():\n\tinject()\n\tfreeze()\n", "def f():\n\tfreeze()\n\tinject()\n"),
        ("inject()\r\nfreeze()\r\n", "freeze()\r\ninject()\r\n"),
        ("inject()\nx = freeze(\n    1,  # one\n\n    2,\n)\n", "x = freeze(\n    1,  # one\n\n    2,\n)\ninject()\n"),
        ("inject()\nfor p in m:\n    freeze()\nz()\n", "for p in m:\n    freeze()\ninject()\nz()\n"),
        ("inject()\nfor p in m: freeze()\n", "for p in m: freeze()\ninject()\n"),
        (
            "inject()\nfor n, p in m:\n    if n:\n        freeze()\nz()\n",
            "for n, p in m:\n    if n:\n        freeze()\ninject()\nz()\n",
        ),
        # One blank line stays where there was one on both sides.
        ("inject()\n\nfreeze()\n\nz()\n", "freeze()\ninject()\n\nz()\n"),
        # A loop that counts, prints and sets attributes of its elements goes as a whole.
        (
            "inject()\nfor n, p in m:\n    if n:\n        p.x = freeze()\n        print(n)\n    else:\n        c += 1\nz()\n",
            "for n, p in m:\n    if n:\n        p.x = freeze()\n        print(n)\n    else:\n        c += 1\ninject()\nz()\n",
        ),
        ("日本 = '🦙'\ninject()\nfreeze()\n", "日本 = '🦙'\nfreeze()\ninject()\n"),
        (
            "if x:\n    inject()\n    # inner\n    freeze()\n# outer\n",
            "if x:\n    # inner\n    freeze()\n    inject()\n# outer\n",
        ),
    ],
)
def test_move_up(before: str, expected: str) -> None:
    result = fixed(before, up(before, "freeze()" if "freeze()" in before else "freeze(", "inject()"))
    ast.parse(result)
    assert result == expected


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("opt()\ninject()\n", "inject()\nopt()\n"),
        ("opt()\ninject()", "inject()\nopt()"),
        ("# the optimizer\nopt()  # fast\ninject()\nb()\n", "inject()\n# the optimizer\nopt()  # fast\nb()\n"),
        ("opt()\na()\nwith x:\n    inject()\nb()\n", None),
        ("opt()\r\ninject()\r\n", "inject()\r\nopt()\r\n"),
        ("# license\n\nopt()\ninject()\n", "# license\n\ninject()\nopt()\n"),
        ("#!/bin/env python\nopt()\ninject()\n", "#!/bin/env python\ninject()\nopt()\n"),
        ("# %%\nopt()\ninject()\n", "# %%\ninject()\nopt()\n"),
    ],
)
def test_move_down(before: str, expected: str | None) -> None:
    move = down(before, "opt()", "inject()")
    if expected is None:
        assert "different blocks" in refusal(before, move)
        return
    result = fixed(before, move)
    ast.parse(result)
    assert result == expected


def test_the_object_itself_may_pass_through_the_anchor() -> None:
    text = "opt = AdamW(net.parameters())\nnet = net.to(d)\nnet = get_peft_model(net, cfg)\n"
    expected = "net = net.to(d)\nnet = get_peft_model(net, cfg)\nopt = AdamW(net.parameters())\n"
    assert fixed(text, down(text, "opt = AdamW", "get_peft_model")) == expected
    text = "self.opt = AdamW(self.net.parameters())\nself.net = get_peft_model(self.net, cfg)\n"
    moved = fixed(text, down(text, "self.opt", "get_peft_model"))
    assert moved.splitlines() == list(reversed(text.splitlines()))


@pytest.mark.parametrize("name", ["model", "self.model"])
def test_a_moved_statement_may_pass_the_object_on(name: str) -> None:
    inject, show, prepare = f"{name} = inject({name})\n", f"{name}.show()\n", f"{name} = prepare({name})\n"
    assert fixed(inject + show + prepare, up(inject + show + prepare, "prepare(", "inject(")) == prepare + inject + show
    wrapped = f"wrapper = inject({name})\n"
    assert fixed(wrapped + prepare, up(wrapped + prepare, "prepare(", "inject(")) == prepare + wrapped
    fresh = f"{name} = load()\n"
    text = inject + fresh + prepare
    assert f"line 2 binds '{name}'" in refusal(text, up(text, "prepare(", "inject("))


def test_statements_moved_together_keep_their_order() -> None:
    text = "opt = A(net)\nsch = S(opt)\nx()\nnet = inject(net)\n"
    first, second = down(text, "opt = A(net)", "inject(net)"), down(text, "sch = S(opt)", "inject(net)")
    expected = "x()\nnet = inject(net)\nopt = A(net)\nsch = S(opt)\n"
    assert fixed(text, first, second) == expected
    assert fixed(text, second, first) == expected
    assert "uses 'opt'" in refusal(text, first)


def test_changes_inside_a_moved_statement_go_with_it() -> None:
    text = "opt = A(net)  # 🦙\nnet = inject(net)\n"
    result = fixed(text, down(text, "opt = A(net)", "inject(net)"), SetKeyword(at(text, "A(net)"), "lr", "1"))
    assert result == "net = inject(net)\nopt = A(net, lr=1)  # 🦙\n"


def test_a_statement_that_the_plan_removes_is_not_in_the_way() -> None:
    text = "opt = A(net)\nprint(opt)\nnet = inject(net)\n"
    move = down(text, "opt = A(net)", "inject(net)")
    assert "uses 'opt'" in refusal(text, move)
    assert fixed(text, move, RemoveStatement(at(text, "print(opt)"))) == "net = inject(net)\nopt = A(net)\n"


@pytest.mark.parametrize(
    ("text", "what", "anchor", "after", "reason"),
    [
        ("a(); freeze()\ninject()\n", "freeze()", "inject()", True, "shares its line"),
        ("freeze()\na(); inject()\n", "freeze()", "inject()", True, "shares its line"),
        ("inject()\nif x:\n    a()\n    freeze()\n", "freeze()", "inject()", False, "different blocks"),
        ("inject()\nif x:\n    freeze()\nelse:\n    a()\n", "freeze()", "inject()", False, "different blocks"),
        ("inject()\nwhile x:\n    freeze()\n", "freeze()", "inject()", False, "different blocks"),
        ("def f():\n    inject()\nfreeze()\n", "freeze()", "inject()", False, "different blocks"),
        ("p = inject(m)\np.freeze()\n", "p.freeze()", "inject(m)", False, "binds 'p'"),
        ("inject()\nd = dev()\nfreeze(d)\n", "freeze(d)", "inject()", False, "line 2 binds 'd'"),
        ("inject()\nimport d\nfreeze(d)\n", "freeze(d)", "inject()", False, "line 2 binds 'd'"),
        ("inject()\nfor d in x:\n    pass\nfreeze(d)\n", "freeze(d)", "inject()", False, "line 2 binds 'd'"),
        ("inject()\nwith x as d:\n    pass\nfreeze(d)\n", "freeze(d)", "inject()", False, "line 2 binds 'd'"),
        ("inject()\nprint(d := 1)\nfreeze(d)\n", "freeze(d)", "inject()", False, "line 2 binds 'd'"),
        ("inject()\ndef d(): pass\nfreeze(d)\n", "freeze(d)", "inject()", False, "line 2 binds 'd'"),
        ("inject()\ndel d\nfreeze(d)\n", "freeze(d)", "inject()", False, "line 2 binds 'd'"),
        ("o = opt(m)\ns = sched(o)\ninject()\n", "o = opt(m)", "inject()", True, "line 2 uses 'o'"),
        ("o = opt(m)\no = None\ninject()\n", "o = opt(m)", "inject()", True, "line 2 uses 'o'"),
        ("o = opt(m)\nf = lambda: o\ninject()\nf()\n", "o = opt(m)", "inject()", True, ""),
        ("o = opt(m)\ndef f():\n    return o\nf()\ninject()\n", "o = opt(m)", "inject()", True, "line 4 uses 'o'"),
        ("s.o = opt(m)\ns.setup()\ninject()\n", "s.o = opt(m)", "inject()", True, "may use 's.o'"),
        ("s.o = opt(m)\ninit(s)\ninject()\n", "s.o = opt(m)", "inject()", True, "may use 's.o'"),
        (
            "def f():\n    inject()\n    if x:\n        return\n    freeze()\n",
            "freeze()",
            "inject()",
            False,
            "may leave the block",
        ),
        (
            "for i in x:\n    inject()\n    if i:\n        continue\n    freeze()\n",
            "freeze()",
            "inject()",
            False,
            "may leave the block",
        ),
        ("inject()\n@d\ndef freeze():\n    pass\n", "def freeze():\n    pass", "inject()", False, "decorated"),
        ("inject(freeze())\n", "freeze()", "inject(freeze())", False, "one statement"),
        ("inject()\nwith freeze():\n    a()\n", "freeze()", "inject()", False, "part of a compound"),
        ("freeze()\ninject()\n", "freeze()", "inject()", False, "already stands there"),
        ("def f():\n    inject()\n    return freeze()\n", "freeze()", "inject()", False, "leaves its block"),
        ("def f():\n    opt()\n    return inject()\n", "opt()", "inject()", True, "may leave the block"),
    ],
)
def test_moves_that_are_refused(text: str, what: str, anchor: str, after: bool, reason: str) -> None:
    move = MoveStatement(at(text, what), at(text, anchor), after)
    if not reason:
        ast.parse(fixed(text, move))
    else:
        assert reason in refusal(text, move)


def test_a_loop_that_breaks_by_itself_is_no_obstacle() -> None:
    text = "inject()\nfor i in x:\n    break\nfreeze()\n"
    assert fixed(text, up(text, "freeze()", "inject()")) == "freeze()\ninject()\nfor i in x:\n    break\n"


def test_functions_defined_in_between_do_not_block_a_move() -> None:
    text = "opt = A(net)\ndef step():\n    opt.step()\nnet = inject(net)\nstep()\n"
    moved = fixed(text, down(text, "opt = A(net)", "inject(net)"))
    assert moved == "def step():\n    opt.step()\nnet = inject(net)\nopt = A(net)\nstep()\n"


def test_moves_stay_in_their_notebook_cell() -> None:
    text = "inject()\n\nfreeze()\n"
    move = up(text, "freeze()", "inject()")
    assert "different cells" in refusal(text, move, cells=(1, 3))
    assert fixed(text, move, cells=(1,)) == "freeze()\ninject()\n\n"
