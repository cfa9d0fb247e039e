"""Which arms the paths of an entry take."""

from __future__ import annotations

from lora_lint.interpreter.paths import Decision, Oracle, Outcome, explore
from lora_lint.lifecycle.vocabulary import Ev


def test_keys_with_identities_are_the_same_in_every_run() -> None:
    """A value that is only told apart by the object that stands for it has another id in each run."""
    first, second = Oracle(), Oracle()
    first.decide(("==", ("id", 101), ("len", ("id", 102))), True)
    first.decide(("id", 101), True)
    second.decide(("==", ("id", 7), ("len", ("id", 8))), True)
    second.decide(("id", 7), True)
    assert first.taken == second.taken
    other = Oracle()
    other.decide(("==", ("id", 7), ("len", ("id", 7))), True)
    assert other.taken != first.taken[:1]


def test_a_flipped_decision_on_such_a_key_is_followed() -> None:
    seen = []

    def run(oracle: Oracle) -> Outcome:
        value, unknown = object(), object()
        seen.append((oracle.decide(("is", ("id", id(value))), True), oracle.decide(unknown, False)))
        return Outcome(1, None)

    assert len(list(explore(run, 24, (100, 100)))) == 4
    assert sorted(seen) == [(False, False), (False, True), (True, False), (True, True)]
    assert Decision("a", True) == Decision("a", True, rank=1)


def count(matters: str = "", adds: str = "", combine: bool = False) -> int:
    """How many paths four independent conditions take. matters: the one that changes what happens. adds: the one whose
    other arm does something of a new kind."""

    def run(oracle: Oracle) -> Outcome:
        arms = {name: oracle.decide(name, True) for name in "abcd"}
        oracle.trail = arms.get(matters or adds, True)
        return Outcome(1, frozenset({Ev.TRAIN} if arms.get(adds, True) else {Ev.TRAIN, Ev.INJECT}))

    return len(list(explore(run, 100, (1000, 1000), lambda: combine)))


def test_conditions_that_have_nothing_to_do_with_each_other_are_flipped_one_by_one() -> None:
    assert count() == 5
    assert count("a") == 5


def test_they_are_combined_while_something_may_be_refuted() -> None:
    """But for flips without effect."""
    assert count(combine=True) == 5
    assert 5 < count("a", combine=True) < 16


def test_they_are_combined_with_an_arm_on_which_something_new_happens() -> None:
    assert count(adds="a") == 8


def test_conditions_behind_a_flip_are_flipped() -> None:
    seen = set()

    def run(oracle: Oracle) -> Outcome:
        names = [name for name in "abc" if oracle.decide(name, True)]
        if "a" not in names:
            names.append("inner" if oracle.decide("inner", True) else "outer")
        seen.add(tuple(names))
        oracle.trail = tuple(names)
        return Outcome(1, frozenset({Ev.TRAIN}))

    list(explore(run, 100, (1000, 1000)))
    assert seen == {("a", "b", "c"), ("b", "c", "inner"), ("a", "c"), ("a", "b"), ("b", "c", "outer")}


def test_the_arm_that_others_wait_for_is_tried_first() -> None:
    """Where the steps do not suffice for all flips."""
    seen = []

    def run(oracle: Oracle) -> Outcome:
        arms = [oracle.decide(name, True) for name in "abc"]
        seen.append((*arms, oracle.decide("steps", False, awaited=True)))
        oracle.trail = tuple(seen)
        return Outcome(60, frozenset({Ev.BACKWARD}))

    list(explore(run, 100, (100, 100)))
    assert seen == [(True, True, True, False), (True, True, True, True)]
