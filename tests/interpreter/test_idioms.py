"""Idioms of Python that programs are wired with: a bug is found through each of them, and nothing in the program without it.

Lines that end in `#-` are the bug's, lines that end in `#+` stand in the healthy program instead.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.examples import analyse_texts

HEAD = """
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback
import torch

def load():
    return AutoModelForCausalLM.from_pretrained("Qwen/Qwen2.5-0.5B")

def adapt(model):
    return get_peft_model(model, LoraConfig(r=8, target_modules=["q_proj"], task_type="CAUSAL_LM"))

def freeze(model):
    for parameter in model.parameters():
        parameter.requires_grad = False
"""
TRAIN = "\nTrainer(model=model, train_dataset=load_rows()).train()\n"
LOOP = """
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
model.train()
for batch in load_rows():
    loss = compute(model, batch)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
"""
LIGHTNING = """
import lightning as L
class Tuner(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = adapt(load())
    def training_step(self, batch, index):
        return self.model(**batch).loss
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-4)
"""

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
    "parameters of several models, chained (LL103)": """
from itertools import chain
model = adapt(load())
others = [torch.nn.Linear(2, 2), model] #-
others = [torch.nn.Linear(2, 2)] #+
for parameter in chain.from_iterable(other.parameters() for other in others):
    parameter.requires_grad = False
"""
    + TRAIN,
    "functions of several lists, chained (LL103)": """
from itertools import chain
model = load()
early, late = [freeze], [adapt] #+
early, late = [adapt], [freeze] #-
for step in chain(early, late):
    model = step(model) or model
"""
    + TRAIN,
    "starmap (LL103)": """
from itertools import starmap
model = adapt(load())
def handle(name, parameter):
    if "lora_" in name: #+
        return name #+
    parameter.requires_grad_(False)
    return name
names = list(starmap(handle, model.named_parameters()))
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
    "decorator that is a class (LL105)": """
class Logged:
    def __init__(self, function):
        self.function = function
    def __call__(self, *args):
        return self.function(*args, is_trainable=False) #-
        return self.function(*args, is_trainable=True) #+
@Logged
def resume(base, is_trainable):
    return PeftModel.from_pretrained(base, "out", is_trainable=is_trainable)
model = resume(load())
"""
    + TRAIN,
    "context manager as a decorator (LL203)": """
from contextlib import ContextDecorator
class quiet(ContextDecorator):
    def __enter__(self):
        self.before = torch.is_grad_enabled()
        torch.set_grad_enabled(False)
    def __exit__(self, *exc):
        torch.set_grad_enabled(self.before)
@quiet() #-
def compute(model, batch):
    return model(**batch).loss
model = adapt(load())
"""
    + LOOP,
    "generator as a decorator (LL203)": """
from contextlib import contextmanager
@contextmanager
def quiet():
    with torch.no_grad():
        yield
@quiet() #-
def compute(model, batch):
    return model(**batch).loss
model = adapt(load())
"""
    + LOOP,
    "loss function of a Trainer (LL201)": """
def compute(outputs, labels, num_items_in_batch=None):
    loss = torch.nn.functional.cross_entropy(outputs.logits.flatten(0, 1), labels.flatten())
    return loss.detach() #-
    return loss #+
model = adapt(load())
Trainer(model=model, train_dataset=load_rows(), compute_loss_func=compute).train()
""",
    "callback before the step of a Trainer (LL302)": """
class Clear(TrainerCallback):
    def on_pre_optimizer_step(self, args, state, control, model=None, **given): #-
    def on_optimizer_step(self, args, state, control, model=None, **given): #+
        model.zero_grad()
class Own(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        return model(**inputs).loss
Own(model=adapt(load()), train_dataset=load_rows(), callbacks=[Clear()]).train()
""",
    "callback of Lightning (LL302)": LIGHTNING
    + """
class Clear(L.Callback):
    def on_after_backward(self, trainer, module): #-
    def on_train_batch_end(self, trainer, module, *given): #+
        module.zero_grad()
L.Trainer(callbacks=[Clear()]).fit(Tuner(), load_rows())
""",
    "hook of Lightning before the step (LL302)": LIGHTNING
    + """
class Clearing(Tuner):
    def on_before_optimizer_step(self, optimizer):
        optimizer.zero_grad() #-
        print(optimizer)
L.Trainer().fit(Clearing(), load_rows())
""",
}


def program(text: str, drop: str) -> str:
    """One of the two programs in a text: without the lines of the other, and without the marks."""
    lines = [line for line in text.splitlines() if not line.endswith(drop)]
    return HEAD + "\n".join(re.sub(r" #[-+]$", "", line) for line in lines) + "\n"


@pytest.mark.parametrize("name", IDIOMS)
def test_a_bug_is_found_through_an_idiom(name: str, tmp_path: Path) -> None:
    """The code in the name is found where the bug is, and nothing where it is not."""
    code = name.rpartition("(")[2].rstrip(")")
    for drop, expected in (("#+", {code}), ("#-", set())):
        found = analyse_texts({"train.py": program(IDIOMS[name], drop)}, {}, tmp_path)
        assert {finding.code for finding in found} == expected, drop
