"""The names an effect of an API spec can refer to."""

from __future__ import annotations

from lora_lint.apis.spec import CallSpec
from lora_lint.interpreter.arguments import Bindings
from lora_lint.interpreter.values import Const, LibRef, Scope, Sym, Value
from lora_lint.lifecycle.heap import Obj


class Unset:
    """The value of a parameter that was not given."""


UNSET = Unset()


class Env:
    """Names an effect can refer to: bound parameters, self, class, and what `new` and `as` bound."""

    def __init__(
        self, spec: CallSpec, bindings: Bindings, receiver: Value, class_name: str, existing: Obj | None
    ) -> None:
        self.values: dict[str, Value] = dict(bindings.values)
        self.exprs = bindings.exprs
        self.maybe = bindings.maybe
        self.given = set(bindings.values)
        self.existing = existing
        self.scope: Scope | None = None  # where the call stands
        for name, value in spec.defaults.items():
            if name not in self.values and name not in self.maybe:
                self.values[name] = Const(value)
        if receiver is not None:
            self.values["self"] = receiver
        self.values["class"] = LibRef(class_name)

    def get(self, name: str) -> Value:
        """The value of a name, UNSET when it was not given, an unknown when it may have been."""
        if name in self.values:
            return self.values[name]
        return Sym(("maybe", name), name) if name in self.maybe else UNSET
