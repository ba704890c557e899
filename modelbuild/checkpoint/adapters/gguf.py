"""Adapters in GGUF files, as llama.cpp's convert_lora_to_gguf.py writes them.

Source: llama.cpp src/llama-adapter.cpp (llama_adapter_lora_init_impl, get_scale)
"""

from __future__ import annotations

from collections.abc import Mapping

from modelbuild.checkpoint.adapters.adapter import Adapter, Pair
from modelbuild.checkpoint.adapters.tensors import floats
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value, scalar
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tensors.recipe import Expression
from modelbuild.tensors.tensor import TensorTable
from modelbuild.words import shown

EMBEDDING = "token_embd.weight"


def read(table: TensorTable) -> Adapter:
    """What an adapter changes, by the names of a GGUF file. Raises Error for one that the runtime would not load."""
    kind = scalar(table.metadata, "adapter.type")
    if kind != "lora":
        raise Error(f"the adapter is of the type '{shown(kind)}', expected 'lora'")
    alpha = scalar(table.metadata, "adapter.lora.alpha")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise Error("the adapter lacks 'adapter.lora.alpha'", hint="convert it again")
    halves: dict[str, dict[str, Expression]] = {}
    whole = {}
    for name, tensor in table.tensors.items():
        stem, _, half = name.rpartition(".")
        if half in ("lora_a", "lora_b"):
            halves.setdefault(stem, {})[half] = floats(tensor)
        else:
            whole[name] = floats(tensor)
    pairs = {name: _pair(name, found, float(alpha)) for name, found in halves.items()}
    architecture = scalar(table.metadata, "general.architecture")
    return Adapter(pairs, whole=whole, invocation=_invocation(table.metadata), placed=str(architecture))


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
    files = tuple(f"{name}.{half}" for half in found)
    return Pair(a, b, alpha / b.shape[-1] if alpha else 1.0, None, files, name == EMBEDDING)


def _invocation(metadata: Mapping[str, bytes]) -> list[int]:
    key = "adapter.alora.invocation_tokens"
    value = decode_value(metadata[key]) if key in metadata else []
    return [token for token in value if type(token) is int] if isinstance(value, list) else []
