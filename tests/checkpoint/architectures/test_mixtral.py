"""Mixtral: what transformers fills in, the order of stacks, and experts that do not fit config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.checkpoint.architectures.mixtral import Mixtral
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.recipe import Expression
from tests import zoo

CONFIG = zoo.cases("mixtral")["eight experts"].config
NAMES = zoo.cases("mixtral")["eight experts"].shapes
EXPERT = "model.layers.{}.block_sparse_moe.experts.{}.{}.weight"


def mixtral(**changes: Any) -> Mixtral:
    return Mixtral(Checkpoint({"config.json": json.dumps({**CONFIG, **changes}).encode()}.get))


def leaves(shapes: Mapping[str, tuple[int, ...]], dtype: str = "bf16") -> dict[str, Expression]:
    return {name: leaf(f"xxh3:{name}", dtype, shapes[name]) for name in sorted(shapes)}


def test_defaults_are_transformers() -> None:
    full = complete({"model_type": "mixtral"})
    wanted = {
        "num_key_value_heads": 8, "head_dim": None, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 1e6,
        "num_local_experts": 8, "num_experts_per_tok": 2, "intermediate_size": 14336, "vocab_size": 32000,
    }  # fmt: skip
    assert {key: full[key] for key in wanted} == wanted
    assert complete({"model_type": "mixtral", "num_key_value_heads": None})["num_key_value_heads"] == 32


def test_half_a_scaling_keeps_the_defaults() -> None:
    scaling = {"rope_type": "llama3"}
    assert complete({"model_type": "mixtral", "rope_scaling": scaling})["rms_norm_eps"] == 1e-5
    assert "rms_norm_eps" not in complete({"model_type": "llama", "rope_scaling": scaling})


def test_stacks_stand_where_the_last_expert_stood() -> None:
    found = dict(mixtral().tensors(leaves(NAMES)))
    assert [name for name in found if name.startswith("blk.0.")] == [
        "blk.0.ffn_gate_exps.weight", "blk.0.ffn_down_exps.weight", "blk.0.ffn_up_exps.weight", "blk.0.ffn_gate_inp.weight",
        "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "blk.0.attn_k.weight", "blk.0.attn_output.weight", "blk.0.attn_q.weight",
        "blk.0.attn_v.weight",
    ]  # fmt: skip
    assert [x for x in found if x.startswith("blk.0.")] != [x for x in sorted(found) if x.startswith("blk.0.")]
    stack = found["blk.1.ffn_down_exps.weight"]
    assert (stack.operation, stack.shape) == ("stack", (8, 64, 96))
    assert [x.digest for x in stack.operands] == [f"xxh3:{EXPERT.format(1, index, 'w2')}" for index in range(8)]


def test_stack_of_several_shards_stands_in_the_last() -> None:
    sources = leaves(NAMES)
    last = EXPERT.format(0, 2, "w1")
    sources[last] = sources.pop(last)
    names = [name for name, _ in mixtral().tensors(sources)]
    assert names[-3:] == ["blk.0.ffn_gate_exps.weight", "blk.0.ffn_down_exps.weight", "blk.0.ffn_up_exps.weight"]


def test_more_than_ten_experts_are_in_the_order_of_their_numbers() -> None:
    shapes = {EXPERT.format(0, index, part): (32, 32) for index in range(12) for part in ("w1", "w2", "w3")}
    (first, *_) = [x for _, x in mixtral(num_local_experts=12).tensors(leaves(shapes))]
    assert [x.digest for x in first.operands] == [f"xxh3:{EXPERT.format(0, index, 'w1')}" for index in range(12)]


def refused(sources: Mapping[str, Expression], **changes: Any) -> str:
    with pytest.raises(Error) as caught:
        list(mixtral(**changes).tensors(sources))
    return str(caught.value)


def test_missing_expert_is_named_with_its_block() -> None:
    sources = leaves(NAMES)
    del sources[EXPERT.format(1, 5, "w2")]
    text = refused(sources)
    assert "block 1 lacks tensors of its experts: expert 5 has no 'w2'" in text
    assert "23 of 24 tensors" in text


def test_block_with_a_router_and_no_experts_is_an_error() -> None:
    sources = {name: x for name, x in leaves(NAMES).items() if "layers.0.block_sparse_moe.experts" not in name}
    assert "block 0 lacks tensors of its experts: expert 0 has no 'w1'" in refused(sources)


@pytest.mark.parametrize("count", [9, 2**31 - 1])
def test_more_experts_in_the_configuration_than_in_the_checkpoint(count: int) -> None:
    text = refused(leaves(NAMES), num_local_experts=count)
    assert "block 0 lacks tensors of its experts: expert 8 has no 'w1'" in text
    assert f"{count} (num_local_experts)" in text


def test_fewer_experts_in_the_configuration_than_in_the_checkpoint() -> None:
    text = refused(leaves(NAMES), num_local_experts=4)
    assert EXPERT.format(0, 4, "w1") in text and "no expert of block 0 has such a tensor" in text


@pytest.mark.parametrize("count", [0, -1, None, "8", 8.0, True, 2**31])
def test_a_count_of_experts_that_is_none(count: object) -> None:
    assert "'num_local_experts' expects a whole number of at least 1" in refused(leaves(NAMES), num_local_experts=count)


@pytest.mark.parametrize(
    "name",
    [
        EXPERT.format(0, 0, "w4"), EXPERT.format(0, "00", "w1"), EXPERT.format(0, "x", "w1"), EXPERT.format(2, 0, "w1"),
        EXPERT.format(0, 0, "w1").replace("weight", "bias"), EXPERT.format(0, 10**12, "w1"),
        "model.layers.0.block_sparse_moe.experts.gate_up_proj",
    ],
)  # fmt: skip
def test_other_tensors_of_experts_are_an_error(name: str) -> None:
    sources = leaves(NAMES)
    sources[name] = leaf("xxh3:0", "bf16", (96, 64))
    text = refused(sources)
    assert "cannot be mapped" in text or "block 2 lacks tensors" in text


def test_experts_of_other_shapes_are_an_error() -> None:
    sources = leaves(NAMES)
    sources[EXPERT.format(1, 3, "w3")] = leaf("xxh3:0", "bf16", (64, 96))
    text = refused(sources)
    assert "the experts of block 1 differ in the shape of 'w3'" in text and "[64, 96]" in text


def test_experts_of_several_dtypes_are_stacked_as_floats() -> None:
    sources = leaves(NAMES)
    sources[EXPERT.format(0, 3, "w1")] = leaf("xxh3:0", "f16", (96, 64))
    found = dict(mixtral().tensors(sources))
    assert {x.dtype for x in found["blk.0.ffn_gate_exps.weight"].operands} == {"f32"}
    assert found["blk.0.ffn_up_exps.weight"].dtype == "bf16"
