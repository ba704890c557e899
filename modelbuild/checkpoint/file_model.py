"""The hyper-parameters of a GGUF file, as llama.cpp's runtime derives them: what the words of tables mean in each of its blocks.

Source: src/llama-model.cpp (load_hparams), src/llama-hparams.cpp, src/models/NAME.cpp (load_arch_hparams)
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from modelbuild.tensors.formats.gguf import ARRAY, decode_value

LITE, LITE_BY_TOKENS = (26, 27), (48, 128256)
"""Blocks, or blocks and tokens, of those models of deepseek2 whose queries are not compressed (src/models/deepseek2.cpp)."""


class FileModel:
    """The hyper-parameters of a file, as the runtime derives them."""

    def __init__(self, name: str, metadata: Mapping[str, bytes]) -> None:
        self.name = name
        self.metadata = metadata

    def has(self, key: str) -> bool:
        return f"{self.name}.{key}" in self.metadata

    def number(self, key: str, default: int = 0, block: int = 0) -> int:
        """A number, of an array one block's."""
        value = self.value(key)
        if isinstance(value, list):
            value = value[block] if block < len(value) else default
        return value if isinstance(value, int) else default

    def asks(self, key: str) -> bool:
        """Whether the runtime asks for a key that its architecture may have (src/models/deepseek2.cpp, load_arch_hparams)."""
        return key != "attention.q_lora_rank" or not self.is_lite

    @property
    def trunk(self) -> int:
        """How many blocks there are before those for further tokens."""
        return self.number("block_count") - self.number("nextn_predict_layers")

    @property
    def is_lite(self) -> bool:
        """Whether the runtime takes the queries not to be compressed, by the number of blocks (src/models/deepseek2.cpp)."""
        if self.name != "deepseek2":
            return False
        tokens = self.number("vocab_size") or items(self.metadata.get("tokenizer.ggml.tokens"))
        return self.trunk in LITE or (self.trunk, tokens) == LITE_BY_TOKENS

    def value(self, key: str) -> Any:
        data = self.metadata.get(f"{self.name}.{key}")
        return None if data is None else decode_value(data)

    def dimensions(self, block: int = 0) -> dict[str, int]:
        """What the words of a table mean in one block."""

        def number(key: str, default: int = 0) -> int:
            return self.number(key, default, block)

        embd, heads = number("embedding_length"), number("attention.head_count")
        shared = number("attention.head_count_kv", heads)
        whole = number("attention.key_length", embd // heads if heads else 0)
        key, value = whole, number("attention.value_length", embd // heads if heads else 0)
        if self._is_windowed(block):
            key, value = number("attention.key_length_swa", key), number("attention.value_length_swa", value)
        forward, used = number("feed_forward_length"), number("expert_used_count")
        forward_exp = number("expert_feed_forward_length") or (forward // used if used else forward)
        index = number("attention.indexer.key_length")
        return {
            "1": 1,
            "embd": embd,
            "vocab": items(self.metadata.get("tokenizer.ggml.tokens")) or number("vocab_size"),
            "ctx": number("context_length"),
            "types": self._types(),
            "ff": forward,
            "up": forward,
            "head": key,
            "heads": heads,
            "kv_heads": shared,
            "queries": key * heads,
            "keys": key * shared,
            "values": value * shared,
            "experts": number("expert_count"),
            "ff_exp": forward_exp,
            "ff_shexp": number("expert_shared_feed_forward_length") or forward_exp * number("expert_shared_count"),
            "index": index,
            "indices": index * number("attention.indexer.head_count"),
            "labels": items(self.metadata.get(f"{self.name}.classifier.output_labels")) or 1,
            "rot": number("rope.dimension_count", whole),
            "layer": number("embedding_length_per_layer_input"),
            "layered": number("embedding_length_per_layer_input") * number("block_count"),
            "out": number("embedding_length_out"),
            "latent": number("moe_latent_size") or embd,
            "conv": number("ssm.conv_kernel") or number("shortconv.l_cache"),
            "state": number("ssm.state_size"),
            "rank": number("ssm.time_step_rank"),
            "inner": number("ssm.state_size") * number("ssm.time_step_rank"),
            "mixed": number("ssm.state_size") * (2 * number("ssm.group_count") + number("ssm.time_step_rank")),
            **self._mixer(),
            **self._compressed(key, value),
        }

    @property
    def _is_split(self) -> bool:
        """Whether what makes keys and values of compressed ones is two tensors (llama_hparams::is_mla)."""
        return bool(self.number("attention.key_length_mla") and self.number("attention.value_length_mla"))

    def _compressed(self, key: int, value: int) -> dict[str, int]:
        """The words of attention over compressed keys and values; `key` and `value`: the heads of a file where that is one tensor."""
        if self._is_split:
            key, value = self.number("attention.key_length_mla"), self.number("attention.value_length_mla")
        heads, turned = self.number("attention.head_count"), self.number("rope.dimension_count", key)
        rank = self.number("attention.kv_lora_rank")
        return {
            "q_lora": self.number("attention.q_lora_rank"),
            "kv_lora": rank,
            "kv_a": rank + turned,
            "kv_b": heads * (key - turned + value),
            "nope": key - turned,
            "mla_queries": heads * key,
            "mla_value": value,
            "mla_values": heads * value,
            "indexers": self.number("attention.indexer.head_count"),
        }

    def _mixer(self) -> dict[str, int]:
        """The sizes of a Mamba-2 mixer (src/models/granite-hybrid.cpp, nemotron-h.cpp)."""
        inner, groups, heads = (self.number(f"ssm.{key}") for key in ("inner_size", "group_count", "time_step_rank"))
        mixed = 2 * groups * self.number("ssm.state_size")
        return {
            "ssm": inner,
            "groups": groups,
            "ssm_group": inner // groups if groups else 0,
            "ssm_conv": inner + mixed,
            "ssm_in": 2 * inner + mixed + heads,
        }

    def _types(self) -> int:
        data = self.metadata.get("tokenizer.ggml.token_type_count")
        value = None if data is None else decode_value(data)
        return value if isinstance(value, int) else 0

    def _is_windowed(self, block: int) -> bool:
        pattern = self.value("attention.sliding_window_pattern")
        return isinstance(pattern, list) and block < len(pattern) and bool(pattern[block])

    def lends(self, block: int) -> bool:
        """Whether a block uses the keys and values of an earlier one (llama_hparams::has_kv)."""
        return block >= self.number("block_count") - self.number("attention.shared_kv_layers")

    def has_experts(self, block: int) -> bool:
        """Whether a block has experts: of those models that have any, all do, or every so many (src/models/bert.cpp)."""
        every = self.number("moe_every_n_layers")
        return self.number("expert_count", 0, block) > 0 and (every <= 0 or block % every == 1)

    def kind(self, block: int) -> str:
        """What a block is where they differ: `attention`, `recurrent`, `forward` with neither, or `nextn`, which has all but the second.

        (load_arch_hparams)
        """
        if block >= self.trunk:
            return "nextn"
        recurrent = self.value("attention.recurrent_layers")
        if isinstance(recurrent, list):
            return "recurrent" if block < len(recurrent) and recurrent[block] else "attention"
        if self.has("shortconv.l_cache") or isinstance(self.value("attention.head_count_kv"), list):
            if isinstance(self.value("feed_forward_length"), list) and self.number("feed_forward_length", 0, block):
                return "forward"
            return "attention" if self.number("attention.head_count_kv", 1, block) else "recurrent"
        interval = self.number("full_attention_interval", 4)
        return "recurrent" if interval and (block + 1) % interval else "attention"

    def is_of(self, block: int, when: str) -> bool:
        """Whether a block is one of those that a line of a table is for (see `tables`)."""
        match when:
            case "dense" | "experts":
                return self.has_experts(block) == (when == "experts")
            case "shared":
                shared = self.number("expert_shared_feed_forward_length") or self.number("expert_shared_count")
                return self.has_experts(block) and block >= self.number("leading_dense_block_count") and shared > 0
            case "layered":
                return self.number("embedding_length_per_layer_input") > 0
            case "attention":
                return self.kind(block) in ("attention", "nextn")
            case "forward":
                return self.kind(block) in ("forward", "nextn")
            case "recurrent" | "nextn":
                return self.kind(block) == when
            case "first" | "later":
                is_first = block < self.number("leading_dense_block_count")
                return is_first == (when == "first") and self.kind(block) != "nextn"
            case "low" | "high":
                low = self.number("attention.q_lora_rank") > 0 and not self.is_lite
                return low == (when == "low")
            case "split" | "whole":
                return self._is_split == (when == "split")
            case "own" | "lent":
                return self.lends(block) == (when == "lent")
        return True


def items(data: bytes | None) -> int:
    """How many items an encoded array has."""
    if data is None or len(data) < 16 or struct.unpack_from("<I", data)[0] != ARRAY:
        return 0
    return int(struct.unpack_from("<Q", data, 8)[0])
