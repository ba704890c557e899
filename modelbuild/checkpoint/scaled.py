"""Checkpoints whose weights are stored with scales (fp8, int8): which methods are read, and how each stores them.

Source: llama.cpp conversion/base.py, ModelBase.dequant_model
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from modelbuild.checkpoint import front_matter
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.words import in_json, shown

FILE = "hf_quant_config.json"
READ = "fp8; compressed-tensors of format float-quantized, int-quantized or naive-quantized; modelopt FP8"


class Method(NamedTuple):
    """A method of quantization: how weights and their scales are stored.

    name      as config.json calls it (`quant_method`)
    scales    (end of the scales' name, end of their weights' name in its place)
    unused    ends of the names of tensors that no weight needs: scales of activations
    block     rows and columns that share a scale; None where the scales' shape tells
    orphans   whether scales without weights are passed over
    """

    name: str
    scales: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()
    block: tuple[int, int] | None = None
    orphans: bool = False


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
    entries = layers.values() if isinstance(layers, dict) else []
    for each in (algorithm, *(entry.get("quant_algo") for entry in entries if isinstance(entry, dict))):
        if str(each).endswith("NVFP4"):
            raise _unread(checkpoint, "NVFP4", path)
    if name is None:
        return None
    if name == "fp8":
        ends = ((".qscale_weight", ".weight"), ("_scale_inv", ""))
        unused = (".activation_scale", "_activation_scale", ".qscale_act")
        return Method(name, ends, unused, _block(found.get("weight_block_size"), "weight_block_size"))
    if name == "modelopt":
        return Method(name, ((".weight_scale", ".weight"),), (".input_scale", ".k_scale", ".v_scale"), orphans=True)
    if name == "compressed-tensors":
        return Method(name, ((".weight_scale", ".weight"),), block=_compressed(checkpoint, found))
    if name == "mxfp4":
        return Method(name)
    raise _unread(checkpoint, str(name), path)


def _compressed(checkpoint: Checkpoint, config: Mapping[str, Any]) -> tuple[int, int] | None:
    groups, layout = config.get("config_groups"), config.get("format")
    if layout not in ("float-quantized", "int-quantized", "naive-quantized"):
        raise _unread(checkpoint, f"compressed-tensors of format {_word(layout)}", "config.json")
    group = next(iter(groups.values())) if isinstance(groups, dict) and len(groups) == 1 else None
    weights = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(weights, dict):
        raise Error("'config_groups' expects one group, with its 'weights'", path="config.json")
    if weights.get("strategy") not in ("channel", "block") or weights.get("group_size") is not None:
        grouped = " and a group_size" if weights.get("group_size") is not None else ""
        what = f"compressed-tensors of strategy {_word(weights.get('strategy'))}{grouped}"
        raise _unread(checkpoint, what, "config.json")
    return _block(weights.get("block_structure"), "block_structure")


def _block(value: Any, key: str) -> tuple[int, int] | None:
    if value is None:
        return None
    if not (isinstance(value, list) and len(value) == 2 and all(type(n) is int and 0 < n < 1 << 31 for n in value)):
        raise Error(f"'{key}' expects two whole numbers, rows and columns, got {in_json(value)}", path="config.json")
    return value[0], value[1]


def _word(value: Any) -> str:
    return f"'{shown(value)}'" if isinstance(value, str) else in_json(value)


def _unread(checkpoint: Checkpoint, method: str, path: str) -> Error:
    try:
        base = front_matter.read(checkpoint).get("base_model")
    except Error:
        base = None
    base = base[0] if isinstance(base, list) and len(base) == 1 else base
    named = f": {base}, says README.md" if isinstance(base, str) and base.isprintable() and len(base) < 200 else ""
    return Error(
        f"the checkpoint is quantized already ({shown(method) or 'without a method'}), which is not supported",
        path=path,
        facts=[("read", READ)],
        hint=f"start from the unquantized weights{named}",
    )
