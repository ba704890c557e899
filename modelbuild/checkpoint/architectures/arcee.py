"""Arcee: a Llama whose feed-forward part has no gate."""

from __future__ import annotations

from modelbuild.checkpoint.architectures._loads import ATTENTION, EMBEDDING, OUTPUT
from modelbuild.checkpoint.architectures.llama import Llama
from modelbuild.checkpoint.architectures.qwen2 import pooling
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS
from modelbuild.tensors.formats.gguf import encode_value


class Arcee(Llama):
    """(llama.cpp conversion/llama.py, ArceeModel)"""

    NAME = "arcee"
    LOADS = f"""
        {EMBEDDING} {OUTPUT} {ATTENTION}
        rope_freqs?               rot/2
        blk.N.ffn_up              embd ff
        blk.N.ffn_down            ff embd
    """
    CLASSES = ("ArceeForCausalLM",)
    MODEL_TYPE = "arcee"
    DEFAULTS = {
        "vocab_size": 32000,
        "hidden_size": 2560,
        "intermediate_size": 18432,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
    }
    NAMES = {name: known for name, known in Llama.NAMES.items() if not name.endswith("gate_proj")}
    SHAPES = """
        blk.N.ffn_up              embd ff
    """
    BIASES = ATTENTION_INPUTS

    def parameters(self, file_type: int) -> Values:
        values, kind = super().parameters(file_type), pooling(self.checkpoint)
        return values if kind is None else values | {f"{self.NAME}.pooling_type": encode_value("u32", kind)}
