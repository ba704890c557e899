"""GLM-5: which blocks have an indexer, and configurations that lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.conversion import Conversion
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from tests import recipes, zoo
from tests.zoo.mistral import changed

SOME = zoo.cases("glm_dsa")["few tokens chosen, shared indexers, f16 in shards"]


def opened(folder: Path, case: zoo.Case = SOME, **changes: Any) -> Conversion:
    folder = zoo.write(folder, replace(case, config=changed(case.config, changes)))
    return Conversion(recipes.Folder(folder), folder="m", outtype="f16", pre=case.pre)


def test_blocks_that_share_an_indexer_have_none(tmp_path: Path) -> None:
    found = opened(tmp_path / "m")
    assert not found.faults()
    assert decode_value(found.recipe.metadata["glm-dsa.attention.indexer.types"]) == [True, True, False, False]
    types = {entry.name: entry.expression.dtype for entry in found.entries if ".indexer." in entry.name}
    assert {name.split(".")[1] for name in types} == {"0", "1"}
    assert types["blk.0.indexer.proj.weight"] == "f32" and types["blk.0.indexer.attn_k.weight"] == "f16"


def test_an_indexer_that_is_missing(tmp_path: Path) -> None:
    for number, types in enumerate((["full", "full", "full", "shared"], None)):
        (error,) = opened(tmp_path / str(number), indexer_types=types).faults()
        assert f"lacks {5 if types else 10} tensors" in error.what
    # What does not say it and has so much context, is taken for GLM-5.2.
    assert (
        "lacks 5 tensors"
        in opened(tmp_path / "m", indexer_types=None, max_position_embeddings=1 << 20).faults()[0].what
    )


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"indexer_types": ["full"]}, "'indexer_types' expects 4 kinds, one for each block"),
        ({"indexer_types": ["full"] * 3 + ["some"]}, "'indexer_types' expects 4 kinds"),
        ({"indexer_types": "full"}, "'indexer_types' expects 4 kinds"),
        ({"index_n_heads": 0}, "'index_n_heads' expects a whole number of at least 1"),
        ({"index_topk": ...}, "'index_topk' expects a whole number of at least 1, which is missing"),
        (
            {"rope_parameters": {"rope_theta": 1e6, "partial_rotary_factor": 0.5}},
            "'partial_rotary_factor' expects 1",
        ),
    ],
)
def test_configurations_that_lie(changes: dict[str, Any], what: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=what):
        _ = opened(tmp_path / "m", **changes).recipe


def test_heads_that_do_not_fit(tmp_path: Path) -> None:
    assert "index_n_heads * index_head_dim" in str(opened(tmp_path / "m", index_head_dim=64).faults()[0])
