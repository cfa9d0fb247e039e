"""The closed vocabulary of the training lifecycle: the source of truth for API specs, the interpreter, checks and verify."""

from __future__ import annotations

from enum import Enum


class Tri(Enum):
    """An answer: yes, no, or unknown. Rules report on yes (or on a certain no), never on unknown."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"

    @staticmethod
    def of(value: bool | None) -> Tri:
        """Tri of a bool, None meaning unknown."""
        return Tri.UNKNOWN if value is None else Tri.YES if value else Tri.NO

    @property
    def yes(self) -> bool:
        """Certainly so."""
        return self is Tri.YES

    @property
    def no(self) -> bool:
        """Certainly not so."""
        return self is Tri.NO

    @property
    def known(self) -> bool:
        """Not unknown."""
        return self is not Tri.UNKNOWN


class Kind(str, Enum):
    """What an object of the training program is."""

    MODEL = "model"
    ADAPTER_CONFIG = "adapter-config"
    QUANT_CONFIG = "quantization-config"
    MODEL_CONFIG = "model-config"
    OPTIMIZER = "optimizer"
    SCHEDULER = "scheduler"
    SCALER = "scaler"
    DATASET = "dataset"
    ROW = "row"  # of a dataset
    LOADER = "dataloader"
    COLLATOR = "collator"
    TOKENIZER = "tokenizer"
    TRAINER = "trainer"
    ARGUMENTS = "training-arguments"
    ACCELERATOR = "accelerator"
    CONTEXT = "context"
    OUTPUT = "model-output"
    PROCESS = "process-context"
    OBJECT = "object"


class Ev(str, Enum):
    """What happens to objects. Every kind is emitted by some API spec or by the interpreter (a test holds that)."""

    LOAD = "load"
    PREPARE = "prepare"
    CONFIGURE = "configure"
    INJECT = "inject"
    ACTIVATE = "activate"
    DISABLE = "disable"
    ENABLE = "enable"
    FREEZE = "freeze"
    THAW = "thaw"
    CAST = "cast"
    MOVE = "move"
    WRAP = "wrap"
    COMPILE = "compile"
    RESIZE = "resize"
    INPUT_GRADS = "input-grads"
    CHECKPOINTING = "checkpointing"
    RECOMPUTE = "recompute"  # torch's own checkpoint() around a function that was just called
    OPTIMIZER = "optimizer"
    SCHEDULE = "schedule"
    TRAINER = "trainer"
    TRAIN = "train"
    FORWARD = "forward"
    BACKWARD = "backward"
    UNSCALE = "unscale"
    CLIP = "clip"
    STEP = "step"
    SCALER_UPDATE = "scaler-update"
    SCHEDULER_STEP = "scheduler-step"
    ZERO_GRAD = "zero-grad"
    MODE = "mode"
    SAVE = "save"
    LOAD_STATE = "load-state"
    MERGE = "merge"
    UNLOAD = "unload"
    LOADER = "loader"
    WORKERS = "workers"  # processes that run a function of the user, for a library or for the user
    ARGUMENTS = "arguments"
    CALL = "call"
    TOUCH_CUDA = "touch-cuda"
    TOKENS = "tokens"
    FIELD = "field"  # of a row, or a split of a dataset, asked for by name
    FORMATTED = "formatted"  # a row, by the user's function
    LABELS = "labels"
    MASKED = "masked"
    OUTDATED = "outdated"
    CONTRACT = "contract"
    IN_PLACE = "in-place"  # a write to a trainable parameter, or to a tensor that backward needs
    LATE_IMPORT = "late-import"
    COUNTED = "counted"  # a PeftModel is asked for its number of trainable parameters
    NAMED = "named"  # an adapter, by a name that mangles what is saved
    LABEL_NAMES = "label-names"  # a trainer looks for them in the model's signature
    DISTRIBUTED = "distributed"
    OVERRIDE = "override"
    FILTER = "filter"
    END = "end"


class Part(str, Enum):
    """Classes of parameters of a model that code can tell apart by name, shape or type."""

    ADAPTER = "adapter"
    COPY = "copy"  # the trainable copy inside a ModulesToSaveWrapper
    BASE = "base"  # linear weights of the base model
    NORM = "norm"
    EMBED = "embed"
    HEAD = "head"


ALL_PARTS: frozenset[Part] = frozenset(Part)
BASE_PARTS: frozenset[Part] = frozenset({Part.BASE, Part.NORM, Part.EMBED, Part.HEAD})
ADAPTER_PARTS: frozenset[Part] = frozenset({Part.ADAPTER, Part.COPY})


class Quant(str, Enum):
    """How the base model is quantized; the values differ in what libraries do with them."""

    NONE = "none"
    BNB4 = "bnb4"
    BNB8 = "bnb8"
    OTHER = "other"
    UNKNOWN = "unknown"

    @property
    def bnb(self) -> bool:
        """Quantized by bitsandbytes for certain."""
        return self in (Quant.BNB4, Quant.BNB8)


class Mode(str, Enum):
    """Train or eval mode of a module."""

    TRAIN = "train"
    EVAL = "eval"
    LOADED = "loaded"  # as from_pretrained leaves a base model: eval, which peft's new layers do not share
    UNKNOWN = "unknown"


class Graph(str, Enum):
    """Whether a tensor has an autograd graph back to a model."""

    ATTACHED = "attached"
    DETACHED = "detached"
    PLAIN = "plain"  # data: never had a graph
    UNKNOWN = "unknown"


class Cut(str, Enum):
    """What took a tensor's graph away."""

    DETACH = "detach"
    ITEM = "item"
    DATA = "data"
    NUMPY = "numpy"
    REBUILT = "rebuilt"  # torch.tensor(loss): a new leaf
    COMPARED = "compared"  # `scores > 0.5`: truth values have no gradient
    WHOLE = "whole"  # argmax, long(): whole numbers have no gradient
    INFERENCE = "inference"  # the library's call for inference: encode(), predict()
    NO_GRAD = "no-grad"  # the forward ran under no_grad or inference_mode


class Verb(str, Enum):
    """The effects an API spec may have."""

    EMIT = "emit"
    SET = "set"
    RETURN = "return"
    HAVOC = "havoc"
    CALL = "call"
    LINK = "link"
