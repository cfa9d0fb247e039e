"""What an unknown value shows itself to be, by the methods that are called on it and by what the user calls it."""

from __future__ import annotations

from lora_lint.interpreter.describe import variable
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Sym
from lora_lint.lifecycle.heap import Obj, havoc
from lora_lint.lifecycle.vocabulary import Ev, Kind
from lora_lint.syntax import ir

MODULE_TYPE = "torch.nn.Module"

# Methods by which an unknown value shows what it is. Only names that nothing else has.
_MODEL_METHODS = frozenset(
    [
        "parameters",
        "named_parameters",
        "named_modules",
        "gradient_checkpointing_enable",
        "enable_input_require_grads",
        "merge_and_unload",
        "print_trainable_parameters",
        "train",
        "eval",
        "load_adapter",
        "set_adapter",
        "disable_adapter",
        "resize_token_embeddings",
    ]
)
# (part of the user's name for it, methods, what it is then)
_SHOWN: tuple[tuple[str, frozenset[str], Kind, str], ...] = (
    (
        "accelerator",
        frozenset({"accumulate", "backward", "prepare", "unwrap_model", "clip_grad_norm_"}),
        Kind.ACCELERATOR,
        "accelerate.Accelerator",
    ),
    ("scaler", frozenset({"scale", "unscale_", "step", "update"}), Kind.SCALER, "torch.amp.GradScaler"),
    ("opt", frozenset({"step", "zero_grad"}), Kind.OPTIMIZER, "torch.optim.Optimizer"),
    ("", _MODEL_METHODS, Kind.MODEL, MODULE_TYPE),
)
# Parts of what people call models. Tensors have `requires_grad_` too.
_MODEL_WORDS = ("model", "net", "tower", "encoder", "decoder", "unet", "vae", "module", "lm", "backbone")


def shown(receiver: Sym, name: str) -> tuple[Kind, str] | None:
    """What a method call, with what the user calls the receiver, shows an unknown value to be."""
    text = receiver.text.lower()
    for word, methods, kind, type_name in _SHOWN:
        if word in text and name in methods:
            return kind, type_name
    if name == "requires_grad_" and any(word in text for word in _MODEL_WORDS):
        return Kind.MODEL, MODULE_TYPE
    return None


def promote(run: Run, value: Sym, kind: Kind, type_name: str, expr: ir.Expr | None) -> Obj:
    """Turn an unknown value into the object its use shows it to be; everything about its state stays unknown."""
    if value.obj is None:
        obj = Obj(kind, type_name, name=value.text or variable(expr))
        obj.facts["promoted"] = True
        obj.attrs.update({k: v for k, v in value.attrs.items() if not k.startswith("[")})
        if kind is Kind.MODEL:
            event = run.emit(Ev.CALL, expr)
            havoc(obj, event)
            obj.model.escaped = False
        run.trace.objects.append(obj)
        value.obj = obj
        run.promoted.append(value)
    return value.obj
