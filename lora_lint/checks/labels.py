"""What becomes of the labels before the loss: LL404, LL405, LL406."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Any

from lora_lint.apis.tables import architectures
from lora_lint.checks.base import Report, check
from lora_lint.checks.common import TRAINING, argument, trained
from lora_lint.checks.values import GAP, by_default, given, literal, text_of
from lora_lint.findings import Applicability, FixPlan, InsertStatement, Intent, ReplaceText, Severity
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Encoding, Event, Tensor, Trace
from lora_lint.lifecycle.vocabulary import Ev, Kind, Tri
from lora_lint.location import Location

_CHANGES_TOKENS = re.compile(r"chat|template|special|setup|resize|patch|prepare_tok|smart|fix_tok|add_", re.IGNORECASE)


@check("LL404", on=Ev.END)
def eos_masked_as_padding(event: Event, trace: Trace) -> Iterator[Report]:
    """A collator masks padding by its id, and the padding token of its tokenizer is the end token."""
    training = next(trace.of(*TRAINING), None)
    if training is None or not _labels_used(training, trace):
        return
    seen: list[Obj] = []
    for collator, elsewhere in _collators(training, trace):
        tokenizer = collator.facts.get("tokenizer")
        if collator in seen or collator.site is None or collator.facts.get("masks_padding") is not Tri.YES:
            continue
        seen.append(collator)
        cause = _pads_with_end(tokenizer, trace) if isinstance(tokenizer, Obj) else None
        if cause is not None and isinstance(tokenizer, Obj):
            maybe, endless = _may_bring_padding(tokenizer), given(tokenizer.facts, "encodes") and not trace.ends()
            yield Report(
                collator.site,
                "masks the end token: padding and end are one token, and this collator takes padding out of the labels, "
                "so the model never learns to stop"
                + (" (where the checkpoint has no padding token)" if maybe else "")
                + (" (where the texts bring an end token: nothing here puts one behind them)" if endless else ""),
                help="use a padding token of its own, or make labels yourself and pad them by position (DataCollatorForSeq2Seq)",
                story=((cause, "the padding token becomes the end token here"), (training, "trained here")),
                plan=_own_padding(cause, tokenizer, training),
                severity=Severity.INFO if maybe or endless else None,
                unless=elsewhere,
            )
    yield from _masked_by_hand(training, trace)


def _masked_by_hand(training: Event, trace: Trace) -> Iterator[Report]:
    """Code of the user's own takes the padding token out of the labels of texts that it ended with the same token."""
    tokenizers = dict.fromkeys(event.role("tokenizer") for event in trace.of(Ev.TOKENS))
    seen: list[Location] = []
    for masked in _taken_out(trace):
        ids, token = masked.args["ids"], masked.args["token"]
        if ids.rewritten or masked.location in seen:
            continue
        for tokenizer in tokenizers:
            if tokenizer is None or not _ended(ids, tokenizer):
                continue
            cause = _pads_with_end(tokenizer, trace) if _is_padding(token, tokenizer) else None
            if cause is not None:
                seen.append(masked.location)
                yield Report(
                    masked,
                    "masks the end token: padding and end are one token, so with the padding it is taken out of the labels, "
                    "and the model never learns to stop",
                    help="mask by position, labels[attention_mask == 0] = -100, or use a padding token of its own",
                    story=((cause, "the padding token becomes the end token here"), (training, "trained here")),
                )


def _taken_out(trace: Trace) -> Iterator[Event]:
    """What took single tokens out of labels that a model may see."""
    for event in trace.of(Ev.LABELS, Ev.FORWARD):
        labels = event.args.get("labels") if event.kind is Ev.LABELS else _passed(event)
        if isinstance(labels, Tensor):
            yield from (*labels.taken, *(labels.labels.taken if labels.labels is not None else ()))


def _ended(ids: Encoding, tokenizer: Obj) -> bool:
    """Whether each of the texts that were encoded ends with the end token of the tokenizer, put there by name or by id."""
    if ids.end is not None:
        return _is_token(ids.end, tokenizer, "eos_token_id")
    if ids.parts:
        return all(_ended(part, tokenizer) for part in ids.parts)
    texts = getattr(ids.text, "items", None) or [ids.text]
    known = {_key(tokenizer.attrs.get("eos_token")), *_own_tokens(tokenizer, "eos_token")} - {None}
    return all(_last(getattr(one, "key", None)) in known for one in texts)


def _last(key: Any) -> Any:
    """The identity of the end of a text that an f-string or a sum puts together."""
    joined = isinstance(key, tuple) and (key[0] == "fstring" or key[:2] == ("op", "+"))
    return key[-1][-1] if joined else None


def _is_padding(token: Any, tokenizer: Obj) -> bool:
    """Whether a token's id is that of the padding of a tokenizer, which is its end token."""
    return any(_is_token(token, tokenizer, name) for name in ("pad_token_id", "eos_token_id"))


def _is_token(token: Any, tokenizer: Obj, name: str) -> bool:
    """Whether a value is a special token of a tokenizer (or its id)."""
    known = (_key(tokenizer.attrs.get(name)), *_own_tokens(tokenizer, name))
    return _key(token) is not None and _key(token) in known


def _labels_used(training: Event, trace: Trace) -> bool:
    """Whether the model may see the collator's labels: a hand-written loop can make labels of its own and pass none."""
    if training.kind is Ev.TRAIN:
        return True
    named = [event.args.get("named") for event in trace.of(Ev.FORWARD)]
    return not named or any(
        "labels" in getattr(one, "items", ("labels",)) or getattr(one, "open", True) for one in named
    )


def _collators(training: Event, trace: Trace) -> Iterator[tuple[Obj, frozenset[Hashable]]]:
    """The collators that a trainer uses, or the data loaders of a hand-written loop; each with what would show that its
    batches go elsewhere: to code that we cannot follow, and nobody here goes over the loader."""
    for event in trace.of(Ev.TRAIN if training.kind is Ev.TRAIN else Ev.LOADER):
        trainer = event.role("trainer")
        for value in (trainer.attrs.get("data_collator") if trainer is not None else None, event.args.get("collate")):
            if isinstance(value, Obj):
                loader = event.role("loader")
                unread = loader is not None and not loader.root.facts.get("read")
                yield value, frozenset({("escaped", loader.root.site)} if loader is not None and unread else ())


def _pads_with_end(tokenizer: Obj, trace: Trace) -> Event | None:
    """The event by which the padding token is the end token, None when another token may have been chosen, or the end
    token changed afterwards."""
    if any(_CHANGES_TOKENS.search(name) for name in tokenizer.facts.get("given_to", ())):
        return None
    cause: Event | None = None
    for event in trace.of(Ev.TOKENS):
        if event.role("tokenizer") is not tokenizer:
            continue
        for name, value in _written(event):
            if name is None or (name.startswith("eos_token") and cause is not None):
                return None
            if name.startswith("pad_token"):
                if not _is_end(tokenizer, name, value, trace):
                    return None
                cause = event
    return cause


def _may_bring_padding(tokenizer: Obj) -> bool:
    """Whether the code asks for a padding token first, and nobody knows of which checkpoint: most bring one today."""
    source = by_default(tokenizer.facts.get("source"))
    return bool(tokenizer.facts.get("padding_asked")) and not isinstance(source, str)


def _written(event: Event) -> Iterator[tuple[str | None, Any]]:
    """The special tokens that an event sets: (name, value); name None when it cannot be read."""
    if "name" in event.args:
        yield str(event.args["name"]), event.args.get("value")
        return
    special = event.args.get("special")
    items = getattr(special, "items", None)
    if isinstance(items, dict):
        yield from ((str(key), value) for key, value in items.items())
    elif special is not None:
        yield None, None


def _is_end(tokenizer: Obj, name: str, value: Any, trace: Trace) -> bool:
    """Whether a value is the tokenizer's end token, or that where it has no padding token of its own."""
    options, first_wins = _options(value)
    ends = [_is_end_token(tokenizer, name.replace("pad", "eos", 1), option, trace) for option in options]
    if first_wins and ends[0]:
        return True
    own = _own_tokens(tokenizer, name)
    return any(ends) and all(is_end or _key(option) in own for option, is_end in zip(options, ends, strict=True))


def _options(value: Any) -> tuple[list[Any], bool]:
    """What a value may be: one of a few, or what `or` chooses among (by their keys; True)."""
    key = getattr(value, "key", None)
    if isinstance(key, tuple) and len(key) == 2 and key[0] == "or":
        return list(key[1]), True
    return list(getattr(value, "values", [value])), False


def _key(value: Any) -> Any:
    """The identity of an unknown, which may stand for it in the identity of another."""
    return value if isinstance(value, tuple) else getattr(value, "key", None)


def _own_tokens(tokenizer: Obj, name: str) -> tuple[Any, ...]:
    """The identities that a special token which the checkpoint brings may have (`special_tokens.py`)."""
    source = tokenizer.facts.get("source")
    return tuple(("token", it, name) for it in (tokenizer.site, _key(source), ("const", "str", literal(source))))


def _is_end_token(tokenizer: Obj, name: str, value: Any, trace: Trace) -> bool:
    """Whether a value is the end token (or its id) of a tokenizer, by the tokenizer, by the model of the same checkpoint, or
    as it is written."""
    end, key = tokenizer.attrs.get(name), _key(value)
    if value is end or (key is not None and key in (_key(end), *_own_tokens(tokenizer, name))):
        return True
    source = literal(tokenizer.facts.get("source"))
    if not isinstance(source, str):
        return False
    if isinstance(key, tuple) and key[0] == "attr" and key[2] == name and isinstance(key[1], tuple):
        loads = (event for event in trace.of(Ev.LOAD) if event.args.get("architecture") == source)
        return any(key[1][1:2] == (load.model.site,) for load in loads if load.model is not None)
    known = (token for start, token in architectures().end_tokens.items() if source.startswith(start))
    return bool(literal(value) == next(known, object()))


def _own_padding(cause: Event, tokenizer: Obj, training: Event) -> FixPlan | None:
    """Add a padding token, and enlarge the embedding of the base for it, where tokenizer and base are made in one function
    and the base has no adapter yet. (Another collator is no way out: it would need labels, which this one makes.)"""
    models = trained(training)
    base = models[0].root if len(models) == 1 else None
    load = base.event if base is not None and base.event is not None and base.event.kind is Ev.LOAD else None
    if base is None or load is None or load.statement is None or cause.statement is None or load.chain != cause.chain:
        return None
    if not base.name or not tokenizer.name or any(a.event.statement == load.statement for a in base.model.adapters):
        return None
    add = f'{tokenizer.name}.add_special_tokens({{"pad_token": "<pad>"}})'
    enlarge = f"{base.name}.resize_token_embeddings(len({tokenizer.name}))"
    if cause.seq > load.seq and any(a.event.seq < cause.seq for a in base.model.adapters):
        return None
    statement, place = cause.statement, cause.location
    whole = (statement.line, statement.column) == (place.line, place.column)  # nothing is bound to what a call returns
    own: Intent = ReplaceText(statement, add) if whole else InsertStatement(statement, add, after=True)
    larger = InsertStatement(load.statement if cause.seq < load.seq else statement, enlarge, after=True)
    return FixPlan(Applicability.UNSAFE, "add a padding token of its own", (own, larger))


@check("LL405", on=Ev.END)
def padding_in_labels(event: Event, trace: Trace) -> Iterator[Report]:
    """Labels are a copy of padded ids, and nothing takes the padding out."""
    training = next(trace.of(*TRAINING), None)
    if training is None or _masks_elsewhere(training, trace):
        return
    for labelled in trace.of(Ev.LABELS, Ev.FORWARD):
        labels = labelled.args.get("labels") if labelled.kind is Ev.LABELS else _passed(labelled)
        if not isinstance(labels, Tensor) or labels.ids is None or not labels.ids.padded.yes or labels.masked:
            continue
        if labels.labels is not None and (labels.labels.masked or labelled.kind is Ev.FORWARD):
            continue  # the copy that the model gets is masked; or told where it became labels
        if labels.ids.collated and not labels.ids.fixed and _row_by_row(training, trace):
            continue  # a batch of one row is as long as that row
        yield Report(
            labelled,
            "labels are a copy of padded ids: the model is trained to write padding",
            help="set the labels of padding to -100: labels[attention_mask == 0] = -100",
            story=((labels.ids.location, "texts are padded here"), (training, "trained here")),
            plan=_mask(labelled),
        )


def _row_by_row(training: Event, trace: Trace) -> bool:
    """Whether the training batches have one row each."""
    trainer = training.role("trainer")
    if training.kind is Ev.TRAIN and trainer is not None:
        arguments = trainer.attrs.get("args")
        size = argument(arguments, "per_device_train_batch_size") if isinstance(arguments, Obj) else None
        return bool(by_default(size) == 1)
    loaders = [event.role("loader") for event in trace.of(Ev.LOADER)]
    return bool(loaders) and all(loader is not None and _loads_one(loader.root.facts) for loader in loaders)


def _loads_one(facts: dict[str, Any]) -> bool:
    """Whether a data loader gives single rows, as it does when it is told nothing."""
    return not given(facts, "batch_sampler") and (
        "batch_size" not in facts or bool(by_default(facts["batch_size"]) == 1)
    )


def _masks_elsewhere(training: Event, trace: Trace) -> bool:
    """Whether a collator makes labels of its own, or a loss of the user's own leaves out what it likes."""
    if any(collator.facts.get("masks_padding") is Tri.YES for collator, _ in _collators(training, trace)):
        return True
    losses = [obj for obj in trace.made(Kind.OBJECT) if obj.type.startswith("torch.nn.")]
    if any(given(loss.facts, "ignore_index") or _by_token(loss) for loss in losses):
        return True
    if not _labels_used(training, trace) and not any(loss.type == "torch.nn.CrossEntropyLoss" for loss in losses):
        return True
    trainers = (event.role("trainer") for event in trace.of(Ev.TRAIN))
    return any(
        t is not None and t.user_class is not None and t.user_class.find("compute_loss") is not None for t in trainers
    )


def _by_token(loss: Obj) -> bool:
    """Whether a loss may give a number for each token, some of which can be left out afterwards."""
    return given(loss.facts, "reduction") and literal(loss.facts["reduction"]) not in ("mean", "sum")


def _passed(forward: Event) -> Tensor | None:
    """The labels that a forward was given by name; what is only measured teaches nothing."""
    if forward.args.get("grad") is Tri.NO:
        return None
    named = getattr(forward.args.get("named"), "items", None)
    value = named.get("labels") if isinstance(named, dict) else None
    return value if isinstance(value, Tensor) else None


def _mask(labelled: Event) -> FixPlan | None:
    """Set the labels of padding to -100, where they are tensors in a batch with a name."""
    batch = labelled.args.get("batch")
    if not batch or not labelled.args.get("tensors") or labelled.statement is None:
        return None
    line = f'{batch}["labels"][{batch}["attention_mask"] == 0] = -100'
    intent = InsertStatement(labelled.statement, line, after=True)
    return FixPlan(Applicability.UNSAFE, "set the labels of padding to -100", (intent,))


@check("LL406", on=Ev.FORMATTED)
def response_template_never_matches(event: Event, trace: Trace) -> Iterator[Report]:
    """The collator looks for a marker that the formatting function does not write; it writes others of the same kind."""
    collator = event.role("collator")
    template = literal(collator.facts.get("response_template")) if collator is not None else None
    texts = _texts(event.args.get("text"))
    if collator is None or collator.site is None or not isinstance(template, str) or not template.strip() or not texts:
        return
    kind = re.match(r"\W{2,}", template.strip())
    if kind is None or any(template in text or _GAP_ONLY.fullmatch(text) for text in texts):
        return
    if all(kind.group() in text for text in texts):
        yield Report(
            collator.site,
            f"the response template {template!r} is not in the formatted text: every label is masked and nothing is learned",
            help="use the marker that the formatting function writes, to the last space and newline",
            story=((event, "rows are formatted here"),),
        )


_GAP_ONLY = re.compile(f"[{GAP}\\s]*")


def _texts(value: Any) -> list[str]:
    """The texts that a formatting function gives, unknown parts as gaps; empty when one is not known at all."""
    items = getattr(value, "items", None)
    found = [text_of(item) for item in items] if isinstance(items, list) else [text_of(value)]
    return [text for text in found if text is not None] if None not in found else []
