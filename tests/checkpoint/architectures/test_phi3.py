"""Phi-3: what transformers fills in, longrope, and its own reading of tokenizer.model."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.recipe import Recipe
from tests import recipes, zoo

SHORT = zoo.cases("phi3")["4k"]
LONG = zoo.cases("phi3")["longrope"]
FACTOR = "phi3.rope.scaling.attn_factor"


def convert(folder: Path, case: zoo.Case, **config: Any) -> Recipe:
    return recipes.converted(zoo.write(folder, replace(case, config={**case.config, **config})), pre=case.pre)


def scaling(**changes: Any) -> dict[str, Any]:
    return {**LONG.config["rope_scaling"], **changes}


def test_defaults_are_transformers() -> None:
    full = complete({"model_type": "phi3", "num_attention_heads": 24})
    wanted = {
        "num_key_value_heads": 24, "max_position_embeddings": 4096, "original_max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
        "rope_theta": 1e4, "partial_rotary_factor": 1.0, "vocab_size": 32064,
    }  # fmt: skip
    assert {key: full[key] for key in wanted} == wanted
    assert "sliding_window" not in full


@pytest.mark.parametrize("name", ["longrope", "su", "yarn"])
def test_longrope_had_other_names(name: str) -> None:
    full = complete({**LONG.config, "rope_scaling": scaling(type=name)})
    assert full["rope_scaling"]["rope_type"] == "longrope"


@pytest.mark.parametrize(
    "changes",
    [
        {"factor": 4.0}, {"type": "linear"}, {"long_factor": [1.0] * 7}, {"short_factor": None}, {"long_factor": ["1"] * 8},
    ],
)  # fmt: skip
def test_scaling_that_transformers_refuses_leaves_the_bare_file(changes: dict[str, Any]) -> None:
    config = {**LONG.config, "rope_scaling": scaling(**changes)}
    assert complete(config) == config


def test_the_factor_of_the_published_128k() -> None:
    from modelbuild.checkpoint.architectures.phi3 import Phi3
    from modelbuild.checkpoint.checkpoint import Checkpoint

    phi3 = Phi3(Checkpoint({"config.json": b"{}"}.get))
    phi3.config = {
        "max_position_embeddings": 131072,
        "original_max_position_embeddings": 4096,
        "rope_scaling": scaling(),
    }
    # What Ollama writes too.
    assert phi3.preface()[FACTOR][4:] == struct.pack("<f", 1.1902381)


def test_factors_come_before_everything(tmp_path: Path) -> None:
    recipe = convert(tmp_path, LONG)
    assert list(recipe.metadata)[:3] == ["general.architecture", FACTOR, "general.type"]
    assert [entry.name for entry in recipe.tensors[:3]] == [
        "rope_factors_long.weight", "rope_factors_short.weight", "output.weight",
    ]  # fmt: skip
    assert recipe.tensors[0].shape == (8,)


def test_a_short_context_has_no_factors(tmp_path: Path) -> None:
    recipe = convert(tmp_path, SHORT, sliding_window=None)
    assert FACTOR not in recipe.metadata and recipe.tensors[0].name == "output.weight"
    assert decode_value(recipe.metadata["phi3.attention.sliding_window"]) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rope_scaling": scaling(long_factor=[1.0] * 7)}, "'long_factor' expects 8 numbers, got 7"),
        ({"rope_scaling": scaling(short_factor=None)}, "'short_factor' expects 8 numbers, got null"),
        ({"rope_scaling": scaling(long_factor=[1e39] * 8)}, "'long_factor' expects 8 numbers, got a list"),
        ({"rope_scaling": scaling(short_factor=[float("nan")] * 8)}, "'short_factor' expects 8 numbers, got a list"),
        ({"rope_scaling": scaling(type="linear")}, 'type longrope, got the text "linear"'),
        ({"rope_scaling": scaling(type=None)}, "type longrope, got null"),
        ({"partial_rotary_factor": 0.5}, "'long_factor' expects 4 numbers, got 8"),
        ({"partial_rotary_factor": 0}, "'partial_rotary_factor' expects a number above 0"),
        ({"partial_rotary_factor": float("nan")}, "'partial_rotary_factor' expects a number above 0"),
        ({"rope_theta": None}, "'rope_theta' expects a number, which is missing"),
        ({"rms_norm_eps": None}, "'rms_norm_eps' expects a number, which is missing"),
        (
            {"original_max_position_embeddings": 0},
            "'original_max_position_embeddings' expects a whole number of at least 1",
        ),
        (
            {"original_max_position_embeddings": None},
            "'original_max_position_embeddings' expects a whole number of at least 1",
        ),
        ({"sliding_window": "far"}, "'sliding_window' expects a whole number"),
    ],
)
def test_a_configuration_that_cannot_be_is_an_error(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=message):
        convert(tmp_path, LONG, **changes)


def test_gate_and_up_are_one_tensor(tmp_path: Path) -> None:
    shapes = {**SHORT.shapes, "model.layers.0.mlp.up_proj.weight": (96, 64)}
    with pytest.raises(Error, match="mlp.up_proj.weight' cannot be mapped"):
        convert(tmp_path, replace(SHORT, shapes=shapes))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"tokenizer_config.json": '{"added_tokens_decoder": {"288": {"content": "x"}}}'}, "token 288 does not fit"),
        ({"tokenizer.json": '{"added_tokens": [{"id": 288, "content": "x"}]}'}, "token 288 does not fit"),
        ({"tokenizer.json": '{"added_tokens": [{"id": null, "content": "x"}]}'}, "expected the id of a token"),
        ({"tokenizer.json": '{"added_tokens": ["x"]}'}, "'added_tokens' expects objects"),
        ({"added_tokens.json": '{"x": "y"}'}, "expected the id of a token"),
        ({"tokenizer_config.json": '{"added_tokens_decoder": {"0": {"content": "\\\\ud800"}}}'}, "not Unicode text"),
    ],
)
def test_added_tokens_that_cannot_be_are_an_error(files: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=message):
        convert(tmp_path, replace(SHORT, files={k: v.replace("\\\\u", "\\u") for k, v in files.items()}))


def test_more_pieces_than_the_vocabulary_has_room_for_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(Error, match="token 287 does not fit: the model has room for 280"):
        convert(tmp_path, SHORT, vocab_size=280)


def test_tokenizer_model_is_needed(tmp_path: Path) -> None:
    folder = zoo.write(tmp_path, SHORT)
    (folder / "tokenizer.model").unlink()
    with pytest.raises(Error, match=r"expected tokenizer\.model beside config\.json"):
        recipes.converted(folder)


def test_byte_pairs_are_known_by_what_they_are_where_there_is_no_tokenizer_model(tmp_path: Path) -> None:
    found = zoo.cases("phi3")["byte pairs"]
    known = recipes.converted(zoo.write(tmp_path / "m", found), pre=found.pre)
    for name in ("PreTrainedTokenizerFast", "TokenizersBackend"):
        (tmp_path / "m/tokenizer_config.json").write_text(f'{{"tokenizer_class": "{name}"}}')
        other = recipes.converted(tmp_path / "m", pre=found.pre)
        for key in ("tokens", "merges", "model"):
            assert other.metadata[f"tokenizer.ggml.{key}"] == known.metadata[f"tokenizer.ggml.{key}"]
