"""GLM-5: an indexer in each block, in some, few tokens chosen, blocks for further tokens kept, dropped and alone."""

from __future__ import annotations

from typing import Any

from . import Case
from .glm4_moe import FILES
from .glm4_moe_lite import SAID, with_further
from .mistral import Shapes, changed

CONFIG: dict[str, Any] = changed(
    SAID,
    {
        "architectures": ["GlmMoeDsaForCausalLM"], "model_type": "glm_moe_dsa", "rope_theta": ..., "rope_scaling": ...,
        "partial_rotary_factor": ..., "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"}, "head_dim": 16,
        "index_n_heads": 4, "index_head_dim": 128, "index_topk": 256, "indexer_rope_interleave": True, "num_hidden_layers": 2,
    },
)  # fmt: skip


def shapes(config: dict[str, Any], *, mtp: bool = True, indexed: tuple[int, ...] = (0, 1, 2)) -> Shapes:
    """`indexed`: the blocks that have an indexer."""
    hidden, rank = config["hidden_size"], config["q_lora_rank"]
    heads, head = config["index_n_heads"], config["index_head_dim"]
    behind = f"model.layers.{config['num_hidden_layers']}."
    found = {name: shape for name, shape in with_further(config).items() if mtp or not name.startswith(behind)}
    for block in indexed:
        stem = f"model.layers.{block}.self_attn.indexer"
        found |= {
            f"{stem}.wq_b.weight": (heads * head, rank),
            f"{stem}.wk.weight": (head, hidden),
            f"{stem}.k_norm.weight": (head,),
            f"{stem}.k_norm.bias": (head,),
            f"{stem}.weights_proj.weight": (heads, hidden),
        }
    return found


SOME = changed(
    CONFIG,
    {"num_hidden_layers": 4, "indexer_types": ["full", "full", "shared", "shared"], "first_k_dense_replace": 3, "index_topk": 64,
     "num_nextn_predict_layers": 0},
)  # fmt: skip
BIASES = {name: "f32" for name in shapes(CONFIG) if name.endswith("_bias")}

CASES = {
    "a block for further tokens": Case(CONFIG, shapes(CONFIG), dtypes=BIASES, tokenizer="byte pairs", files=FILES, newer=True),
    "few tokens chosen, shared indexers, f16 in shards": Case(
        SOME, shapes(SOME, mtp=False, indexed=(0, 1)), dtype="f16", shards=2, tokenizer="byte pairs", files=FILES, newer=True
    ),
    "blocks for further tokens dropped": Case(
        CONFIG, shapes(CONFIG, indexed=(0, 1)), tokenizer="byte pairs", files=FILES, mtp="drop", logits=False
    ),
    "blocks for further tokens alone": Case(CONFIG, shapes(CONFIG), tokenizer="byte pairs", files=FILES, mtp="only", logits=False),
}  # fmt: skip
