"""Names of tensors: what they become, and which count."""

from __future__ import annotations

import pytest

from modelbuild.checkpoint.tensor_names import NAMES, is_wanted, one_of_each, rename
from modelbuild.errors import Error


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.2.mlp.up_proj.weight", "model.layers.01.mlp.up_proj.weight", "model.layers.x.mlp.up_proj.weight", "norm",
        "model.norm.scale", "model.layers.0.norm.weight", "model.layers.N.mlp.up_proj.weight", "model.self_attn.q_proj.weight",
        "model.embed_tokens.0.weight", "", "weight", ".weight",
    ],
)  # fmt: skip
def test_other_names_are_an_error(name: str) -> None:
    with pytest.raises(Error, match="cannot be mapped"):
        rename(name, NAMES, 2)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("model.layers.1.self_attn.q_proj.bias", "blk.1.attn_q.bias"),
        ("layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight"),
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("lm_head.weight", "output.weight"),
    ],
)
def test_names_become_those_of_gguf(name: str, known: str) -> None:
    assert rename(name, NAMES, 2) == known


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("model.layers.0.mlp.up_proj.weight", True),
        ("language_model.model.norm.weight", True),
        ("mlp.0.weight", False),
        ("vision_tower.encoder.0.weight", False),
        ("model.visual.patch_embed.proj.weight", False),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", False),
    ],
)
def test_a_model_of_text_needs_no_eyes(name: str, wanted: bool) -> None:
    assert is_wanted(name) is wanted


def test_of_the_experts_of_a_block_one_stands_for_all() -> None:
    stem = "model.layers.0.mlp.experts"
    names = [f"{stem}.{index}.{part}.weight" for index in range(12) for part in ("up", "down")]
    others = ["a", f"{stem}.up", "model.layers.1.mlp.experts.3.up.weight", "model.layers.0.mlp..up.weight"]
    found = one_of_each([*others, *names])
    assert found[:4] == others and [name.rpartition("experts.")[2] for name in found[4:]] == [
        "11.up.weight",
        "11.down.weight",
    ]
