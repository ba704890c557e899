"""Adapters in GGUF files, as llama.cpp's convert_lora_to_gguf.py writes them.

Source: llama.cpp src/llama-adapter.cpp (llama_adapter_lora_init_impl, get_scale)
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from modelbuild.checkpoint.adapters.adapter import Adapter, Pair
from modelbuild.checkpoint.adapters.files import GGUF
from modelbuild.checkpoint.adapters.tensors import floats
from modelbuild.errors import Error
from modelbuild.tensors import quants
from modelbuild.tensors.formats.gguf import decode_value, scalar, type_name
from modelbuild.tensors.ftypes import FLOATS
from modelbuild.tensors.operations.dequantize import dequantize
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tensors.recipe import Expression
from modelbuild.tensors.tensor import Tensor, TensorTable
from modelbuild.words import shown

EMBEDDING = "token_embd.weight"
ALPHA = "adapter.lora.alpha"


def read(table: TensorTable) -> Adapter:
    """What an adapter changes, by the names of a GGUF file. Raises Error for one that the runtime would not load."""
    kind = scalar(table.metadata, "adapter.type")
    if kind != "lora":
        raise Error(f"the adapter is of the type '{shown(kind)}', expected 'lora'")
    alpha = _alpha(table.metadata)
    halves: dict[str, dict[str, Expression]] = {}
    whole = {}
    for name, tensor in table.tensors.items():
        stem, _, half = name.rpartition(".")
        if half in ("lora_a", "lora_b"):
            halves.setdefault(stem, {})[half] = _values(tensor)
        else:
            whole[name] = _values(tensor)
    if not table.tensors:
        raise Error("contains no tensors", path=GGUF, hint="the adapter was not saved: convert it again")
    pairs = {name: _pair(name, found, alpha) for name, found in halves.items()}
    placed, invocation = str(scalar(table.metadata, "general.architecture")), _invocation(table.metadata)
    return Adapter(pairs, whole=whole, invocation=invocation, placed=placed, metadata=table.metadata)


def _alpha(metadata: Mapping[str, bytes]) -> float:
    """The runtime ends itself at one that is no f32."""
    data = metadata.get(ALPHA)
    if data is None:
        raise Error(f"the adapter lacks '{ALPHA}'", hint="convert it again")
    value = decode_value(data)
    if type_name(data) != "f32" or not isfinite(value):
        got = shown(value) if type_name(data) == "f32" else type_name(data)
        raise Error(f"'{ALPHA}' expects a finite number as f32, got {got}", hint="convert the adapter again")
    return float(value)


def _values(tensor: Tensor) -> Expression:
    """What a tensor contains, which may be quantized. Raises Error."""
    if tensor.dtype in FLOATS or tensor.dtype not in quants.names() or quants.is_carried(tensor.dtype):
        return floats(tensor)
    return dequantize(leaf(tensor.digest, tensor.dtype, tensor.shape, tensor.name))


def _pair(name: str, found: Mapping[str, Expression], alpha: float) -> Pair:
    if len(found) < 2:
        lacking = "lora_b" if "lora_a" in found else "lora_a"
        raise Error(
            f"'{shown(name)}' has half a pair: its {lacking} is missing",
            hint="the file is not whole: convert the adapter again, or get it again",
        )
    a, b = found["lora_a"], found["lora_b"]
    if name == EMBEDDING and len(a.shape) == len(b.shape) == 2:
        a, b = transpose(b), a
    if len(a.shape) != len(b.shape) or len(a.shape) < 2 or a.shape[-2] != b.shape[-1] or a.shape[:-2] != b.shape[:-2]:
        raise Error(
            f"the factors of '{shown(name)}' do not fit each other",
            facts=[("lora_a", f"{list(found['lora_a'].shape)}"), ("lora_b", f"{list(found['lora_b'].shape)}")],
            hint="convert the adapter again",
        )
    while len(a.shape) > 2 and a.shape[0] == 1:  # as ggml sees it
        a, b = reshape(a, a.shape[1:]), reshape(b, b.shape[1:])
    files = tuple(f"{name}.{half}" for half in found)
    return Pair(a, b, alpha / b.shape[-1] if alpha else 1.0, None, files, name == EMBEDDING)


def _invocation(metadata: Mapping[str, bytes]) -> list[int]:
    key = "adapter.alora.invocation_tokens"
    if key not in metadata:
        return []
    if (kind := type_name(metadata[key])) != "[u32]":
        raise Error(f"'{key}' expects a value of the type [u32], got {kind}", hint="convert the adapter again")
    return list(decode_value(metadata[key]))
