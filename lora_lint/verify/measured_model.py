"""Causes in the models of a run that a measurement proves by itself: parts that never see a gradient, adapters that are
switched off, rows that stay random."""

from __future__ import annotations

from collections.abc import Iterator

from lora_lint.checks.base import Report
from lora_lint.checks.runtime_facts import ADAPTER, adapters, is_adapter, place, some, stepped
from lora_lint.lifecycle.record import ModelRecord, RankRecord, TensorRecord
from lora_lint.location import Location

Cause = tuple[str, Report]


def model_causes(rank: RankRecord) -> Iterator[Cause]:
    """What is wrong with the models of one process."""
    yield from _blind_layers(rank)
    yield from _blind_models(rank)
    yield from _switched_off(rank)
    yield from _frozen_apart(rank)
    yield from _heads(rank)
    yield from _new_rows(rank)
    yield from _nothing_loaded(rank)


def _blind_layers(rank: RankRecord) -> Iterator[Cause]:
    """Adapters in a part of the network whose every training forward ran without gradients, while the rest has them."""
    mine = [t for t in adapters(rank) if t.trainable and t.layer in rank.blind_layers]
    lost = [t for t in mine if not t.gradients and t.samples]
    if lost:
        yield _blind(rank.blind_layers[lost[0].layer], lost)


def _blind(at: Location, lost: list[TensorRecord]) -> Cause:
    return (
        "LL203",
        Report(
            at,
            f"the forward through {len(lost)} adapter tensors ({some([t.name for t in lost])}) runs without gradients: "
            "they never learn",
            help="take it out of torch.no_grad() / inference_mode()",
        ),
    )


def _blind_models(rank: RankRecord) -> Iterator[Cause]:
    """A model whose adapters an optimizer steps on, and that only ever ran without gradients. Where other adapters are
    trained past every optimizer, the optimizer was given the wrong model instead."""
    if any(t.trainable and not t.optimizers for t in adapters(rank)):
        return
    for number, model in enumerate(rank.models):
        if model.role != "used" or model.blind_at is None:
            continue
        mine = [t for t in rank.tensors if t.model == number and is_adapter(t) and t.trainable]
        held = [t for t in mine if any(s.stepped for s in t.samples)]
        if held and len(held) == len(mine) and not any(t.gradients for t in held):
            yield _blind(model.blind_at, held)


def _switched_off(rank: RankRecord) -> Iterator[Cause]:
    for number, model in enumerate(rank.models):
        if model.role != "trained" or not model.disabled or model.switched_off_at is None:
            continue
        if any(t.learned for t in adapters(rank) if t.model == number and t.part == ADAPTER):
            continue
        yield (
            "LL109",
            Report(
                model.switched_off_at,
                "the adapters are disabled or merged here and stay so in every training forward: they never learn",
                help="enable the adapter layers again (or unmerge them) before the training",
                story=((model.forward_at, "trained here"),) if model.forward_at is not None else (),
            ),
        )


def _frozen_apart(rank: RankRecord) -> Iterator[Cause]:
    for freeze in rank.frozen_apart:
        yield (
            "LL103",
            Report(
                freeze.at,
                f"freezes the adapters inside `{_short(freeze.path)}`, which were injected before: "
                "that part is never trained",
                help="freeze the submodule before the adapter is injected, or thaw its adapters again",
                story=((freeze.injected_at, "adapter injected here"),) if freeze.injected_at is not None else (),
            ),
        )


def _short(path: str) -> str:
    return path.removeprefix("base_model.model.")


def _heads(rank: RankRecord) -> Iterator[Cause]:
    """A fresh output head that stays as random as it is."""
    for number, model in enumerate(rank.models):
        learning = any(t.trainable and t.model == number for t in adapters(rank))
        if model.role == "trained" and model.fresh_heads and learning:
            yield (
                "LL111",
                Report(
                    model.injected_at or place(rank),
                    f"the head of {_class(model)} ({some(model.fresh_heads)}) is random and frozen: "
                    "it is neither trained nor saved, and a reload draws another one",
                    help="give the config the task's task_type, or name the head in modules_to_save",
                ),
            )


def _new_rows(rank: RankRecord) -> Iterator[Cause]:
    """Tokens of rows that a resize added are trained on, and the rows cannot learn."""
    if not any(batch.new_tokens for batch in rank.batches):
        return
    for number, model in enumerate(rank.models):
        learning = any(t.trainable and t.model == number for t in adapters(rank))
        if model.role == "trained" and model.resized_at is not None and model.new_rows_frozen and learning:
            count = sum(batch.new_tokens for batch in rank.batches)
            yield (
                "LL112",
                Report(
                    model.resized_at,
                    f"enlarges the embedding of {_class(model)} for new tokens, which occur {count} times in the batches, "
                    "but the adapter leaves it frozen: their rows stay random",
                    help='name them in trainable_token_indices, or pass modules_to_save=["embed_tokens", "lm_head"]',
                ),
            )


def _nothing_loaded(rank: RankRecord) -> Iterator[Cause]:
    for model in rank.models:
        if model.nothing_loaded_at is not None and model.role == "trained":
            yield (
                "LL803",
                Report(
                    model.nothing_loaded_at,
                    f"no name of the state dict fits {_class(model)}, and strict=False hides it: nothing is loaded",
                    help="look at the keys that load_state_dict returns, or load into the same wrapping",
                    story=((place(rank), "trained here from where it was"),) if stepped(rank) else (),
                ),
            )


def _class(model: ModelRecord) -> str:
    return model.type.rsplit(".", 1)[-1]
