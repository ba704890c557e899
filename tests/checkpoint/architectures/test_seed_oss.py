"""Seed-OSS: what transformers fills in."""

from __future__ import annotations

from modelbuild.checkpoint.architectures import complete


def test_defaults_are_transformers() -> None:
    full, wanted = (
        complete({"model_type": "seed_oss"}),
        {
            "num_attention_heads": 80,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 524288,
            "vocab_size": 155136,
        },
    )
    assert {key: full[key] for key in wanted} == wanted
