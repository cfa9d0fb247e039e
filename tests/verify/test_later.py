"""Numbers that are asked for now and read later."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lora_lint.verify.later import Later


@pytest.mark.torch
def test_answers_of_the_cpu_come_at_once() -> None:
    import torch

    later = Later()
    found: list[list[float | None]] = []
    later.ask(3, [([2, 0], torch.tensor([5.0, float("inf")]))], found.append)
    assert found == [[float("inf"), None, 5.0]]
    later.ask(2, [], found.append)
    assert found[1] == [None, None]


@pytest.mark.torch
def test_counts_become_fields() -> None:
    import torch

    record = SimpleNamespace()
    ids = torch.tensor([[1, 2, 2], [2, 0, 1]])
    Later().count({"twos": ids == 2, "zeros": ids == 0}, record)
    assert (record.twos, record.zeros) == (3, 1)


@pytest.mark.torch
def test_answers_of_a_gpu_wait_and_come_in_order() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    later = Later()
    found: list[list[float | None]] = []
    later.ask(2, [([1], torch.ones(1, device="cuda")), ([0], torch.zeros(1))], found.append)
    later.ask(1, [([0], torch.full((1,), 7.0, device="cuda"))], found.append)
    assert found == []
    later.settle()
    assert found == [[0.0, 1.0], [7.0]]
