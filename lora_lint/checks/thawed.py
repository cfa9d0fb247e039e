"""What is thawed before an injection, which freezes it again: LL117."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lora_lint.apis.tables import architectures
from lora_lint.checks.base import Report, check
from lora_lint.checks.common import STACKS, TRAINING, call_site, order_sites, switch_line, trained, trained_between
from lora_lint.checks.values import enum_member, given
from lora_lint.findings import Applicability, FixPlan, MoveStatement
from lora_lint.lifecycle.heap import EACH, Obj, TrainOp
from lora_lint.lifecycle.trace import Event, Trace
from lora_lint.lifecycle.vocabulary import BASE_PARTS, Ev, Part, Tri

# Layers of torch with no module inside them.
_PLAIN = re.compile(r"torch\.nn\.(\w+\.)*(Linear|Bilinear|Embedding|Conv\d?d|\w*Norm(\dd)?)$")


@check("LL117", on=TRAINING)
def thaw_lost_on_injection(event: Event, trace: Trace) -> Iterator[Report]:
    """Parameters thawed on purpose were frozen again by the injection and never thawed after it."""
    for model in trained(event):
        for member in model.models():
            ops = member.model.ops
            for index, op in enumerate(ops):
                if op.event.kind is not Ev.THAW or not (
                    _selective(op) or _of_a_child(op, member, model) or _one_block(op, ops[:index])
                ):
                    continue
                lost = next((o for o in ops[index + 1 :] if _refreezes(o)), None)
                if (
                    lost is None
                    or not (member.model.adapters or model.model.adapters)
                    or _kept(model, op, _names_in(member, model))
                    or _kept(member, op)
                    or _had_its_stage(member, op, lost, trace)
                ):
                    continue
                if any(
                    not _refreezes(o) and o.event.kind is not Ev.INJECT and _may_thaw(o)
                    for o in ops[ops.index(lost) + 1 :]
                ):
                    continue
                what = (
                    _named(op) or _attribute(member, model) or ", ".join(op.event.args.get("extras", ())) or _parts(op)
                )
                site = call_site(op.event, lost.event)
                yield Report(
                    site,
                    f"unfreezes {what} before the adapter is injected, and the injection undoes that: never trained",
                    help="unfreeze after the injection, or list the module in modules_to_save",
                    story=((lost.event, "frozen again here"), (event, "trained here")),
                    shown=switch_line(op.event, trace) if site is op.event else None,
                    plan=_move_below(op.event, [o for o in ops[index + 1 :] if _refreezes(o)][-1].event),
                )


def _one_block(op: TrainOp, before: list[TrainOp]) -> bool:
    """A thaw of some block in a list of blocks, after everything was frozen."""
    holder, _, rest = op.path.partition(".*")
    chosen = holder.split(".")[-1] in STACKS and EACH not in rest and op.parts.get(Part.BASE, Tri.NO).yes
    frozen = (o for o in before if o.event.kind is Ev.FREEZE and not o.path)
    return chosen and any(o.parts.get(Part.BASE, Tri.YES).no for o in frozen)


def _of_a_child(op: TrainOp, member: Obj, model: Obj) -> bool:
    """A thaw of one module of a user's model: chosen, whatever it covers of that module."""
    target = op.event.model
    return member.root is not model.root and target is not None and target.root is member.root


def _attribute(member: Obj, model: Obj) -> str:
    """Path of a module inside a user's model, "" for the model itself."""
    return next((f"`{path}`" for child, path in model.inside() if child.root is member.root), "")


def _had_its_stage(member: Obj, op: TrainOp, lost: TrainOp, trace: Trace) -> bool:
    """Whether what was thawed had its training before the injection: an earlier stage."""
    return any(model.root is member.root for model in trained_between(trace, op.event, lost.event))


def _selective(op: TrainOp) -> bool:
    """A thaw of chosen parts, not of the whole model."""
    each, _, inner = op.path.rpartition(f"{EACH}.")
    if "*" in (inner if each else op.path):
        return False  # a block, or all of them
    if op.path and op.parts.get(Part.BASE, Tri.NO).yes:
        return True
    if any(answer.yes for answer in op.event.args.get("extras", {}).values()):
        return True
    thawed = {part for part in BASE_PARTS if op.parts.get(part, Tri.NO).yes}
    return bool(thawed) and thawed != BASE_PARTS and Part.BASE not in thawed


def _refreezes(op: TrainOp) -> bool:
    return op.event.kind in (Ev.INJECT, Ev.PREPARE) and not op.path and op.parts.get(Part.BASE, Tri.YES).no


def _may_thaw(op: TrainOp) -> bool:
    return any(not op.parts.get(part, Tri.NO).no for part in BASE_PARTS) or bool(op.event.args.get("extras"))


def _names_in(member: Obj, model: Obj) -> frozenset[str] | None:
    """What a module inside the user's model and all in it are called; None where a part may have modules that we do not
    see, as those of a library have."""
    path = next((path for child, path in model.inside() if child.root is member.root), None)
    if path is None:
        return None
    found = set(path.split("."))
    for part, name in ((member.root, path), *member.inside()):
        own, kind = part.root.user_class, part.root.type
        if own.opaque() if own is not None else _PLAIN.match(kind) is None:
            return None
        found.update(name.split("."), part.root.attrs)
    return frozenset(found)


def _kept(member: Obj, op: TrainOp, inside: frozenset[str] | None = None) -> bool:
    """Whether modules_to_save of some adapter keeps what was thawed trainable (or may). inside: all names in the module that
    was thawed, where they are known."""
    for adapter in member.model.adapters:
        if adapter.config is not None and _kept_for_task(adapter.config, op):
            return True
        saved = adapter.config.facts.get("modules_to_save") if adapter.config is not None else None
        names = [getattr(i, "value", None) for i in getattr(saved, "items", ())] if saved is not None else []
        if saved is not None and not names and getattr(saved, "value", 0) is not None:
            return True
        wanted = {*op.path.split("."), *op.event.args.get("extras", ())}
        if any(name in wanted or any(str(name) in w for w in wanted if w) for name in names):
            return True
        some = not op.path or not op.parts.get(Part.BASE, Tri.NO).yes  # of its modules, by what they are
        if names and some and not op.event.args.get("extras"):
            if inside is not None and not any(str(name).split(".")[-1] in inside for name in names):
                continue
            if not all(_outside(str(name), op) for name in names):
                return True
    return False


def _kept_for_task(config: Obj, op: TrainOp) -> bool:
    """Whether all that was thawed is the head that peft trains for the task of a config (or may, for one not known)."""
    if not given(config.facts, "task_type"):
        return False
    tasks = architectures().task_types
    task = enum_member(config.facts["task_type"])
    kept = set(tasks.get(task, ())) if task is not None else {name for heads in tasks.values() for name in heads}
    if op.path:
        return not kept.isdisjoint(op.path.split("."))
    words = [word for word, answer in op.event.args.get("extras", {}).items() if not answer.no]
    if any(op.parts.get(part, Tri.NO).yes for part in BASE_PARTS - {Part.HEAD}):
        return False
    return bool(kept and words) and all(any(name in word for name in kept) for word in words)


def _outside(name: str, op: TrainOp) -> bool:
    """Whether a saved module is certainly none of the parts that were thawed: a head beside norms or embeddings."""
    if name.split(".")[-1] in architectures().single_layers:
        return op.parts.get(Part.HEAD, Tri.NO).no and op.parts.get(Part.EMBED, Tri.NO).no
    known = any(name in head.modules for head in architectures().heads)
    return known and op.parts.get(Part.HEAD, Tri.NO).no


def _named(op: TrainOp) -> str:
    """What a thaw of something in a submodule covers, "" for other thaws."""
    path, some = op.path.replace(f".{EACH}", ""), not op.parts.get(Part.BASE, Tri.NO).yes
    return f"{_parts(op)} of {path}" if path and some and _parts(op) else path


def _parts(op: TrainOp) -> str:
    words = {Part.NORM: "the norms", Part.EMBED: "the embeddings", Part.HEAD: "the head", Part.BASE: "base weights"}
    return " and ".join(words[p] for p in sorted(BASE_PARTS, key=lambda p: p.value) if op.parts.get(p, Tri.NO).yes)


def _move_below(thaw: Event, injection: Event) -> FixPlan | None:
    sites = order_sites(thaw, injection)
    if sites is None:
        return None
    return FixPlan(Applicability.UNSAFE, "unfreeze after the injection", (MoveStatement(*sites, after=True),))
