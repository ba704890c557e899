"""Qwen2 and Qwen2.5: biases on queries, keys and values, whose rotations are in the order of the runtime."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._loads import EMBEDDING, FEED_FORWARD, OUTPUT
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import (
    Config,
    layer_types_fit,
    named_class,
    transformers_takes,
    with_key_heads,
)
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS, NAMES
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value

MEAN, CLS, LAST = 1, 2, 3
"""Kinds of pooling (llama.h, llama_pooling_type)."""


class Qwen2(Architecture):
    NAME = "qwen2"
    LOADS = f"""
        {EMBEDDING} {OUTPUT} {FEED_FORWARD}
        output.bias?              vocab
        blk.N.attn_norm           embd
        blk.N.qkv                 embd values values
        blk.N.attn_output         embd embd
        blk.N.ffn_norm            embd
    """
    CLASSES: ClassVar[tuple[str, ...]] = ("Qwen2ForCausalLM",)
    ALIASES: ClassVar[tuple[str, ...]] = (
        "Qwen2Model",
        "KORMoForCausalLM",
        "DotsOCRForCausalLM",
        "Qwen2AudioForConditionalGeneration",
        "AudioFlamingo3ForConditionalGeneration",
    )
    MODEL_TYPE = "qwen2"
    DEFAULTS = {
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    }
    NAMES: ClassVar[Mapping[str, str]] = {
        **NAMES,
        "layers.N.pre_attention_layernorm": "blk.N.attn_norm",
        "layers.N.pre_mlp_layernorm": "blk.N.ffn_norm",
    }
    BIASES = rf"{ATTENTION_INPUTS}|output"
    FREE_HEADS = False

    @classmethod
    def takes(cls, config: Config) -> bool:
        """(transformers, Qwen2Config)"""
        return transformers_takes(config) and layer_types_fit({**cls.DEFAULTS, **config})

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, Qwen2Config)"""
        return with_key_heads(config)

    def parameters(self, file_type: int) -> Values:
        """(Qwen2Model.set_gguf_parameters)"""
        values, kind = super().parameters(file_type), pooling(self.checkpoint)
        return values if kind is None else values | {f"{self.NAME}.pooling_type": encode_value("u32", kind)}

    def doubts(self) -> Iterator[Error]:
        if named_class(self.checkpoint.config) in _HEADLESS:
            yield from unpooled(self.checkpoint)


_HEADLESS = ("Qwen2Model", "Qwen3Model")
"""Classes without a head for text, in which models of embeddings are saved."""


def modules(checkpoint: Checkpoint, kind: str) -> list[str]:
    """The folders of a kind of modules, in the order in which sentence-transformers runs them; none of any other model."""
    try:
        found = json.loads(checkpoint.text("modules.json") or "[]")
        return [str(module["path"]) for module in found if str(module["type"]).endswith(kind)]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise Error("expected a list of modules, each with its 'type' and 'path'", path="modules.json") from None


def pooling(checkpoint: Checkpoint) -> int | None:
    """How a model of embeddings makes one of many, from its sentence-transformers files; None for any other model.

    Source: llama.cpp conversion, TextModel._try_set_pooling_type
    """
    paths = modules(checkpoint, "Pooling")
    if not paths:
        return None
    name = f"{paths[0]}/config.json"
    found = checkpoint.json(name)
    if found is None:
        raise Error(f"names '{name}', which is not there", path="modules.json", hint="copy the missing file too")
    for key, kind in (("mean_tokens", MEAN), ("cls_token", CLS), ("lasttoken", LAST)):
        if found.get(f"pooling_mode_{key}"):
            return kind
    kinds = {"mean": MEAN, "cls": CLS, "lasttoken": LAST}
    if str(found.get("pooling_mode")) not in kinds:
        raise Error(f"llama.cpp does not know this pooling: expected one of {', '.join(kinds)}", path=name)
    return kinds[found["pooling_mode"]]


def unpooled(checkpoint: Checkpoint) -> Iterator[Error]:
    """The warning about a model that makes embeddings, if its file will not say how it pools."""
    if pooling(checkpoint) is None:
        yield Error(
            "is missing: the file will not say how one embedding is made of those of all tokens (pooling)",
            path="modules.json",
            hint="copy modules.json and 1_Pooling/config.json from where the model came from; "
            "without them Ollama takes the file for a model of text",
        )
