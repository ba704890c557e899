"""Qwen3: a Qwen2 with norms over the queries and keys of each head."""

from __future__ import annotations

import re

from modelbuild.checkpoint.architectures._loads import EMBEDDING, FEED_FORWARD, NORMED_HEADS, OUTPUT
from modelbuild.checkpoint.architectures.qwen2 import Qwen2
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS
from modelbuild.errors import Error

_RERANKER = re.compile("qwen3-(?:vl-)?reranker", re.IGNORECASE)


class Qwen3(Qwen2):
    NAME = "qwen3"
    LOADS = EMBEDDING + OUTPUT + NORMED_HEADS + FEED_FORWARD
    CLASSES = ("Qwen3ForCausalLM",)
    ALIASES = ("Qwen3Model",)
    MODEL_TYPE = "qwen3"
    DEFAULTS = {
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "head_dim": 128,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    }
    BIASES = ATTENTION_INPUTS
    FREE_HEADS = True
    NAMES = {
        **Qwen2.NAMES,
        "layers.N.self_attn.q_norm": "blk.N.attn_q_norm",
        "layers.N.self_attn.k_norm": "blk.N.attn_k_norm",
    }

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Raises Error for a reranker: llama.cpp makes a classifier of two rows of its output (Qwen3Model._is_qwen3_reranker)."""
        super().__init__(checkpoint)
        names = (checkpoint.folder, self.config.get("_name_or_path"), self.config.get("model_type"))
        named = any(_RERANKER.search(str(name)) for name in names)
        if named or re.search(f"# {_RERANKER.pattern}", checkpoint.text("README.md") or "", re.IGNORECASE):
            raise Error(
                "rerankers of Qwen3 are not supported yet",
                facts=[("found in", "the folder's name or config.json" if named else "README.md")],
                hint="convert it with llama.cpp's convert_hf_to_gguf.py, and name the GGUF file in FROM",
            )
