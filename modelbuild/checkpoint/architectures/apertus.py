"""Apertus: no gate, norms of each head, and an activation (xIELU) of which each block has learned its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from modelbuild.checkpoint.architectures._loads import EMBEDDING
from modelbuild.checkpoint.architectures.llama import Llama
from modelbuild.checkpoint.config import number
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS, NAMES
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.recipe import Expression

Item = TypeVar("Item")

XIELU = ("alpha_n", "alpha_p", "beta", "eps")
"""What a block's activation has learned: a number each."""

_BLOCK = re.compile(r"(?:model\.)?layers\.(0|[1-9][0-9]{0,9})\.mlp\.act_fn\.\w+")
_WITHOUT = ("layers.N.input_layernorm", "layers.N.post_attention_layernorm", "layers.N.mlp.gate_proj")


class Apertus(Llama):
    """(llama.cpp conversion/llama.py, ApertusModel) Rows stay in their order."""

    NAME = "apertus"
    LOADS = f"""
        {EMBEDDING}
        output                    embd vocab
        rope_freqs?               rot/2
        blk.N.attn_norm           embd
        blk.N.qkv                 queries values values
        blk.N.attn_output         queries embd
        blk.N.attn_output.bias?   embd
        blk.N.attn_q_norm         head
        blk.N.attn_q_norm.bias?   head
        blk.N.attn_k_norm         head
        blk.N.attn_k_norm.bias?   head
        blk.N.ffn_norm            embd
        blk.N.ffn_up              embd ff
        blk.N.ffn_down            ff embd
    """
    CLASSES = ("ApertusForCausalLM",)
    ALIASES = ()
    MODEL_TYPE = "apertus"
    DEFAULTS = {
        "vocab_size": 131072,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 65536,
        "rms_norm_eps": 1e-5,
        "rope_theta": 12000000.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "original_max_position_embeddings": 8192,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
        },
    }
    NAMES = {name: known for name, known in NAMES.items() if name not in _WITHOUT} | {
        "layers.N.attention_layernorm": "blk.N.attn_norm",
        "layers.N.feedforward_layernorm": "blk.N.ffn_norm",
        "layers.N.self_attn.q_norm": "blk.N.attn_q_norm",
        "layers.N.self_attn.k_norm": "blk.N.attn_k_norm",
    }
    SHAPES = """
        blk.N.attn_q_norm         head
        blk.N.attn_k_norm         head
        blk.N.ffn_up              embd ff
    """
    BIASES = rf"{ATTENTION_INPUTS}|blk\.N\.attn_(output|q_norm|k_norm)"
    NEEDED = ("output.weight",)
    ASKS_BESIDE = tuple(f"xielu.{part}" for part in XIELU)

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, ApertusConfig)"""
        if config.get("num_key_value_heads") is None:
            config["num_key_value_heads"] = number(config, "num_attention_heads")
        return config

    def rotated(self, source: str, x: Expression) -> Expression:
        return x

    def choose(self, tensors: Mapping[str, Item]) -> Mapping[str, Item]:
        """Those but what the activations have learned, which stands in the metadata."""
        return {name: item for name, item in tensors.items() if _learned(name) is None}

    def preface(self) -> Values:
        """What the activations have learned, each kind where the last block's stands (ApertusModel.modify_tensors)."""
        found: dict[str, dict[int, float]] = {}
        for name in self.checkpoint.tensors:
            if (part := _learned(name)) is not None:
                numbers = found.pop(part, {})
                found[part] = {**numbers, self._block(name): self._number(name)}
        for part in XIELU:
            # The first alone: config.json may claim any number of blocks.
            lacking = next((block for block in self.blocks if block not in found.get(part, ())), None)
            if lacking is not None:
                raise Error(
                    f"the checkpoint lacks what the activations of its blocks have learned: block {lacking} has no '{part}'",
                    facts=[("expected", f"model.layers.{lacking}.mlp.act_fn.{part}")],
                    hint="the download is incomplete, or config.json belongs to another checkpoint",
                )
        return {
            f"xielu.{part}": encode_value("[f32]", [numbers[block] for block in self.blocks])
            for part, numbers in found.items()
        }

    def _block(self, name: str) -> int:
        match = _BLOCK.fullmatch(name)
        if match is None or int(match[1]) >= self.blocks.stop:
            raise Error(
                f"tensor '{name}' cannot be mapped: this architecture has no such tensor",
                facts=[("blocks", f"{self.blocks.stop} (num_hidden_layers)")],
                hint="config.json belongs to another checkpoint",
            )
        return int(match[1])

    def _number(self, name: str) -> float:
        (value, *more) = self.checkpoint.values(name)
        if more:
            raise Error(f"tensor '{name}' expects one number, got {len(more) + 1}")
        return value


def _learned(name: str) -> str | None:
    """Which number of a block's activation a tensor is; None for another tensor."""
    part = name.rpartition(".")[2]
    return part if part in XIELU and name.endswith(f".act_fn.{part}") else None
