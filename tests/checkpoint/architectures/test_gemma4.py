"""Gemma 4: what its blocks have by their kind, in either form of its configuration."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from modelbuild.checkpoint import structure
from modelbuild.checkpoint.architectures import find
from modelbuild.checkpoint.architectures.gemma4 import Gemma4, Gemma4Unified
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.recipe import Entry
from tests.zoo import _gemma4_tokenizer
from tests.zoo.gemma4_text import CONFIG, EXPERTS, LARGE, NEWER, shapes


def gemma4(kind: type[Gemma4] = Gemma4, files: dict[str, Any] | None = None, **changes: Any) -> Gemma4:
    config = {key: value for key, value in {**CONFIG, **changes}.items() if value is not ...}
    given = {"config.json": config, **(files or {})}
    texts = {name: json.dumps(value).encode() for name, value in given.items()}
    texts |= {name: text.encode() for name, text in _gemma4_tokenizer.files().items()}
    return kind(Checkpoint(texts.get, tensors=lambda: dict.fromkeys(("model.layers.0.layer_scalar",))))


def parameters(**changes: Any) -> dict[str, Any]:
    found = gemma4(**changes).parameters(1)
    return {key.removeprefix("gemma4."): decode_value(value) for key, value in found.items()}


def entries(architecture: Gemma4, changes: dict[str, Any]) -> list[Entry]:
    whole = {**CONFIG, **(LARGE if changes is NEWER else changes)}
    sources = architecture.choose(
        {name: leaf(f"xxh3:{n}", "bf16", shape, name) for n, (name, shape) in enumerate(shapes(whole).items())}
    )
    return [Entry(name, x.shape, x) for name, x in architecture.tensors(sources)]


def faults(changes: dict[str, Any], without: str = "", wider: str = "") -> str:
    architecture = gemma4(**changes)
    made = [entry for entry in entries(architecture, changes) if entry.name != without]
    made = [
        Entry(each.name, shape, leaf("xxh3:0", "bf16", shape, each.name))
        for each in made
        for shape in [(each.shape[0] * (2 if each.name == wider else 1), *each.shape[1:])]
    ]
    return "\n".join(map(str, structure.faults(made, architecture)))


def test_classes() -> None:
    assert find("Gemma4ForCausalLM") is find("Gemma4ForConditionalGeneration") is Gemma4
    assert find("Gemma4UnifiedForConditionalGeneration") is Gemma4Unified


def test_blocks_differ_by_their_kind() -> None:
    found = parameters()
    assert found["attention.sliding_window_pattern"] == [True, True, False] * 2
    assert found["feed_forward_length"] == [96] * 3 + [192] * 3
    assert found["attention.head_count_kv"] == 2
    assert (found["attention.key_length"], found["attention.key_length_swa"]) == (32, 16)
    assert (found["rope.dimension_count"], found["rope.dimension_count_swa"]) == (32, 16)
    assert (found["attention.shared_kv_layers"], found["embedding_length_per_layer_input"]) == (3, 32)
    assert parameters(**LARGE)["attention.head_count_kv"] == [2, 2, 1]


def test_both_forms_of_the_configuration_say_the_same() -> None:
    assert parameters(**NEWER) == parameters(**LARGE)


def test_unturned_dimensions_have_a_factor_that_stops_them() -> None:
    (data,) = gemma4().constants().values()
    assert struct.unpack("<16f", data) == (1.0,) * 4 + (struct.unpack("<f", struct.pack("<f", 1e30))[0],) * 12


@pytest.mark.parametrize("changes", [{}, LARGE, NEWER, EXPERTS])
def test_a_whole_checkpoint_has_no_faults(changes: dict[str, Any]) -> None:
    assert faults(changes) == ""


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "blk.0.attn_k.weight"),
        ({}, "blk.2.attn_v.weight"),
        ({}, "blk.5.layer_output_scale.weight"),
        ({}, "per_layer_token_embd.weight"),
        ({}, "blk.5.inp_gate.weight"),
        (LARGE, "blk.0.attn_v.weight"),
        (LARGE, "blk.2.attn_k_norm.weight"),
        (EXPERTS, "blk.1.ffn_gate_inp.weight"),
        (EXPERTS, "blk.1.ffn_gate_inp.scale"),
        (EXPERTS, "blk.1.ffn_down_exps.scale"),
        (EXPERTS, "blk.1.ffn_gate_up_exps.weight"),
        (EXPERTS, "blk.1.ffn_up.weight"),
    ],
)
def test_what_a_block_lacks_is_told(changes: dict[str, Any], name: str) -> None:
    assert "lacks 1 tensor" in faults(changes, without=name)


@pytest.mark.parametrize(
    ("changes", "name", "said"),
    [
        ({}, "blk.2.attn_q.weight", "num_attention_heads * global_head_dim"),
        ({}, "blk.0.attn_k.weight", "num_key_value_heads * head_dim"),
        ({}, "blk.4.ffn_up.weight", "2 * intermediate_size"),
        ({}, "per_layer_model_proj.weight", "num_hidden_layers * hidden_size_per_layer_input"),
        (LARGE, "blk.2.attn_k.weight", "num_global_key_value_heads * global_head_dim"),
        (EXPERTS, "blk.0.ffn_gate_up_exps.weight", "num_experts, 2 * moe_intermediate_size, hidden_size"),
        (EXPERTS, "blk.0.ffn_down_exps.scale", "num_experts"),
    ],
)
def test_a_shape_of_another_kind_of_block_is_told(changes: dict[str, Any], name: str, said: str) -> None:
    found = faults(changes, wider=name)
    assert "1 tensor does not have the shape" in found and said in found


def test_blocks_that_use_the_keys_of_others_may_have_their_own() -> None:
    architecture = gemma4()
    extra = {"model.layers.5.self_attn.k_proj.weight": leaf("xxh3:0", "bf16", (64, 64))}
    assert [name for name, _ in architecture.tensors(extra)] == ["blk.5.attn_k.weight"]


def test_names_without_a_suffix() -> None:
    rename = gemma4(**EXPERTS).rename
    assert rename("model.layers.1.router.scale") == "blk.1.ffn_gate_inp.scale"
    assert rename("model.layers.1.router.per_expert_scale.weight") == "blk.1.ffn_down_exps.scale"
    assert rename("model.layers.2.experts.down_proj") == "blk.2.ffn_down_exps.weight"
    assert rename("model.layers.2.layer_scalar") == "blk.2.layer_output_scale.weight"
    with pytest.raises(Error, match="cannot be mapped"):
        rename("model.layers.3.router.scale")


def test_norms_are_stored_whole() -> None:
    x = leaf("xxh3:0", "f32", (64,))
    assert dict(gemma4().tensors({"model.norm.weight": x})) == {"output_norm.weight": x}


@pytest.mark.parametrize(("rows", "left"), [(400, 307), (307, 307), (200, 200)])
def test_rows_are_cut_to_the_tokens(rows: int, left: int) -> None:
    ((_, made),) = gemma4().tensors({"model.embed_tokens.weight": leaf("xxh3:0", "bf16", (rows, 64))})
    assert made.shape == (left, 64)


def test_control_tokens_that_are_seen() -> None:
    values = {key: decode_value(value) for key, value in gemma4().tokenizer.items()}
    kinds = dict(zip(values["tokenizer.ggml.tokens"], values["tokenizer.ggml.token_type"], strict=True))
    assert (kinds["<|channel>"], kinds['<|"|>'], kinds["<turn|>"], kinds["<0x0A>"]) == (4, 4, 1, 6)
    assert (values["tokenizer.ggml.add_bos_token"], values["tokenizer.ggml.add_space_prefix"]) == (True, False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer_types": ["full_attention"]}, "'layer_types' expects a list with one text for each of 6 blocks, got a list of 1"),
        ({"layer_types": ...}, "'layer_types' expects a list with one text for each of 6 blocks, got nothing"),
        ({"num_kv_shared_layers": 7}, "'num_kv_shared_layers' expects a whole number from 0 to 6, got the number 7"),
        ({"num_kv_shared_layers": ...}, "'num_kv_shared_layers' expects a whole number from 0 to 6, got nothing"),
        ({"global_head_dim": ...}, "'global_head_dim' expects a whole number of at least 1, which is missing"),
        ({"global_head_dim": 1 << 30}, "'global_head_dim' expects a whole number up to 65,536"),
        ({"head_dim": 0}, "'head_dim' expects a whole number of at least 1, got the number 0"),
        ({"num_global_key_value_heads": "x"}, "'num_global_key_value_heads' expects a whole number of at least 1"),
        ({"hidden_size_per_layer_input": -1}, "'hidden_size_per_layer_input' expects a whole number of at least 0"),
        ({"num_hidden_layers": 1 << 30}, "'num_hidden_layers' expects at most 512, got 1,073,741,824"),
        ({"text_config": 3}, "'text_config' expects an object, got the number 3"),
        ({"intermediate_size": None}, "'intermediate_size' expects a whole number of at least 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_an_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Error, match=message):
        parameters(**changes)


@pytest.mark.parametrize(
    ("rope", "message"),
    [
        ({}, "'rope_parameters' expects the rope_type \"proportional\" for full_attention, got nothing"),
        ({"full_attention": {"rope_type": "default"}}, 'got the text "default"'),
        ({"full_attention": {"rope_type": "proportional"}}, "of full_attention expects a number from 0 to 1, got nothing"),
        ({"full_attention": {"rope_type": "proportional", "partial_rotary_factor": float("nan")}}, "a number from 0 to 1"),
        ({"full_attention": {"rope_type": "proportional", "partial_rotary_factor": 1e9}}, "a number from 0 to 1"),
    ],
)  # fmt: skip
def test_frequencies_that_cannot_be(rope: dict[str, Any], message: str) -> None:
    with pytest.raises(Error, match=message):
        gemma4(rope_parameters=rope).constants()


@pytest.mark.parametrize(
    ("said", "found"), [({"suppress_tokens": [7, 8]}, [7, 8]), ({"suppress_tokens": []}, None), ({}, None)]
)
def test_tokens_that_a_unified_one_never_puts_out(said: dict[str, Any], found: list[int] | None) -> None:
    values = gemma4(Gemma4Unified, {"generation_config.json": said}).parameters(1)
    data = values.get("tokenizer.ggml.suppress_tokens")
    assert (None if data is None else decode_value(data)) == found


def test_tokens_to_suppress_are_ids() -> None:
    with pytest.raises(Error, match="'suppress_tokens' expects a list of ids of tokens"):
        gemma4(Gemma4Unified, {"generation_config.json": {"suppress_tokens": [-1]}}).parameters(1)
