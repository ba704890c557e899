"""Importance matrices: how much each column of each weight matters, as llama-imatrix writes it, in GGUF or in its older form."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from modelbuild.errors import Error
from modelbuild.files import open_plain
from modelbuild.tensors import mistaken
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.formats.gguf import decode_value, scalar, type_name
from modelbuild.tensors.lazy import np
from modelbuild.tensors.tensor import Tensor
from modelbuild.words import shown

if TYPE_CHECKING:
    import numpy.typing as npt

SUMS, COUNTS = ".in_sum2", ".counts"
_KEYS = {"imatrix.datasets": "[str]", "imatrix.chunk_count": "u32", "imatrix.chunk_size": "u32"}
_HINT = "an importance matrix is a file that llama-imatrix writes, GGUF or .dat"
_I32 = struct.Struct("<i")
_ENTRY = 17
"""Bytes that an entry of the older form takes at least: three i32, a name of one byte, one value."""


@dataclass(frozen=True)
class Imatrix:
    """What an importance matrix says.

    entries   name of a weight -> little-endian f32, all finite, one for each column; of experts one row after the other
    datasets  the texts it was made from, as the file names them; bytes that are no UTF-8 are surrogates
    chunks    how many pieces of text were read; None where the file does not say
    """

    entries: Mapping[str, bytes]
    datasets: tuple[str, ...] = ()
    chunks: int | None = None


def read(path: str) -> Imatrix:
    """Read an importance matrix of either form. Raises Error for whatever it is not, or not wholly.

    Memory is bounded by what the file really holds, never by a number in it.
    Source: llama.cpp common/imatrix-loader.cpp, common_imatrix_load; tools/quantize/quantize.cpp, load_imatrix
    """
    with open_plain(path) as file:
        return _read(file, os.fstat(file.fileno()).st_size, path)


def parse(data: bytes, path: str) -> Imatrix:
    """`read` for a file that is in memory already; `path` is what errors call it."""
    return _read(io.BytesIO(data), len(data), path)


def _read(file: BinaryIO, size: int, path: str) -> Imatrix:
    head = file.read(256)
    file.seek(0)
    if head.startswith(gguf.MAGIC):
        return _gguf(file, size, path)
    mistaken.refuse_other(head, path, "llama.cpp imatrix")
    return _Older(file, size, path).matrix()


def _gguf(file: BinaryIO, size: int, path: str) -> Imatrix:
    table = gguf.header_of(file, size, path).table
    kind = scalar(table.metadata, "general.type")
    missing = [key for key in _KEYS if key not in table.metadata]
    if kind not in (None, "imatrix") or len(missing) == len(_KEYS):
        what = f"of type '{shown(kind)}'" if kind not in (None, "imatrix") else "without the metadata of one"
        raise Error(f"is not an importance matrix: it is a GGUF file {what}", path=path, hint=_HINT)
    if missing:
        raise Error(f"lacks '{missing[0]}', which an importance matrix has", path=path)
    for key, expected in _KEYS.items():
        if (got := type_name(table.metadata[key])) != expected:
            raise Error(f"{key} expects {expected}, got {got}", path=path)
    named: dict[str, dict[str, Tensor]] = {}
    for tensor in table.tensors.values():
        for suffix in (SUMS, COUNTS):
            if tensor.name.endswith(suffix):
                named.setdefault(tensor.name.removesuffix(suffix), {})[suffix] = tensor
    if not named:
        raise Error("contains no importance of any weight", path=path, hint=_HINT)
    entries = {}
    for name, parts in named.items():
        for suffix in (SUMS, COUNTS):
            if suffix not in parts:
                (other,) = parts.values()
                raise Error(f"contains '{shown(other.name)}' but no '{shown(name)}{suffix}'", path=path)
            if parts[suffix].dtype != "f32":
                raise Error(f"tensor '{shown(name)}{suffix}' is {parts[suffix].dtype}, expected f32", path=path)
        if not name:
            raise Error(f"contains a tensor '{SUMS}' without a weight", path=path)
        entries[name] = _means(name, file, parts[SUMS], _floats(file, parts[COUNTS], path), path)
    chunks = int(decode_value(table.metadata["imatrix.chunk_count"]))
    return Imatrix(entries, _texts(table.metadata["imatrix.datasets"]), _positive(chunks))


CHUNK = 1 << 20
"""Values that are worked on at once."""


def _floats(file: BinaryIO, tensor: Tensor, path: str, start: int = 0, stop: int = 1 << 62) -> npt.NDArray[np.float32]:
    """The values of a tensor, or those from `start` to `stop`."""
    file.seek(tensor.offset + 4 * start)
    size = min(tensor.length, 4 * stop) - 4 * start
    data = file.read(size)
    if len(data) < size:
        raise Error("the file ends early: it was cut short while it was read", path=path)
    return _finite(np.frombuffer(data, "<f4"), tensor.name, path, start)


def _finite(values: npt.NDArray[np.float32], name: str, path: str, start: int = 0) -> npt.NDArray[np.float32]:
    """The values, the first of them the `start`th of all. Raises Error for one that is not finite."""
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise Error(
            f"'{shown(name)}' contains {values[bad[0]]} at {start + bad[0]}, expected finite numbers", path=path
        )
    return values


def _means(name: str, file: BinaryIO, sums: Tensor, counts: npt.NDArray[np.float32], path: str) -> bytes:
    """Sums of squares by the counts of their matrices, in f32; ones for a matrix that was never used."""
    size = sums.length // 4
    if not size or not counts.size or size % counts.size:
        what = f"'{shown(name)}{SUMS}' has {size} values and '{shown(name)}{COUNTS}' {counts.size}"
        raise Error(f"{what}: expected as many for each matrix", path=path)
    bad = np.flatnonzero((counts < 0) | (counts >= 2.0**63))
    if bad.size:
        raise Error(f"'{shown(name)}{COUNTS}' counts {counts[bad[0]]:g} tokens at {bad[0]}", path=path)
    columns = size // counts.size
    means = io.BytesIO()
    for start in range(0, size, CHUNK):
        part = _floats(file, sums, path, start, start + CHUNK)
        count = counts[np.arange(start, start + part.size) // columns]
        whole = np.floor(count.astype(np.float64) + 0.5).astype(np.float32)
        means.write(np.where(whole > 0, part / np.maximum(whole, np.float32(1)), np.float32(1)).astype("<f4").tobytes())
    return means.getvalue()


def _texts(value: bytes) -> tuple[str, ...]:
    """A list of texts as `encode_value` spells it, each up to a zero byte, as C reads them."""
    at, found = 16, []
    for _ in range(int.from_bytes(value[8:16], "little")):
        end = at + 8 + int.from_bytes(value[at : at + 8], "little")
        found.append(_text(value[at + 8 : end]))
        at = end
    return tuple(found)


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _positive(chunks: int) -> int | None:
    """A number of chunks as llama-quantize takes it: an int, of which only positive ones are said."""
    return chunks if 0 < chunks < 1 << 31 else None


class _Older:
    """The form before GGUF: a number of entries (name, calls, values), then maybe the chunks and the dataset.

    Numbers are i32. A weight's importance is its values divided by its calls.
    """

    def __init__(self, file: BinaryIO, size: int, path: str) -> None:
        self.file = file
        self.left = size
        self.path = path

    def take(self, count: int, what: str) -> bytes:
        if count > self.left:
            facts = [("expected", f"{count:,} bytes more"), ("got", f"{self.left:,} bytes")]
            hint = "it was cut short, or is damaged; download it again"
            raise Error(f"ends within {what}", path=self.path, facts=facts, hint=hint)
        data = self.file.read(count)
        if len(data) < count:
            raise Error("the file ends early: it was cut short while it was read", path=self.path)
        self.left -= count
        return data

    def number(self, what: str) -> int:
        return int(_I32.unpack(self.take(4, what))[0])

    def matrix(self) -> Imatrix:
        count = self.number("its first number")
        if count < 1 or count * _ENTRY > self.left:
            what = f"it claims {count:,} entries, and {self.left:,} bytes follow"
            raise Error(f"is not an importance matrix: {what}", path=self.path, hint=_HINT)
        entries: dict[str, bytes] = {}
        for index in range(count):
            name, values = self.entry(f"entry {index + 1} of {count:,}")
            if name in entries:
                raise Error(f"contains '{shown(name)}' twice", path=self.path)
            entries[name] = values
        chunks = self.number("the number of chunks") if self.left else 0
        length = self.number("the length of the dataset's name") if self.left else 0
        if length < 0 or length != self.left:
            what = f"claims a dataset's name of {length:,} bytes, and {self.left:,} bytes follow"
            raise Error(what, path=self.path, hint="the file is damaged; download it again")
        dataset = _text(self.take(length, "the dataset's name"))
        return Imatrix(entries, (dataset,) if length else (), _positive(chunks))

    def entry(self, where: str) -> tuple[str, bytes]:
        length = self.number(where)
        if length < 1:
            raise Error(f"{where} claims a name of {length:,} bytes", path=self.path)
        data = self.take(length, f"the name of {where}")
        try:
            name = data.decode("utf-8")
        except UnicodeDecodeError:
            name = ""
        if not name or "\0" in name:
            raise Error(f"{where} has a name that is not text: '{shown(data.decode('latin-1'))}'", path=self.path)
        where = f"'{shown(name)}'"
        calls, size = self.number(where), self.number(where)
        if calls < 0 or size < 1:
            raise Error(f"{where} claims {size:,} values of {calls:,} calls", path=self.path)
        if 4 * size > self.left:
            self.take(4 * size, f"the values of {where}")
        means = io.BytesIO()
        for start in range(0, size, CHUNK):
            data = self.take(4 * min(CHUNK, size - start), f"the values of {where}")
            values = _finite(np.frombuffer(data, "<f4"), name, self.path, start)
            means.write((values / np.float32(calls or 1)).astype("<f4").tobytes())
        return name, means.getvalue()
