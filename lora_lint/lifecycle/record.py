"""What a live run was seen to do: measured facts of one process, plain data that travels as JSON.

The recorder of `lora_lint.verify` fills it in; the runtime checks (LL901–LL920) judge it at the END event of a recorded
run, where it is `event.args["record"]`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from lora_lint.location import Location


@dataclass(slots=True)
class Sample:
    """One tensor around one optimizer step.

    step: number of the step, over all optimizers of the process. grad: norm of the gradient, None when there is none.
    lr: learning rate of its group, None when it is in no optimizer that steps here or has a schedule of its own.
    delta: norm of the change made by the step at the sampled positions, None when not measured. sampled_grad: whether a
    sampled position has a gradient other than zero. zero: the tensor is exactly zero before the step. stepped: the
    optimizer that stepped holds the tensor. stale: the gradient is the one of the step before, never cleared.
    restored: before this step the tensor again had the value it had before the previous one.
    """

    step: int
    grad: float | None
    lr: float | None = None
    delta: float | None = None
    sampled_grad: bool = False
    zero: bool = False
    stepped: bool = False
    stale: bool = False
    restored: bool = False


@dataclass(slots=True, eq=False)
class TensorRecord:
    """One parameter of a model that took part in the training.

    part: value of `vocabulary.Part`. adapter: name of the adapter it belongs to. layer: path of the module it belongs
    to, for adapters of the adapted module. ran: that module ran in a training forward (None: unknown). sums: checksums
    of a sample of the values before the first step and after the last one, equal on replicas.
    """

    name: str
    model: int
    part: str
    adapter: str = ""
    layer: str = ""
    shape: tuple[int, ...] = ()
    numel: int = 0
    dtype: str = ""
    device: str = ""
    trainable: bool = False
    optimizers: list[int] = field(default_factory=list)
    ran: bool | None = None
    sharded: bool = False
    here: int = 1  # elements in this process: shards may be empty
    samples: list[Sample] = field(default_factory=list)
    sums: list[float] = field(default_factory=list)
    changed_base: float | None = None  # largest relative change of a frozen base weight at the sampled positions

    @property
    def gradients(self) -> list[float]:
        """Norms of the gradients that were there."""
        return [s.grad for s in self.samples if s.grad is not None]

    @property
    def learned(self) -> bool:
        """Whether a step changed it for good."""
        return any(s.delta for s in self.samples) and not self.restored

    @property
    def restored(self) -> bool:
        """Whether every change was taken back before the next step."""
        stepped = [s for s in self.samples if s.stepped]
        moved = [later for earlier, later in pairwise(stepped) if earlier.delta]
        return bool(moved) and all(s.restored for s in moved)


@dataclass(slots=True, eq=False)
class OptimizerRecord:
    """One optimizer: where it was made, how many parameters it holds and how often it really stepped."""

    type: str
    made_at: Location
    stepped_at: Location | None = None
    left_at: Location | None = None  # a move that made the parameters of its model anew, and left it the old ones
    steps: int = 0
    skipped: int = 0  # steps that a gradient scaler left out
    tensors: int = 0
    trainable: int = 0  # of its tensors at its last step
    in_models: int = 0  # of its tensors that belong to a model which ran
    with_gradient: int = 0  # of its tensors that had a gradient at one of its steps
    wiped: int = 0  # steps before which gradients of other backward calls were cleared without having been used
    wiped_at: Location | None = None
    lrs: list[float | None] = field(default_factory=list)  # largest learning rate of its groups, by step
    scheduled: bool = False
    order: int = 0  # number of the events before it was made


@dataclass(slots=True)
class LossRecord:
    """One backward call. graph: "full", "leaf" (requires_grad by hand) or "none"."""

    value: float | None
    graph: str
    at: Location
    scaled: bool = False
    step: int = 0


@dataclass(slots=True)
class LedgerRow:
    """The trainable parameters of one model at one moment: elements by group ("lora default", "head", "base" …)."""

    moment: str
    at: Location
    model: int
    trainable: int
    total: int
    tensors: int
    groups: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class ModelRecord:
    """One model of the run. role: "trained" ran with gradients on, "used" ran without, "idle" never ran."""

    type: str
    made_at: Location
    role: str = "idle"
    quantization: str = "none"
    adapters: list[str] = field(default_factory=list)
    adapter_layers: int = 0
    adapter_layers_ran: int = 0
    disabled: bool = False  # its adapters were disabled or merged in every training forward
    wrapped: list[str] = field(default_factory=list)
    forwards: int = 0
    grad_forwards: int = 0
    forward_at: Location | None = None
    injected_at: Location | None = None
    injected_order: int = -1
    fresh_heads: list[str] = field(default_factory=list)  # frozen output heads that started from random numbers
    wrapped_at: Location | None = None
    wrapped_order: int = -1
    blind_at: Location | None = None  # what turned gradients off around a forward of it, or that forward
    resized_at: Location | None = None
    new_rows_frozen: bool = False  # of the embedding that was enlarged
    switched_off_at: Location | None = None  # what disabled or merged its adapters
    nothing_loaded_at: Location | None = None  # a load_state_dict of which no name fitted, and none was loaded later


@dataclass(slots=True)
class BatchRecord:
    """One training batch as the model saw it. mark: a checksum of its tensors. loader: how many batches the data loader
    it came from has (None: not from a loader, or unknown). labels, supervised: label positions, and those not masked.
    ends, ends_masked: end tokens right after a supervised token, and those of them that are masked. padding, padding_
    supervised: positions that the attention mask leaves out of sequences that predict themselves, and those whose label
    counts. new_tokens: attended ids in rows of the embedding that a resize added. first: the first batch of its
    iterator."""

    mark: str
    at: Location
    loader: int | None = None
    labels: int = 0
    supervised: int = 0
    device: str = ""
    ends: int = 0
    ends_masked: int = 0
    padding: int = 0
    padding_supervised: int = 0
    new_tokens: int = 0
    first: bool = False
    worker_turn: tuple[int, int] | None = None  # number of the batch in its iterator, and how many workers it has


@dataclass(slots=True)
class ProbeRecord:
    """One experiment after the last step. ok: None when it could not be made, with the reason in `text`."""

    name: str
    ok: bool | None
    text: str
    value: float | None = None
    model: int | None = None
    at: Location | None = None


@dataclass(slots=True)
class EffectRecord:
    """What a library call did to an adapter: value "yes" when it was trainable afterwards, "no" when frozen. inputs: the
    arguments that were plain values, and `inference` of the adapter's config."""

    call: str
    value: str
    at: Location
    inputs: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class FrozenApart:
    """A freeze after the injection that covers all adapters inside one submodule, and still stands at the end."""

    path: str
    at: Location
    injected_at: Location | None = None


@dataclass(slots=True)
class RankRecord:
    """Everything one process saw."""

    rank: int = 0
    world: int = 1
    steps: int = 0
    cycles: int = 0
    backwards: int = 0
    distributed: bool = False
    main: Location | None = None
    trained_at: Location | None = None
    models: list[ModelRecord] = field(default_factory=list)
    tensors: list[TensorRecord] = field(default_factory=list)
    optimizers: list[OptimizerRecord] = field(default_factory=list)
    losses: list[LossRecord] = field(default_factory=list)
    ledger: list[LedgerRow] = field(default_factory=list)
    batches: list[BatchRecord] = field(default_factory=list)
    targets: list[BatchRecord] = field(default_factory=list)
    probes: list[ProbeRecord] = field(default_factory=list)
    effects: list[EffectRecord] = field(default_factory=list)
    merged_in_run: bool = False
    losses_alive: int = 0
    memory: list[float] = field(default_factory=list)  # peak megabytes by step
    seconds: list[float] = field(default_factory=list)  # since the start, by step
    clipped_scaled_at: Location | None = None
    half_backward_at: Location | None = None  # of a loss that was not scaled, after a forward under fp16 autocast
    configured: list[tuple[str, Location]] = field(default_factory=list)
    scaler_skips: int = 0
    scaler_attempts: int = 0
    applies_adapters: bool = False  # some file of the user's has a call that puts a config to use
    blind_layers: dict[str, Location] = field(default_factory=dict)  # adapted modules that only ran without gradients
    frozen_apart: list[FrozenApart] = field(default_factory=list)
    stepped_in_trainer: Location | None = None  # a step inside an override of a trainer's training_step
    plain_backward: Location | None = None  # past the accelerator that accumulates
    plain_divided: bool = False  # that loss is a quotient or a product: the program may divide it itself
    dropped_columns: list[tuple[str, Location]] = field(default_factory=list)  # that the collator reads

    def trained(self, tensor: TensorRecord) -> bool:
        """Whether the tensor belongs to a model that ran with gradients on."""
        return tensor.model >= 0 and self.models[tensor.model].role == "trained"


@dataclass(slots=True)
class RunRecord:
    """The processes of one run, rank 0 first."""

    ranks: list[RankRecord] = field(default_factory=list)


def to_json(record: Any) -> Any:
    """The record as dicts and lists."""
    return asdict(record)


def location_from(data: Any) -> Location | None:
    """A location out of JSON."""
    return None if data is None else Location(**data)


def rank_from(data: dict[str, Any]) -> RankRecord:
    """A RankRecord out of the JSON that `to_json` made."""
    plain = dict(data)
    for key in ("main", "trained_at", "clipped_scaled_at", "half_backward_at", "stepped_in_trainer", "plain_backward"):
        plain[key] = location_from(plain[key])
    for key in ("configured", "dropped_columns"):
        plain[key] = [(name, Location(**at)) for name, at in plain[key]]
    plain["blind_layers"] = {name: Location(**at) for name, at in plain["blind_layers"].items()}
    for key, kind in (
        ("models", ModelRecord),
        ("tensors", TensorRecord),
        ("optimizers", OptimizerRecord),
        ("losses", LossRecord),
        ("ledger", LedgerRow),
        ("batches", BatchRecord),
        ("targets", BatchRecord),
        ("probes", ProbeRecord),
        ("effects", EffectRecord),
        ("frozen_apart", FrozenApart),
    ):
        plain[key] = [_revive(kind, one) for one in plain[key]]
    return RankRecord(**plain)


def _revive(kind: type[Any], data: dict[str, Any]) -> Any:
    plain = dict(data)
    for key in (k for k in plain if k == "at" or k.endswith("_at")):
        plain[key] = location_from(plain[key])
    if plain.get("worker_turn") is not None:
        plain["worker_turn"] = tuple(plain["worker_turn"])
    if "samples" in plain:
        plain["samples"] = [Sample(**one) for one in plain["samples"]]
        plain["shape"] = tuple(plain["shape"])
    return kind(**plain)
