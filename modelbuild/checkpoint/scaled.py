"""Checkpoints whose weights are stored with scales: which methods are read, and how each stores them.

Source: llama.cpp conversion/base.py, ModelBase.dequant_model
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelbuild.checkpoint import front_matter
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.tuples import NamedTuple
from modelbuild.words import in_json, shown

FILE = "hf_quant_config.json"
READ = "fp8; compressed-tensors of format float-, int-, naive-, pack-, nvfp4-pack- and mxfp4-pack-quantized; modelopt FP8 and NVFP4"


class Packing(NamedTuple):
    """How a checkpoint packs weights in fewer than eight bits.

    kind        `nvfp4`, `mxfp4`, or `ints`: whole numbers in words of 32 bits
    weights     end of the packed weights' names: ".weight" or ".weight_packed"
    second      (end of the names of the scales of whole tensors, of their inputs) of NVFP4
    inverted    whether those divide
    bits        of a whole number
    group       how many columns share a scale
    """

    kind: str
    weights: str = ".weight_packed"
    second: tuple[str, str] = ("", "")
    inverted: bool = False
    bits: int = 4
    group: int = 16


class Method(NamedTuple):
    """A method of quantization: how weights and their scales are stored.

    name       as config.json calls it (`quant_method`)
    scales     (end of the scales' name, end of their weights' name in its place)
    unused     ends of the names of tensors that no weight needs: scales of activations
    block      rows and columns that share a scale; None where the scales' shape tells
    orphans    whether scales without weights are passed over
    packing    of the weights that are packed
    algorithm  `quant_algo` of the whole checkpoint, where there is one
    layers     `quant_algo` of modules, by their names
    """

    name: str
    scales: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()
    block: tuple[int, int] | None = None
    orphans: bool = False
    packing: Packing | None = None
    algorithm: str | None = None
    layers: tuple[tuple[str, str | None], ...] = ()


OF_ROWS = ((".weight_scale", ".weight"),)
_OF_CACHE = (".k_scale", ".v_scale")
NVFP4 = {
    "modelopt": Packing("nvfp4", ".weight", (".weight_scale_2", ".input_scale")),
    "compressed-tensors": Packing("nvfp4", second=(".weight_global_scale", ".input_global_scale"), inverted=True),
}
"""NVFP4 as each method names its tensors; any other method names them as modelopt does."""


def method_of(checkpoint: Checkpoint, config: Mapping[str, Any]) -> Method | None:
    """How a checkpoint's weights are stored; None where they are plain numbers.

    A method that only an architecture can read has no scales here. Raises Error for one that nobody reads.
    """
    found = config.get("quantization_config") or {}
    if not isinstance(found, dict):
        raise Error(f"'quantization_config' expects an object, got {in_json(found)}", path="config.json")
    name, algorithm = found.get("quant_method"), found.get("quant_algo")
    layers, path = found.get("quantized_layers"), "config.json"
    beside = checkpoint.json(FILE) if not (algorithm and layers) else None
    if beside is not None:
        told = beside.get("quantization") or {}
        producer = beside.get("producer") or {}
        if not isinstance(told, dict) or not isinstance(producer, dict):
            raise Error("'quantization' and 'producer' expect objects", path=FILE)
        if name is None:
            name, path = str(producer.get("name") or "").lower(), FILE
        algorithm, layers = told.get("quant_algo", algorithm), told.get("quantized_layers", layers)
    entries = layers.items() if isinstance(layers, dict) else ()
    each = tuple((layer, _text(entry.get("quant_algo"))) for layer, entry in entries if isinstance(entry, dict))
    is_nvfp4 = algorithm in ("NVFP4", "W4A16_NVFP4") or any(str(algo).endswith("NVFP4") for _, algo in each)
    method = _method(checkpoint, found, name, path, is_nvfp4)
    if method is not None and is_nvfp4:
        method = method._replace(packing=method.packing or NVFP4.get(method.name, NVFP4["modelopt"]))
    return method and method._replace(algorithm=_text(algorithm), layers=each)


def _method(checkpoint: Checkpoint, found: Mapping[str, Any], name: object, path: str, is_nvfp4: bool) -> Method | None:
    """The method of a name; `path` is the file that says it."""
    if name == "fp8":
        ends = ((".qscale_weight", ".weight"), ("_scale_inv", ""))
        unused = (".activation_scale", "_activation_scale", ".qscale_act")
        return Method(name, ends, unused, _block(found.get("weight_block_size"), "weight_block_size"))
    if name == "compressed-tensors":
        return _compressed(checkpoint, found)
    if name == "modelopt" or (is_nvfp4 and name in (None, "")):
        return Method("modelopt", OF_ROWS, (".input_scale", *_OF_CACHE), orphans=True)
    if name is None:
        return None
    if name == "mxfp4":
        return Method(name)
    raise _unread(checkpoint, str(name), path)


def _compressed(checkpoint: Checkpoint, config: Mapping[str, Any]) -> Method:
    groups, layout = config.get("config_groups"), config.get("format")
    several = list(groups.values()) if isinstance(groups, dict) else []
    name = "compressed-tensors"
    if layout == "nvfp4-pack-quantized" or (
        layout == "mixed-precision"
        and several
        and all(isinstance(each, dict) and each.get("format") == "nvfp4-pack-quantized" for each in several)
    ):
        return Method(name, OF_ROWS, _OF_CACHE, packing=NVFP4[name])
    if layout not in (
        "float-quantized",
        "int-quantized",
        "naive-quantized",
        "pack-quantized",
        "mxfp4-pack-quantized",
    ):
        raise _unread(checkpoint, f"compressed-tensors of format {_word(layout)}", "config.json")
    group = several[0] if len(several) == 1 else None
    weights = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(weights, dict):
        raise Error("'config_groups' expects one group, with its 'weights'", path="config.json")
    strategy, size = weights.get("strategy"), weights.get("group_size")
    if layout == "mxfp4-pack-quantized":
        return Method(name, unused=_OF_CACHE, packing=Packing("mxfp4", group=32))
    if layout == "pack-quantized":
        bits = weights.get("num_bits")
        if strategy != "group" or weights.get("type", "int") != "int":
            kind = f"type {_word(weights.get('type', 'int'))} and strategy {_word(strategy)}"
            raise _unread(checkpoint, f"compressed-tensors, pack-quantized, of {kind}", "config.json")
        for key, value, limit in (("num_bits", bits, 8), ("group_size", size, 1 << 20)):
            if type(value) is not int or not 1 <= value <= limit:
                raise Error(
                    f"'{key}' expects a whole number from 1 to {limit:,}, got {in_json(value)}", path="config.json"
                )
        assert isinstance(bits, int)
        assert isinstance(size, int)
        return Method(name, unused=_OF_CACHE, packing=Packing("ints", bits=bits, group=size))
    if strategy not in ("tensor", "channel", "block") or size is not None:
        grouped = " and a group_size" if size is not None else ""
        raise _unread(checkpoint, f"compressed-tensors of strategy {_word(strategy)}{grouped}", "config.json")
    block = _block(weights.get("block_structure"), "block_structure")
    return Method(name, OF_ROWS, (".input_scale", *_OF_CACHE), block)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _block(value: Any, key: str) -> tuple[int, int] | None:
    if value is None:
        return None
    if not (isinstance(value, list) and len(value) == 2 and all(type(n) is int and 0 < n < 1 << 31 for n in value)):
        raise Error(f"'{key}' expects two whole numbers, rows and columns, got {in_json(value)}", path="config.json")
    return value[0], value[1]


def _word(value: Any) -> str:
    return f"'{shown(value)}'" if isinstance(value, str) else in_json(value)


_INSTEAD = {
    "gptq": "convert it with llama.cpp's convert_hf_to_gguf.py, which reads GPTQ, and name the GGUF file in FROM",
    "awq": "name a GGUF file of the same model in FROM",
    "bitsandbytes": "load it with transformers, call dequantize() and save_pretrained(), and start from that folder",
}
"""What else can be done with a checkpoint that we do not read, by its method."""


def _unread(checkpoint: Checkpoint, method: str, path: str) -> Error:
    try:
        base = front_matter.read(checkpoint).get("base_model")
    except Error:
        base = None
    base = base[0] if isinstance(base, list) and len(base) == 1 else base
    named = f": {base}, says README.md" if isinstance(base, str) and base.isprintable() and len(base) < 200 else ""
    instead = f"; or {_INSTEAD[method]}" if method in _INSTEAD else ""
    return Error(
        f"the checkpoint is quantized already ({shown(method) or 'without a method'}), which is not supported",
        path=path,
        facts=[("read", READ)],
        hint=f"start from the unquantized weights{named}{instead}",
    )
