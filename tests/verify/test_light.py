"""Parts of verify that need no torch, and the promise that asking for help does not import it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lora_lint.errors import InputError
from lora_lint.lifecycle.record import LossRecord, RankRecord, Sample, TensorRecord, rank_from, to_json
from lora_lint.location import Location
from lora_lint.verify.command import build
from lora_lint.verify.frames import Frames
from lora_lint.verify.job import ModelJob, lora_options
from lora_lint.verify.patching import PostImport, wrap
from lora_lint.verify.summary import spark

ROOT = Path(__file__).parents[2]
HERE = Location("train.py", 3, 1, 3, 9)


def test_the_command_does_not_import_torch() -> None:
    code = (
        "import sys; import lora_lint.cli.verify, lora_lint.verify, lora_lint.verify.run, lora_lint.verify.verdict;"
        "import lora_lint.verify.hooks;"
        "print([m for m in ('torch', 'peft', 'transformers', 'matplotlib', 'jinja2') if m in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_record_survives_json() -> None:
    rank = RankRecord(rank=1, world=2, main=HERE)
    rank.losses.append(LossRecord(2.5, "full", HERE))
    rank.tensors.append(TensorRecord("a.lora_A", 0, "adapter", shape=(2, 3), samples=[Sample(1, 0.5, delta=0.1)]))
    again = rank_from(json.loads(json.dumps(to_json(rank))))
    assert again.losses[0].at == HERE
    assert again.tensors[0].shape == (2, 3)
    assert again.tensors[0].samples[0].delta == 0.1
    assert again.main == HERE


def test_a_tensor_that_is_put_back_has_not_learned() -> None:
    moved = TensorRecord("w", 0, "adapter", samples=[Sample(n, 1.0, delta=0.1, stepped=True) for n in (1, 2, 3)])
    assert moved.learned
    for sample in moved.samples[1:]:
        sample.restored = True
    assert not moved.learned


def test_lora_options() -> None:
    found = lora_options("r=8,alpha=16,target=q_proj+v_proj,dropout=0.1,use_dora=true")
    assert found == {
        "r": 8,
        "lora_alpha": 16,
        "target_modules": ["q_proj", "v_proj"],
        "lora_dropout": 0.1,
        "use_dora": True,
    }
    assert lora_options("target=all-linear") == {"target_modules": "all-linear"}
    assert lora_options("target=q_proj,v_proj,rank=4") == {"target_modules": ["q_proj", "v_proj"], "r": 4}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("depth=8", "'depth=8' is none of"),
        ("r=x", "whole number"),
        ("r=0", "1 or more"),
        ("r", "'r' is none of"),
        ("dropout=1", "below 1"),
        ("bias=some", "none, all or lora_only"),
        ("dora=perhaps", "true or false"),
    ],
)
def test_a_wrong_lora_option_is_one_line(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        lora_options(text)


def test_commands(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.touch()
    plain = build(str(script), ["--lr", "1"], module=False, launch="", folder=tmp_path)
    assert plain.words == (sys.executable, str(script), "--lr", "1")
    assert plain.processes == 1
    launched = build(str(script), [], module=False, launch="torchrun --nproc-per-node 2", folder=tmp_path)
    assert launched.words[:5] == (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")
    assert launched.processes == 2
    own = build("pkg.mod", [], module=True, launch="/usr/bin/env -S python3 -O", folder=tmp_path)
    assert own.words == ("/usr/bin/env", "-S", "python3", "-O", "-m", "pkg.mod")
    assert own.processes == 0
    with pytest.raises(InputError, match="no such script"):
        build("nowhere.py", [], module=False, launch="", folder=tmp_path)


def test_a_model_job_must_be_usable(tmp_path: Path) -> None:
    from lora_lint.verify.command import build_model

    pytest.importorskip("torch")
    assert build_model(ModelJob("some/model")).words[0] == sys.executable
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").touch()
    for job, said in (
        (ModelJob("some/model", data=str(tmp_path / "none.jsonl")), "no such file"),
        (ModelJob("some/model", lora="depth=2"), "--lora"),
        (ModelJob("./nowhere"), "no such folder"),
        (ModelJob("a/b/c"), "no such folder"),
        (ModelJob(str(tmp_path)), "no config.json in this folder"),
        (ModelJob(str(tmp_path / "adapter")), "that is an adapter"),
        (ModelJob(__file__), "a folder is wanted"),
        (ModelJob("some/model", adapter="./nowhere"), "--adapter ./nowhere: no such folder"),
    ):
        with pytest.raises(InputError, match=said):
            build_model(job)


def test_post_import_patches_before_names_are_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "patched_library.py").write_text("def value():\n    return 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))

    def patch(module: object) -> None:
        wrap(module, "value", lambda original: original() + 41)

    finder = PostImport({"patched_library": patch})
    finder.install()
    try:
        from patched_library import value  # type: ignore[import-not-found]
    finally:
        sys.meta_path.remove(finder)
        sys.modules.pop("patched_library", None)
    assert value() == 42
    assert value.__name__ == "value"


def test_wrap_keeps_the_kind_of_a_method() -> None:
    class Owner:
        @classmethod
        def make(cls) -> str:
            return cls.__name__

        @staticmethod
        def add(a: int, b: int) -> int:
            return a + b

    wrap(Owner, "make", lambda original, cls: original(cls).lower())
    wrap(Owner, "add", lambda original, a, b: original(a, b) * 10)
    wrap(Owner, "absent", lambda original: None)
    assert Owner.make() == "owner"
    assert Owner.add(1, 2) == 30
    assert not hasattr(Owner, "absent")


def test_frames_find_the_user() -> None:
    frames = Frames(str(Path(__file__).parent), {})
    here = frames.here()
    assert here.path == "test_light.py"
    assert frames.is_user(__file__)
    assert not frames.is_user(json.__file__)
    assert not frames.is_user("<string>")
    assert Frames("/", {__file__: "book.ipynb"}).here().path == "book.ipynb"


def test_sparkline() -> None:
    assert spark([1.0, 2.0, 3.0]) == "▁▄█" or spark([1.0, 2.0, 3.0]) == "▁▅█"
    assert spark([1.0, float("nan")]) == "▁×"
    assert spark([2.0, 2.0]) == "▁▁"
