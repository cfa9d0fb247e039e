"""Which arms the paths of an entry take."""

from __future__ import annotations

from lora_lint.interpreter.paths import Decision, Oracle, explore


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

    def run(oracle: Oracle) -> tuple[int, bool]:
        value, unknown = object(), object()
        seen.append((oracle.decide(("is", ("id", id(value))), True), oracle.decide(unknown, False)))
        return 1, True

    assert len(list(explore(run, 24, 100))) == 4
    assert sorted(seen) == [(False, False), (False, True), (True, False), (True, True)]
    assert Decision("a", True) == Decision("a", True, rank=1)


def test_neighbours_of_a_flip_without_effect_are_not_run() -> None:
    """Four conditions that change nothing take five paths, not sixteen; one that does is combined with all others."""

    def paths(matters: str) -> int:
        def run(oracle: Oracle) -> tuple[int, bool]:
            arms = {name: oracle.decide(name, True) for name in "abcd"}
            oracle.trail = arms.get(matters, True)
            return 1, True

        return len(list(explore(run, 100, 1000)))

    assert paths("") == 5
    assert 5 < paths("a") < 16
