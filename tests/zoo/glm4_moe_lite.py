"""GLM-4.7-Flash: compressed keys and values, GLM's tokenizer, blocks for further tokens kept, dropped, alone and absent."""

from __future__ import annotations

from typing import Any

from . import Case
from .deepseek2 import shapes
from .deepseek3 import CONFIG as V3
from .glm4_moe import FILES, joining
from .mistral import Shapes, changed

CONFIG: dict[str, Any] = changed(
    V3,
    {
        "architectures": ["Glm4MoeLiteForCausalLM"], "model_type": "glm4_moe_lite", "vocab_size": 288, "n_group": 1, "topk_group": 1,
        "scoring_func": ..., "rope_scaling": None, "partial_rotary_factor": 1.0, "rope_interleave": True, "attention_bias": False,
        "routed_scaling_factor": 1.8, "rope_theta": 1000000, "num_nextn_predict_layers": 1, "num_hidden_layers": 2,
        "bos_token_id": ..., "eos_token_id": [276, 280, 282], "pad_token_id": 276,
    },
)  # fmt: skip


def with_further(config: dict[str, Any], *, tied: bool = False) -> Shapes:
    more = {**config, "num_hidden_layers": config["num_hidden_layers"] + 1}
    return shapes(more, tied=tied, biased=True) | joining(config, own=False)


SAID = {**CONFIG, "scoring_func": "sigmoid"}
FIVE = changed(
    SAID,
    {"num_nextn_predict_layers": 0, "rope_theta": ..., "rope_scaling": ..., "partial_rotary_factor": ..., "tie_word_embeddings": True,
     "rope_parameters": {"rope_theta": 1000000, "rope_type": "default", "partial_rotary_factor": 1.0}, "head_dim": 16},
)  # fmt: skip
BIASES = {name: "f32" for name in with_further(CONFIG) if name.endswith("_bias")}

CASES = {
    "a block for further tokens": Case(
        SAID, with_further(SAID), dtypes=BIASES, tokenizer="byte pairs", files=FILES, newer=True
    ),
    "tied, as transformers 5 writes it, f32": Case(
        FIVE, shapes(FIVE, tied=True, biased=True), dtype="f32", tokenizer="byte pairs", files=FILES, newer=True
    ),
    "blocks for further tokens dropped": Case(
        SAID, with_further(SAID), tokenizer="byte pairs", files=FILES, mtp="drop", logits=False
    ),
    "blocks for further tokens alone": Case(
        SAID, with_further(SAID), tokenizer="byte pairs", files=FILES, mtp="only", logits=False
    ),
}  # fmt: skip
