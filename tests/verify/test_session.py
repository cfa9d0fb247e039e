"""Whole runs in child processes: the script is unmodified, the report comes from outside."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.verify import programs

pytest.importorskip("torch")
pytest.importorskip("peft")
pytestmark = [pytest.mark.torch, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    keep = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LORA_LINT_VERIFY")}
    return {
        **keep,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lora_lint", "verify", *arguments]


def verify(
    folder: Path, text: str, *arguments: str, after: tuple[str, ...] = (), name: str = "train.py"
) -> tuple[int, Any, str]:
    (folder / name).write_text(text, encoding="utf-8")
    words = command(*arguments, "--format", "json", name, *after)
    done = subprocess.run(
        words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=240, check=False
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None, done.stderr


def line_of(text: str, mark: str) -> int:
    return next(i for i, line in enumerate(text.splitlines(), 1) if mark in line)


def test_healthy_script_passes_and_ends_before_it_saves(tmp_path: Path) -> None:
    status, report, _ = verify(tmp_path, programs.HEALTHY, "--steps", "3", after=("--", "100000"))
    assert (status, report["verdict"], report["steps"]) == (0, "PASS", 3)
    assert report["findings"] == []
    assert not (tmp_path / "adapter").exists()
    assert not (tmp_path / "finally.txt").exists()
    assert report["internal_errors"] == []
    assert {"torch", "peft", "transformers"} <= set(report["environment"]["versions"])
    moments = [row["moment"] for row in report["ledger"]]
    assert moments[0] == "after get_peft_model"
    assert moments[-1] == "first step"
    assert all(len(t["steps"]) == 3 for t in report["gradients"])


def test_frozen_script_fails_with_cause_and_line(tmp_path: Path) -> None:
    status, report, _ = verify(tmp_path, programs.FROZEN)
    assert (status, report["verdict"]) == (1, "FAIL")
    first = report["findings"][0]
    assert (first["code"], first["path"], first["line"]) == ("LL103", "train.py", line_of(programs.FROZEN, "# FREEZE"))
    assert any(one["message"].startswith("LL901") for one in first["related"])


def test_short_script_is_inconclusive_but_no_failure(tmp_path: Path) -> None:
    status, report, _ = verify(tmp_path, programs.HEALTHY, after=("--", "1"))
    assert (status, report["verdict"]) == (0, "INCONCLUSIVE")
    assert "1 optimizer step" in report["reason"]
    assert (tmp_path / "adapter").exists()


def test_crash_is_never_a_pass(tmp_path: Path) -> None:
    status, report, _ = verify(tmp_path, programs.CRASH)
    assert (status, report["verdict"]) == (2, "INCONCLUSIVE")
    assert "out of cheese" in report["reason"]
    assert f"line {line_of(programs.CRASH, '# CRASH')}" in report["traceback"]


def test_time_out(tmp_path: Path) -> None:
    status, report, _ = verify(tmp_path, programs.STUCK, "--timeout", "20")
    assert (status, report["verdict"]) == (2, "INCONCLUSIVE")
    assert "time is up" in report["reason"]
    assert "train.py" in report["stacks"]


def test_program_that_does_not_train(tmp_path: Path) -> None:
    status, report, _ = verify(tmp_path, programs.NO_TRAINING)
    assert (status, report["verdict"]) == (2, "INCONCLUSIVE")
    assert "no optimizer step" in report["reason"]


def test_memory_limit_ends_in_no_verdict(tmp_path: Path) -> None:
    status, report, _ = verify(tmp_path, programs.HEALTHY, "--memory-limit", "0.25")
    assert (status, report["verdict"]) == (2, "INCONCLUSIVE")


def test_module_in_a_package(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "train.py").write_text(programs.FROZEN, encoding="utf-8")
    words = command("--format", "json", "-m", "pkg.train")
    done = subprocess.run(
        words, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=240, check=False
    )
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["findings"][0]["path"] == os.path.join("pkg", "train.py")


def test_notebook(tmp_path: Path) -> None:
    source = programs.FROZEN.splitlines(keepends=True)
    middle = len(source) // 2
    while source[middle].startswith((" ", "\n")):
        middle += 1
    cells = [
        {"cell_type": "code", "source": part, "metadata": {}, "outputs": [], "execution_count": None}
        for part in (["%pip list\n", *source[:middle]], source[middle:])
    ]
    book = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    status, report, _ = verify(tmp_path, json.dumps(book), name="train.ipynb")
    assert status == 1
    first = report["findings"][0]
    assert (first["code"], first["path"]) == ("LL103", "train.ipynb")
    assert first["cell"] == 2
    assert source[middle:][first["line"] - 1].strip().endswith("# FREEZE")


def test_sitecustomize_of_the_user_still_runs(tmp_path: Path) -> None:
    place = tmp_path / "site"
    place.mkdir()
    (place / "sitecustomize.py").write_text("import builtins\nbuiltins.FROM_SITE = 'yes'\n", encoding="utf-8")
    text = programs.HEALTHY.replace('print("hello', 'assert FROM_SITE == "yes"\n    print("hello')
    (tmp_path / "train.py").write_text(text, encoding="utf-8")
    env = environment()
    env["PYTHONPATH"] = os.pathsep.join((env["PYTHONPATH"], str(place)))
    words = command("--format", "json", "train.py")
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert json.loads(done.stdout)["verdict"] == "PASS", done.stdout


def test_torchrun_as_launcher(tmp_path: Path) -> None:
    status, report, _ = verify(tmp_path, programs.DDP_HEALTHY, "--launch", "torchrun --standalone --nproc-per-node 2")
    assert (status, report["verdict"]) == (0, "PASS"), report
    assert [one["rank"] for one in report["processes"]] == [0, 1]


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def test_processes_that_the_program_forks_are_ranks(tmp_path: Path) -> None:
    status, report, _ = verify(tmp_path, programs.forked(programs.DDP_HEALTHY), after=("--", free_port()))
    assert (status, report["verdict"]) == (0, "PASS"), report
    assert [one["rank"] for one in report["processes"]] == [0, 1]
    status, report, _ = verify(tmp_path, programs.forked(programs.DDP_BYPASSED), after=("--", free_port()))
    assert (status, report["verdict"]) == (1, "FAIL"), report
    assert report["findings"][0]["code"] == "LL607"


def test_error_in_a_forked_process_is_told(tmp_path: Path) -> None:
    program = programs.forked(programs.DDP_HEALTHY).replace(
        "    gen = ", '    assert rank == 0, "rank 1 is ill"\n    gen = '
    )
    status, report, _ = verify(tmp_path, program, "--timeout", "60", after=("--", free_port()))
    assert (status, report["verdict"]) == (2, "INCONCLUSIVE"), report


def test_bypassed_wrapper_diverges(tmp_path: Path) -> None:
    status, report, _ = verify(tmp_path, programs.DDP_BYPASSED, "--launch", "torchrun --standalone --nproc-per-node 2")
    assert (status, report["verdict"]) == (1, "FAIL")
    assert report["findings"][0]["code"] == "LL607"
    assert any("LL913" in one["message"] for one in report["findings"][0]["related"])


@pytest.mark.parametrize("text", [programs.FSDP1, programs.FSDP2], ids=["fsdp1", "fsdp2"])
def test_sharded_models_pass(tmp_path: Path, text: str) -> None:
    status, report, _ = verify(tmp_path, text, "--launch", "torchrun --standalone --nproc-per-node 2")
    assert (status, report["verdict"], report["findings"]) == (0, "PASS", []), report


def test_optimizer_made_before_sharding(tmp_path: Path) -> None:
    status, report, _ = verify(tmp_path, programs.FSDP2_EARLY, "--launch", "torchrun --standalone --nproc-per-node 2")
    assert (status, report["findings"][0]["code"]) == (1, "LL301"), report


def test_verify_started_by_torchrun_on_each_rank(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(programs.DDP_BYPASSED, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    words += ["-m", "lora_lint", "verify", "--format", "json", "train.py"]
    done = subprocess.run(
        words, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=240, check=False
    )
    report = json.loads(done.stdout)
    assert report["verdict"] == "FAIL"
    assert "LL607" in {f["code"] for f in report["findings"]}


def test_spawned_processes(tmp_path: Path) -> None:
    status, report, _ = verify(tmp_path, programs.SPAWN)
    assert (status, report["verdict"]) == (0, "PASS"), report
    assert len(report["processes"]) == 2


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_loader_workers_are_not_observed(tmp_path: Path, method: str) -> None:
    status, report, _ = verify(tmp_path, programs.WORKERS.replace("METHOD", repr(method)))
    assert (status, report["verdict"]) == (0, "PASS"), report
    assert len(report["processes"]) == 1


@pytest.mark.parametrize("text", [programs.TRAINER, programs.LIGHTNING], ids=["trainer", "lightning"])
def test_loops_of_libraries(tmp_path: Path, text: str) -> None:
    if "lightning" in text:
        pytest.importorskip("lightning")
    status, report, _ = verify(tmp_path, text.replace("FREEZE", ""))
    assert (status, report["verdict"]) == (0, "PASS"), report
    assert report["steps"] == 3
    assert len(report["losses"]) == 6


@pytest.mark.parametrize("text", [programs.TRAINER, programs.LIGHTNING], ids=["trainer", "lightning"])
def test_frozen_in_loops_of_libraries(tmp_path: Path, text: str) -> None:
    if "lightning" in text:
        pytest.importorskip("lightning")
    name = "self.model" if "lightning" in text else "model"
    hurt = text.replace("FREEZE", f"{name}.requires_grad_(False); {name}.enable_input_require_grads()")
    status, report, _ = verify(tmp_path, hurt)
    assert (status, report["findings"][0]["code"]) == (1, "LL103"), report


def test_accelerate_loop(tmp_path: Path) -> None:
    status, report, _ = verify(tmp_path, programs.ACCELERATE)
    assert (status, report["verdict"], report["steps"]) == (0, "PASS", 3), report


def test_confirm_marks_static_findings(tmp_path: Path) -> None:
    unused = "\ndef never():\n    other = make()\n    other.requires_grad_(False)\n    train(other, 3)\n"
    status, report, _ = verify(tmp_path, programs.FROZEN + unused, "--confirm")
    assert status == 1
    states = {(one["code"], one["state"]) for one in report["confirmations"]}
    assert ("LL103", "confirmed") in states, report["confirmations"]


@pytest.mark.parametrize("quant", ["", "8bit"])
def test_model_mode(tmp_path: Path, quant: str) -> None:
    if quant:
        pytest.importorskip("bitsandbytes")
    from tests.verify.tiny import llama

    llama().save_pretrained(tmp_path / "base")
    words = command("--format", "json", "--model", "base", "--seq-len", "16", "--lora", "r=4,target=q_proj+v_proj")
    words += ["--quant", quant] if quant else ["--clip-grad-norm", "1.0", "--grad-log-interval", "1"]
    done = subprocess.run(
        words, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=240, check=False
    )
    report = json.loads(done.stdout)
    assert (done.returncode, report["verdict"], report["steps"]) == (0, "PASS", 3), report
    assert len(report["gradients"]) == 8
    assert quant or "step 3 loss" in done.stderr


def ended(pid: int) -> bool:
    """Whether a process ends within seconds. One that nobody has collected yet (an orphan in a container whose first
    process does not) has ended, too."""
    limit = time.time() + 10
    while time.time() < limit:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.1)
    return False


def test_interrupt_ends_all_children(tmp_path: Path) -> None:
    text = programs.STUCK.replace("time.sleep(600)", 'open("pid", "w").write(str(os.getpid())); time.sleep(600)')
    (tmp_path / "train.py").write_text(text, encoding="utf-8")
    running = subprocess.Popen(
        command("train.py"), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    limit = time.time() + 120
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.time() < limit
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=30)
    assert running.returncode == 2
    assert "interrupted" in out
    assert ended(int((tmp_path / "pid").read_text()))


def test_sigterm_ends_workers_that_do_not_care_for_it(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(programs.STUBBORN, encoding="utf-8")
    words = command("--launch", "torchrun --standalone --nproc-per-node 2", "train.py")
    running = subprocess.Popen(words, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True)
    files = [tmp_path / "pids-0", tmp_path / "pids-1"]
    limit = time.time() + 180
    while not all(file.exists() for file in files):
        assert time.time() < limit
        assert running.poll() is None
        time.sleep(0.1)
    running.terminate()
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 2
    assert out.startswith("INCONCLUSIVE  no verdict on train.py: interrupted")
    for pid in (int(word) for file in files for word in file.read_text().split()):
        assert ended(pid)


def test_lost_rank_is_named(tmp_path: Path) -> None:
    status, report, _ = verify(tmp_path, programs.LOST, "--launch", "torchrun --standalone --nproc-per-node 2")
    assert (status, report["verdict"]) == (2, "INCONCLUSIVE")
    assert "rank 1 ended first, with exit code 3" in report["reason"] or "1 of 2 processes" in report["reason"]


def test_a_launcher_that_starts_one_process_is_no_lost_rank(tmp_path: Path) -> None:
    status, report, _ = verify(tmp_path, programs.ACCELERATE, "--launch", "accelerate launch --num_processes 2 --cpu")
    assert (status, report["verdict"]) == (0, "PASS"), report
    assert "2 processes were asked for" in report["notes"][0]


def test_nothing_is_uploaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9/")
    status, report, _ = verify(tmp_path, programs.UPLOADS)
    assert (status, report["verdict"]) == (0, "PASS"), report
    remarks = [remark for remark in report["environment"]["remarks"] if "held back" in remark]
    assert [remark.split("(")[0] for remark in remarks] == ["create_repo", "upload_folder", "create_commit"]
    assert f"at train.py:{line_of(programs.UPLOADS, 'huggingface_hub.create_repo')}" in remarks[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nowhere_at_all\n", "at train.py:1 with ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("def f(:\n", "at train.py:1 with SyntaxError"),
        ("import argparse\np = argparse.ArgumentParser()\np.add_argument('--x', required=True)\np.parse_args()\n",
         "exit status 2: train.py: error: the following arguments are required: --x"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", "SIGKILL: often the system's out-of-memory killer"),
        ("import sys\nsys.excepthook = lambda *a: None\n1 / 0\n", "at train.py:3 with ZeroDivisionError: division by zero"),
    ],
    ids=["import", "syntax", "usage", "killed", "own hook"],
)  # fmt: skip
def test_early_ends_have_a_reason(tmp_path: Path, text: str, said: str) -> None:
    status, report, _ = verify(tmp_path, text)
    assert (status, report["verdict"]) == (2, "INCONCLUSIVE")
    assert said in report["reason"]
    assert "lora_lint" not in report["traceback"]


def test_progress_on_a_terminal(tmp_path: Path) -> None:
    """In a pseudo-terminal: one line that is drawn over, then the report in colour."""
    pty = pytest.importorskip("pty")
    (tmp_path / "train.py").write_text(programs.HEALTHY, encoding="utf-8")
    main, side = pty.openpty()
    running = subprocess.Popen(
        command("train.py"), cwd=tmp_path, env=environment(), stdout=side, stderr=side, stdin=side
    )
    os.close(side)
    shown = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        shown += part
    os.close(main)
    assert running.wait(30) == 0
    text = shown.decode()
    assert text.startswith("lora-lint verify: executes `train.py` with your data and devices")
    assert "\r\033[Kstarting · 1 s" in text
    assert "\r\033[K\033[32m\033[1mPASS\033[0m  train.py learns" in text


def test_missing_script_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        command("nowhere.py"), cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr.strip() == "lora-lint: error: nowhere.py: no such script"
