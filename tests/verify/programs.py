"""Small training programs as text, for runs in a child process."""

from __future__ import annotations

HEAD = """
import os, sys
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

def make():
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
                         num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=32)
    return get_peft_model(LlamaForCausalLM(config), LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))

def batch(step):
    ids = torch.randint(4, 60, (2, 8), generator=torch.Generator().manual_seed(step))
    return {"input_ids": ids, "labels": ids}
"""

LOOP = """
def train(model, steps, lr=1e-2):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    for step in range(steps):
        optimizer.zero_grad()
        model(**batch(step)).loss.backward()
        optimizer.step()
"""

HEALTHY = (
    HEAD
    + LOOP
    + """
if __name__ == "__main__":
    print("hello on stdout {not json")
    model = make()
    try:
        train(model, int(sys.argv[1]) if len(sys.argv) > 1 else 6)
    finally:
        open("finally.txt", "w").write("ran")
    model.save_pretrained("adapter")
"""
)

FROZEN = (
    HEAD
    + LOOP
    + """
model = make()
model.requires_grad_(False)  # FREEZE
model.enable_input_require_grads()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
for step in range(6):
    model(**batch(step)).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
"""
)

CRASH = (
    HEAD
    + LOOP
    + """
model = make()
train(model, 1)
raise RuntimeError("out of cheese")  # CRASH
"""
)

STUCK = (
    HEAD
    + LOOP
    + """
import time
model = make()
train(model, 1)
time.sleep(600)
"""
)

NO_TRAINING = """
import torch
model = torch.nn.Linear(2, 2)
print(model(torch.ones(1, 2)))
"""

DDP = (
    HEAD
    + """
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

def main():
    dist.init_process_group("gloo")
    model = make()
    BODY
    gen = dist.get_rank() + 1
    for step in range(6):
        optimizer.zero_grad()
        call(**batch(step * 10 + gen)).loss.backward()
        optimizer.step()
    dist.barrier()

if __name__ == "__main__":
    main()
"""
)

DDP_HEALTHY = DDP.replace(
    "BODY",
    """call = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW([p for p in call.parameters() if p.requires_grad], lr=1e-2)""",
)
DDP_BYPASSED = DDP.replace(
    "BODY",
    """wrapped = DistributedDataParallel(model)
    call = wrapped.module
    optimizer = torch.optim.AdamW([p for p in wrapped.parameters() if p.requires_grad], lr=1e-2)""",
)

SPAWN = (
    HEAD
    + LOOP
    + """
import torch.distributed as dist
import torch.multiprocessing as mp

def worker(rank, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    train(torch.nn.parallel.DistributedDataParallel(make()), 6)

if __name__ == "__main__":
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    mp.spawn(worker, (port,), nprocs=2)
"""
)

WORKERS = (
    HEAD
    + """
class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 16
    def __getitem__(self, i):
        return batch(i)["input_ids"][0]

if __name__ == "__main__":
    model = make()
    loader = torch.utils.data.DataLoader(Rows(), batch_size=2, num_workers=2, multiprocessing_context=METHOD)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for ids in loader:
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
"""
)

TRAINER = (
    HEAD
    + """
from datasets import Dataset
from transformers import Trainer, TrainingArguments

model = make()
FREEZE
rows = [{k: v[0].tolist() for k, v in batch(i).items()} for i in range(16)]
args = TrainingArguments("out", max_steps=6, per_device_train_batch_size=2, learning_rate=1e-2, report_to=[],
                         use_cpu=True, gradient_accumulation_steps=2, save_strategy="no")
Trainer(model=model, args=args, train_dataset=Dataset.from_list(rows)).train()
model.save_pretrained("adapter")
"""
)

LIGHTNING = (
    HEAD
    + """
import lightning

class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = make()
        FREEZE
    def training_step(self, ids, number):
        return self.model(input_ids=ids, labels=ids).loss
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-2)

rows = [batch(i)["input_ids"][0] for i in range(16)]
trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                            enable_progress_bar=False, enable_model_summary=False, accumulate_grad_batches=2)
trainer.fit(Module(), torch.utils.data.DataLoader(rows, batch_size=2))
"""
)

# Rank 1 ends without a word.
LOST = (
    HEAD
    + LOOP
    + """
import torch.distributed as dist
dist.init_process_group("gloo")
model = make()
if dist.get_rank() == 1:
    os._exit(3)
train(torch.nn.parallel.DistributedDataParallel(model), 6)
"""
)

# Two workers in sessions of their own, and a child of theirs, none of which cares for SIGTERM.
STUBBORN = """
import os, signal, subprocess, time
import torch.distributed as dist
signal.signal(signal.SIGTERM, signal.SIG_IGN)
dist.init_process_group("gloo")
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
rank = dist.get_rank()
with open(f"pids-{rank}.new", "w") as stream:
    stream.write(f"{os.getpid()} {child.pid}")
os.rename(f"pids-{rank}.new", f"pids-{rank}")
time.sleep(600)
"""

# What `push_to_hub=True` and a logger do before the first step.
UPLOADS = (
    HEAD
    + LOOP
    + """
import huggingface_hub
from huggingface_hub import HfApi

made = huggingface_hub.create_repo("someone/adapter", token="none")
assert made.repo_id == "someone/adapter"
assert HfApi().upload_folder(repo_id="someone/adapter", folder_path=".", token="none").oid == "0" * 40
HfApi().create_commit("someone/adapter", operations=[], commit_message="x", run_as_future=True).result()
assert os.environ["WANDB_MODE"] == "offline"
assert os.environ["MLFLOW_TRACKING_URI"].startswith("file:")
train(make(), 6)
"""
)

ACCELERATE = (
    HEAD
    + """
from accelerate import Accelerator

accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
model = make()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
loader = torch.utils.data.DataLoader([batch(i)["input_ids"][0] for i in range(24)], batch_size=2)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
for ids in loader:
    with accelerator.accumulate(model):
        loss = model(input_ids=ids, labels=ids).loss
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
"""
)


def forked(program: str) -> str:
    """A program for torchrun as one that forks its second process itself; its argument is a free port."""
    opening = 'def main():\n    dist.init_process_group("gloo")'
    assert opening in program
    alone = (
        "def main(rank):\n"
        '    dist.init_process_group("gloo", f"tcp://127.0.0.1:{sys.argv[1]}", rank=rank, world_size=2)'
    )
    start = """    import multiprocessing
    peer = multiprocessing.get_context("fork").Process(target=main, args=(1,))
    peer.start()
    main(0)
    peer.join()
"""
    return program.replace(opening, alone).replace("    main()\n", start)


SHARDED = (
    HEAD
    + """
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

dist.init_process_group("gloo")
model = make()
early = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
SHARD
for step in range(6):
    optimizer.zero_grad()
    model(**batch(step * 2 + dist.get_rank())).loss.backward()
    optimizer.step()
dist.barrier()
"""
)
LATE = "optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)"
FSDP1 = SHARDED.replace(
    "SHARD",
    'model = FullyShardedDataParallel(model, use_orig_params=True, device_id=torch.device("cpu"))\n' + LATE,
)
FSDP2 = SHARDED.replace("SHARD", "fully_shard(model)\n" + LATE)
FSDP2_EARLY = SHARDED.replace("SHARD", "fully_shard(model)\noptimizer = early")
