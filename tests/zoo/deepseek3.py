"""DeepSeek V3: experts chosen by a bias, in groups, fp8 with scales of blocks, a block for further tokens that is left out, Kimi K2."""

from __future__ import annotations

from typing import Any

from . import Case
from .deepseek2 import CONFIG as V2
from .deepseek2 import YARN, shapes
from .fp8 import SMALL, in_blocks, scaled
from .glm4_moe import joining
from .mistral import changed

CONFIG: dict[str, Any] = changed(
    V2,
    {
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "n_routed_experts": 8, "n_shared_experts": 1,
        "n_group": 4, "topk_group": 2, "topk_method": "noaux_tc", "scoring_func": "sigmoid", "norm_topk_prob": True,
        "routed_scaling_factor": 2.5, "num_nextn_predict_layers": 1, "num_hidden_layers": 2,
        "rope_scaling": {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0},
    },
)  # fmt: skip
WHOLE = {
    **shapes({**CONFIG, "num_hidden_layers": 3}, biased=True),
    **joining(CONFIG),
}
"""With a block for further tokens."""
BIASES = {name: "f32" for name in WHOLE if name.endswith("_bias")}
PLAIN = Case(CONFIG, WHOLE, dtypes=BIASES, tokenizer="byte pairs")
KIMI = changed(
    CONFIG,
    {"model_type": "kimi_k2", "n_group": 1, "topk_group": 1, "num_nextn_predict_layers": 0, "head_dim": ..., "rms_norm_eps": 1e-5,
     "num_attention_heads": 2, "num_key_value_heads": 2},
)  # fmt: skip
FIVE = changed(
    CONFIG,
    {"rope_scaling": ..., "rope_theta": ..., "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
     "tie_word_embeddings": True, "num_nextn_predict_layers": ...},
)  # fmt: skip

CASES = {
    "groups of experts": PLAIN,
    "fp8 with scales of blocks": scaled(PLAIN, SMALL, lambda r, c: in_blocks(r, c, 48, 40), tokenizer="byte pairs"),
    "Kimi K2, f16": Case(KIMI, shapes(KIMI, biased=True), dtype="f16", tokenizer="byte pairs", logits=False),
    "tied, as transformers 5 writes it, f32": Case(
        FIVE, shapes(FIVE, tied=True, biased=True), dtype="f32", tokenizer="byte pairs", newer=True
    ),
}  # fmt: skip
