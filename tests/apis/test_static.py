"""What specs make of a script: trainers by version, frameworks that call the user's code, what is passed through."""

from __future__ import annotations

import pytest

from lora_lint.apis.load import Specs, add_specs
from lora_lint.apis.store import ApiStore
from lora_lint.errors import KnowledgeError
from lora_lint.lifecycle.heap import trainable
from lora_lint.lifecycle.vocabulary import Ev, Graph, Kind, Tri
from tests.apis.static import follow

QLORA = """
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from peft import LoraConfig, get_peft_model
model = AutoModelForCausalLM.from_pretrained("m", quantization_config=BitsAndBytesConfig(load_in_8bit=True))
config = LoraConfig(task_type="CAUSAL_LM")
"""
GIVEN = QLORA + "model = get_peft_model(model, config)\n"


def test_outputs_that_a_model_of_the_user_makes() -> None:
    """The loss in a ModelOutput is the user's own: read as an attribute and as an item."""
    code = """
    import torch
    from torch import nn
    from transformers import AutoModel
    from transformers.modeling_outputs import SequenceClassifierOutput

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = AutoModel.from_pretrained("m")
            self.head = nn.Linear(8, 2)

        def forward(self, input_ids, labels):
            logits = self.head(self.encoder(input_ids).last_hidden_state)
            loss = nn.functional.cross_entropy(logits, labels)
            return SequenceClassifierOutput(loss=loss{cut}, logits=logits)

    model = Net()
    output = model(input_ids=torch.ones(1, 2), labels=torch.ones(1))
    output{how}.backward()
    """
    for how in (".loss", '["loss"]'):
        for cut, graph in (("", Graph.ATTACHED), (".detach()", Graph.DETACHED)):
            (backward,) = follow(code.replace("{cut}", cut).replace("{how}", how)).of(Ev.BACKWARD)
            assert backward.args["loss"].graph is graph


def test_an_optimizer_of_peft_holds_the_adapter() -> None:
    code = (
        GIVEN
        + """
import torch
from peft.optimizers import create_loraplus_optimizer
optimizer = create_loraplus_optimizer(model, torch.optim.AdamW, lr=1e-4, loraplus_lr_ratio=16)
"""
    )
    seen = follow(code)
    (adapter,) = seen.object("model").model.adapters
    (capture,) = seen.object("optimizer", Kind.OPTIMIZER).facts["captures"]
    assert capture.holds(adapter) is Tri.YES


def test_a_device_hook_changes_nothing() -> None:
    code = (
        GIVEN
        + """
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
add_hook_to_module(model, AlignDevicesHook("cuda"))
"""
    )
    assert not follow(code).object("model").model.escaped


SECOND = {"DPO": "ref_model=None", "KTO": "ref_model=None", "GRPO": "reward_funcs=score", "RLOO": "reward_funcs=score"}


def _trainer(name: str, more: str = "") -> str:
    given = ", ".join(["model=model", *([SECOND[name]] if name in SECOND else []), "train_dataset=rows"])
    return f"from trl import {name}Trainer\ntrainer = {name}Trainer({given}{more})\ntrainer.train()\n"


@pytest.mark.parametrize(
    ("name", "version", "frozen"),
    [
        ("SFT", "0.19.1", False),
        ("SFT", "0.20.0", True),
        ("SFT", "0.23.0", True),
        ("SFT", "0.23.1", False),
        ("SFT", "1.16.0", False),
        ("GRPO", "0.21.0", False),
        ("GRPO", "0.22.0", True),
        ("RLOO", "0.23.0", True),
        ("Reward", "0.22.2", True),
        ("Reward", "0.24.0", False),
        ("PRM", "0.22.0", True),
        ("OnlineDPO", "0.22.0", True),
        ("DPO", "0.22.2", False),
        ("KTO", "0.22.2", False),
        ("ORPO", "0.22.2", False),
        ("CPO", "0.22.2", False),
        ("BCO", "0.22.2", False),
    ],
)
def test_preparing_again(name: str, version: str, frozen: bool) -> None:
    """A trainer that gets a PeftModel on a k-bit base, by version."""
    seen = follow(GIVEN + _trainer(name), {"trl": f"=={version}"})
    model = seen.object("model")
    (adapter,) = model.model.adapters
    assert trainable(model.model, adapter)[0] is (Tri.NO if frozen else Tri.YES)


@pytest.mark.parametrize(
    ("name", "version", "prepares"),
    [
        ("SFT", "0.25.1", True),
        ("SFT", "0.26.0", False),
        ("DPO", "0.28.0", True),
        ("DPO", "0.29.0", False),
        ("KTO", "1.3.0", True),
        ("KTO", "1.4.0", False),
        ("ORPO", "1.16.0", True),
        ("GRPO", "0.21.0", False),
        ("GRPO", "0.25.1", True),
        ("RLOO", "0.26.2", True),
        ("OnlineDPO", "1.16.0", True),
    ],
)
def test_preparing_before_injecting(name: str, version: str, prepares: bool) -> None:
    """A trainer that gets a k-bit base and peft_config, by version."""
    seen = follow(QLORA + _trainer(name, ", peft_config=config"), {"trl": f"=={version}"})
    assert seen.kinds(Ev.PREPARE, Ev.INJECT) == ["prepare"] * prepares + ["inject"]
    model = seen.object("model")
    assert [trainable(model.model, a)[0] for a in model.model.adapters] == [Tri.YES]


@pytest.mark.parametrize(
    ("name", "version", "injects"),
    [
        ("SFT", "0.19.1", False),
        ("SFT", "0.21.0", True),
        ("SFT", "1.16.0", True),
        ("Reward", "0.21.0", False),
        ("Reward", "0.22.0", True),
        ("DPO", "0.7.2", True),
    ],
)
def test_peft_model_and_peft_config(name: str, version: str, injects: bool) -> None:
    """Ignored, or a second injection over the first."""
    seen = follow(GIVEN + _trainer(name, ", peft_config=config"), {"trl": f"=={version}"})
    assert len(seen.of(Ev.INJECT)) == 1 + injects
    if injects:
        assert seen.of(Ev.INJECT)[-1].args["peft"] is Tri.YES


def test_mutated_base_and_peft_config() -> None:
    """The base that an injection changed in place is no PeftModel."""
    seen = follow(
        QLORA + "wrapped = get_peft_model(model, config)\n" + _trainer("SFT", ", peft_config=config"),
        {"trl": "==1.16.0"},
    )
    assert seen.of(Ev.INJECT)[-1].args["peft"] is Tri.NO


@pytest.mark.parametrize(
    ("version", "code", "hooked"),
    [
        ("0.21.0", "", Tri.NO),
        ("0.22.0", "", Tri.YES),
        ("0.21.0", ", args=SFTConfig(gradient_checkpointing=True)", Tri.YES),
        ("1.16.0", ", args=SFTConfig(gradient_checkpointing=False)", Tri.NO),
    ],
)
def test_checkpointing_is_on_by_default(version: str, code: str, hooked: Tri) -> None:
    """From trl 0.22 on; the trainer then makes the inputs require gradients."""
    text = "from trl import SFTConfig\n" + QLORA + _trainer("SFT", ", peft_config=config" + code)
    seen = follow(text, {"trl": f"=={version}", "transformers": "==4.56.2"})
    assert seen.object("model").model.input_grads is hooked


def test_reference_model_is_not_trained() -> None:
    """It has a role of its own."""
    seen = follow(
        QLORA
        + 'ref = AutoModelForCausalLM.from_pretrained("r")\n'
        + _trainer("DPO").replace("ref_model=None", "ref_model=ref")
    )
    (event,) = seen.of(Ev.TRAINER)
    assert event.roles["reference"].name == "ref"
    assert {e.model.name for e in seen.of(Ev.TRAIN) if e.model is not None} == {"model"}


# --- frameworks -------------------------------------------------------------------------------------------------------


MODULE = """
import torch, lightning as L
from torch.utils.data import DataLoader
class Net(L.LightningModule):
    def __init__(self, lr=0.1):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(2, 1)
    def training_step(self, batch, index):
        return {"loss": self.layer(batch).sum()}
    def train_dataloader(self):
        return DataLoader(rows, num_workers=4)
    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)
        return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, f)]
"""


@pytest.mark.parametrize(
    "tail",
    ["", "L.Trainer(max_epochs=1).fit(Net())\n", "import pytorch_lightning as pl\npl.Trainer().fit(model=Net())\n"],
)
def test_lightning(tail: str) -> None:
    """fit() runs the hooks in order; a module that nothing fits is run as if."""
    seen = follow(MODULE + tail)
    order = seen.kinds(Ev.OPTIMIZER, Ev.LOADER, Ev.ZERO_GRAD, Ev.BACKWARD, Ev.STEP, Ev.SCHEDULER_STEP)
    assert order == ["optimizer", "loader", "zero-grad", "backward", "step", "scheduler-step"]
    assert seen.of(Ev.BACKWARD)[0].args["loss"] is not None
    assert seen.of(Ev.LOADER)[0].args["workers"] is Tri.YES


def test_lightning_manual_optimization() -> None:
    """With automatic_optimization off only the user's own backward and step happen, for each of two batches."""
    text = MODULE.replace(
        "        self.layer =", "        self.automatic_optimization = False\n        self.layer ="
    ).replace(
        '        return {"loss": self.layer(batch).sum()}',
        "        loss = self.layer(batch).sum()\n        opt = self.optimizers()\n        opt.zero_grad()\n"
        "        self.manual_backward(loss)\n        opt.step()",
    )
    seen = follow(text + "L.Trainer().fit(Net())\n")
    assert seen.kinds(Ev.ZERO_GRAD, Ev.BACKWARD, Ev.STEP) == ["zero-grad", "backward", "step"] * 2
    assert not any(event.args.get("implicit") for event in seen.of(Ev.BACKWARD, Ev.STEP))


def test_trainer_subclass_that_nothing_trains() -> None:
    """The Trainer calls compute_loss and takes the backward of what it returns."""
    seen = follow(
        """
        from transformers import Trainer
        class Mine(Trainer):
            def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
                loss = model(**inputs).loss.detach()
                return (loss, None) if return_outputs else loss
        """
    )
    (backward,) = seen.of(Ev.BACKWARD)
    assert backward.args["loss"].graph is Graph.DETACHED


def test_command_line_arguments() -> None:
    """Fields that the command line fills are unknown, with the class's defaults as the natural choice."""
    seen = follow(
        """
        from dataclasses import dataclass, field
        from transformers import AutoModelForCausalLM, HfArgumentParser, Trainer, TrainingArguments
        @dataclass
        class Own:
            freeze: bool = field(default=True)
        own, args = HfArgumentParser((Own, TrainingArguments)).parse_args_into_dataclasses()
        model = AutoModelForCausalLM.from_pretrained("m")
        if own.freeze:
            model.requires_grad_(False)
        Trainer(model=model, args=args).train()
        """
    )
    (freeze,) = seen.of(Ev.FREEZE)
    assert [(guard.arm, guard.default) for guard in freeze.guards] == [(True, True)]
    assert seen.of(Ev.LOADER)[0].args["workers"] is Tri.UNKNOWN


@pytest.mark.parametrize(
    "call",
    [
        "fire.Fire(main)",
        "typer.run(main)",
        "mp.spawn(main, args=(1,))",
        "notebook_launcher(main, (1,))",
        "app.run(main)",
    ],
)
def test_entry_points_call_the_function(call: str) -> None:
    """With arguments that nobody knows."""
    seen = follow(
        f"""
        import fire, typer
        import torch.multiprocessing as mp
        from accelerate import notebook_launcher
        from absl import app
        from transformers import AutoModelForCausalLM
        def main(first=0, *rest):
            model = AutoModelForCausalLM.from_pretrained("m")
        if __name__ == "__main__":
            {call}
        """
    )
    (load,) = seen.of(Ev.LOAD)
    assert len(load.chain) == 1


# --- passed through ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrapped",
    [
        "Subset(Rows(), [0])",
        "random_split(Rows(), [1, 1])[1]",
        "ConcatDataset([Rows(), Rows()])",
        "Subset(ConcatDataset([Rows()]), [0])",
    ],
)
def test_wrapped_datasets_run_in_workers(wrapped: str) -> None:
    """The user's own __getitem__ is reached through what wraps its dataset."""
    seen = follow(
        f"""
        from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, random_split
        import torch
        class Rows(Dataset):
            def __getitem__(self, index):
                return torch.ones(2).to("cuda")
        loader = DataLoader({wrapped}, num_workers=2)
        """
    )
    (touch, *_) = seen.of(Ev.TOUCH_CUDA)
    assert touch.contexts == ("worker",)


def test_prepare_keeps_the_order() -> None:
    """A wrapped model, and the very optimizer and loader that were given."""
    seen = follow(
        """
        import torch
        from accelerate import Accelerator
        from tqdm.auto import tqdm
        from transformers import AutoModelForCausalLM
        accelerator = Accelerator(gradient_accumulation_steps=4)
        net = AutoModelForCausalLM.from_pretrained("m")
        opt = torch.optim.AdamW(net.parameters())
        opt, net, loader = accelerator.prepare(opt, net, loader)
        for batch in tqdm(loader):
            with accelerator.accumulate(net):
                loss = net(**batch).loss
                accelerator.backward(loss)
                opt.step()
                opt.zero_grad()
        """
    )
    (wrap,) = seen.of(Ev.WRAP)
    step = seen.of(Ev.STEP)[0]
    assert wrap.args["by"] == "accelerate"
    assert step.roles["optimizer"] is seen.object("opt", Kind.OPTIMIZER)
    assert step.contexts == ("accumulate",)
    assert "accelerator" in step.roles
    assert seen.of(Ev.BACKWARD)[0].model is not None


@pytest.mark.parametrize(
    ("condition", "runs"),
    [("torch.cuda.is_available()", True), ("os.cpu_count() > 4", True), ("not torch.cuda.is_available()", False)],
)
def test_the_machine(condition: str, runs: bool) -> None:
    """Scripts are read as they run where they are meant to run."""
    seen = follow(
        f"""
        import os, torch
        from transformers import AutoModelForCausalLM
        model = AutoModelForCausalLM.from_pretrained("m")
        if {condition}:
            model.requires_grad_(False)
        """
    )
    assert bool(seen.of(Ev.FREEZE)) is runs


# --- the vocabulary is closed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{call: a.f, effects: [{emits: load}]}", "exactly one verb"),
        ("{call: a.f, effects: [{emit: lode}]}", "event 'lode' is not in the vocabulary"),
        ("{call: a.f, effects: [{apply: $x, methods: m}]}", "did you mean 'method'"),
        ("{call: a.f, effects: [{return: {picks: model, of: $x}}]}", "not a form"),
        ("{call: a.f, effects: [{let: x, value: $y, when: {wet: $y}}]}", "condition 'wet' is not one of"),
        ("{call: a.f, also: {x: 'new'}}", "'new' is not a PEP 440 range"),
    ],
)
def test_what_is_not_in_the_vocabulary(entry: str, words: str) -> None:
    """An error at its line."""
    with pytest.raises(KnowledgeError, match=r"own\.yaml:2: ") as caught:
        add_specs(Specs(), f"calls:\n  - {entry}\n", "own.yaml")
    assert words in str(caught.value)


def test_renamed_package() -> None:
    """An alias for everything under a prefix."""
    specs = Specs()
    add_specs(specs, 'aliases: {"old_name.*": "new_name.*"}\ncalls:\n  - {call: new_name.f}\n', "own.yaml")
    store = ApiStore(specs)
    assert [spec.name for spec in store.find_call("old_name.deep.f")] == ["new_name.f"]
    assert not store.find_call("older_name.f")
