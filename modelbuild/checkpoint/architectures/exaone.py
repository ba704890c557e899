"""EXAONE 3.5: a Llama whose tensors have names of GPT-2's kind; rows stay in their order."""

from __future__ import annotations

from functools import cached_property

from modelbuild.checkpoint.architectures._loads import ATTENTION, EMBEDDING, FEED_FORWARD, OUTPUT
from modelbuild.checkpoint.architectures.llama import Llama
from modelbuild.checkpoint.config import first, number, rope_parameters, share
from modelbuild.checkpoint.hyperparameters import Writer, base_parameters
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS, NAMES
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json

_EPSILON = "attention.layer_norm_rms_epsilon"


class Exaone(Llama):
    """(llama.cpp conversion/exaone.py, ExaoneModel)"""

    NAME = "exaone"
    LOADS = f"""
        {EMBEDDING} {OUTPUT} {ATTENTION} {FEED_FORWARD}
        rope_freqs?               rot/2
    """
    CLASSES = ("ExaoneForCausalLM",)
    ALIASES = ()
    MODEL_TYPE = ""
    DEFAULTS = {}
    NAMES = {
        "transformer.wte": "token_embd",
        "transformer.ln_f": "output_norm",
        "transformer.h.N.ln_1": "blk.N.attn_norm",
        "transformer.h.N.ln_2": "blk.N.ffn_norm",
        "transformer.h.N.attn.attention.q_proj": "blk.N.attn_q",
        "transformer.h.N.attn.attention.k_proj": "blk.N.attn_k",
        "transformer.h.N.attn.attention.v_proj": "blk.N.attn_v",
        "transformer.h.N.attn.attention.out_proj": "blk.N.attn_output",
        "transformer.h.N.mlp.c_fc_0": "blk.N.ffn_gate",
        "transformer.h.N.mlp.c_fc_1": "blk.N.ffn_up",
        "transformer.h.N.mlp.c_proj": "blk.N.ffn_down",
        **NAMES,
    }
    BIASES = ATTENTION_INPUTS
    REQUIRED = {**Llama.REQUIRED, _EPSILON: "layer_norm_epsilon"}

    @cached_property
    def tokenizer(self) -> Values:
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config))

    def rotated(self, source: str, x: Expression) -> Expression:
        return x

    def parameters(self, file_type: int) -> Values:
        """(ExaoneModel.set_gguf_parameters) The epsilon also by the name that the runtime asks for, which releases do not say."""
        config = self.config
        activation = first(config, "activation_function", "hidden_act")
        if activation != "silu":
            raise Error(f"'activation_function' expects 'silu', got {in_json(activation)}", path="config.json")
        out = Writer(self.NAME, config)
        out.take(_EPSILON, "f32", "rms_norm_eps", "norm_eps", "layer_norm_epsilon")
        values = base_parameters(self.NAME, config, file_type)
        part = share(rope_parameters(config).get("partial_rotary_factor", 1.0), "partial_rotary_factor")
        turned = int(part * (number(config, "hidden_size") // number(config, "num_attention_heads")))
        last = Writer(self.NAME, config)
        last.put("rope.dimension_count", "u32", turned, "partial_rotary_factor")
        return values | out.values | last.values
