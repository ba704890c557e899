"""Llama: LlamaForCausalLM, and whatever else was saved under its name."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._loads import LLAMA
from modelbuild.checkpoint.config import first, number, rope_parameters
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.checkpoint.tokenizers.special import special_tokens
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.operations.permute import permute
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json

DIM_LIMIT = 1 << 16


class Llama(Architecture):
    """And what shares its scaling of rotary frequencies: FACTOR is that of llama3 scaling where none is said."""

    NAME = "llama"
    FACTOR: ClassVar[float] = 8.0
    LOADS = LLAMA
    CLASSES: ClassVar[tuple[str, ...]] = ("LlamaForCausalLM", "LLaMAForCausalLM")
    ALIASES: ClassVar[tuple[str, ...]] = (
        "LlamaModel",
        "VLlama3ForCausalLM",
        "IQuestCoderForCausalLM",
        "LlavaForConditionalGeneration",
        "VoxtralForConditionalGeneration",
        "Idefics3ForConditionalGeneration",
        "SmolVLMForConditionalGeneration",
    )
    MODEL_TYPE = "llama"
    DEFAULTS = {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    }
    BIASES = r"blk\.N\.(attn_(q|k|v|output)|ffn_(gate|up|down))"

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, LlamaConfig)"""
        heads = number(config, "num_attention_heads")
        if config.get("num_key_value_heads") is None:
            config["num_key_value_heads"] = heads
        if config.get("head_dim") is None:
            config["head_dim"] = number(config, "hidden_size") // heads
        return config

    @property
    def head_dim(self) -> int:
        if self.config.get("head_dim") is not None:
            return number(self.config, "head_dim")
        return number(self.config, "hidden_size") // number(self.config, "num_attention_heads")

    def parameters(self, file_type: int) -> Values:
        out = Writer(self.NAME, self.config)
        out.put("vocab_size", "u32", number(self.config, "vocab_size"), "vocab_size")
        out.put("rope.dimension_count", "u32", self.head_dim, "head_dim")
        return super().parameters(file_type) | out.values

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        for source, x in sources.items():
            yield self.rename(source.replace("text_model.", "")), self.rotated(source, x)

    def rotated(self, source: str, x: Expression) -> Expression:
        """Queries and keys with the rows of each head in the order that the runtime wants (LlamaModel.modify_tensors)."""
        config = self.config
        heads = number(config, "n_heads", "num_attention_heads")
        shared = first(config, "n_kv_heads", "num_key_value_heads") is None
        kv_heads = heads if shared else number(config, "n_kv_heads", "num_key_value_heads")
        for part, groups in (("q_proj", heads), ("k_proj", kv_heads)):
            if source.endswith((f"{part}.weight", f"{part}.bias")):
                try:
                    return permute(x, groups)
                except ValueError:
                    raise Error(
                        f"tensor '{source}' has {x.shape[0] if x.shape else 1} rows, which {groups} heads cannot share evenly",
                        facts=[("config.json", f"num_attention_heads {heads}, num_key_value_heads {kv_heads}")],
                    ) from None
        return x

    def constants(self) -> Mapping[str, bytes]:
        """rope_freqs.weight: by how much llama3 scaling divides each rotary frequency, f32, head_dim / 2 values.

        Every operation is rounded to f32, in torch's order (LlamaModel.generate_extra_tensors; a scalar over a tensor is the
        scalar times its reciprocal). torch's own power is not always the nearest f32, and depends on the width of the machine's
        vectors: with an unusual theta a factor or two may differ from one machine's llama.cpp in the last bit.
        """
        parameters = rope_parameters(self.config)
        rope = parameters.get("full_attention", parameters)
        if not isinstance(rope, dict) or str(rope.get("rope_type", "")).lower() != "llama3":
            return {}
        theta, factor = _float(rope, "rope_theta", 10000.0), _float(rope, "factor", self.FACTOR)
        low, high = _float(rope, "low_freq_factor", 1.0), _float(rope, "high_freq_factor", 4.0)
        context = _float(rope, "original_max_position_embeddings", 8192)
        dim = self.head_dim
        if high <= low or dim > DIM_LIMIT:
            what = (
                f"a head_dim of at most {DIM_LIMIT}, got {dim}"
                if high > low
                else "high_freq_factor above low_freq_factor"
            )
            raise Error(f"llama3 rope scaling expects {what}", path="config.json")
        factors = []
        for index in range(0, dim, 2):
            frequency = f32(1 / f32(f32(theta) ** f32(index / dim)))
            length = f32(f32(1 / frequency) * f32(2 * math.pi))
            if length < f32(context / high):
                factors.append(1.0)
            elif length > f32(context / low):
                factors.append(factor)
            else:
                smooth = f32(f32(f32(f32(1 / length) * f32(context)) - f32(low)) / f32(high - low))
                factors.append(f32(1 / f32(f32(f32(1 - smooth) / f32(factor)) + smooth)))
        return {"rope_freqs.weight": struct.pack(f"<{len(factors)}f", *factors)}

    @cached_property
    def tokenizer(self) -> Values:
        """(LlamaModel.set_vocab)"""
        checkpoint = self.checkpoint
        if checkpoint.read("tokenizer.json") is None and checkpoint.read("tekken.json") is not None:
            raise Error(
                "is Mistral's own tokenizer, which is not supported without a tokenizer.json",
                path="tekken.json",
                hint="copy tokenizer.json and tokenizer_config.json from the model's repository, or from one that is based on it; "
                'or have your own llama.cpp read it, with mistral-common beside its Python: convert = ["llama.cpp"]',
            )
        values: Values = {}
        if (prefix := checkpoint.tokenizer_config.get("add_prefix_space")) is not None:
            values["tokenizer.ggml.add_space_prefix"] = encode_value("bool", bool(prefix))
        size = tokenizers.vocabulary_size(self.config)
        vocabulary = tokenizers.sentencepiece(checkpoint, size)
        if vocabulary is None and tokenizers.is_llama_hf(checkpoint.json("tokenizer.json") or {}):
            vocabulary = tokenizers.llama_hf(checkpoint, size)
        values |= vocabulary or tokenizers.byte_pairs(checkpoint, size)
        if size == 32016:
            # Code Llama.
            values |= special_tokens(checkpoint, types=("prefix", "suffix", "middle", "eot"), fixed={"eot": 32010})
        if size == 49152:
            # Small Granite models, and all that share their vocabulary.
            values["tokenizer.ggml.add_bos_token"] = encode_value("bool", False)
        return values


def _float(rope: Mapping[str, object], key: str, default: float) -> float:
    value = rope.get(key, default)
    if not isinstance(value, int | float) or not 1e-9 < value < 1e15:
        raise Error(
            f"llama3 rope scaling: '{key}' expects a number from 1e-9 to 1e15, got {in_json(value)}", path="config.json"
        )
    return value


def f32(value: float) -> float:
    """Round to the nearest f32."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])
