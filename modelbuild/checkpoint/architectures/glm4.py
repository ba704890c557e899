"""GLM-4: norms before and after attention and feed forward, a gate in the rows of ffn_up, half of each head turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._loads import ATTENTION, EMBEDDING, OUTPUT
from modelbuild.checkpoint.config import Config, number, rope_parameters, share
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS, NAMES
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error
from modelbuild.tensors.recipe import Expression


class Glm4(Architecture):
    """(llama.cpp conversion/glm.py, Glm4Model)"""

    NAME = "glm4"
    LOADS = f"""
        {EMBEDDING} {OUTPUT} {ATTENTION}
        blk.N.post_attention_norm embd
        blk.N.ffn_down            ff embd
        blk.N.ffn_up              embd 2*ff
        blk.N.post_ffw_norm       embd
    """
    CLASSES = ("Glm4ForCausalLM",)
    MODEL_TYPE = "glm4"
    DEFAULTS = {
        "vocab_size": 151552,
        "hidden_size": 4096,
        "intermediate_size": 13696,
        "num_hidden_layers": 40,
        "num_attention_heads": 32,
        "num_key_value_heads": 2,
        "partial_rotary_factor": 0.5,
        "head_dim": 128,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1.5625e-7,
        "rope_theta": 10000.0,
    }
    NAMES = {name: known for name, known in NAMES.items() if not name.endswith((".gate_proj", ".up_proj"))} | {
        "layers.N.post_attention_layernorm": "blk.N.ffn_norm",
        "layers.N.post_self_attn_layernorm": "blk.N.post_attention_norm",
        "layers.N.post_mlp_layernorm": "blk.N.post_ffw_norm",
        "layers.N.mlp.gate_up_proj": "blk.N.ffn_up",
    }
    BIASES = ATTENTION_INPUTS

    @classmethod
    def takes(cls, config: Config) -> bool:
        """Always: Glm4Config looks into none of its values."""
        return True

    @cached_property
    def tokenizer(self) -> Values:
        """(Glm4Model.set_vocab)"""
        end, user = "<|endoftext|>", "<|user|>"
        size = tokenizers.vocabulary_size(self.config)
        return tokenizers.byte_pairs(self.checkpoint, size, {"eos": end, "eot": user, "unk": end, "bos": end})

    def parameters(self, file_type: int) -> Values:
        """(Glm4Model.set_gguf_parameters)"""
        out = Writer(self.NAME, self.config)
        out.put("rope.dimension_count", "u32", rotated(self.config), "partial_rotary_factor")
        return super().parameters(file_type) | out.values

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        if "mrope_section" in rope_parameters(self.config):
            raise Error("GLM-4 with 'mrope_section', as it has towers, is not supported yet", path="config.json")
        return iter([(self.rename(source), x) for source, x in sources.items()])


def rotated(config: Config) -> int:
    """How many dimensions of a head rotate: half of them, where config.json says nothing else."""
    fallback = number(config, "hidden_size") // number(config, "num_attention_heads")
    head = fallback if config.get("head_dim") is None else number(config, "head_dim")
    return int(head * share(rope_parameters(config).get("partial_rotary_factor", 0.5), "partial_rotary_factor"))
