"""Tensors as files hold them: a name, a dtype, a shape, and where the bytes lie."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod

from modelbuild.tensors import quants
from modelbuild.tuples import NamedTuple

Shape = tuple[int, ...]
"""Outermost dimension first, as in numpy and safetensors; GGUF writes the reverse."""


def byte_count(dtype: str, shape: Shape) -> int:
    """Bytes of a tensor. Raises ValueError where a row is not a whole number of blocks."""
    quant = quants.get(dtype)
    row = shape[-1] if shape else 1
    if row % quant.block:
        raise ValueError(f"rows of {row} values are not a multiple of the {quant.block} of a {dtype} block")
    return prod(shape) // quant.block * quant.bytes


class Tensor(NamedTuple):
    """A tensor in a source file: `length` bytes at `offset`, dtype in lower case (`bf16`, `q4_k`)."""

    name: str
    dtype: str
    shape: Shape
    offset: int
    length: int
    digest: str = ""
    """`xxh3:` of the bytes; empty until they have been hashed."""


UNREAD = "unread:"
"""Begins what stands for the digest of a tensor whose bytes are not read."""


class TensorTable(NamedTuple):
    """What a weights file says of itself, without its weights.

    metadata  safetensors: the `__metadata__` strings, UTF-8 encoded; GGUF: encoded values (see formats.gguf)
    tensors   by name, in file order
    """

    metadata: Mapping[str, bytes]
    tensors: Mapping[str, Tensor]

    def marked(self, unread: str) -> TensorTable:
        """The table before any tensor is read: for a digest, each has UNREAD, its name and these words, if there are any."""
        tensors = self.tensors.values() if unread else ()
        named = {tensor.name: tensor._replace(digest=f"{UNREAD}{tensor.name}{unread}") for tensor in tensors}
        return TensorTable(self.metadata, named) if unread else self

    def encode(self) -> bytes:
        """Spell the table: one line of JSON, then the metadata values back to back."""
        head = {
            "metadata": [[key, len(value)] for key, value in self.metadata.items()],
            "tensors": [[t.name, t.dtype, t.shape, t.offset, t.length, t.digest] for t in self.tensors.values()],
        }
        line = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
        return b"".join([line, b"\n", *self.metadata.values()])

    @staticmethod
    def decode(data: bytes) -> TensorTable:
        """Read what `encode` wrote."""
        at = data.index(b"\n") + 1
        head = json.loads(data[:at].decode("utf-8", "surrogatepass"))
        metadata: dict[str, bytes] = {}
        for key, length in head["metadata"]:
            metadata[key] = data[at : at + length]
            at += length
        tensors = {
            name: Tensor(name, dtype, tuple(shape), offset, length, digest)
            for name, dtype, shape, offset, length, digest in head["tensors"]
        }
        return TensorTable(metadata, tensors)
