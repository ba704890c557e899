"""Gemma 4: blocks that see a window and blocks that see all, with heads of their own; the text part of those that see and hear, too.

Small ones (E2B, E4B) have an embedding for each block, and later blocks that use the keys and values of earlier ones. The 26B has experts
beside the feed forward of each block. transformers 4.57.6 has no such class, so llama.cpp's converter takes config.json as it stands.
Source: llama.cpp conversion/gemma.py (Gemma4Model, Gemma4UnifiedModel), src/models/gemma4.cpp
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar

from modelbuild.checkpoint.architectures import Item
from modelbuild.checkpoint.architectures._loads import EMBEDDING, OUTPUT
from modelbuild.checkpoint.architectures.gemma3 import Gemma3
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import Config, block_count, first, number, rope_parameters
from modelbuild.checkpoint.hyperparameters import Writer, blocks_to_list
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.operations.slice import slice_
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json

FULL, SLIDING = "full_attention", "sliding_attention"

_VISIBLE = frozenset(
    ("<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>')
)
"""Control tokens that the runtime puts out as text, so that the reader of an answer can tell its parts."""

_UNTURNED = 1e30
"""What the frequency of a dimension is divided by that is not turned by its position."""

_HEAD_LIMIT = 1 << 16
_EXPERT_SIZE = ("expert_intermediate_size", "moe_intermediate_size")

_SCALES = {"router.scale": "blk.N.ffn_gate_inp.scale", "router.per_expert_scale": "blk.N.ffn_down_exps.scale"}
"""Ends of the names of tensors that have no suffix in the file."""

_PER_LAYER = ("per_layer_token_embd", "per_layer_model_proj", "per_layer_proj_norm")
_PER_LAYER_OF_BLOCK = ("blk.N.inp_gate", "blk.N.proj", "blk.N.post_norm")
_OF_EXPERTS = (
    "blk.N.ffn_gate_inp", "blk.N.ffn_gate_inp.scale", "blk.N.ffn_gate_up_exps", "blk.N.ffn_down_exps", "blk.N.ffn_down_exps.scale",
    "blk.N.pre_ffw_norm_2", "blk.N.post_ffw_norm_1", "blk.N.post_ffw_norm_2",
)  # fmt: skip


class Gemma4(Gemma3):
    NAME = "gemma4"
    CLASSES: ClassVar[tuple[str, ...]] = ("Gemma4ForConditionalGeneration", "Gemma4ForCausalLM")
    MODEL_TYPE: ClassVar[str] = ""
    DEFAULTS: ClassVar[Config] = {}
    NAMES: ClassVar[Mapping[str, str]] = {
        **Gemma3.NAMES,
        "layers.N.layer_scalar": "blk.N.layer_output_scale",
        "embed_tokens_per_layer": "per_layer_token_embd",
        "per_layer_model_projection": "per_layer_model_proj",
        "per_layer_projection_norm": "per_layer_proj_norm",
        "layers.N.per_layer_input_gate": "blk.N.inp_gate",
        "layers.N.per_layer_projection": "blk.N.proj",
        "layers.N.post_per_layer_input_norm": "blk.N.post_norm",
        "layers.N.router.proj": "blk.N.ffn_gate_inp",
        "layers.N.experts.gate_up_proj": "blk.N.ffn_gate_up_exps",
        "layers.N.experts.down_proj": "blk.N.ffn_down_exps",
        "layers.N.pre_feedforward_layernorm_2": "blk.N.pre_ffw_norm_2",
        "layers.N.post_feedforward_layernorm_1": "blk.N.post_ffw_norm_1",
        "layers.N.post_feedforward_layernorm_2": "blk.N.post_ffw_norm_2",
    }
    # The runtime reads no biases of it.
    BIASES = "(?!)"
    NEEDED: ClassVar[tuple[str, ...]] = tuple(_SCALES.values())
    EXPERTS_BESIDE = True
    LOADS: ClassVar[str] = f"""
        {EMBEDDING} {OUTPUT}
        rope_freqs                        rot/2
        layered per_layer_token_embd      layered vocab
        layered per_layer_model_proj      embd layered
        layered per_layer_proj_norm       layer
        blk.N.attn_norm                   embd
        blk.N.attn_q                      embd queries
        own blk.N.attn_k                  embd keys
        lent blk.N.attn_k?                embd keys
        blk.N.attn_v?                     embd keys
        blk.N.attn_output                 queries embd
        blk.N.attn_q_norm                 head
        own blk.N.attn_k_norm             head
        lent blk.N.attn_k_norm?           head
        blk.N.post_attention_norm         embd
        blk.N.layer_output_scale?         1
        blk.N.ffn_norm                    embd
        blk.N.ffn_gate                    embd ff
        blk.N.ffn_up                      embd ff
        blk.N.ffn_down                    ff embd
        blk.N.post_ffw_norm               embd
        experts blk.N.ffn_gate_inp        embd experts
        experts blk.N.ffn_gate_inp.scale. embd
        experts blk.N.pre_ffw_norm_2      embd
        experts blk.N.post_ffw_norm_1     embd
        experts blk.N.post_ffw_norm_2     embd
        experts blk.N.ffn_gate_up_exps?   embd 2*ff_exp experts
        experts blk.N.ffn_gate_exps?      embd ff_exp experts
        experts blk.N.ffn_up_exps?        embd ff_exp experts
        experts blk.N.ffn_down_exps       ff_exp embd experts
        experts blk.N.ffn_down_exps.scale.? experts
        layered blk.N.inp_gate            embd layer
        layered blk.N.proj                layer embd
        layered blk.N.post_norm           embd
    """
    SHAPES = """
        per_layer_token_embd       layered vocab
        per_layer_model_proj       embd layered
        per_layer_proj_norm        layer
        blk.N.inp_gate             embd layer
        blk.N.proj                 layer embd
        blk.N.post_norm            embd
        blk.N.layer_output_scale   1
        blk.N.ffn_up               embd ff
        blk.N.ffn_gate_inp.scale.  embd
        blk.N.ffn_gate_up_exps     embd 2*ff_exp experts
        blk.N.ffn_down_exps.scale. experts
        blk.N.pre_ffw_norm_2       embd
        blk.N.post_ffw_norm_1      embd
        blk.N.post_ffw_norm_2      embd
    """
    ASKS: ClassVar[tuple[str, ...]] = (
        "attention.layer_norm_rms_epsilon", "attention.sliding_window", "attention.sliding_window_pattern",
        "attention.key_length_swa", "attention.value_length_swa", "embedding_length_per_layer_input",
    )  # fmt: skip

    def __init__(self, checkpoint: Checkpoint) -> None:
        text = checkpoint.config.get("text_config")
        if not isinstance(text, dict | None):
            raise Error(f"'text_config' expects an object, got {in_json(text)}", path="config.json")
        super().__init__(checkpoint)

    @cached_property
    def tokenizer(self) -> Values:
        """(Gemma4Model.set_vocab)"""
        values = tokenizers.gemma4(self.checkpoint, tokenizers.vocabulary_size(self.config), _VISIBLE)
        return values | {
            "tokenizer.ggml.add_space_prefix": encode_value("bool", False),
            "tokenizer.ggml.add_bos_token": encode_value("bool", True),
        }

    # What config.json says of the blocks

    @cached_property
    def _sliding(self) -> list[bool]:
        """Whether each block sees a window of the text alone."""
        types: Any = self.config.get("layer_types")
        count = block_count(self.config)
        if not isinstance(types, list) or len(types) != count:
            got = f"a list of {len(types)}" if isinstance(types, list) else _got(self.config, "layer_types")
            raise Error(
                f"'layer_types' expects a list with one text for each of {count} blocks, got {got}", path="config.json"
            )
        return [kind == SLIDING for kind in types]

    @cached_property
    def _shared(self) -> int:
        """How many blocks, the last ones, use the keys and values of earlier blocks."""
        count, blocks = self.config.get("num_kv_shared_layers"), block_count(self.config)
        if type(count) is not int or not 0 <= count <= blocks:
            got = _got(self.config, "num_kv_shared_layers")
            raise Error(
                f"'num_kv_shared_layers' expects a whole number from 0 to {blocks}, got {got}", path="config.json"
            )
        return count

    def _of_full(self, key: str, name: str) -> Any:
        """A number that holds for the blocks that see all: by a key of its own, or as transformers 5 writes it, block by block."""
        if self.config.get(key) is not None:
            return self.config[key]
        blocks = self.config.get("per_layer_config")
        if not isinstance(blocks, dict):
            return None
        for block, values in blocks.items():
            # A list of blocks is at most as long as layer_types, and its numbers are short.
            inside = block.isdecimal() and len(block) < 6 and int(block) < len(self._sliding)
            if inside and not self._sliding[int(block)] and isinstance(values, dict) and name in values:
                return values[name]
        return None

    @cached_property
    def _head_full(self) -> int:
        found = self._of_full("global_head_dim", "head_dim")
        size = number({"global_head_dim": found} if found is not None else {}, "global_head_dim")
        if size > _HEAD_LIMIT:
            raise Error(
                f"'global_head_dim' expects a whole number up to {_HEAD_LIMIT:,}, got {size:,}", path="config.json"
            )
        return size

    @property
    def _heads_full(self) -> int | None:
        found = self._of_full("num_global_key_value_heads", "num_key_value_heads")
        return None if found is None else number({"num_global_key_value_heads": found}, "num_global_key_value_heads")

    @property
    def _layer(self) -> int:
        """The size of an embedding for each block; 0 for a model without such."""
        size = self.config.get("hidden_size_per_layer_input") or 0
        if type(size) is not int or not 0 <= size < 1 << 31:
            got = in_json(size)
            raise Error(
                f"'hidden_size_per_layer_input' expects a whole number of at least 0, got {got}", path="config.json"
            )
        return size

    @property
    def _forward(self) -> list[int] | None:
        """The size of each block's feed forward, where it is twice as large in those that use the keys of others."""
        if not self.config.get("use_double_wide_mlp"):
            return None
        size, blocks = number(self.config, "intermediate_size"), block_count(self.config)
        return [size if block < blocks - self._shared else 2 * size for block in range(blocks)]

    def parameters(self, file_type: int) -> Values:
        """(Gemma4Model.set_gguf_parameters)"""
        blocks_to_list(self.config)
        out = Writer(self.NAME, self.config)
        out.put("attention.shared_kv_layers", "u32", self._shared, "num_kv_shared_layers")
        out.put("embedding_length_per_layer_input", "u32", self._layer, "hidden_size_per_layer_input")
        sliding = self._sliding
        out.values[f"{self.NAME}.attention.sliding_window_pattern"] = encode_value("[bool]", sliding)
        head = number(self.config, "head_dim")
        for key in ("attention.key_length", "attention.value_length"):
            out.put(key, "u32", self._head_full, "global_head_dim")
        for key in ("attention.key_length_swa", "attention.value_length_swa"):
            out.put(key, "u32", head, "head_dim")
        out.take("expert_feed_forward_length", "u32", *_EXPERT_SIZE)
        if (forward := self._forward) is not None:
            out.put("feed_forward_length", "[i32]", forward, "intermediate_size")
        if (heads := self._heads_full) is not None and self.config.get("num_key_value_heads") is not None:
            own = number(self.config, "num_key_value_heads")
            each = [own if windowed else heads for windowed in sliding]
            out.put("attention.head_count_kv", "[i32]", each, "num_key_value_heads")
        out.put("rope.dimension_count", "u32", self._head_full, "global_head_dim")
        turned = rope_parameters(self.config).get("partial_rotary_factor", 1.0)
        if not isinstance(turned, int | float) or not 0 <= turned <= 1:
            raise Error(
                f"'partial_rotary_factor' expects a number from 0 to 1, got {in_json(turned)}", path="config.json"
            )
        out.put("rope.dimension_count_swa", "u32", int(head * turned), "head_dim")
        return super().parameters(file_type) | out.values

    def constants(self) -> Mapping[str, bytes]:
        """The factors of the frequencies in blocks that see all, of which a part is turned (Gemma4Model.generate_extra_tensors)."""
        rope: Any = rope_parameters(self.config).get(FULL)
        if not isinstance(rope, dict) or rope.get("rope_type") != "proportional":
            got = _got(rope, "rope_type") if isinstance(rope, dict) else "nothing"
            raise Error(
                f"'rope_parameters' expects the rope_type \"proportional\" for {FULL}, got {got}", path="config.json"
            )
        factor = rope.get("partial_rotary_factor")
        if not isinstance(factor, int | float) or not 0 <= factor <= 1:
            got = _got(rope, "partial_rotary_factor")
            raise Error(
                f"'partial_rotary_factor' of {FULL} expects a number from 0 to 1, got {got}", path="config.json"
            )
        turned, half = int(self._head_full * factor / 2), self._head_full // 2
        return {"rope_freqs.weight": struct.pack(f"<{half}f", *([1.0] * turned + [_UNTURNED] * (half - turned)))}

    # The tensors

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """(Gemma4Model.modify_tensors) Its norms are stored whole. The embedding's rows beyond the last token go."""
        rows = tokenizers.tokens_in(self.tokenizer)
        for source, x in sources.items():
            if "embed_tokens.weight" in source and len(x.shape) > 1 and x.shape[0] > rows:
                x = slice_(x, 0, 0, rows)
            yield self.rename(source), x

    def choose(self, tensors: Mapping[str, Item]) -> Mapping[str, Item]:
        """(Gemma4Model.filter_tensors) Some have names without a suffix."""
        return {_suffixed(name): x for name, x in tensors.items()}

    def rename(self, source: str) -> str:
        source = _suffixed(source)
        for end, name in _SCALES.items():
            if source.endswith(f".{end}.weight"):
                # The projection of the router is in the same block, or this is none of its blocks.
                block = super().rename(source.replace(f".{end}.", ".router.proj.")).split(".")[1]
                return name.replace("N", block)
        return super().rename(source)

    def has(self, stem: str, block: int) -> bool:
        """Later blocks may have no keys and values; blocks that see all may use their keys as values."""
        if stem in ("blk.N.attn_k", "blk.N.attn_k_norm", "blk.N.attn_v"):
            own = block < block_count(self.config) - self._shared
            return own and not (
                stem.endswith("_v") and self.config.get("attention_k_eq_v") and not self._sliding[block]
            )
        if stem in (*_PER_LAYER, *_PER_LAYER_OF_BLOCK):
            return bool(self._layer)
        if stem in _OF_EXPERTS:
            return bool(self.config.get("enable_moe_block"))
        if stem == "blk.N.layer_output_scale":
            return any(name.endswith(".layer_scalar") for name in self.checkpoint.tensors)
        return super().has(stem, block)

    def sizes(self, block: int) -> Mapping[str, tuple[int, str]]:
        layer, blocks = self._layer, block_count(self.config)
        found = {
            "1": (1, "one number"),
            "layer": (layer, "hidden_size_per_layer_input"),
            "layered": (layer * blocks, "num_hidden_layers * hidden_size_per_layer_input"),
        }
        if (experts := first(self.config, *_EXPERT_SIZE)) is not None:
            found["ff_exp"] = number(self.config, *_EXPERT_SIZE), _EXPERT_SIZE[-1]
            found["2*ff_exp"] = 2 * experts, f"2 * {_EXPERT_SIZE[-1]}"
        if block >= len(self._sliding):
            return found
        config = {"num_attention_heads": 8, "num_key_value_heads": 4, **self.config}
        head, queries = (number(config, "head_dim"), "head_dim"), "num_attention_heads"
        keys, shared = "num_key_value_heads", number(config, "num_key_value_heads")
        if not self._sliding[block]:
            head = self._head_full, "global_head_dim"
            if self._heads_full is not None:
                keys, shared = "num_global_key_value_heads", self._heads_full
        found["head"] = head
        found["queries"] = number(config, queries) * head[0], f"{queries} * {head[1]}"
        found["keys"] = shared * head[0], f"{keys} * {head[1]}"
        if (forward := self._forward) is not None:
            wide = block >= blocks - self._shared
            found["ff"] = forward[block], "2 * intermediate_size" if wide else "intermediate_size"
        return found


class Gemma4Unified(Gemma4):
    """One whose images and sounds go into the text model as they are. It may never put out some of its tokens."""

    CLASSES = ("Gemma4UnifiedForConditionalGeneration",)

    def parameters(self, file_type: int) -> Values:
        """(Gemma4UnifiedModel.set_gguf_parameters)"""
        values = super().parameters(file_type)
        path, key = "generation_config.json", "suppress_tokens"
        tokens = (self.checkpoint.json(path) or {}).get(key)
        if not tokens:
            return values
        if not isinstance(tokens, list) or any(type(each) is not int or not 0 <= each < 1 << 31 for each in tokens):
            raise Error(f"'{key}' expects a list of ids of tokens, got {in_json(tokens)}", path=path)
        return values | {"tokenizer.ggml.suppress_tokens": encode_value("[i32]", tokens)}


def _suffixed(name: str) -> str:
    bare = name.endswith((".layer_scalar", ".router.scale", ".router.per_expert_scale"))
    return f"{name}.weight" if bare or name.endswith((".experts.gate_up_proj", ".experts.down_proj")) else name


def _got(config: Mapping[str, Any], key: str) -> str:
    return in_json(config[key]) if key in config else "nothing"
