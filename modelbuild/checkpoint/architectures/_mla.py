"""Attention over compressed keys and values (MLA), as DeepSeek V2 made it: a few numbers of each position, and one rotated key.

The checkpoint has one matrix that makes keys and values of the compressed ones, head by head; the file has one for the keys, which is
transposed, and one for the values, so that the runtime need not make them (absorption).
Source: llama.cpp conversion/deepseek.py (DeepseekV2Model), src/models/deepseek2.cpp
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from modelbuild.checkpoint.architectures import _dense_first, _mtp
from modelbuild.checkpoint.architectures._dense_first import DenseFirst
from modelbuild.checkpoint.architectures._loads import EMBEDDING, OUTPUT
from modelbuild.checkpoint.config import number, rope_parameters
from modelbuild.checkpoint.hyperparameters import Writer, base_parameters
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import NAMES
from modelbuild.errors import Error
from modelbuild.tensors.ftypes import FLOATS
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.slice import slice_
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json

LOADS = f"""
    {EMBEDDING} {OUTPUT} {_dense_first.LOADS} {_mtp.LOADS}
    blk.N.attn_norm               embd
    blk.N.attn_kv_a_norm          kv_lora
    low blk.N.attn_q_a_norm       q_lora
    low blk.N.attn_q_a            embd q_lora
    low blk.N.attn_q_b            q_lora mla_queries
    high blk.N.attn_q             embd mla_queries
    blk.N.attn_kv_a_mqa           embd kv_a
    split blk.N.attn_k_b          nope kv_lora heads
    split blk.N.attn_v_b          kv_lora mla_value heads
    whole blk.N.attn_kv_b         kv_lora kv_b
    blk.N.attn_output             mla_values embd
    blk.N.ffn_norm                embd
    later blk.N.exp_probs_b.bias? experts
"""
"""Lines of LOADS."""


class Mla(DenseFirst):
    """A mixin: the metadata, and what all of these models do to their tensors."""

    NAMES: ClassVar[Mapping[str, str]] = {
        **{name: known for name, known in NAMES.items() if not name.endswith(("k_proj", "v_proj"))},
        **_dense_first.NAMES,
        "layers.N.self_attn.q_a_proj": "blk.N.attn_q_a",
        "layers.N.self_attn.q_a_layernorm": "blk.N.attn_q_a_norm",
        "layers.N.self_attn.q_b_proj": "blk.N.attn_q_b",
        "layers.N.self_attn.kv_a_proj_with_mqa": "blk.N.attn_kv_a_mqa",
        "layers.N.self_attn.kv_a_layernorm": "blk.N.attn_kv_a_norm",
        "layers.N.self_attn.k_b_proj": "blk.N.attn_k_b",
        "layers.N.self_attn.v_b_proj": "blk.N.attn_v_b",
    }
    SHAPES = f"""
        {_dense_first.SHAPES} {_mtp.SHAPES}
        blk.N.attn_q_a_norm   q_lora
        blk.N.attn_q_a        embd q_lora
        blk.N.attn_q_b        q_lora mla_queries
        blk.N.attn_q          embd mla_queries
        blk.N.attn_kv_a_norm  kv_lora
        blk.N.attn_kv_a_mqa   embd kv_a
        blk.N.attn_kv_b       kv_lora kv_b
        blk.N.attn_k_b        nope kv_lora heads
        blk.N.attn_v_b        kv_lora mla_value heads
        blk.N.attn_output     mla_values embd
    """
    BIASES = r"blk\.N\.exp_probs_b"
    OPTIONAL = "output"
    REQUIRED: ClassVar[Mapping[str, str]] = {
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "attention.head_count": "num_attention_heads",
        "attention.layer_norm_rms_epsilon": "rms_norm_eps",
        "expert_feed_forward_length": "moe_intermediate_size",
    }
    ASKS: ClassVar[tuple[str, ...]] = (
        "attention.layer_norm_rms_epsilon", "attention.q_lora_rank", "attention.kv_lora_rank", "expert_feed_forward_length",
        "expert_shared_count",
    )  # fmt: skip

    @property
    def rank(self) -> int | None:
        """How many numbers the queries are compressed to; None where they are not."""
        return None if self.config.get("q_lora_rank") is None else number(self.config, "q_lora_rank")

    @property
    def kv_rank(self) -> int:
        """How many numbers keys and values are compressed to."""
        return number({"kv_lora_rank": 512, **self.config}, "kv_lora_rank")

    def parameters(self, file_type: int) -> Values:
        """(DeepseekV2Model.set_gguf_parameters) All heads share one key, as the runtime sees it."""
        config = {"rms_norm_eps": 1e-6, **self.config, "num_key_value_heads": 1}
        turned, nope = number(config, "qk_rope_head_dim"), number(config, "qk_nope_head_dim")
        out = Writer(self.NAME, config)
        out.put("leading_dense_block_count", "u32", self.dense, "first_k_dense_replace")
        out.put("vocab_size", "u32", number(config, "vocab_size"), "vocab_size")
        out.put("attention.q_lora_rank", "u32", self.rank, "q_lora_rank")
        out.put("attention.kv_lora_rank", "u32", self.kv_rank, "kv_lora_rank")
        out.put("attention.key_length", "u32", self.kv_rank + turned, "kv_lora_rank")
        out.put("attention.value_length", "u32", self.kv_rank, "kv_lora_rank")
        out.put("attention.key_length_mla", "u32", nope + turned, "qk_nope_head_dim")
        out.put("attention.value_length_mla", "u32", number(config, "v_head_dim"), "v_head_dim")
        out.take("expert_feed_forward_length", "u32", "moe_intermediate_size", "intermediate_size")
        out.take("expert_count", "u32", "n_routed_experts")
        out.put("expert_shared_count", "u32", self.shared, "n_shared_experts")
        out.take("expert_weights_scale", "f32", "routed_scaling_factor")
        if config.get("norm_topk_prob"):
            out.take("expert_weights_norm", "bool", "norm_topk_prob")
        out.put("rope.dimension_count", "u32", turned, "qk_rope_head_dim")
        scale = rope_parameters(config).get("mscale_all_dim")
        if isinstance(scale, int | float) and not isinstance(scale, bool):
            # The runtime divides by it again (TAG_DEEPSEEK2_YARN_LOG_MUL_FIX).
            scale *= 0.1
        out.put("rope.scaling.yarn_log_multiplier", "f32", scale, "mscale_all_dim")
        return base_parameters(self.NAME, config, file_type) | out.values

    def has(self, stem: str, block: int) -> bool:
        part = stem.removeprefix("blk.N.")
        if part == "attn_q":
            return self.rank is None
        if part in ("attn_q_a", "attn_q_a_norm", "attn_q_b"):
            return self.rank is not None
        return super().has(stem, block)

    def doubts(self) -> Iterator[Error]:
        rope = rope_parameters(self.config)
        if self.config.get("rope_interleave") is False:
            yield Error(
                "llama.cpp's runtime rotates each two neighbours of such a model together, and this one halves of a head "
                "(rope_interleave false): it would output garbage",
                path="config.json",
            )
        if rope.get("mscale_all_dim") is not None and rope.get("mscale") != rope["mscale_all_dim"]:
            yield Error(
                "llama.cpp's runtime takes 'mscale' to be 'mscale_all_dim': some answers will be others",
                path="config.json",
                facts=[(key, in_json(rope.get(key))) for key in ("mscale", "mscale_all_dim")],
            )

    def sizes(self, block: int) -> Mapping[str, tuple[int, str]]:
        config = self.config
        turned, nope, value, heads = (
            number(config, key) for key in ("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "num_attention_heads")
        )
        found = {
            "kv_lora": (self.kv_rank, "kv_lora_rank"),
            "kv_a": (self.kv_rank + turned, "kv_lora_rank + qk_rope_head_dim"),
            "nope": (nope, "qk_nope_head_dim"),
            "heads": (heads, "num_attention_heads"),
            "mla_value": (value, "v_head_dim"),
            "mla_values": (heads * value, "num_attention_heads * v_head_dim"),
            "mla_queries": (
                heads * (nope + turned),
                "num_attention_heads * (qk_nope_head_dim + qk_rope_head_dim)",
            ),
        }
        if self.rank is not None:
            found["q_lora"] = self.rank, "q_lora_rank"
        return {**super().sizes(block), **found}

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """(DeepseekV2Model.modify_tensors)"""
        for source, x in self.stacked(sources):
            if source.removeprefix("model.") == "lm_head.weight" and self.config.get("tie_word_embeddings"):
                continue
            if source.endswith("kv_b_proj.weight"):
                yield from self._parted(source, x)
            else:
                yield self.rename(source), x

    def _parted(self, source: str, x: Expression) -> Iterator[tuple[str, Expression]]:
        """[heads * (nope + value), rank] -> keys [heads, rank, nope], values [heads, value, rank]."""
        heads, nope, value = (
            number(self.config, key) for key in ("num_attention_heads", "qk_nope_head_dim", "v_head_dim")
        )
        if len(x.shape) != 2 or x.shape[0] != heads * (nope + value):
            raise Error(
                f"tensor '{source}' expects {heads * (nope + value)} rows, got {list(x.shape)}",
                path="config.json",
                facts=[("from", "num_attention_heads * (qk_nope_head_dim + v_head_dim)")],
                hint="config.json belongs to another checkpoint",
            )
        if x.dtype not in FLOATS:
            raise Error(
                f"tensor '{source}' is packed ({x.dtype}), and the runtime needs it in two parts",
                hint="start from the unquantized weights",
            )
        both = reshape(x, (heads, nope + value, x.shape[1]))
        yield self.rename(source.replace("kv_b_proj", "k_b_proj")), transpose(slice_(both, 1, 0, nope))
        yield self.rename(source.replace("kv_b_proj", "v_b_proj")), slice_(both, 1, nope, nope + value)
