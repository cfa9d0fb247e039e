"""Idioms of functions, loops and hooks: a bug is found through each of them, and nothing in the program without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interpreter.idioms import LIGHTNING, LOOP, TRAIN, check

IDIOMS = {
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
    "pattern of a shell (LL103)": """
from fnmatch import fnmatch
model = adapt(load())
for name, parameter in model.named_parameters():
    if fnmatch(name, "*layers*"): #-
    if not fnmatch(name, "*lora_*"): #+
        parameter.requires_grad = False
"""
    + TRAIN,
    "gradients of the groups of an optimizer (LL302)": """
model = adapt(load())
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
def clear():
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None
model.train()
for batch in load_rows():
    model(**batch).loss.backward()
    clear() #-
    optimizer.step()
    clear() #+
""",
    "settings of a config that are not known (LL301)": """
model = load()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4) #-
model = get_peft_model(model, LoraConfig(**load_settings()))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4) #+
model.train()
for batch in load_rows():
    model(**batch).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
""",
    "attributes of a function (LL103)": """
def hook(function):
    hook.known.append(function)
    return function
hook.known = []
@hook
def prepare(model):
    freeze(model) #-
    print(hook.__name__)
model = adapt(load())
for each in hook.known:
    each(model)
"""
    + TRAIN,
    "hook of an optimizer's step (LL302)": """
model = adapt(load())
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: optimizer.zero_grad()) #-
optimizer.register_step_post_hook(lambda optimizer, args, kwargs: optimizer.zero_grad()) #+
model.train()
for batch in load_rows():
    model(**batch).loss.backward()
    optimizer.step()
""",
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


@pytest.mark.parametrize("name", IDIOMS)
def test_a_bug_is_found_through_an_idiom(name: str, tmp_path: Path) -> None:
    """What the name says is found, and only that."""
    check(name, IDIOMS[name], tmp_path)
