"""Idioms of classes and containers: a bug is found through each of them, and nothing in the program without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interpreter.idioms import TRAIN, check

IDIOMS = {
    "named tuple made by a call (LL103)": """
from collections import namedtuple
Parts = namedtuple("Parts", "model config")
def build():
    model = load()
    freeze(model) #+
    model = adapt(model)
    freeze(model) #-
    return Parts(model, config=None)
model, _ = build()
"""
    + TRAIN,
    "typed dict (LL103)": """
from typing import TypedDict
class State(TypedDict):
    model: object
state = State(model=adapt(load()))
freeze(state["model"]) #-
model = state["model"]
"""
    + TRAIN,
    "chain map (LL105)": """
from collections import ChainMap
options = ChainMap({"path": "out"}, {"path": "old", "is_trainable": False}) #-
options = ChainMap({"path": "out"}, {"path": "old", "is_trainable": True}) #+
model = PeftModel.from_pretrained(load(), options["path"], is_trainable=options["is_trainable"])
"""
    + TRAIN,
    "bases in the order of Python (LL103)": """
class Base:
    def build(self):
        self.model = load()
class Common(Base):
    pass
class Adapted(Common):
    def build(self):
        super().build()
        self.model = adapt(self.model)
class Other(Base):
    def build(self):
        super().build()
        freeze(self.model)
class Frozen(Common):
    def build(self):
        super().build()
        freeze(self.model)
class Job(Frozen, Adapted): #-
class Job(Adapted, Other): #+
    pass
job = Job()
job.build()
model = job.model
"""
    + TRAIN,
    "item access of a user's class (LL103)": """
class Zoo:
    def __init__(self):
        self.held = {}
    def __setitem__(self, name, value):
        self.held[name] = value
    def __getitem__(self, name):
        return self.held[name]
zoo = Zoo()
zoo["base"] = adapt(load())
freeze(zoo["base"]) #-
model = zoo["base"]
"""
    + TRAIN,
    "attributes through __dict__ (LL103)": """
class State:
    def __init__(self, **given):
        self.__dict__.update(given)
state = State(model=adapt(load()))
freeze(state.model) #-
vars(state)["trained"] = state.model
model = state.trained
"""
    + TRAIN,
    "globals by name (LL105)": """
def load_old(base):
    return PeftModel.from_pretrained(base, "out") #-
    return PeftModel.from_pretrained(base, "out", is_trainable=True) #+
model = globals()["load_old"](load())
"""
    + TRAIN,
    "lazy descriptor (LL103)": """
class Lazy:
    def __init__(self, function):
        self.function = function
    def __set_name__(self, owner, name):
        self.name = name
    def __get__(self, job, owner=None):
        job.__dict__[self.name] = value = self.function(job)
        return value
class Job:
    @Lazy
    def base(self):
        return load()
    @Lazy
    def model(self):
        return adapt(self.base)
job = Job()
freeze(job.base) #+
model = job.model
freeze(job.base) #-
"""
    + TRAIN,
    "descriptor that stores (LL103)": """
class Checked:
    def __set__(self, owner, value):
        print("set")
        freeze(value) #-
        owner.kept = value
    def __get__(self, owner, cls=None):
        return owner.kept
class Job:
    model = Checked()
job = Job()
job.model = adapt(load())
model = job.model
"""
    + TRAIN,
    "dict whose items are attributes (LL105)": """
class Options(dict):
    __getattr__ = dict.__getitem__
options = Options(path="out", trainable=False) #-
options = Options(path="out", trainable=True) #+
model = PeftModel.from_pretrained(load(), options.path, is_trainable=options.trainable)
"""
    + TRAIN,
    "dict that is its own attributes (LL103)": """
class State(dict):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.__dict__ = self
state = State(model=adapt(load()))
freeze(state.model) #-
model = state["model"]
"""
    + TRAIN,
    "object that is taken apart (LL301)": """
class Parts:
    def __init__(self, model):
        self.optimizer = torch.optim.AdamW(model.parameters()) #-
        self.model = adapt(model)
        self.optimizer = torch.optim.AdamW(self.model.parameters()) #+
    def __iter__(self):
        yield self.model
        yield self.optimizer
def train(model, optimizer):
    model.train()
    for batch in load_rows():
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
train(*Parts(load()))
""",
    "object that is gone over (LL103)": """
class Steps:
    def __init__(self, *steps):
        self.steps = steps
    def __iter__(self):
        return iter(self.steps)
model = load()
for step in Steps(adapt, freeze): #-
for step in Steps(freeze, adapt): #+
    model = step(model) or model
"""
    + TRAIN,
    "members that are counted (LL302)": """
from enum import Enum, auto
class Act(Enum):
    BACKWARD = auto()
    CLEAR = auto()
    STEP = auto()
ORDER = [Act.BACKWARD, Act.CLEAR, Act.STEP] #-
ORDER = [Act.BACKWARD, Act.STEP, Act.CLEAR] #+
model = adapt(load())
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
model.train()
for batch in load_rows():
    loss = model(**batch).loss
    for act in ORDER:
        match act:
            case Act.BACKWARD:
                loss.backward()
            case Act.CLEAR:
                optimizer.zero_grad()
            case Act.STEP:
                optimizer.step()
""",
    "one instance for all (LL301)": """
class Context:
    only = None
    def __new__(cls):
        if cls.only is None:
            cls.only = super().__new__(cls)
        return cls.only
Context().model = load()
Context().optimizer = torch.optim.AdamW(Context().model.parameters()) #-
Context().model = adapt(Context().model)
Context().optimizer = torch.optim.AdamW(Context().model.parameters()) #+
model, optimizer = Context().model, Context().optimizer
model.train()
for batch in load_rows():
    model(**batch).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
""",
    "attributes past __setattr__ (LL103)": """
class Frozen:
    def __init__(self, model):
        object.__setattr__(self, "inner", model)
    def __getattr__(self, name):
        return getattr(object.__getattribute__(self, "inner"), name)
model = adapt(load())
Frozen(model).requires_grad_(False) #-
"""
    + TRAIN,
    "table with one of two keys (LL105)": """
import os
LOADERS = {
    "new": lambda base: adapt(base),
    "old": lambda base: PeftModel.from_pretrained(base, "out"), #-
    "old": lambda base: PeftModel.from_pretrained(base, "out", is_trainable=True), #+
}
model = LOADERS["old" if os.environ.get("RESUME") else "new"](load())
"""
    + TRAIN,
}


@pytest.mark.parametrize("name", IDIOMS)
def test_a_bug_is_found_through_an_idiom(name: str, tmp_path: Path) -> None:
    """What the name says is found, and only that."""
    check(name, IDIOMS[name], tmp_path)
