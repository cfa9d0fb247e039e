"""Embeddings beside an adapter: LL112, and what configs say of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lora_lint.apis.tables import architectures
from lora_lint.checks.base import Report, check
from lora_lint.checks.common import TRAINING, maker, name_of, part_trainable, trained
from lora_lint.checks.values import given, literal, strings
from lora_lint.findings import Applicability, FixPlan, SetKeyword
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import Ev, Part, Tri

# Tokens that mark a place which other features fill, or padding: their embeddings are never used.
_PLACEHOLDERS = re.compile(r"pad|image|img|video|audio|speech|<im_|vision|pixel|mask|unused|reserved", re.IGNORECASE)


def saves_embeddings(config: Obj) -> Tri:
    """Whether the config trains whole embeddings or new rows of them."""
    facts = config.facts
    if given(facts, "trainable_token_indices"):
        return Tri.YES
    return _names_embeddings(facts, "modules_to_save")


def adapts_embeddings(config: Obj) -> Tri:
    """Whether the config puts an adapter on embeddings."""
    return _names_embeddings(config.facts, "target_modules")


def _names_embeddings(facts: dict[str, object], key: str) -> Tri:
    if not given(facts, key):
        return Tri.NO
    names = architectures().embeddings
    text = literal(facts[key])
    if isinstance(text, str):
        return Tri.UNKNOWN if any(name in text for name in names) else Tri.NO
    listed = strings(facts[key])
    return Tri.UNKNOWN if listed is None else Tri.of(any(name.split(".")[-1] in names for name in listed))


@check("LL112", on=TRAINING)
def new_tokens_not_trained(event: Event, trace: Trace) -> Iterator[Report]:
    """Tokens were added and the embedding was enlarged, but its new rows stay frozen."""
    for model in trained(event):
        for member in model.models():
            state = member.model
            resized = state.resized
            if resized is None or not state.adapters or not part_trainable(state, Part.EMBED).no:
                continue
            added = next((e for e in trace.before(resized, Ev.TOKENS) if _adds_words(e)), None)
            configs = [adapter.config for adapter in state.adapters]
            if added is None or not all(_leaves_frozen(config) for config in configs):
                continue
            yield Report(
                resized,
                f"enlarges the embedding of {name_of(resized, 'model')} for new tokens, but the adapter leaves it frozen: "
                "their rows stay random",
                help='name them in trainable_token_indices, or pass modules_to_save=["embed_tokens", "lm_head"]',
                story=(
                    (added, "tokens added here"),
                    (state.adapters[-1].event, "adapter injected here"),
                    (event, "trained here"),
                ),
                plan=_train_rows(configs[-1], member),
            )


def _adds_words(event: Event) -> bool:
    """Whether an event adds tokens that stand for something; a padding token or a placeholder for features does not."""
    added = event.args.get("added")
    special = getattr(event.args.get("special"), "items", None)
    if isinstance(special, dict):
        added = special.get("additional_special_tokens")
    if added is None:
        return False
    text = literal(added)
    words = [text] if isinstance(text, str) else strings(added)
    return words is None or any(not _PLACEHOLDERS.search(word) for word in words)


def _leaves_frozen(config: Obj | None) -> bool:
    if config is None or any(given(config.facts, key) for key in ("prompt", "loaded")):
        return False
    if any("lm_head" in (strings(config.facts.get(key)) or ()) for key in ("modules_to_save", "target_modules")):
        return False  # often one matrix with the embedding
    return saves_embeddings(config).no and adapts_embeddings(config).no


def _train_rows(config: Obj | None, model: Obj) -> FixPlan | None:
    """Train and save the embedding and the output head, under the names of this family."""
    family = architectures().family(model.root.type, model.root.model.architecture)
    call = maker(config) if config is not None else None
    if config is None or call is None or family is None or given(config.facts, "modules_to_save"):
        return None
    outer = [
        name
        for name in ("embed_tokens", "wte", "embed_in", "word_embeddings", "shared", "lm_head")
        if name in family.leaves
    ]
    listed = ", ".join(f'"{name}"' for name in outer)
    intent = SetKeyword(call, "modules_to_save", f"[{listed}]")
    return FixPlan(Applicability.UNSAFE, "train the embeddings of the new tokens", (intent,))
