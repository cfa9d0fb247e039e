"""`lora-lint verify --model`: every kind of model learns, every mistake is one line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from lora_lint.verify import observe  # noqa: E402
from lora_lint.verify.job import ModelJob  # noqa: E402
from lora_lint.verify.model_program import Refusal, main  # noqa: E402
from tests.verify.test_session import command, environment  # noqa: E402
from tests.verify.tiny import adapted, classifier, llama  # noqa: E402

pytestmark = pytest.mark.torch
WORDS = ["hello", "world", "the", "a", "cat", "dog", "user", "assistant", ":", "answer", "question", "what", "is"]


def add_tokenizer(folder: Path, template: bool = True) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = ("<unk>", "<s>", "</s>", "<pad>", *WORDS)
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(names)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    if template:
        made.chat_template = "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} {% endfor %}"
    made.save_pretrained(folder)


def small_text(**changes: Any) -> dict[str, Any]:
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    return {**sizes, "num_attention_heads": 4, "max_position_embeddings": 64, **changes}


def bert() -> Any:
    from transformers import BertConfig, BertForTokenClassification

    return BertForTokenClassification(BertConfig(**small_text(), num_labels=3))


def t5() -> Any:
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"vocab_size": 64, "d_model": 32, "d_ff": 64, "d_kv": 8, "num_layers": 2, "num_heads": 4}
    return T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0))


def llava() -> Any:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    sees = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    vision = CLIPVisionConfig(**sees, image_size=16, patch_size=8)
    config = LlavaConfig(vision_config=vision, text_config=LlamaConfig(**small_text()), image_token_index=60)
    return LlavaForConditionalGeneration(config)


def tried(job: ModelJob) -> Any:
    """The verdict over the program of model mode, run here."""
    with observe(steps=job.steps) as session:
        main(job)
    return session.verdict


MAKERS = {"causal": llama, "classes": classifier, "tokens": bert, "seq2seq": t5, "vision": llava}


@pytest.mark.parametrize("kind", MAKERS)
def test_kinds_of_models_learn_from_random_tokens(tmp_path: Path, kind: str) -> None:
    MAKERS[kind]().save_pretrained(tmp_path / kind)
    verdict = tried(ModelJob(str(tmp_path / kind), seq_len=512, lora="r=2,target=all-linear"))
    assert (verdict.verdict, verdict.findings) == ("PASS", ()), verdict
    rank = verdict.record.ranks[0]
    assert all(t.ran for t in rank.tensors if t.adapter)
    assert rank.cycles == 3


@pytest.mark.parametrize(
    "rows",
    [
        [{"text": "hello world the cat"}],
        [{"prompt": "what is the cat", "completion": "a dog"}],
        [{"messages": [{"role": "user", "content": "what is a dog"}, {"role": "assistant", "content": "a cat"}]}],
        [{"instruction": "question", "output": "answer"}] * 9,
    ],
    ids=["text", "completion", "messages", "instruction"],
)
def test_rows_of_every_form_train(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    llama().save_pretrained(tmp_path / "base")
    add_tokenizer(tmp_path / "base")
    data = tmp_path / "rows.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    verdict = tried(ModelJob(str(tmp_path / "base"), data=str(data)))
    assert verdict.verdict == "PASS", verdict
    batches = verdict.record.ranks[0].batches
    masked = any(b.supervised < b.labels for b in batches)
    assert masked is ("prompt" in rows[0] or "instruction" in rows[0]), "a prompt carries no loss"


def test_a_saved_adapter_goes_on(tmp_path: Path) -> None:
    llama().save_pretrained(tmp_path / "base")
    adapted().save_pretrained(tmp_path / "adapter")
    verdict = tried(ModelJob(str(tmp_path / "base"), adapter=str(tmp_path / "adapter"), clip_grad_norm=1.0))
    assert verdict.verdict == "PASS", verdict
    assert sum(bool(t.adapter) for t in verdict.record.ranks[0].tensors) == 8


@pytest.mark.parametrize("options", [{"dtype": "bf16"}, {"amp_dtype": "bf16"}, {"gradient_checkpointing": True}])
def test_precision_and_checkpointing(tmp_path: Path, options: dict[str, Any]) -> None:
    llama().save_pretrained(tmp_path / "base")
    assert tried(ModelJob(str(tmp_path / "base"), detect_anomaly=True, **options)).verdict == "PASS"
    torch.autograd.set_detect_anomaly(False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lora": "target=nope_proj"}, r"nope_proj.*\(linear layers of this model: .*q_proj"),
        ({"device": "cuda:99"}, "--device cuda:99"),
        ({"device": "toaster"}, "no such device"),
        ({"adapter": "gone"}, "--adapter gone: "),
    ],
)
def test_what_only_the_libraries_know_is_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    llama().save_pretrained(tmp_path / "base")
    with observe(), pytest.raises(Refusal, match=said) as caught:
        main(ModelJob(str(tmp_path / "base"), **options))
    assert "\n" not in str(caught.value)


def test_a_model_without_a_task_is_refused(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(**small_text())).save_pretrained(tmp_path / "bare")
    with pytest.raises(Refusal, match="BertModel is not a kind that --model can try"):
        main(ModelJob(str(tmp_path / "bare")))


def test_data_that_does_not_fit_the_model_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    for maker, row, said in (
        (llama, {"messages": [{"role": "user", "content": "a"}]}, "has no chat template"),
        (classifier, {"text": "a cat", "label": 7}, "needs a `label` from 0 to 2, not 7"),
        (bert, {"text": "a cat"}, "needs `labels`, a list of numbers"),
    ):
        folder = tmp_path / maker.__name__
        maker().save_pretrained(folder)
        add_tokenizer(folder, template=False)
        data.write_text(json.dumps(row), encoding="utf-8")
        with pytest.raises(Refusal, match=said):
            main(ModelJob(str(folder), data=str(data)))


@pytest.mark.slow
def test_a_refusal_is_one_line_on_the_terminal(tmp_path: Path) -> None:
    llama().save_pretrained(tmp_path / "base")
    words = command("--model", "base", "--lora", "target=nope_proj")
    done = subprocess.run(
        words, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    announced, error = done.stderr.strip().splitlines()
    assert announced == "lora-lint verify: loads base and trains it for 3 optimizer steps"
    assert error.startswith("lora-lint: error: --lora target=nope_proj: ")
