"""Fixes of programs in which something happens on the wrong side of a wrapper for several processes."""

from __future__ import annotations

from lora_lint.checks.common import order_sites, variable_of
from lora_lint.findings import Applicability, FixPlan, Intent, MoveStatement, Postpone, Rename, ReplaceText
from lora_lint.lifecycle.heap import Obj
from lora_lint.lifecycle.trace import Entered, Event, Trace
from lora_lint.lifecycle.vocabulary import Ev, Kind
from lora_lint.location import Location


def wrapper_of(model: Obj | None) -> bool:
    """Whether a reference to a model is a wrapper for several processes, or goes through one."""
    here = model
    while here is not None and not is_wrapper(here):
        here = here.wraps or here.parent
    return here is not None


def is_wrapper(view: Obj) -> bool:
    """Whether an object is a wrapper for several processes itself."""
    return view.wraps is not None and view.event is not None and view.event.kind is Ev.WRAP


def wrap_later(wrap: Event, injection: Event, trace: Trace) -> FixPlan | None:
    """Wrap after the injection, which then gets what the wrapper held."""
    view, sites = _view(wrap, trace), order_sites(wrap, injection)
    if view is None or not view.name or sites is None or sites[0] != wrap.statement or "trainer" in injection.roles:
        return None
    inner = _inside(wrap)
    text, span = variable_of(injection, "model"), injection.args.get("spans", {}).get("model")
    if wrap.chain != injection.chain:
        if not wrapper_of(injection.model):
            return None  # a helper that looks inside the wrapper
        text = view.name
    if text:
        given: Intent = Rename(sites[1], ((text, inner or view.name),), needed=text)
    elif span is not None:
        given = ReplaceText(span, inner or view.name)
    else:
        return None
    later = _later(wrap, inner, sites[1])
    return FixPlan(Applicability.UNSAFE, "wrap the model after the injection", (given, *later)) if later else None


def _view(wrap: Event, trace: Trace) -> Obj | None:
    """The wrapper that an event made."""
    return next((o for o in trace.made(Kind.MODEL) if o.event is wrap and o.wraps is not None), None)


def _inside(wrap: Event) -> str:
    """The variable of what was wrapped, "" when it was made in the call."""
    name = variable_of(wrap, "model")
    return name or (wrap.model.name if wrap.model is not None and "accelerator" in wrap.roles else "")


def _later(wrap: Event, inner: str, anchor: Location) -> tuple[Intent, ...]:
    """What wraps a model after a statement; nothing when it cannot be said."""
    argument = wrap.args.get("spans", {}).get("model")
    if inner and wrap.statement is not None:
        passed = Rename(wrap.statement, ((inner, inner),), needed=inner)
        return (passed, MoveStatement(wrap.statement, anchor, after=True))
    return (Postpone(wrap.location, argument, anchor),) if argument is not None else ()


def decide_first(change: Event, wrap: Event, trace: Trace) -> FixPlan | None:
    """Change what trains before the wrap, on what is wrapped then."""
    view, sites = _view(wrap, trace), order_sites(change, wrap)
    if view is None or not view.name or sites is None or sites[1] != wrap.statement:
        return None
    inner = _inside(wrap)
    name = view.name if wrapper_of(change.model) else f"{view.name}.module"
    given = Rename(sites[0], ((name, inner or view.name),), needed=name)
    later = (MoveStatement(*sites, after=False),) if inner else _later(wrap, inner, sites[0])
    return FixPlan(Applicability.UNSAFE, "change requires_grad before the wrap", (given, *later)) if later else None


def around(forward: Event) -> Entered | None:
    """The call of the user's module in which a forward ran."""
    call = forward.args.get("entered")
    return call if isinstance(call, Entered) else None


def entered(forward: Event, wrap: Event) -> Entered | None:
    """The call of the user's module around a forward, when it is the module that was wrapped."""
    call = around(forward)
    return call if call is not None and wrap in call.module.model.wraps else None


def call_wrapper(forward: Event, wrap: Event, trace: Trace) -> FixPlan | None:
    """Call the wrapper by the name it has in the function of the forward."""
    view = _view(wrap, trace)
    call = entered(forward, wrap)
    if view is None or (call is None and around(forward) is not None):
        return None
    span = call.called if call is not None else forward.args.get("spans", {}).get("model")
    name = call.name if call is not None else variable_of(forward, "model")
    model = call.module if call is not None else forward.model
    here = (call or forward).chain == wrap.chain
    wrapper = view.name if here else _beside(name, model, view, trace) or name.removesuffix(".module")
    if span is None or not wrapper or wrapper == name:
        return None
    return FixPlan(Applicability.UNSAFE, "call the wrapped model", (ReplaceText(span, wrapper),))


def _beside(name: str, model: Obj | None, view: Obj, trace: Trace) -> str:
    """The name of a wrapper that is an attribute of the same object as the model inside it: `self.ddp` for `self.net`."""
    owner, _, attribute = name.rpartition(".")
    for obj in trace.objects:
        held = obj.attrs.get(attribute)
        if owner and isinstance(held, Obj) and model is not None and held.root is model.root:
            found = next((key for key, value in obj.attrs.items() if value is view), "")
            if found:
                return f"{owner}.{found}"
    return ""
