"""Methods of quantization, as config.json and the files beside it tell of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.scaled import NVFP4, Method, Packing, method_of
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
    config["config_groups"]["group_0"]["weights"] = {**weights, "strategy": "tensor"}  # type: ignore[index]
    found = method(config)
    assert found is not None and found.block is None and ".input_scale" in found.unused
    config["config_groups"]["group_0"]["weights"] = weights  # type: ignore[index]
    for change, what in (
        ({"format": "marlin-24"}, "compressed-tensors of format 'marlin-24'"),
        ({"format": "pack-quantized"}, "compressed-tensors, pack-quantized, of type 'int' and strategy 'channel'"),
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
    found = method(None, hf_quant_config__json={**beside, "quantization": {"quant_algo": "NVFP4"}})
    assert found is not None and found.packing == NVFP4["modelopt"] and found.algorithm == "NVFP4"
    with pytest.raises(Error, match="is quantized already \\(other\\)") as caught:
        method(None, hf_quant_config__json={"producer": {"name": "Other"}})
    assert caught.value.path == "hf_quant_config.json"


def test_layers_of_their_own() -> None:
    layers = {"a": {"quant_algo": "W4A16_NVFP4"}, "b": {"quant_algo": "FP8"}, "c": 1, "d": {"quant_algo": []}}
    found = method({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": layers})
    assert found is not None and found.packing == NVFP4["modelopt"]
    assert found.layers == (("a", "W4A16_NVFP4"), ("b", "FP8"), ("d", None))
    plain = method(
        {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": {"b": layers["b"]}}
    )
    assert plain is not None and plain.packing is None


def test_packings_of_compressed_tensors() -> None:
    def compressed(form: str, *groups: Any) -> Method | None:
        named = {f"group_{number}": group for number, group in enumerate(groups)}
        return method({"quant_method": "compressed-tensors", "format": form, "config_groups": named})

    four = {"strategy": "group", "num_bits": 4, "group_size": 32, "type": "int"}
    found = compressed("pack-quantized", {"weights": four})
    assert found is not None and found.packing == Packing("ints", bits=4, group=32)
    found = compressed("mxfp4-pack-quantized", {"weights": {**four, "type": "float"}})
    assert found is not None and found.packing == Packing("mxfp4", group=32)
    nvfp4 = {"format": "nvfp4-pack-quantized"}
    for found in (compressed("nvfp4-pack-quantized", {}), compressed("mixed-precision", nvfp4, nvfp4)):
        assert found is not None and found.packing == NVFP4["compressed-tensors"]
    with pytest.raises(Error, match="compressed-tensors of format 'mixed-precision'"):
        compressed("mixed-precision", nvfp4, {"format": "float-quantized"})
    for key, value in (("num_bits", 16), ("num_bits", True), ("group_size", 0), ("group_size", None)):
        with pytest.raises(Error, match=f"'{key}' expects a whole number from 1 to"):
            compressed("pack-quantized", {"weights": {**four, key: value}})


def test_a_method_that_nobody_reads() -> None:
    with pytest.raises(Error, match="is quantized already \\(gptq\\), which is not supported") as caught:
        method({"quant_method": "gptq"})
    assert str(caught.value.hint).startswith("start from the unquantized weights; or convert it with llama.cpp's")
    with pytest.raises(Error, match="is quantized already \\(hqq\\)") as caught:
        method({"quant_method": "hqq"})
    assert caught.value.hint == "start from the unquantized weights"
    with pytest.raises(Error, match="'quantization_config' expects an object, got a list"):
        method([1])
