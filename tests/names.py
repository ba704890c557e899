"""Checkpoints of classes that go by another name than those of the zoo: how each of them is stored, by its class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from . import zoo
from .zoo import Case


def _renamed(case: Case, name: Callable[[str], str], **config: Any) -> Case:
    return replace(
        case,
        config={**case.config, **config},
        shapes={name(each): shape for each, shape in case.shapes.items()},
        dtypes={name(each): dtype for each, dtype in case.dtypes.items()},
    )


def _bare(case: Case, class_name: str) -> Case:
    """Of a model without its head: no `model.` before the names, and nothing for the output."""
    headless = replace(case, shapes={name: shape for name, shape in case.shapes.items() if name != "lm_head.weight"})
    return _renamed(headless, lambda name: name.removeprefix("model."), architectures=[class_name])


def _within(case: Case, class_name: str, model_type: str, prefix: str, **text: Any) -> Case:
    """Of a model whose text model is a part of it, beside a tower of which nothing becomes text."""
    part = {key: value for key, value in {**case.config, **text}.items() if key != "architectures"}
    inner = _renamed(case, lambda name: prefix + name)
    tower = {"vision_tower.embeddings.weight": (8, 8), "multi_modal_projector.linear_1.weight": (8, 8)}
    config = {"architectures": [class_name], "model_type": model_type, "text_config": part}
    return replace(inner, config=config, shapes={**inner.shapes, **tower})


def _shuffled(case: Case, class_name: str, model_type: str) -> Case:
    """Of a text model beside a tower, as these models are published: the part names a class of its own."""
    inner = _renamed(case, lambda name: name.replace("model.", "model.text_model."))
    config = {"architectures": [class_name], "model_type": model_type,
              "text_config": {**case.config, "architectures": ["VLlama3ForCausalLM"]}}  # fmt: skip
    tower = {
        "model.vision_model.post_layernorm.weight": (8,),
        "model.connector.modality_projection.proj.weight": (8, 8),
    }
    return replace(inner, config=config, shapes={**inner.shapes, **tower})


def _kormo(name: str) -> str:
    return name.replace("input_layernorm", "pre_attention_layernorm").replace(
        "post_attention_layernorm", "pre_mlp_layernorm"
    )


def _seeing_alone() -> Case:
    case = next(iter(zoo.cases("qwen2_vl").values()))
    return _renamed(case, lambda name: name.replace("model.", "language_model.", 1), architectures=["Qwen2VLModel"])


def cases() -> Mapping[str, Case]:
    """Class -> a checkpoint of it."""
    llama, qwen2 = zoo.cases("llama")["bf16"], next(iter(zoo.cases("qwen2").values()))
    qwen3, phi3 = zoo.cases("qwen3")["tied"], next(iter(zoo.cases("phi3").values()))
    return {
        "LlamaModel": _bare(llama, "LlamaModel"),
        "VLlama3ForCausalLM": _renamed(
            llama, lambda name: name.replace("model.", "model.text_model."), architectures=["VLlama3ForCausalLM"]
        ),
        "IQuestCoderForCausalLM": _renamed(
            llama, str, architectures=["IQuestCoderForCausalLM"], model_type="iquestcoder"
        ),
        "LlavaForConditionalGeneration": _within(llama, "LlavaForConditionalGeneration", "llava", "language_model."),
        "VoxtralForConditionalGeneration": _within(
            llama, "VoxtralForConditionalGeneration", "voxtral", "language_model."
        ),
        "Idefics3ForConditionalGeneration": _shuffled(llama, "Idefics3ForConditionalGeneration", "idefics3"),
        "SmolVLMForConditionalGeneration": _shuffled(llama, "SmolVLMForConditionalGeneration", "smolvlm"),
        "Qwen2Model": _bare(qwen2, "Qwen2Model"),
        "KORMoForCausalLM": _renamed(qwen2, _kormo, architectures=["KORMoForCausalLM"], model_type="kormo"),
        "DotsOCRForCausalLM": _renamed(qwen2, str, architectures=["DotsOCRForCausalLM"], model_type="dots_ocr"),
        "Qwen2AudioForConditionalGeneration": _within(
            qwen2, "Qwen2AudioForConditionalGeneration", "qwen2_audio", "language_model."
        ),
        "AudioFlamingo3ForConditionalGeneration": _within(
            qwen2, "AudioFlamingo3ForConditionalGeneration", "audioflamingo3", "language_model."
        ),
        "Qwen2VLModel": _seeing_alone(),
        "LFM2ForCausalLM": _renamed(zoo.cases("lfm2")["bf16"], str, architectures=["LFM2ForCausalLM"]),
        "Qwen3Model": _bare(qwen3, "Qwen3Model"),
        "Phi4ForCausalLMV": _renamed(phi3, str, architectures=["Phi4ForCausalLMV"], model_type="phi4-siglip"),
    }
