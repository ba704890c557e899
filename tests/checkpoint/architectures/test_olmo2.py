"""OLMo 2 and 3: what transformers fills in and refuses, and which blocks have a window."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelbuild.checkpoint.architectures import complete
from modelbuild.checkpoint.architectures.olmo2 import Olmo2
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from tests import zoo

CONFIG = zoo.cases("olmo2")["untied"].config
WINDOW, PATTERN = "olmo2.attention.sliding_window", "olmo2.attention.sliding_window_pattern"


def parameters(**changes: Any) -> dict[str, Any]:
    checkpoint = Checkpoint({"config.json": json.dumps({**CONFIG, **changes}).encode()}.get)
    return {key: decode_value(value) for key, value in Olmo2(checkpoint).parameters(1).items()}


def test_defaults_are_transformers() -> None:
    wanted = {
        "num_key_value_heads": 32, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 1e4,
        "intermediate_size": 11008, "vocab_size": 50304,
    }  # fmt: skip
    for model_type, more in (("olmo2", {}), ("olmo3", {"sliding_window": 4096})):
        full = complete({"model_type": model_type})
        assert {key: full[key] for key in [*wanted, *more]} == {**wanted, **more}
    assert "sliding_window" not in complete({"model_type": "olmo2"})
    assert complete({"model_type": "olmo2", "num_attention_heads": 4})["num_key_value_heads"] == 4


@pytest.mark.parametrize(
    ("scaling", "taken"),
    [
        (None, True), ({"type": "linear", "factor": 2.0}, True), ({"type": "dynamic", "factor": 2.0}, True),
        ({"type": "linear", "factor": 2}, False), ({"type": "linear", "factor": 1.0}, False), ({"type": "linear"}, False),
        ({"rope_type": "linear", "factor": 2.0}, False), ({"type": "yarn", "factor": 2.0}, False), ({}, False), ("linear", False),
        ({"type": "linear", "factor": 2.0, "rope_type": "linear"}, False),
    ],
)  # fmt: skip
def test_scalings_that_transformers_takes(scaling: Any, taken: bool) -> None:
    full = complete({"model_type": "olmo2", "rope_scaling": scaling})
    assert ("rms_norm_eps" in full) is taken


def test_every_fourth_block_sees_all_of_the_text() -> None:
    found = parameters(model_type="olmo3", num_hidden_layers=9)
    assert found[WINDOW] == 4096
    assert found[PATTERN] == [True, True, True, False, True, True, True, False, True]


def test_kinds_of_attention_say_which_blocks_have_a_window() -> None:
    kinds = ["full_attention", "sliding_attention", "sliding_attention"]
    found = parameters(model_type="olmo3", num_hidden_layers=3, layer_types=kinds, sliding_window=7)
    assert (found[WINDOW], found[PATTERN]) == (7, [False, True, True])


@pytest.mark.parametrize("changes", [{}, {"sliding_window": None}])
def test_olmo_2_has_no_window(changes: dict[str, Any]) -> None:
    assert not parameters(**changes).keys() & {WINDOW, PATTERN}


@pytest.mark.parametrize("types", [["sliding_attention"], [], "full_attention", 3, {}])
def test_kinds_of_attention_that_do_not_fit_are_an_error(types: Any) -> None:
    with pytest.raises(Error, match="'layer_types' expects a list with one text for each of 2 blocks"):
        parameters(sliding_window=64, layer_types=types)


@pytest.mark.parametrize("window", ["64", -1, 1.5, [64], 2**32])
def test_window_that_is_none(window: Any) -> None:
    with pytest.raises(Error, match="'sliding_window' expects a whole number of at least 0"):
        parameters(sliding_window=window)
