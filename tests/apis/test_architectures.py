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
_GROUPED = {**_TEXT, "num_key_value_heads": 2, "head_dim": 8}
_EXPERTS = {**_GROUPED, "num_experts": 2, "num_local_experts": 2, "moe_intermediate_size": 16, "num_experts_per_tok": 1}
_LATENT = {
    **_TEXT,
    "num_hidden_layers": 2,
    "first_k_dense_replace": 1,
    "num_key_value_heads": 2,
    "moe_intermediate_size": 16,
    "n_routed_experts": 2,
    "num_experts_per_tok": 1,
    "n_group": 1,
    "topk_group": 1,
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}
_DEBERTA = {
    **_TEXT,
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "max_relative_positions": 8,
    "pooler_hidden_size": 16,
}
_STAGES = {"depths": [1, 1], "hidden_sizes": [8, 8]}
_SEGFORMER = {
    **_STAGES,
    "num_encoder_blocks": 2,
    "sr_ratios": [2, 2],
    "num_attention_heads": [1, 1],
    "patch_sizes": [4, 2],
    "strides": [4, 2],
    "mlp_ratios": [1, 1],
    "decoder_hidden_size": 16,
}
_SWIN = {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 2}
_CLIP_TOWER = {"model_type": "clip_vision_model", **_VISION}
_SIGLIP_TOWER = {"model_type": "siglip_vision_model", **_VISION, "projection_dim": 16}
_LLAMA = {"model_type": "llama", **_GROUPED}
_QWEN = {**_GROUPED, "rope_scaling": {"type": "default", "rope_type": "default", "mrope_section": [1, 1, 2]}}
_QWEN_TOWER = {"depth": 1, "hidden_size": 16, "num_heads": 2, "patch_size": 4}
_QFORMER = {**_TEXT, "encoder_hidden_size": 16, "cross_attention_frequency": 1}
_OPT = {"model_type": "opt", **_TEXT, "ffn_dim": 16, "word_embed_proj_dim": 16}
_SPEECH = {
    **_TEXT,
    "conv_dim": [16],
    "conv_kernel": [2],
    "conv_stride": [2],
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "num_feat_extract_layers": 1,
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
    ("t5", "T5ForSequenceClassification", _T5),
    ("t5", "MT5ForTokenClassification", _T5),
    ("t5", "LongT5ForConditionalGeneration", _T5),
    ("t5", "LongT5ForConditionalGeneration", {**_T5, "encoder_attention_type": "transient-global"}),
    ("bart", "BartForConditionalGeneration", _SEQ2SEQ),
    ("bert", "BertForSequenceClassification", _TEXT),
    ("bert", "RobertaForSequenceClassification", _TEXT),
    ("bert", "ElectraForSequenceClassification", {**_TEXT, "embedding_size": 16}),
    ("bert", "BertForPreTraining", _TEXT),
    ("bert", "RobertaForMaskedLM", _TEXT),
    ("bert", "ElectraForMaskedLM", {**_TEXT, "embedding_size": 16}),
    ("bert", "ElectraForPreTraining", {**_TEXT, "embedding_size": 16}),
    ("esm", "EsmForMaskedLM", {**_TEXT, "mask_token_id": 3}),
    ("esm", "EsmForSequenceClassification", {**_TEXT, "mask_token_id": 3}),
    ("esm", "EsmForTokenClassification", {**_TEXT, "mask_token_id": 3}),
    (
        "distilbert",
        "DistilBertForSequenceClassification",
        {"vocab_size": 32, "dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16},
    ),
    (
        "distilbert",
        "DistilBertForMaskedLM",
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
    ("albert", "AlbertForPreTraining", {**_TEXT, "embedding_size": 16}),
    (
        "whisper",
        "WhisperForConditionalGeneration",
        {**_SEQ2SEQ, "num_mel_bins": 4, "max_source_positions": 8, "max_target_positions": 8},
    ),
    ("vit", "ViTForImageClassification", _VISION),
    ("vit", "DeiTForImageClassification", _VISION),
    ("vit", "DeiTForImageClassificationWithTeacher", _VISION),
    ("clip", "CLIPModel", {}),
    ("wav2vec2", "Wav2Vec2ForCTC", _SPEECH),
    ("wav2vec2", "Wav2Vec2ForPreTraining", {**_SPEECH, "num_codevectors_per_group": 2, "codevector_dim": 16}),
    ("wav2vec2", "HubertForCTC", _SPEECH),
    ("wav2vec2", "HubertForSequenceClassification", _SPEECH),
    ("llama", "Gemma3ForCausalLM", _GROUPED),
    ("llama", "GraniteForCausalLM", _GROUPED),
    ("llama", "CohereForCausalLM", _GROUPED),
    ("llama", "Cohere2ForCausalLM", {**_GROUPED, "layer_types": ["full_attention"]}),
    ("llama", "OlmoForCausalLM", _GROUPED),
    ("llama", "Olmo2ForCausalLM", _GROUPED),
    ("llama", "SmolLM3ForCausalLM", _GROUPED),
    ("mixtral", "MixtralForCausalLM", _EXPERTS),
    ("qwen_moe", "Qwen2MoeForCausalLM", {**_EXPERTS, "shared_expert_intermediate_size": 16}),
    ("qwen_moe", "Qwen3MoeForSequenceClassification", _EXPERTS),
    ("deepseek", "DeepseekV2ForCausalLM", {**_LATENT, "q_lora_rank": None}),
    ("deepseek", "DeepseekV3ForCausalLM", _LATENT),
    ("glm4", "GlmForCausalLM", _GROUPED),
    ("glm4", "Glm4ForCausalLM", _GROUPED),
    ("lfm2", "Lfm2ForCausalLM", {**_GROUPED, "layer_types": ["full_attention"]}),
    ("lfm2", "Lfm2ForCausalLM", {**_GROUPED, "layer_types": ["conv"]}),
    ("mamba", "MambaForCausalLM", {"vocab_size": 32, "hidden_size": 16, "state_size": 4, "num_hidden_layers": 1}),
    (
        "rwkv",
        "RwkvForCausalLM",
        {"vocab_size": 32, "hidden_size": 16, "attention_hidden_size": 16, "num_hidden_layers": 2},
    ),
    ("modernbert", "ModernBertForMaskedLM", {**_TEXT, "cls_token_id": 1, "sep_token_id": 2}),
    ("modernbert", "ModernBertForSequenceClassification", {**_TEXT, "cls_token_id": 1, "sep_token_id": 2}),
    ("deberta", "DebertaForMaskedLM", _DEBERTA),
    ("deberta", "DebertaForSequenceClassification", _DEBERTA),
    ("mpnet", "MPNetForSequenceClassification", _TEXT),
    ("mpnet", "MPNetForMaskedLM", _TEXT),
    ("longformer", "LongformerForSequenceClassification", {**_TEXT, "attention_window": [4]}),
    ("layoutlm", "LayoutLMForTokenClassification", _TEXT),
    ("layoutlm", "LayoutLMv3ForTokenClassification", {**_TEXT, "input_size": 16, "patch_size": 8}),
    ("segformer", "SegformerForSemanticSegmentation", _SEGFORMER),
    ("segformer", "SegformerForImageClassification", _SEGFORMER),
    ("swin", "SwinForImageClassification", _SWIN),
    ("swin", "Swinv2ForMaskedImageModeling", _SWIN),
    ("beit", "BeitForImageClassification", _VISION),
    ("dinov2", "Dinov2ForImageClassification", _VISION),
    ("dinov2", "Dinov2ForImageClassification", {**_VISION, "use_swiglu_ffn": True}),
    ("convnext", "ConvNextForImageClassification", {**_STAGES, "num_stages": 2}),
    ("convnext", "ConvNextV2ForImageClassification", {**_STAGES, "num_stages": 2}),
    ("timesformer", "TimesformerForVideoClassification", {**_VISION, "num_frames": 2}),
    ("videomae", "VideoMAEForVideoClassification", {**_VISION, "num_frames": 2}),
    ("videomae", "VideoMAEForPreTraining", {**_VISION, "num_frames": 2}),
    (
        "sam",
        "SamModel",
        {"vision_config": {**_VISION, "output_channels": 8, "global_attn_indexes": [0], "window_size": 2}},
    ),
    ("siglip", "SiglipModel", {"text_config": _TEXT, "vision_config": _VISION}),
    ("siglip", "SiglipForImageClassification", {"vision_config": _VISION}),
    (
        "blip2",
        "Blip2ForConditionalGeneration",
        {"vision_config": _VISION, "qformer_config": _QFORMER, "text_config": _OPT},
    ),
    (
        "blip2",
        "Blip2ForConditionalGeneration",
        {"vision_config": _VISION, "qformer_config": _QFORMER, "text_config": {"model_type": "t5", **_T5}},
    ),
    (
        "blip",
        "BlipForConditionalGeneration",
        {"vision_config": _VISION, "text_config": {**_TEXT, "encoder_hidden_size": 16}},
    ),
    (
        "blip",
        "BlipForQuestionAnswering",
        {"vision_config": _VISION, "text_config": {**_TEXT, "encoder_hidden_size": 16}},
    ),
    ("llava", "LlavaForConditionalGeneration", {"vision_config": _CLIP_TOWER, "text_config": _LLAMA}),
    ("llava", "LlavaNextForConditionalGeneration", {"vision_config": _CLIP_TOWER, "text_config": _LLAMA}),
    ("llava", "LlavaOnevisionForConditionalGeneration", {"vision_config": _SIGLIP_TOWER, "text_config": _LLAMA}),
    (
        "qwen2_vl",
        "Qwen2VLForConditionalGeneration",
        {"text_config": _QWEN, "vision_config": {**_QWEN_TOWER, "embed_dim": 16, "mlp_ratio": 1}},
    ),
    (
        "qwen2_5_vl",
        "Qwen2_5_VLForConditionalGeneration",
        {"text_config": _QWEN, "vision_config": {**_QWEN_TOWER, "out_hidden_size": 16, "intermediate_size": 16}},
    ),
    (
        "qwen3_vl",
        "Qwen3VLForConditionalGeneration",
        {
            "text_config": _QWEN,
            "vision_config": {
                **_QWEN_TOWER,
                "out_hidden_size": 16,
                "intermediate_size": 16,
                "deepstack_visual_indexes": [0],
            },
        },
    ),
    (
        "paligemma",
        "PaliGemmaForConditionalGeneration",
        {"vision_config": _SIGLIP_TOWER, "text_config": {**_LLAMA, "model_type": "gemma"}, "projection_dim": 16},
    ),
    ("gemma3_vl", "Gemma3ForConditionalGeneration", {"vision_config": _VISION, "text_config": _GROUPED}),
    (
        "idefics2",
        "Idefics2ForConditionalGeneration",
        {
            "vision_config": _VISION,
            "perceiver_config": {
                "hidden_size": 16,
                "resampler_n_heads": 2,
                "resampler_head_dim": 8,
                "num_key_value_heads": 2,
            },
            "text_config": {**_LLAMA, "model_type": "mistral"},
        },
    ),
    ("idefics3", "Idefics3ForConditionalGeneration", {"vision_config": _VISION, "text_config": _LLAMA}),
    ("idefics3", "SmolVLMForConditionalGeneration", {"vision_config": _VISION, "text_config": _LLAMA}),
    (
        "mllama",
        "MllamaForConditionalGeneration",
        {
            "vision_config": {"hidden_size": 16, "num_hidden_layers": 1, "num_global_layers": 1, "attention_heads": 2},
            "text_config": {**_GROUPED, "num_hidden_layers": 2, "cross_attention_layers": [1]},
        },
    ),
    (
        "internvl",
        "InternVLForConditionalGeneration",
        {
            "vision_config": {**_VISION, "image_size": [8, 8], "patch_size": [4, 4]},
            "text_config": {**_GROUPED, "model_type": "qwen2"},
        },
    ),
    ("ast", "ASTForAudioClassification", {**_VISION, "max_length": 16, "num_mel_bins": 16}),
    ("wavlm", "WavLMForCTC", _SPEECH),
    ("wavlm", "WavLMForXVector", _SPEECH),
    ("wav2vec2_bert", "Wav2Vec2BertForCTC", {**_TEXT, "feature_projection_input_dim": 16}),
]

_STACK = re.compile(
    r"(?<!block\.\d)\.(layers?|blocks?|stages|h|conv_layers|patch_embeddings|experts|deepstack_merger_list|intermediates|linear_c)\.\d+(?=\.|$)"
)


def _modules(class_name: str, settings: dict[str, Any]) -> set[str]:
    """The modules of a model that an adapter can be put on, the first of a stack for all."""
    import torch
    import transformers
    from transformers.pytorch_utils import Conv1D

    model_class = getattr(transformers, class_name)
    with torch.device("meta"):
        model = model_class(model_class.config_class(**settings))
    kinds = (torch.nn.Linear, torch.nn.Embedding, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d, Conv1D)
    names = [name for name, module in model.named_modules() if isinstance(module, kinds)]
    return {_STACK.sub(r".\1.0", name) for name in names}


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
