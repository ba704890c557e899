"""A model that a tool made, read before it is believed: what it is, its tensors against its own metadata, and all of their bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from modelbuild.checkpoint import loadable
from modelbuild.errors import Error
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.tensor import Shape, Tensor
from modelbuild.tools import Read
from modelbuild.words import listed, shown


def read(path: str) -> Read:
    """Read a GGUF file whole. Raises Error for one that no runtime could load."""
    found = gguf.survey(path).table
    tensors = found.tensors
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    metadata = found.metadata
    wrong = [*_doubts(metadata, tensors)] or loadable.faults(metadata, shapes)
    if wrong:
        raise wrong[0].replace(path=None)
    return Read(tensors=[(tensor.digest, tensor.offset, tensor.length) for tensor in tensors.values()])


def _doubts(metadata: Mapping[str, bytes], tensors: Mapping[str, Tensor]) -> Iterator[Error]:
    """What is wrong with a model of whatever architecture."""
    name = _value(metadata, "general.architecture")
    if not isinstance(name, str) or not name:
        yield Error("the metadata lacks 'general.architecture'")
        return
    if _value(metadata, "general.type") not in (None, "model"):
        yield Error(f"expected a model, got '{shown(str(_value(metadata, 'general.type')))}'")
    if not tensors:
        yield Error("it contains no tensor")
    empty = [each.name for each in tensors.values() if not math.prod(each.shape)]
    if empty:
        yield Error("tensors without values", facts=[("tensors", listed(map(shown, empty), 4))])
    yield from _vocabulary(metadata, tensors)
    yield from _blocks(name, metadata, tensors)
    yield from _heads(name, metadata, tensors)


def _value(metadata: Mapping[str, bytes], key: str) -> Any:
    data = metadata.get(key)
    return None if data is None else decode_value(data)


def _vocabulary(metadata: Mapping[str, bytes], tensors: Mapping[str, Tensor]) -> Iterator[Error]:
    """One row of the embedding for each token."""
    tokens = _value(metadata, "tokenizer.ggml.tokens")
    table = tensors.get("token_embd.weight")
    if not isinstance(tokens, list) or table is None or len(table.shape) != 2:
        return
    if len(tokens) != table.shape[0]:
        yield Error(f"the vocabulary has {len(tokens):,} tokens, but 'token_embd.weight' has {table.shape[0]:,} rows")


def _blocks(name: str, metadata: Mapping[str, bytes], tensors: Mapping[str, Tensor]) -> Iterator[Error]:
    """As many blocks as the metadata says."""
    count = _value(metadata, f"{name}.block_count")
    if not isinstance(count, int):
        return
    numbers = {int(part) for each in tensors if each.startswith("blk.") and (part := each.split(".")[1]).isdecimal()}
    if numbers and max(numbers) >= count:
        yield Error(f"it contains block {max(numbers)}, but '{name}.block_count' is {count}")
    elif numbers and (missing := [number for number in range(min(count, 1 << 16)) if number not in numbers]):
        yield Error(f"it lacks block {missing[0]} of {count}")


def _heads(name: str, metadata: Mapping[str, bytes], tensors: Mapping[str, Tensor]) -> Iterator[Error]:
    """Queries, keys and values of whole heads."""
    heads = _value(metadata, f"{name}.attention.head_count")
    width = _value(metadata, f"{name}.embedding_length")
    if not isinstance(heads, int) or not isinstance(width, int) or heads <= 0:
        return
    shared = _value(metadata, f"{name}.attention.head_count_kv")
    sizes = {"attn_q": heads, "attn_k": shared if isinstance(shared, int) and shared > 0 else heads}
    for key, tensor in tensors.items():
        count = sizes.get(key.split(".")[-2] if key.count(".") == 3 else "")
        if count and key.endswith(".weight") and _unfit(tensor.shape, count):
            yield Error(f"'{shown(key)}' has {tensor.shape[0]:,} rows, which are not {count} heads")
            return


def _unfit(shape: Shape, heads: int) -> bool:
    return len(shape) == 2 and bool(shape[0] % heads)
