"""GGUF files: typed metadata, then tensor infos, then the aligned bytes of the tensors; and the writer of their headers."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any, BinaryIO

from modelbuild.errors import Error
from modelbuild.files import open_plain
from modelbuild.tensors import file_digest, mistaken, quants
from modelbuild.tensors.tensor import Shape, Tensor, TensorTable, byte_count
from modelbuild.words import shown

if TYPE_CHECKING:
    from concurrent.futures import Executor

MAGIC = b"GGUF"
VERSION = 3
ALIGNMENT = 32
QUANTIZATION_VERSION = 2

HEADER_LIMIT = 96 << 20
"""Bytes. The largest real headers, of vocabularies of half a million tokens, take some 30 MB; with a tokenizer.json in them 55 MB."""
KEYS_LIMIT = 1 << 16
"""Metadata values. Real files have a hundred; each model or data set that it was made from adds up to nine."""
TENSORS_LIMIT = 1 << 16
"""Tensors of a file. The largest real ones have two thousand."""
LIST_LIMIT = 1 << 22
"""Texts of a list, and numbers of one that is decoded. The longest real ones, of merges, have half a million."""
STEP = 1 << 20
_DAMAGED = "no real model file has so much: it is damaged, or written by a faulty program; download it again"
NAME_LIMIT = 63
DIMENSION_LIMIT = 4

SCALARS = {
    "u8": (0, "B"), "i8": (1, "b"), "u16": (2, "H"), "i16": (3, "h"), "u32": (4, "I"), "i32": (5, "i"), "f32": (6, "f"), "bool": (7, "?"),
    "u64": (10, "Q"), "i64": (11, "q"), "f64": (12, "d"),
}  # fmt: skip
"""Our name of a value type -> (gguf.h, enum gguf_type; struct format)."""
STRING, ARRAY = 8, 9
_ARRAY = struct.pack("<I", ARRAY)

_BY_ID = {number: (name, struct.Struct("<" + code)) for name, (number, code) in SCALARS.items()}
_LENGTHS = [struct.pack("<Q", length) for length in range(256)]
_U64 = struct.Struct("<Q")


@dataclass(frozen=True)
class Header:
    """What stands before the tensors: `size` bytes, after which the data begins at a multiple of `alignment`."""

    version: int
    alignment: int
    size: int
    table: TensorTable


def encode_value(value_type: str, value: Any) -> bytes:
    """Spell a metadata value: its type as u32, then the payload, little endian.

    value_type  u8 … f64, bool, str, or [u8] … [str] for an array; text may be str or bytes
    Raises Error for a number that the type cannot hold.
    """
    try:
        if value_type.startswith("["):
            item = value_type[1:-1]
            if item == "str":
                return struct.pack("<IIQ", ARRAY, STRING, len(value)) + _strings(value)
            number, code = SCALARS[item]
            return struct.pack(f"<IIQ{len(value)}{code}", ARRAY, number, len(value), *value)
        if value_type == "str":
            return struct.pack("<I", STRING) + _strings([value])
        number, code = SCALARS[value_type]
        return struct.pack("<I" + code, number, value)
    except (struct.error, OverflowError):
        raise Error(f"expected a value that fits {value_type}, got {shown(value)}") from None
    except UnicodeEncodeError as error:
        raise Error(f"expected Unicode text, got {shown(ascii(error.object))}") from None


def _strings(values: Sequence[str | bytes]) -> bytes:
    # An object for each text and each length takes ten times what they spell: not for all of half a million at once.
    return b"".join(_few_strings(values[at : at + 8192]) for at in range(0, len(values), 8192))


def _few_strings(values: Sequence[str | bytes]) -> bytes:
    # bytes go through bytes() as they are; half a million texts are encoded without a step of Python for each.
    spell: Any = str.encode if values and isinstance(values[0], str) else bytes
    data: list[bytes] = list(map(spell, values))
    lengths = list(map(len, data))
    prefixes = map(_LENGTHS.__getitem__ if max(lengths, default=0) < 256 else _U64.pack, lengths)
    return b"".join(chain.from_iterable(zip(prefixes, data, strict=True)))


def decode_value(data: bytes) -> Any:
    """The value that `encode_value` spelled, or that `read_header` took from a file: a number, bool, text or list of one of these.

    Text that is not UTF-8 gets replacement characters.
    """
    (number,) = struct.unpack_from("<I", data)
    at, count = 4, 1
    if number == ARRAY:
        number, count = struct.unpack_from("<IQ", data, 4)
        at = 16
    if count > LIST_LIMIT:
        raise Error(f"has a list of {count:,} items in its metadata, expected at most {LIST_LIMIT:,}")
    if number == STRING:
        values: list[Any] = []
        for _ in range(count):
            (length,) = _U64.unpack_from(data, at)
            values.append(data[at + 8 : at + 8 + length].decode("utf-8", "replace"))
            at += 8 + length
    else:
        values = list(struct.unpack_from(f"<{count}{_BY_ID[number][1].format[1:]}", data, at))
    return values if data[:4] == _ARRAY else values[0]


def scalar(metadata: Mapping[str, bytes], key: str) -> Any:
    """The value of a key; None where it is missing, or a list."""
    data = metadata.get(key)
    return None if data is None or data[:4] == _ARRAY else decode_value(data)


def type_name(data: bytes) -> str:
    """The type of an encoded value, as `encode_value` calls it."""
    number, item = struct.unpack_from("<II", data.ljust(8, b"\0"))
    names = {number: name for name, (number, _) in SCALARS.items()} | {STRING: "str"}
    return f"[{names[item]}]" if number == ARRAY else names[number]


def header(metadata: Mapping[str, bytes], tensors: Sequence[tuple[str, str, Shape]]) -> bytes:
    """All that stands before the tensors, padded to 32 bytes; offsets are the running sum of the padded sizes.

    tensors  (name, dtype, shape) in file order. Source: ggml gguf.cpp, gguf_write_out; gguf-py, GGUFWriter
    """
    parts = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(metadata))]
    for key, value in metadata.items():
        parts += (_U64.pack(len(text := key.encode())), text, value)
    offset = 0
    for name, dtype, shape in tensors:
        info = struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), quants.get(dtype).ggml_type, offset)
        parts += (_U64.pack(len(text := name.encode())), text, info)
        offset += padded(byte_count(dtype, shape))
    data = b"".join(parts)
    return data + bytes(-len(data) % ALIGNMENT)


def padded(size: int, alignment: int = ALIGNMENT) -> int:
    return -(-size // alignment) * alignment


def read_header(path: str) -> Header:
    """Read all that stands before the tensors, checking it against the file's size; digests are empty.

    Raises Error for whatever llama.cpp refuses. Memory is bounded by the header's real length, never by a number in it.
    Source: ggml gguf.cpp, gguf_init_from_reader
    """
    with open_plain(path) as file:
        return header_of(file, os.fstat(file.fileno()).st_size, path)


def header_of(file: BinaryIO, size: int, path: str) -> Header:
    """`read_header` for a file of `size` bytes that is open at its start; `path` is what errors call it."""
    return _read(_Reader(file, size, path))


def table(path: str, unread: str = "") -> TensorTable:
    return read_header(path).table.marked(unread)


def survey(path: str, executor: Executor | None = None) -> file_digest.Digested:
    """Read a GGUF file whole: its table, the digest of each tensor, and the file's own."""
    return file_digest.digest_all(path, *_front(path), executor)


def running(path: str) -> file_digest.RunningDigest:
    """The digest that `survey` finds, of a copy of the file while it is made."""
    header, table, size = _front(path)
    return file_digest.RunningDigest(header.size, table, size)


def _front(path: str) -> tuple[file_digest.Head, TensorTable, int]:
    """What stands before the tensors, what it says, and the file's size."""
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        reader = _Reader(file, size, path)
        table = _read(reader).table
    with memoryview(reader.data) as data, data[: reader.at] as front:
        return file_digest.Head.of(front), table, size


class _Reader:
    """The front of a file, read as far as somebody asked."""

    def __init__(self, file: BinaryIO, size: int, path: str) -> None:
        self.file = file
        self.size = size
        self.path = path
        self.data = bytearray(file.read(min(size, 1 << 16)))
        self.at = 0

    def fill(self, end: int) -> None:
        """Have everything before `end`."""
        if end <= len(self.data):
            return
        if end > self.size + HEADER_LIMIT:
            what = f"claims a text or a list of {end - self.at:,} bytes, more than its {self.size:,} bytes can contain"
            raise Error(what, path=self.path)
        if end > self.size:
            raise Error(
                "ends within its header",
                path=self.path,
                facts=[("expected", f"{end:,} bytes or more"), ("got", f"{self.size:,} bytes")],
                hint="the download was cut short, or the file is damaged; download it again",
            )
        if end > HEADER_LIMIT:
            raise Error(
                f"has a header longer than {HEADER_LIMIT:,} bytes, more than any model needs",
                path=self.path,
                hint=_DAMAGED,
            )
        while end > len(self.data):
            data = self.file.read(min(STEP, self.size - len(self.data)))
            if not data:
                raise Error("the file ends early: it was cut short while it was read", path=self.path)
            self.data += data

    def take(self, count: int) -> bytes:
        start = self.at
        self.skip(count)
        return self.since(start)

    def skip(self, count: int) -> None:
        self.fill(self.at + count)
        self.at += count

    def since(self, start: int) -> bytes:
        with memoryview(self.data) as data:
            return bytes(data[start : self.at])

    def number(self, code: str) -> int:
        return int(struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0])

    def text(self, what: str) -> str:
        data = self.take(self.number("Q"))
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise Error(f"{what} is not UTF-8: {shown(data.decode('utf-8', 'replace'))}", path=self.path) from None

    def value(self, key: str) -> bytes:
        """An encoded value, not decoded further than it takes to find its end."""
        start = self.at
        number, count = self.number("I"), 1
        if number == ARRAY:
            number, count = self.number("I"), self.number("Q")
        if number == STRING:
            if LIST_LIMIT < count <= self.size // 8:
                what = f"key '{shown(key)}' has {count:,} texts, expected at most {LIST_LIMIT:,}"
                raise Error(what, path=self.path, hint=_DAMAGED)
            self._skip_strings(count)
        elif number in _BY_ID:
            name, layout = _BY_ID[number]
            self.skip(count * layout.size)
            # Two of 256 bytes are bools: whatever is left without them is none.
            if name == "bool" and self.since(self.at - count).translate(None, b"\0\1"):
                raise Error(f"key '{shown(key)}' contains a bool that is neither 0 nor 1", path=self.path)
        else:
            raise Error(f"key '{shown(key)}' has an unknown type {number}", path=self.path)
        return self.since(start)

    def _skip_strings(self, count: int) -> None:
        unpack = _U64.unpack_from
        at = self.at
        while count:
            try:
                while count:
                    at += 8 + unpack(self.data, at)[0]
                    count -= 1
            except (struct.error, OverflowError):
                self.fill(at + 8)
        self.fill(at)
        self.at = at


def _read(reader: _Reader) -> Header:
    path = reader.path
    mistaken.refuse_other(bytes(reader.data[:256]), path, "GGUF")
    if reader.data[:4] != MAGIC:
        magic = shown(reader.data[:4].decode("latin-1"))
        raise Error(f"is not a GGUF file: it starts with '{magic}', expected 'GGUF'", path=path)
    reader.take(4)
    version = reader.number("I")
    if version == 1:
        raise Error(
            "is GGUF version 1, expected 2 or 3",
            path=path,
            hint="convert the model again with a llama.cpp from after August 2023",
        )
    if version and not version & 0xFFFF:
        raise Error(
            "is a big-endian GGUF file, expected little-endian", path=path, hint="convert it with 'gguf-convert-endian'"
        )
    if version not in (2, 3):
        raise Error(f"is GGUF version {version}, expected 2 or 3", path=path)
    tensor_count, value_count = reader.number("Q"), reader.number("Q")
    room = reader.size - reader.at
    for count, least, most, what in (
        (value_count, 13, KEYS_LIMIT, "metadata values"),
        (tensor_count, 24, TENSORS_LIMIT, "tensors"),
    ):
        if count * least > room:
            raise Error(f"claims {count:,} {what}, more than its {reader.size:,} bytes can contain", path=path)
        if count > most:
            raise Error(f"has {count:,} {what}, expected at most {most:,}", path=path, hint=_DAMAGED)
    metadata: dict[str, bytes] = {}
    for _ in range(value_count):
        key = reader.text("a key")
        if not key:
            raise Error("has a metadata value without a key", path=path)
        if key in metadata:
            raise Error(f"contains the key '{shown(key)}' twice", path=path)
        metadata[key] = reader.value(key)
    alignment = _alignment(metadata, path)
    infos = _infos(reader, tensor_count)
    start = padded(reader.at, alignment)
    return Header(version, alignment, reader.at, TensorTable(metadata, _place(infos, start, alignment, reader)))


def _alignment(metadata: Mapping[str, bytes], path: str) -> int:
    data = metadata.get("general.alignment")
    if data is None:
        return ALIGNMENT
    if type_name(data) != "u32":
        raise Error(f"general.alignment expects a u32, got {type_name(data)}", path=path)
    value = int(decode_value(data))
    if not value or value & (value - 1):
        raise Error(f"general.alignment expects a power of two, got {value}", path=path)
    return value


def _infos(reader: _Reader, count: int) -> list[Tensor]:
    """The tensors, their offsets still counted from the start of the data."""
    path = reader.path
    tensors: list[Tensor] = []
    for _ in range(count):
        name = reader.text("a tensor's name")
        where = f"tensor '{shown(name)}'"
        if len(name.encode()) > NAME_LIMIT:
            raise Error(f"{where} has a name of {len(name.encode())} bytes, expected at most {NAME_LIMIT}", path=path)
        dimensions = reader.number("I")
        if dimensions > DIMENSION_LIMIT:
            raise Error(f"{where} has {dimensions} dimensions, expected at most {DIMENSION_LIMIT}", path=path)
        shape = tuple(reversed(struct.unpack(f"<{dimensions}Q", reader.take(8 * dimensions))))
        if any(extent >= 1 << 63 for extent in shape) or prod(shape) >= 1 << 63:
            raise Error(f"{where} has a shape too large for any memory: {list(shape)}", path=path)
        number = reader.number("I")
        quant = quants.by_ggml_type(number)
        if quant is None:
            raise Error(f"{where} has an unknown type {number}", path=path)
        row = shape[-1] if shape else 1
        if row % quant.block:
            raise Error(
                f"{where} has rows of {row} values, not a multiple of the {quant.block} of a {quant.name} block",
                path=path,
            )
        tensors.append(Tensor(name, quant.name, shape, reader.number("Q"), prod(shape) // quant.block * quant.bytes))
    return tensors


def _place(tensors: list[Tensor], start: int, alignment: int, reader: _Reader) -> dict[str, Tensor]:
    path = reader.path
    placed: dict[str, Tensor] = {}
    expected = 0
    for tensor in tensors:
        where = f"tensor '{shown(tensor.name)}'"
        if tensor.name in placed:
            raise Error(f"contains the {where} twice", path=path)
        if tensor.offset != expected:
            raise Error(
                f"{where} is out of place: tensors follow one another, each at a multiple of {alignment}",
                path=path,
                facts=[("expected", f"offset {expected:,}"), ("got", f"offset {tensor.offset:,}")],
            )
        offset = start + tensor.offset
        if offset + tensor.length > reader.size:
            raise Error(
                f"ends within {where}",
                path=path,
                facts=[("expected", f"{offset + tensor.length:,} bytes or more"), ("got", f"{reader.size:,} bytes")],
                hint="the download was cut short; download the file again",
            )
        placed[tensor.name] = Tensor(tensor.name, tensor.dtype, tensor.shape, offset, tensor.length)
        expected += padded(tensor.length, alignment)
    return placed
