"""Qwen3-Next, Qwen3-Coder-Next: gated delta nets and attention in turn, experts in every block, queries to gates in one matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelbuild.checkpoint.architectures import _gated_delta, _mtp
from modelbuild.checkpoint.architectures._experts import gated
from modelbuild.checkpoint.architectures._gated_delta import EXPERT_NAMES, GatedDelta, extent, heads_of
from modelbuild.checkpoint.architectures._loads import EMBEDDING, OUTPUT
from modelbuild.checkpoint.config import Config, layer_types_fit, number, transformers_takes
from modelbuild.checkpoint.hyperparameters import blocks_to_list
from modelbuild.tensors.operations.take import Run, take
from modelbuild.tensors.recipe import Expression


class Qwen3Next(GatedDelta):
    NAME = "qwen3next"
    LOADS = f"""
        {EMBEDDING} {OUTPUT} {_gated_delta.ATTENTION} {_gated_delta.EXPERTS} {_mtp.LOADS}
        recurrent blk.N.ssm_ba            embd 2*rank
    """
    ASKS = _gated_delta.ASKS
    MTP = True
    CLASSES = ("Qwen3NextForCausalLM",)
    MODEL_TYPE = "qwen3_next"
    DEFAULTS = {
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 48,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.25,
        "head_dim": 256,
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
        "moe_intermediate_size": 512,
        "shared_expert_intermediate_size": 512,
        "num_experts_per_tok": 10,
        "num_experts": 512,
    }
    NAMES = {
        **GatedDelta.NAMES,
        **EXPERT_NAMES,
        "layers.N.linear_attn.in_proj_qkv": "blk.N.attn_qkv",
        "layers.N.linear_attn.in_proj_z": "blk.N.attn_gate",
        "layers.N.linear_attn.in_proj_ba": "blk.N.ssm_ba",
    }

    @classmethod
    def takes(cls, config: Config) -> bool:
        """(transformers, Qwen3NextConfig, layer_type_validation)"""
        full = {**cls.DEFAULTS, **config}
        interval = full.get("full_attention_interval", 4)
        divides = full.get("layer_types") is not None or (isinstance(interval, int | float) and interval != 0)
        return transformers_takes(config) and layer_types_fit(full) and divides

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, Qwen3NextConfig)"""
        if config.get("layer_types") is None:
            interval = config.get("full_attention_interval", 4)
            blocks = blocks_to_list(config)
            config["layer_types"] = ["linear_attention" if (n + 1) % interval else "full_attention" for n in blocks]
        return config

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        for source, x in gated(sources, self.config):
            if "in_proj_qkvz.weight" in source:
                yield from self._parted(source, x)
            else:
                yield from self.linear(source, x)

    def _parted(self, source: str, x: Expression) -> Iterator[tuple[str, Expression]]:
        """Queries, keys and values of all heads, and their gates; the checkpoint has all of one head together."""
        keys, each = heads_of(self.config)
        key, value = number(self.config, "linear_key_head_dim"), number(self.config, "linear_value_head_dim") * each
        head = 2 * (key + value)
        extent(source, x, 0, keys * head, "heads of keys * (2 * linear_key_head_dim + 2 * values of a head)")

        def of_all(start: int, length: int) -> Run:
            return Run(start, length, inner=keys, inner_step=head)

        stem = source.removesuffix("qkvz.weight")
        yield self.rename(f"{stem}qkv.weight"), take(x, 0, of_all(0, key), of_all(key, key), of_all(2 * key, value))
        yield self.rename(f"{stem}z.weight"), take(x, 0, of_all(2 * key + value, value))
