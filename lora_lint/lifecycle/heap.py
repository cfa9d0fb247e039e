"""Objects of the training program and their state. Identity is the allocation: one Obj per allocation and call path.

A wrapper (PeftModel, DDP, torch.compile, `accelerator.prepare`) is a view: a new Obj whose `wraps` is the base; state
lives on the root. A submodule (`model.vision_tower`) is an Obj with `parent` and `path`; operations on it touch only the
part of the root that the path covers.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lora_lint.lifecycle.vocabulary import ADAPTER_PARTS, ALL_PARTS, Kind, Mode, Part, Quant, Tri
from lora_lint.location import Location

if TYPE_CHECKING:
    from lora_lint.lifecycle.trace import Event

# Submodule paths that hold the whole network: freezing `model.base_model.model` freezes every adapter. Names as
# transformers, peft, torch DDP and torch.compile use them.
WHOLE_PATHS = frozenset({"", "base_model", "model", "module", "_orig_mod", "transformer", "backbone"})
# And those that hold everything but the head, in the classes of transformers that have one (`base_model_prefix`).
_BACKBONES = """bert roberta deberta distilbert electra albert longformer mpnet mobilebert rembert roformer funnel luke esm ernie
    layoutlm layoutlmv2 layoutlmv3 convbert nystromformer canine biogpt rwkv gpt_neox vit deit beit swin swinv2 dinov2 convnext
    convnextv2 segformer resnet videomae timesformer vivit wav2vec2 wav2vec2_bert wav2vec2_conformer hubert wavlm unispeech
    unispeech_sat data2vec_text data2vec_audio data2vec_vision audio_spectrogram_transformer"""
# Where sentence-transformers holds the network: in its first module, and under a name of its own.
_OF_FIRST_MODULE = "auto_model"
HOLDERS = WHOLE_PATHS | frozenset(_BACKBONES.split()) | {_OF_FIRST_MODULE, "transformers_model"}
# A step of a submodule path: every item of a list of modules in turn, where "*" is one of them.
EACH = "[*]"
SOME = "*"
MAYBE_NONE = "maybe-none"  # fact of a module at SOME: there may be no such one


@dataclass(frozen=True, slots=True)
class UnknownName:
    """A name that is not known, but is the same wherever this key is."""

    key: Hashable


@dataclass(eq=False, slots=True)
class Adapter:
    """One adapter injected into a model.

    over: adapters that were there before, when the injection was a full one (a second get_peft_model).
    loaded: weights came from a saved adapter. path: submodule it was injected into ("" for the whole model).
    """

    name: object  # str, UnknownName, or None
    config: Obj | None
    event: Event
    loaded: bool = False
    path: str = ""
    over: tuple[Adapter, ...] = ()
    active: Tri = Tri.YES
    dtype: str = "unknown"  # of its matrices; of its trainable copies: copy_dtype
    copy_dtype: str = "unknown"
    dtype_event: Event | None = None


@dataclass(eq=False, slots=True)
class TrainOp:
    """One change of requires_grad: which parts of which submodule became trainable (YES), frozen (NO) or unknown."""

    event: Event
    parts: dict[Part, Tri]
    path: str = ""
    adapter: Adapter | None = None  # only this adapter, None for all that existed


@dataclass(eq=False, slots=True)
class ModelState:
    """State of one root model. The ledger of trainability is the list of operations, newest last."""

    quantization: Quant = Quant.UNKNOWN
    adapters: list[Adapter] = field(default_factory=list)
    adapters_known: bool = True
    saved_adapter: Tri = Tri.NO  # whether it was loaded with an adapter that is not in `adapters`
    ops: list[TrainOp] = field(default_factory=list)
    prepared: Event | None = None
    input_grads: Tri = Tri.NO
    input_grads_event: Event | None = None
    checkpointing: str = "off"  # off | reentrant | non-reentrant | default | unknown
    checkpointing_event: Event | None = None
    mode: Mode = Mode.UNKNOWN
    mode_event: Event | None = None
    device: str = "unknown"  # cpu | cuda | unknown
    dtype: str = "unknown"
    wraps: list[Event] = field(default_factory=list)
    merged: Event | None = None
    disabled: Event | None = None
    resized: Event | None = None
    escaped: bool = False
    architecture: str = ""


@dataclass(frozen=True, slots=True)
class Copy:
    """That a model is a copy: of which root, made where and after how many events. path: of the part that was copied."""

    of: Obj
    seq: int
    location: Location
    path: str = ""


_PART = "submodule:"  # facts of this name are modules inside a model


@dataclass(eq=False, slots=True)
class Obj:
    """An object of the program.

    type: qualified name of its library type, or the user's class name. name: the variable it was first bound to.
    last_use: sequence number of the last use, for "result never used" rules.
    """

    kind: Kind
    type: str = ""
    site: Location | None = None
    name: str = ""
    wraps: Obj | None = None
    parent: Obj | None = None
    path: str = ""
    attrs: dict[str, Any] = field(default_factory=dict)
    state: ModelState | None = None
    event: Event | None = None  # the event that made it
    last_use: int = -1
    user_class: Any = None  # the interpreter's class value for instances of user classes
    facts: dict[str, Any] = field(default_factory=dict)  # kind-specific facets, e.g. an optimizer's captures
    guards: tuple[Any, ...] = ()  # the conditions under which it was made

    @property
    def root(self) -> Obj:
        """The object that holds the state: through views and submodule paths."""
        here = self
        while True:
            nearer = here.wraps or here.parent
            if nearer is None:
                return here
            here = nearer

    @property
    def full_path(self) -> str:
        """Submodule path from the root, "" for the whole model."""
        parts: list[str] = []
        here: Obj | None = self
        while here is not None:
            if here.path:
                parts.append(here.path)
            here = here.wraps or here.parent
        return ".".join(reversed(parts))

    @property
    def model(self) -> ModelState:
        """State of the root, created on first use."""
        root = self.root
        if root.state is None:
            root.state = ModelState()
        return root.state

    def part(self, path: str, type_name: str = "torch.nn.Module") -> Obj:
        """The module at a path of this model: one object whenever it is asked for, so that what the user puts into it is
        there the next time."""
        found: Obj | None = self.facts.get(_PART + path)
        if found is None:
            found = self.facts[_PART + path] = Obj(Kind.MODEL, type_name, self.site, parent=self, path=path)
        return found

    def parts(self) -> list[Obj]:
        """The modules of this model that were asked for by their paths."""
        return [value for name, value in self.facts.items() if name.startswith(_PART)]

    def is_made_of(self, other: object) -> bool:
        """Whether this is another object than that one, for the same thing: a wrapper around it."""
        return isinstance(other, Obj) and self is not other and self.root is other.root

    def replaced(self, path: str) -> None:
        """The module at a path is another one from now on."""
        self.facts.pop(_PART + path, None)

    def inside(self) -> Iterator[tuple[Obj, str]]:
        """Models held in attributes of this object's root (user modules), each root once, with its attribute path."""
        seen = {id(self.root)}
        stack: list[tuple[Any, str]] = [(value, name) for name, value in self.root.attrs.items()]
        budget = 200  # attributes of user objects may be cyclic and large
        while stack and budget:
            budget -= 1
            value, path = stack.pop()
            items = getattr(value, "items", None)
            if isinstance(items, list):
                stack.extend((item, path) for item in items)
            elif isinstance(items, dict):
                stack.extend((item, path) for item in items.values())
            elif isinstance(value, Obj) and value.kind is Kind.MODEL and id(value.root) not in seen:
                seen.add(id(value.root))
                yield value, path
                stack.extend((item, f"{path}.{name}") for name, item in value.root.attrs.items())

    def children(self) -> Iterator[Obj]:
        """Models inside this one."""
        return (child for child, _ in self.inside())

    def models(self) -> Iterator[Obj]:
        """This model and the models inside it."""
        yield self
        yield from self.children()


def covers(op_path: str, adapter_path: str) -> Tri:
    """Whether an operation on submodule `op_path` touches all (YES), none (NO) or some (UNKNOWN) of an adapter that was
    injected at `adapter_path`."""
    steps = _steps(op_path)
    while steps and steps[0] in HOLDERS:
        steps.pop(0)
    where = [s for s in _steps(adapter_path) if s not in HOLDERS]
    if not steps or steps == where[: len(steps)]:
        return Tri.YES
    if where and steps[: len(where)] != where:
        return Tri.NO
    return Tri.UNKNOWN


def _steps(path: str) -> list[str]:
    """The steps of a path; without the one to the first module of a SentenceTransformer, where that holds the network."""
    steps = [s for s in path.split(".") if s]
    return steps[1:] if steps[1:2] == [_OF_FIRST_MODULE] and steps[0] in (SOME, "0") else steps


def trainable(state: ModelState, adapter: Adapter) -> tuple[Tri, Event | None]:
    """Whether the adapter's parameters require gradients now, and the event that made it so."""
    for op in reversed(state.ops):
        if op.adapter is not None and op.adapter is not adapter:
            continue
        answer = op.parts.get(Part.ADAPTER)
        if answer is None:
            continue
        covered = covers(op.path, adapter.path)
        if covered.no:
            continue
        if not covered.known:
            answer = _partial(op, adapter, answer)
            if answer is None:
                continue
        return answer, op.event
    return Tri.UNKNOWN, None


def _partial(op: TrainOp, adapter: Adapter, answer: Tri) -> Tri | None:
    """What an operation on a part of the network says of an adapter spread over the network: a thaw or an unknown
    change leaves it unknown, a partial freeze leaves the rest as it was (None: look further back)."""
    return None if answer.no else Tri.UNKNOWN


def partial_freezes(state: ModelState, adapter: Adapter) -> Iterator[TrainOp]:
    """Freezes of a submodule that happened after the adapter was injected and that nothing thawed since."""
    thawed: list[str] = []
    for op in reversed(state.ops):
        if op.event is adapter.event:
            return
        answer = op.parts.get(Part.ADAPTER)
        if answer is None or (op.adapter is not None and op.adapter is not adapter):
            continue
        if not answer.no:
            thawed.append(op.path)
        elif not covers(op.path, adapter.path).known and all(apart(path, op.path) for path in thawed):
            yield op


def apart(one: str, other: str) -> bool:
    """Whether two submodules certainly have nothing in common: `*` and `[*]` stand for any item of a list."""
    pairs = ([s for s in path.split(".") if s and s not in HOLDERS] for path in (one, other))
    wild = (EACH, SOME)
    return any(a != b and a not in wild and b not in wild for a, b in zip(*pairs, strict=False))


def havoc(obj: Obj, event: Event) -> None:
    """Forget what is known of a model that went somewhere we cannot follow."""
    for member in obj.models():
        state = member.model
        state.escaped = True
        state.ops.append(TrainOp(event, dict.fromkeys(ALL_PARTS, Tri.UNKNOWN)))
        state.mode = Mode.UNKNOWN
        state.input_grads = Tri.UNKNOWN
        state.checkpointing = "unknown"
        state.device = "unknown"
        state.adapters_known = False
        for adapter in state.adapters:
            adapter.active = Tri.UNKNOWN


def adapters_of(obj: Obj) -> list[tuple[Obj, Adapter]]:
    """All adapters in the model and the models inside it, with the model that holds each."""
    return [(member, adapter) for member in obj.models() for adapter in member.model.adapters]


__all__ = [
    "ADAPTER_PARTS",
    "Adapter",
    "ModelState",
    "Obj",
    "TrainOp",
    "UnknownName",
    "adapters_of",
    "apart",
    "covers",
    "havoc",
    "partial_freezes",
    "trainable",
]
