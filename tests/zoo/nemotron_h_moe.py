"""Nemotron 3: patterns as letters and as words, experts and latent ones, a block for further tokens."""

from __future__ import annotations

from typing import Any

from .nemotron_h import WORDS, case

EXPERTS: dict[str, Any] = {
    "hybrid_override_pattern": "MEM*E",
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "moe_intermediate_size": 32,
    "moe_shared_expert_intermediate_size": 64,
    "n_group": 1,
    "topk_group": 1,
    "norm_topk_prob": True,
    "routed_scaling_factor": 2.5,
}
LATENT = {**EXPERTS, "moe_latent_size": 32}
NEXTN = {"num_nextn_predict_layers": 1, "mtp_hybrid_override_pattern": "*E"}
CASES = {
    "experts": case(EXPERTS),
    "experts in words, f32 in shards": case(EXPERTS, WORDS, dtype="f32", shards=3),
    "latent experts, a block for further tokens": case(LATENT, NEXTN, logits=False),
    "latent experts, that block left out": case(LATENT, NEXTN, mtp="drop"),
    "that block alone": case(LATENT, NEXTN, mtp="only", logits=False),
}
