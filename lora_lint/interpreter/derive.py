"""Facts that specs derive from argument values: a closed list of small functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lora_lint.apis.tables import architectures
from lora_lint.interpreter import adapter_configs, conditions, config_files, elements, special_tokens
from lora_lint.interpreter.containers import device_of
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Choice, Const, DictVal, LibRef, SeqVal, Setting, Sym, Value, default_text
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Event, Tensor
from lora_lint.lifecycle.vocabulary import Graph, Kind, Mode, Quant, Tri
from lora_lint.syntax import ir


def derive(run: Run, function: str, inputs: list[Value], node: ir.Node) -> Any:
    """The fact `function` of these values; a value that was not given is specs.UNSET."""
    return _FUNCTIONS[function](run, inputs)


def _unset(value: Value) -> bool:
    return type(value).__name__ == "Unset"


def _absent(value: Value) -> bool:
    return _unset(value) or (isinstance(value, Const) and value.value is None)


def truth_of(run: Run, value: Value) -> Tri:
    """Truth of an argument: not given means no."""
    if _unset(value):
        return Tri.NO
    return value if isinstance(value, Tri) else conditions.truth(run, value)


def _quantization(run: Run, inputs: list[Value]) -> Quant:
    config = inputs[0]
    if isinstance(config, Sym):
        known = conditions.truth(run, config)
        if not known.no:
            return Quant.UNKNOWN
    if isinstance(config, Choice):
        return Quant.UNKNOWN
    if isinstance(config, Obj):
        found = config.facts.get("quantization", Quant.UNKNOWN)
        if isinstance(found, Const):
            found = found.value
        return Quant(found) if isinstance(found, str) else Quant.UNKNOWN
    four, eight = (truth_of(run, v) for v in (*inputs[1:3], Const(False), Const(False))[:2])
    if four.yes:
        return Quant.BNB4
    if eight.yes:
        return Quant.BNB8
    if not four.known or not eight.known:
        return Quant.UNKNOWN
    return Quant.NONE if _absent(config) else Quant.UNKNOWN


_LABELS = ("num_labels", "id2label", "label2id")


def _labels(run: Run, inputs: list[Value]) -> Tri:
    """Whether the config of a model was told of labels, as it was made or later."""
    config = inputs[0]
    if not isinstance(config, Obj):
        return Tri.NO if _unset(config) else Tri.UNKNOWN
    told = config.facts.get("labelled")
    if any(name in config.attrs for name in _LABELS):
        return Tri.YES
    return told if isinstance(told, Tri) else Tri.UNKNOWN


def _device(run: Run, inputs: list[Value]) -> str:
    for value in inputs:
        if not _unset(value):
            found = device_of(value)
            if found != "unknown":
                return found
    return "unknown"


_DTYPES = {
    "float16": "fp16",
    "half": "fp16",
    "bfloat16": "bf16",
    "float32": "fp32",
    "float": "fp32",
    "float64": "fp64",
    "fp16": "fp16",
    "bf16": "bf16",
    "auto": "auto",
}


def _dtype(run: Run, inputs: list[Value]) -> str:
    stack = list(inputs)
    while stack:
        value = stack.pop(0)
        if isinstance(value, LibRef):
            found = _DTYPES.get(value.name.rsplit(".", 1)[-1])
            if found:
                return found
        elif isinstance(value, Const) and isinstance(value.value, str):
            found = _DTYPES.get(value.value.rsplit(".", 1)[-1])
            if found:
                return found
        elif isinstance(value, SeqVal):
            stack.extend(value.items)
    return "unknown"


def _precision(run: Run, inputs: list[Value]) -> str:
    """What autocast computes in: from dtype, device type and enabled. "off" when it is disabled, "unknown" in doubt."""
    dtype, device, enabled = inputs
    answer = truth_of(run, enabled)
    if answer.no:
        return "off"
    if not answer.known:
        return "unknown"
    if _absent(dtype):
        return {"cuda": "fp16", "cpu": "bf16"}.get(_device(run, [device]), "unknown")
    return _dtype(run, [dtype])


def _trainable(run: Run, inputs: list[Value]) -> Tri:
    """Whether an adapter made with this config starts trainable."""
    config = inputs[0]
    if not isinstance(config, Obj):
        return Tri.YES
    inference = config.facts.get("inference", Tri.NO)
    if isinstance(inference, Const):
        if inference.value == "saved":
            return Tri.NO
        inference = conditions.truth(run, inference)
    if isinstance(inference, Tri):
        return Tri.NO if inference.yes else Tri.YES if inference.no else Tri.UNKNOWN
    return conditions.truth(run, inference)


def _inference(run: Run, inputs: list[Value]) -> Tri:
    """Whether a config is for inference. Settings of which nothing is known (`LoraConfig(**settings)`) are those of an adapter
    to be trained: saved configs are read by calls of their own."""
    value = inputs[0]
    return Tri.NO if isinstance(value, Sym) and value.key == ("maybe", "inference_mode") else truth_of(run, value)


def _checkpointing(run: Run, inputs: list[Value]) -> str:
    answer = truth_of(run, inputs[0])
    if answer.no:
        return "off"
    if not answer.known:
        return "unknown"
    kwargs = inputs[1] if len(inputs) > 1 else None
    if kwargs is None or _absent(kwargs):
        return "default"
    if isinstance(kwargs, DictVal) and "use_reentrant" in kwargs.items:
        reentrant = conditions.truth(run, kwargs.items["use_reentrant"])
        return "reentrant" if reentrant.yes else "non-reentrant" if reentrant.no else "unknown"
    return "unknown"


def _checkpointing_hook(run: Run, inputs: list[Value]) -> Tri:
    """Whether checkpointing that is switched on brings a hook that makes the inputs require gradients: reentrant does."""
    kind = _checkpointing(run, inputs)
    return Tri.NO if kind in ("off", "non-reentrant") else Tri.UNKNOWN if kind == "unknown" else Tri.YES


def _workers(run: Run, inputs: list[Value], beyond: int = 0) -> Tri:
    """Whether a number asks for more worker processes than so many."""
    value = inputs[0]
    if _unset(value):
        return Tri.NO
    if isinstance(value, Sym):
        if value.default is not None:
            value = value.default
        else:
            return Tri.UNKNOWN
    if isinstance(value, Const):
        return Tri.of(isinstance(value.value, (int, float)) and value.value > beyond)
    if isinstance(value, Choice):
        counts = [v.value for v in value.values if isinstance(v, Const)]
        return Tri.of(True) if counts and all(isinstance(c, int) and c > beyond for c in counts) else Tri.UNKNOWN
    return Tri.UNKNOWN


def _spawn(run: Run, inputs: list[Value]) -> Tri:
    """Whether the workers are started by spawn or forkserver."""
    value = inputs[0]
    start: Value = value
    if isinstance(value, Obj):
        start = value.facts.get("start", Const(None))
    if _absent(start):
        start = run.process.facts.get("start", Const("fork"))
    if isinstance(start, Const):
        return Tri.of(start.value in ("spawn", "forkserver"))
    if isinstance(start, Choice):
        answers = {_spawn(run, [v]) for v in start.values}
        return Tri.YES if Tri.YES in answers else Tri.UNKNOWN
    return Tri.UNKNOWN


def _mode(run: Run, inputs: list[Value]) -> Any:
    value = inputs[0]
    if isinstance(value, Obj) and value.kind is Kind.MODEL:
        mode = value.model.mode
        key = ("mode", value.root.site)
        return Const(mode is Mode.TRAIN) if mode in (Mode.TRAIN, Mode.EVAL) else Sym(key, "training")
    answer = truth_of(run, value)
    return Mode.TRAIN if answer.yes else Mode.EVAL if answer.no else Mode.UNKNOWN


def _negated(run: Run, inputs: list[Value]) -> Tri:
    answer = truth_of(run, inputs[0])
    return Tri.NO if answer.yes else Tri.YES if answer.no else Tri.UNKNOWN


def _grad_enabled(run: Run, inputs: list[Value]) -> Tri:
    return truth_of(run, inputs[0])


def _adapter(run: Run, inputs: list[Value]) -> object:
    value = inputs[0]
    return value.value if isinstance(value, Const) else None


def _architecture(run: Run, inputs: list[Value]) -> str:
    for value in inputs:
        if isinstance(value, Const) and isinstance(value.value, str):
            return value.value
        if isinstance(value, LibRef):
            return value.name
    return ""


def _certain(value: Value) -> Value:
    """A value that is only the default of an option as an unknown: where much depends on its being something else."""
    return value.symbol if isinstance(value, Setting) and value.by_default else value


def _published_base(run: Run, inputs: list[Value]) -> Tri:
    """Whether a checkpoint is surely a base model; a folder or a repository of the user's may hold an adapter."""
    owner, slash, _ = default_text(inputs[0]).partition("/")
    return Tri.YES if slash and owner in architectures().publishers else Tri.UNKNOWN


def _native(run: Run, inputs: list[Value]) -> Tri:
    """Whether a model holds an adapter that its own library put in (and knows of)."""
    model = inputs[0]
    if not isinstance(model, Obj) or model.kind is not Kind.MODEL:
        return Tri.UNKNOWN
    known = any(adapter.event.args.get("native") for adapter in model.model.adapters)
    return Tri.YES if known else Tri.of(False if model.model.adapters_known else None)


def _graph_free(run: Run, inputs: list[Value]) -> Tri:
    """Whether none of the values is a tensor that may require gradients. Tensors inside of containers do not count: that
    is how torch's checkpoint looks at its inputs."""
    values = inputs[0].items if isinstance(inputs[0], SeqVal) and not inputs[0].open else None
    if values is None:
        return Tri.UNKNOWN
    plain = (Const, SeqVal, DictVal)
    data = [
        isinstance(v, plain)
        or (isinstance(v, Obj) and v.kind is Kind.MODEL)  # its parameters are none of the inputs
        or (isinstance(v, Sym) and v.data)
        or (isinstance(v, Tensor) and v.graph in (Graph.PLAIN, Graph.DETACHED))
        for v in values
    ]
    return Tri.YES if all(data) else Tri.UNKNOWN


def _outputs(run: Run, inputs: list[Value]) -> tuple[Event, ...]:
    """The forwards that gave some of the values, where neither the other values nor what these forwards were given may
    require gradients: it hangs on the modules alone. None in doubt."""
    values = inputs[0].items if isinstance(inputs[0], SeqVal) and not inputs[0].open else []
    events = tuple(dict.fromkeys(e for v in values if isinstance(v, Tensor) for e in v.outputs_of))
    others = [v for v in values if not _made_of(v, events)]
    for event in events:
        taken, named = event.args.get("inputs"), event.args.get("named")
        if not isinstance(taken, SeqVal) or taken.open or not isinstance(named, DictVal) or named.open:
            return ()
        given = [*taken.items, *named.items.values()]
        others += [v for v in given if not _made_of(v, events)]
    return events if _graph_free(run, [SeqVal("list", others)]).yes else ()


def _made_of(value: Value, events: tuple[Event, ...]) -> bool:
    """Whether a value is made of what these forwards gave, and of data alone."""
    made = isinstance(value, Tensor) and value.hack_at is None and not value.masked and bool(value.outputs_of)
    return made and isinstance(value, Tensor) and all(event in events for event in value.outputs_of)


def _row_format(run: Run, inputs: list[Value]) -> Value:
    """What a dataset makes of its rows when they are read. A format that is set on a dataset is not that of copies taken
    before."""
    asked, objects = inputs[0], run.trace.objects
    here = asked if isinstance(asked, Obj) else None
    while here is not None and "row_format" not in here.attrs:
        here = here.wraps
    found = here.attrs["row_format"] if here is not None else None
    if not isinstance(found, Obj) or here is asked:
        return found
    known = isinstance(asked, Obj) and asked in objects and found in objects
    return found if known and objects.index(found) < objects.index(asked) else Const(None)


def is_peft_model(run: Run, model: Obj) -> Tri:
    """Whether this reference to a model is a PeftModel (and not its mutated base)."""
    return is_of_type(run, model, "peft.PeftModel")


def is_of_type(run: Run, model: Obj, type_name: str) -> Tri:
    """Whether an object, or something it wraps, is of a type."""
    here: Obj | None = model
    while here is not None:
        if here.facts.get("promoted"):
            return Tri.UNKNOWN
        if run.store.is_a(here.type, type_name):
            return Tri.YES
        here = here.wraps
    return Tri.NO


def _saved_setting(run: Run, inputs: list[Value]) -> Any:
    """What a file in a folder says of a setting: the folder, the file's name, the setting. "saved": the file is not in the
    project, so the library wrote it. Where the user names the folder, the files of that name in the project tell."""
    data = config_files.in_folder(run, *inputs[:2])
    setting = inputs[2]
    if data is None or not isinstance(setting, Const):
        return Const("saved")
    answer = data.get(str(setting.value))
    return Tri.UNKNOWN if not isinstance(answer, bool) else Tri.NO if not answer else Const("saved")


def _worker(run: Run, inputs: list[Value]) -> Value:
    """What a data loader worker knows of itself; elsewhere it may be None."""
    if "worker" in run.contexts:
        return Obj(Kind.OBJECT, "torch.utils.data.WorkerInfo")
    return Sym(("worker-info",), "get_worker_info()")


_FUNCTIONS: dict[str, Callable[[Run, list[Value]], Any]] = {
    "quantization": _quantization,
    "published-base": _published_base,
    "labels": _labels,
    "device": _device,
    "dtype": _dtype,
    "truth": lambda run, inputs: truth_of(run, inputs[0]),
    "inference": _inference,
    "saved-setting": _saved_setting,
    "trainable": _trainable,
    "checkpointing": _checkpointing,
    "workers": _workers,
    "processes": lambda run, inputs: _workers(run, inputs, beyond=1),
    "spawn": _spawn,
    "mode": _mode,
    "adapter": _adapter,
    "parts": lambda run, inputs: None,
    "architecture": _architecture,
    "certain": lambda run, inputs: None if _unset(inputs[0]) else _certain(inputs[0]),
    "by-default": lambda run, inputs: isinstance(inputs[0], Setting) and inputs[0].by_default,
    "negated": _negated,
    "grad-enabled": _grad_enabled,
    "precision": _precision,
    "prefix": lambda run, inputs: elements.name_prefix(inputs[0]) if isinstance(inputs[0], Obj) else None,
    "native": _native,
    "adapter-configs": adapter_configs.by_name,
    "active-adapter": adapter_configs.active_name,
    "active-adapter-config": adapter_configs.of_active,
    "token": special_tokens.named,
    "special-tokens": special_tokens.all_of,
    "token-and-id": special_tokens.other_form,
    "checkpointing-hook": _checkpointing_hook,
    "path": lambda run, inputs: config_files.joined(inputs),
    "place": lambda run, inputs: config_files.place(inputs[0]),
    "folder": lambda run, inputs: config_files.folder(inputs[0]),
    "graph-free": _graph_free,
    "outputs": _outputs,
    "row-format": _row_format,
    "worker": _worker,
}
