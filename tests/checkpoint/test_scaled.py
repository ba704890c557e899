"""Methods of quantization, as config.json and the files beside it tell of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.scaled import Method, method_of
from modelbuild.errors import Error


def method(found: object, **files: Any) -> Method | None:
    """What a `quantization_config` tells, with other files of JSON beside it."""
    data = {name.replace("__", "."): json.dumps(value).encode() for name, value in files.items()}
    return method_of(Checkpoint(data.get), {"quantization_config": found})


def test_plain_numbers_have_no_method() -> None:
    assert method(None) is None and method({}) is None


def test_blocks_of_fp8() -> None:
    found = method({"quant_method": "fp8", "weight_block_size": [128, 64]})
    assert found is not None and found.block == (128, 64) and ("_scale_inv", "") in found.scales
    with pytest.raises(Error, match="'weight_block_size' expects two whole numbers, rows and columns, got a list"):
        method({"quant_method": "fp8", "weight_block_size": [128]})


def test_compressed_tensors() -> None:
    weights = {"strategy": "channel", "group_size": None}
    config = {
        "quant_method": "compressed-tensors",
        "format": "float-quantized",
        "config_groups": {"group_0": {"weights": weights}},
    }
    found = method(config)
    assert found is not None and found.scales == ((".weight_scale", ".weight"),) and found.block is None
    for change, what in (
        ({"format": "pack-quantized"}, "compressed-tensors of format 'pack-quantized'"),
        (
            {"config_groups": {"group_0": {"weights": {"strategy": "group", "group_size": 32}}}},
            "strategy 'group' and a group_size",
        ),
    ):
        with pytest.raises(Error, match=what):
            method({**config, **change})
    with pytest.raises(Error, match="'config_groups' expects one group"):
        method({**config, "config_groups": {}})


def test_a_method_may_stand_in_a_file_of_its_own() -> None:
    beside = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}}
    found = method(None, hf_quant_config__json=beside)
    assert found is not None and found.name == "modelopt" and found.orphans
    with pytest.raises(Error, match="is quantized already \\(NVFP4\\), which is not supported") as caught:
        method(None, hf_quant_config__json={**beside, "quantization": {"quant_algo": "NVFP4"}})
    assert caught.value.path == "hf_quant_config.json"


def test_a_method_that_nobody_reads() -> None:
    with pytest.raises(Error, match="is quantized already \\(gptq\\), which is not supported") as caught:
        method({"quant_method": "gptq"})
    assert caught.value.hint == "start from the unquantized weights"
    with pytest.raises(Error, match="'quantization_config' expects an object, got a list"):
        method([1])
