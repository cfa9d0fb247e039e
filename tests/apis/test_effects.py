"""What specs say a call does, against what it does to a tiny model on the CPU.

Each snippet is interpreted and then run for real; the state that both end in must be the same.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_lint.lifecycle.heap import Obj, trainable
from lora_lint.lifecycle.vocabulary import Ev, Kind, Mode, Part, Tri
from tests.apis.static import STORE, follow

pytestmark = [pytest.mark.torch, pytest.mark.slow]

START = """\
import torch
from peft import LoraConfig, PeftModel, get_peft_model, inject_adapter_in_model
from peft import prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained({path!r})
config = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
"""

SNIPPETS = {
    "loaded": "",
    "train": "model.train()",
    "eval": "model.train()\nmodel.eval()",
    "freeze": "model.requires_grad_(False)",
    "freeze loop": "for p in model.parameters():\n    p.requires_grad = False",
    "inject": "model = get_peft_model(model, config)",
    "inject, result dropped": "get_peft_model(model, config)",
    "inject in place": "model = inject_adapter_in_model(config, model)",
    "add_adapter": "model.add_adapter(config)",
    "inference config": "config.inference_mode = True\nmodel = get_peft_model(model, config)",
    "freeze before": "model.requires_grad_(False)\nmodel = get_peft_model(model, config)",
    "freeze after": "model = get_peft_model(model, config)\nmodel.requires_grad_(False)",
    "freeze base loop": """\
model = get_peft_model(model, config)
for n, p in model.named_parameters():
    p.requires_grad = 'lora_' in n
""",
    "prepare": "model = prepare_model_for_kbit_training(model)",
    "prepare before": "model = prepare_model_for_kbit_training(model)\nmodel = get_peft_model(model, config)",
    "prepare after": "model = get_peft_model(model, config)\nmodel = prepare_model_for_kbit_training(model)",
    "eval after": "model = get_peft_model(model, config)\nmodel.eval()",
    "saved, loaded": """\
get_peft_model(model, config).save_pretrained({adapter!r})
base = AutoModelForCausalLM.from_pretrained({path!r})
model = PeftModel.from_pretrained(base, {adapter!r})
""",
    "saved, loaded trainable": """\
get_peft_model(model, config).save_pretrained({adapter!r})
base = AutoModelForCausalLM.from_pretrained({path!r})
model = PeftModel.from_pretrained(base, {adapter!r}, is_trainable=True)
""",
    "second adapter": "model = get_peft_model(model, config)\nmodel.add_adapter('other', config)",
    "second adapter active": """\
model = get_peft_model(model, config)
model.add_adapter('other', config)
model.set_adapter('other')
""",
    "merge": "model = get_peft_model(model, config)\nmodel = model.merge_and_unload()",
    "unload": "model = get_peft_model(model, config)\nmodel = model.unload()",
    "hook": "model.enable_input_require_grads()",
    "checkpointing": "model.gradient_checkpointing_enable()",
    "checkpointing off": "model.gradient_checkpointing_enable()\nmodel.gradient_checkpointing_disable()",
    "checkpointing, inject": "model.gradient_checkpointing_enable()\nmodel = get_peft_model(model, config)",
    "zero grad": "model.zero_grad()",
    "cast": "model = model.to(torch.bfloat16)",
    "compile": "model = torch.compile(get_peft_model(model, config))",
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a causal model with two layers."""
    pytest.importorskip("peft")
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny")
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=32, num_key_value_heads=2, **shape)).save_pretrained(folder)
    return str(folder)


def _run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        exec(compile(code, "script.py", "exec"), names)
    return names


def _installed() -> dict[str, str]:
    found = {}
    for library in ("torch", "transformers", "peft", "trl", "accelerate"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[library] = "==" + importlib.metadata.version(library).split("+")[0]
    return found


def _answer(flags: list[bool]) -> str:
    return "-" if not flags else "all" if all(flags) else "some" if any(flags) else "none"


def _real_state(model: Any) -> dict[str, object]:
    """The facets of a live model, in the words of `_predicted_state`."""
    inner = getattr(model, "base_model", model)
    inner = getattr(inner, "model", inner) if hasattr(model, "peft_config") else model
    adapters: dict[str, list[bool]] = {}
    base: list[bool] = []
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            adapters.setdefault(name.split(".lora_")[1].split(".")[1], []).append(parameter.requires_grad)
        elif "_proj" in name:
            base.append(parameter.requires_grad)
    hooked = getattr(inner, "_require_grads_hook", None) or getattr(inner, "_require_grads_hooks", None)
    return {
        "adapters": {name: _answer(flags) for name, flags in adapters.items()},
        "base": _answer(base),
        "training": bool(model.training),
        "checkpointing": bool(getattr(inner, "is_gradient_checkpointing", False)),
        "hooked": bool(hooked),
        "dtype": "bf16" if "bfloat16" in str(next(model.parameters()).dtype) else "fp32",
    }


def _predicted_state(model: Obj, real: dict[str, object]) -> dict[str, object]:
    """The same of the interpreter's model. A facet that it calls unknown agrees with anything."""
    state = model.model
    words = {Tri.YES: "all", Tri.NO: "none"}
    base = next(
        (op.parts[Part.BASE] for op in reversed(state.ops) if Part.BASE in op.parts and op.adapter is None), None
    )
    modes = {Mode.TRAIN: True, Mode.EVAL: False, Mode.LOADED: real["training"]}
    adapters = {str(a.name): words.get(trainable(state, a)[0], "unknown") for a in state.adapters}
    return {
        "adapters": adapters,
        "base": words.get(base, real["base"]) if base is not None else real["base"],
        "training": modes.get(state.mode, real["training"]),
        "checkpointing": state.checkpointing != "off",
        "hooked": real["hooked"] if state.input_grads is Tri.UNKNOWN else state.input_grads.yes,
        "dtype": real["dtype"] if state.dtype in ("unknown", "auto") else state.dtype,
    }


@pytest.mark.parametrize("name", SNIPPETS)
def test_state(name: str, tiny: str, tmp_path: Path) -> None:
    """Trainability of every adapter and of the base, mode, checkpointing, input grads, dtype."""
    code = (START + SNIPPETS[name]).format(path=tiny, adapter=str(tmp_path / "adapter"))
    real = _real_state(_run(code)["model"])
    assert _predicted_state(follow(code, _installed()).object("model"), real) == real


INJECT = "model = get_peft_model(model, config)\n"
LORA = "[p for n, p in model.named_parameters() if 'lora_' in n]"
OPTIMIZERS = {
    "before": ("optimizer = torch.optim.AdamW(model.parameters())\n" + INJECT, False),
    "after": (INJECT + "optimizer = torch.optim.AdamW(model.parameters())", True),
    "filtered": (
        INJECT + "optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)",
        True,
    ),
    "groups": (INJECT + f"optimizer = torch.optim.AdamW([dict(params={LORA})])", True),
    "group added": (
        f"optimizer = torch.optim.AdamW(model.parameters())\n{INJECT}optimizer.add_param_group(dict(params={LORA}))",
        True,
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_holds_the_adapter(name: str, tiny: str) -> None:
    """Which parameters an optimizer holds is decided when it gets them."""
    text, holds = OPTIMIZERS[name]
    code = (START + text).format(path=tiny, adapter="")
    names = _run(code)
    lora = {id(p) for n, p in names["model"].named_parameters() if "lora_" in n}
    held = {id(p) for group in names["optimizer"].param_groups for p in group["params"]}
    assert lora.issubset(held) is holds
    seen = follow(code, _installed())
    optimizer = seen.object("optimizer", Kind.OPTIMIZER)
    (adapter,) = seen.object("model").model.adapters
    answers = [capture.holds(adapter) for capture in optimizer.facts["captures"]]
    assert (Tri.YES in answers) is holds
    assert Tri.UNKNOWN not in answers


PLAIN = """\
from transformers import Trainer, TrainingArguments
model = get_peft_model(model, config)
args = TrainingArguments({out!r}, use_cpu=True, max_steps=1, report_to=[], gradient_checkpointing=CHECKPOINTING)
trainer = Trainer(model=model, args=args, train_dataset=rows)
trainer.train()
"""
TRAINERS = {
    "plain trainer": PLAIN.replace("CHECKPOINTING", "False"),
    "with checkpointing": PLAIN.replace("CHECKPOINTING", "True"),
    "trl injects": """\
from trl import SFTConfig, SFTTrainer
args = SFTConfig({out!r}, use_cpu=True, bf16=False, max_steps=1, report_to=[])
trainer = SFTTrainer(model=model, args=args, train_dataset=rows, processing_class=tokenizer, peft_config=config)
trainer.train()
""",
    "trl gets a PeftModel": """\
from trl import SFTConfig, SFTTrainer
model = get_peft_model(model, config)
args = SFTConfig({out!r}, use_cpu=True, bf16=False, max_steps=1, report_to=[], gradient_checkpointing=False)
trainer = SFTTrainer(model=model, args=args, train_dataset=rows, processing_class=tokenizer)
trainer.train()
""",
}
DATA = """\
from datasets import Dataset
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
words = models.WordLevel(dict(pad=0, eos=1, a=2, b=3), "a")
tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), pad_token="pad", eos_token="eos")
ids = [[2, 3, 2, 1]] * 4
rows = Dataset.from_dict(dict(input_ids=ids, labels=ids, attention_mask=[[1, 1, 1, 1]] * 4))
"""


@pytest.mark.parametrize("name", TRAINERS)
def test_trainer(name: str, tiny: str, tmp_path: Path) -> None:
    """What a trainer makes of its model: what is injected, trainable, checkpointed, in train mode."""
    pytest.importorskip("trl")
    pytest.importorskip("datasets")
    code = (START + DATA + TRAINERS[name]).format(path=tiny, out=str(tmp_path / "out"))
    real = _real_state(_run(code)["trainer"].model)
    trainer = follow(code, _installed()).object("trainer", Kind.TRAINER)
    assert _predicted_state(trainer.attrs["model"], real) == real


def test_lightning_calls_its_hooks_in_our_order(tmp_path: Path) -> None:
    """The order of the hooks that the protocol of a LightningModule runs, held against Lightning itself."""
    lightning = pytest.importorskip("lightning")
    torch = pytest.importorskip("torch")
    protocol = STORE.protocol("lightning.LightningModule")
    ours = [(e.fields["on"].name, str(e.fields["method"])) for e in protocol if e.verb == "on"]
    called: list[tuple[str, str]] = []

    def record(owner: str, method: str, result: Any = None) -> Any:
        def hook(self: Any, *arguments: Any, **named: Any) -> Any:
            called.append((owner, method))
            return result(self) if callable(result) else result

        return hook

    def loader(self: Any) -> Any:
        return torch.utils.data.DataLoader([torch.ones(2)] * 2)

    special = {
        "configure_optimizers": lambda self: torch.optim.SGD(self.parameters(), lr=0.1),
        "training_step": lambda self: self.layer(torch.ones(2)).sum(),
        "train_dataloader": loader,
        "val_dataloader": loader,
    }
    module_names = {m for owner, m in ours if owner == "self" and not m.endswith("_dataloader")}
    hooks = {m: record("self", m, special.get(m)) for m in module_names}
    hooks["validation_step"] = lambda self, batch, index: None

    def start(self: Any) -> None:
        lightning.LightningModule.__init__(self)
        self.layer = torch.nn.Linear(2, 1)

    module = type("Module", (lightning.LightningModule,), {**hooks, "__init__": start})()
    data_names = {m for owner, m in ours if owner == "datamodule"}
    data = type(
        "Data", (lightning.LightningDataModule,), {m: record("datamodule", m, special.get(m)) for m in data_names}
    )()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lightning.Trainer(
            accelerator="cpu",
            max_epochs=1,
            limit_train_batches=1,
            limit_val_batches=1,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        ).fit(module, datamodule=data)
    assert list(dict.fromkeys(called)) == list(dict.fromkeys(one for one in ours if one in called))
    assert set(called) >= {
        ("self", "configure_optimizers"),
        ("self", "training_step"),
        ("datamodule", "train_dataloader"),
    }


def test_accelerate_gives_back_what_it_gets() -> None:
    """prepare(): one object for one, a tuple for several, in their order."""
    accelerate = pytest.importorskip("accelerate")
    torch = pytest.importorskip("torch")
    accelerator = accelerate.Accelerator(cpu=True)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert isinstance(accelerator.prepare(model), torch.nn.Module)
    several = accelerator.prepare(optimizer, model)
    assert isinstance(several, tuple)
    assert isinstance(several[1], torch.nn.Module)
    held = {id(p) for group in several[0].param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters()}


@pytest.fixture(autouse=True)
def _few_threads() -> Iterator[None]:
    """Tiny models are slower on many threads."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_every_snippet_is_followed() -> None:
    """The interpreter loses no object of the snippets."""
    for text in (*SNIPPETS.values(), *(text for text, _ in OPTIMIZERS.values())):
        seen = follow((START + text).format(path="p", adapter="a"))
        assert not seen.of(Ev.CALL), text
