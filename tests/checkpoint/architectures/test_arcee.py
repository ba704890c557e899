"""Arcee: what transformers fills in."""

from __future__ import annotations

from modelbuild.checkpoint.architectures import complete


def test_defaults_are_transformers() -> None:
    full, wanted = (
        complete({"model_type": "arcee"}),
        {
            "head_dim": 80,
            "num_key_value_heads": 32,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-5,
            "intermediate_size": 18432,
        },
    )
    assert {key: full[key] for key in wanted} == wanted
