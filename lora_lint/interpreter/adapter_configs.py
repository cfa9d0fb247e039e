"""The configs of the adapters in a model, as a PeftModel gives them: `model.peft_config["default"]`."""

from __future__ import annotations

from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import Const, DictVal, Sym, Value
from lora_lint.lifecycle.heap import Adapter, Obj, UnknownName
from lora_lint.lifecycle.vocabulary import Kind, Tri

_TYPE = "peft.PeftConfig"


def by_name(run: Run, inputs: list[Value]) -> Value:
    """The configs by the names of the adapters."""
    model = inputs[0]
    if not isinstance(model, Obj):
        return DictVal({}, open=True)
    state = model.model
    table: DictVal = model.root.facts.setdefault("configs-by-name", DictVal({}))  # one dict, whenever it is read
    table.items = {_key(adapter): _config(run, model, adapter) for adapter in state.adapters}
    table.open = not state.adapters_known or state.escaped or state.saved_adapter is not Tri.NO
    return table


def active_name(run: Run, inputs: list[Value]) -> Value:
    """The name of the active adapter, where there is one that is known."""
    adapter = _active(inputs[0])
    if adapter is not None and isinstance(adapter.name, str):
        return Const(adapter.name)
    return _unknown(inputs[0], "active_adapter")


def of_active(run: Run, inputs: list[Value]) -> Value:
    """The config of the active adapter."""
    adapter = _active(inputs[0])
    return _config(run, inputs[0], adapter) if adapter is not None else _unknown(inputs[0], "active_peft_config")


def _unknown(model: Value, name: str) -> Sym:
    return Sym(("attr", ("obj", getattr(model, "site", None)), name), name)


def _active(model: Value) -> Adapter | None:
    state = model.model if isinstance(model, Obj) else None
    if state is None or not state.adapters_known or state.escaped:
        return None
    on = [adapter for adapter in state.adapters if not adapter.active.no]
    return on[0] if len(on) == 1 and on[0].active.yes else None


def _key(adapter: Adapter) -> object:
    return ("unknown", adapter.name.key) if isinstance(adapter.name, UnknownName) else adapter.name


def _config(run: Run, model: Obj, adapter: Adapter) -> Obj:
    """The config that an adapter was made of. That of a saved one is what the call that loaded it says: for inference, unless
    it is to be trained."""
    if adapter.config is not None:
        return adapter.config
    made: dict[int, Obj] = model.root.facts.setdefault("configs", {})
    if id(adapter) not in made:
        told = adapter.event.args.get("inference", Tri.UNKNOWN)
        facts = {"loaded": True, "inference": Const("saved" if told.yes else False) if told.known else told}
        made[id(adapter)] = Obj(Kind.ADAPTER_CONFIG, _TYPE, adapter.event.location, facts=facts)
    return made[id(adapter)]
