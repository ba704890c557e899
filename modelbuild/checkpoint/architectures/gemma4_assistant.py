"""Drafts of Gemma 4: a few blocks that guess further tokens from what the large model knows, with the keys and values of its blocks.

Source: llama.cpp conversion/gemma.py (Gemma4AssistantModel), src/models/gemma4-assistant.cpp
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from modelbuild.checkpoint.architectures import Item
from modelbuild.checkpoint.architectures._loads import EMBEDDING
from modelbuild.checkpoint.architectures.gemma4 import Gemma4
from modelbuild.checkpoint.config import block_count, number
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values


class Gemma4Assistant(Gemma4):
    NAME = "gemma4-assistant"
    CLASSES = ("Gemma4AssistantForCausalLM", "Gemma4UnifiedAssistantForCausalLM")
    NAMES: ClassVar[Mapping[str, str]] = {
        "pre_projection": "nextn.pre_projection",
        "post_projection": "nextn.post_projection",
        **{
            name: known
            for name, known in Gemma4.NAMES.items()
            if not name.startswith(("lm_head", "embed_tokens_per", "per_layer"))
            and not any(
                part in name
                for part in (".k_", ".v_", ".router", ".experts", "per_layer", "layernorm_1", "layernorm_2")
            )
        },
    }
    NEEDED = ()
    LOADS = f"""
        {EMBEDDING}
        rope_freqs                        rot/2
        nextn.pre_projection              2*out embd
        nextn.post_projection             embd out
        blk.N.attn_norm                   embd
        blk.N.attn_q                      embd queries
        blk.N.attn_output                 queries embd
        blk.N.attn_q_norm                 head
        blk.N.post_attention_norm         embd
        blk.N.layer_output_scale          1
        blk.N.ffn_norm                    embd
        blk.N.ffn_gate                    embd ff
        blk.N.ffn_up                      embd ff
        blk.N.ffn_down                    ff embd
        blk.N.post_ffw_norm               embd
    """
    SHAPES = """
        nextn.pre_projection       2*out embd
        nextn.post_projection      embd out
        blk.N.layer_output_scale   1
        blk.N.ffn_up               embd ff
    """
    ASKS = (*(key for key in Gemma4.ASKS if not key.startswith("embedding_length")), "embedding_length_out")

    def choose(self, tensors: Mapping[str, Item]) -> Mapping[str, Item]:
        """(Gemma4AssistantModel.filter_tensors) Its shorter list of tokens, for some, is not read; its output is the embedding."""
        return super().choose({name: x for name, x in tensors.items() if "masked_embedding" not in name})

    def parameters(self, file_type: int) -> Values:
        """(Gemma4AssistantModel.set_gguf_parameters)"""
        out = Writer(self.NAME, self.config)
        out.put("embedding_length_out", "u32", number(self.config, "backbone_hidden_size"), "backbone_hidden_size")
        out.put("nextn_predict_layers", "u32", block_count(self.config), "num_hidden_layers")
        return super().parameters(file_type) | out.values

    def has(self, stem: str, block: int) -> bool:
        return True

    def sizes(self, block: int) -> Mapping[str, tuple[int, str]]:
        out = number(self.config, "backbone_hidden_size")
        own = {"out": (out, "backbone_hidden_size"), "2*out": (2 * out, "2 * backbone_hidden_size")}
        return {**super().sizes(block), **own}
