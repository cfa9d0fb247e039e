"""The families of rules/architectures.yaml, compared with models that the installed transformers builds."""

from __future__ import annotations

import re
from typing import Any

import pytest

from lora_lint.apis.tables import architectures

pytestmark = pytest.mark.torch

_TINY = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
_TEXT = {**_TINY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_GPT = {"vocab_size": 32, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}
_SEQ2SEQ = {
    "vocab_size": 32,
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_position_embeddings": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "forced_eos_token_id": 2,
}
_T5 = {"vocab_size": 32, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
_VISION = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 8,
    "patch_size": 4,
}
# Of each family some classes, each with the settings of its config.
_BUILT: list[tuple[str, str, dict[str, Any]]] = [
    ("llama", "LlamaForCausalLM", {**_TEXT, "num_key_value_heads": 2}),
    ("llama", "Qwen2ForCausalLM", {**_TEXT, "num_key_value_heads": 2}),
    ("phi", "PhiForCausalLM", _TEXT),
    ("phi3", "Phi3ForCausalLM", {**_TEXT, "num_key_value_heads": 2}),
    ("starcoder2", "Starcoder2ForCausalLM", {**_TEXT, "num_key_value_heads": 2}),
    ("gpt2", "GPT2LMHeadModel", _GPT),
    ("gpt_neox", "GPTNeoXForCausalLM", _TEXT),
    ("gptj", "GPTJForCausalLM", {**_GPT, "rotary_dim": 4}),
    (
        "gpt_neo",
        "GPTNeoForCausalLM",
        {"vocab_size": 32, "hidden_size": 16, "num_layers": 1, "num_heads": 2, "attention_types": [[["global"], 1]]},
    ),
    ("codegen", "CodeGenForCausalLM", {**_GPT, "n_head": 4, "rotary_dim": 4}),
    ("opt", "OPTForCausalLM", {**_TEXT, "ffn_dim": 16, "word_embed_proj_dim": 16}),
    ("bloom", "BloomForCausalLM", {"vocab_size": 32, "hidden_size": 16, "n_layer": 1, "n_head": 2}),
    ("falcon", "FalconForCausalLM", _TEXT),
    ("mpt", "MptForCausalLM", {"vocab_size": 32, "d_model": 16, "n_layers": 1, "n_heads": 2}),
    ("t5", "T5ForConditionalGeneration", _T5),
    ("t5", "T5ForConditionalGeneration", {**_T5, "feed_forward_proj": "gated-gelu"}),
    ("bart", "BartForConditionalGeneration", _SEQ2SEQ),
    ("bert", "BertForSequenceClassification", _TEXT),
    ("bert", "RobertaForSequenceClassification", _TEXT),
    ("bert", "ElectraForSequenceClassification", {**_TEXT, "embedding_size": 16}),
    ("esm", "EsmForMaskedLM", {**_TEXT, "mask_token_id": 3}),
    ("esm", "EsmForSequenceClassification", {**_TEXT, "mask_token_id": 3}),
    ("esm", "EsmForTokenClassification", {**_TEXT, "mask_token_id": 3}),
    (
        "distilbert",
        "DistilBertForSequenceClassification",
        {"vocab_size": 32, "dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16},
    ),
    (
        "deberta_v2",
        "DebertaV2ForSequenceClassification",
        {
            **_TEXT,
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "share_att_key": False,
            "max_relative_positions": 8,
            "pooler_hidden_size": 16,
        },
    ),
    ("albert", "AlbertForSequenceClassification", {**_TEXT, "embedding_size": 16}),
    (
        "whisper",
        "WhisperForConditionalGeneration",
        {**_SEQ2SEQ, "num_mel_bins": 4, "max_source_positions": 8, "max_target_positions": 8},
    ),
    ("vit", "ViTForImageClassification", _VISION),
    ("clip", "CLIPModel", {}),
    (
        "wav2vec2",
        "Wav2Vec2ForCTC",
        {
            **_TEXT,
            "conv_dim": [16],
            "conv_kernel": [2],
            "conv_stride": [2],
            "num_conv_pos_embeddings": 4,
            "num_conv_pos_embedding_groups": 2,
            "num_feat_extract_layers": 1,
        },
    ),
]


def _modules(class_name: str, settings: dict[str, Any]) -> set[str]:
    """The modules of a model that an adapter can be put on, block 0 for all."""
    import torch
    import transformers
    from transformers.pytorch_utils import Conv1D

    model_class = getattr(transformers, class_name)
    with torch.device("meta"):
        model = model_class(model_class.config_class(**settings))
    kinds = (torch.nn.Linear, torch.nn.Embedding, torch.nn.Conv1d, torch.nn.Conv2d, Conv1D)
    names = [name for name, module in model.named_modules() if isinstance(module, kinds)]
    return {name for name in names if not re.search(r"\.(layers|conv_layers)\.[1-9]\d*\.", name)}


@pytest.mark.parametrize(("family", "class_name", "settings"), _BUILT, ids=[f"{f}-{c}" for f, c, _ in _BUILT])
def test_a_family_lists_all_modules(family: str, class_name: str, settings: dict[str, Any]) -> None:
    """LL110 says of a name that is not listed that it matches nothing."""
    found = architectures().family(class_name, "")
    assert found is not None
    assert found.name == family
    built = _modules(class_name, settings)
    assert len(built) > 5
    assert built <= set(found.modules)


def test_every_family_is_compared() -> None:
    assert {family for family, _, _ in _BUILT} == {family.name for family in architectures().families}
