"""safetensors files: a JSON header that names each tensor's dtype, shape and byte range, then the bytes."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any, BinaryIO

from modelbuild import bounded_json
from modelbuild.errors import Error
from modelbuild.files import open_plain
from modelbuild.tensors import file_digest, mistaken
from modelbuild.tensors.tensor import UNREAD, Shape, Tensor, TensorTable, byte_count
from modelbuild.tuples import NamedTuple
from modelbuild.words import shown

if TYPE_CHECKING:
    from concurrent.futures import Executor

HEADER_LIMIT = 32 << 20
"""Bytes. The largest real ones, of twenty thousand tensors in a file, have some 3 million."""
TENSORS_LIMIT = 1 << 17
"""Tensors of a file; the most that a real one has are some twenty thousand."""
DIMENSIONS_LIMIT = 64
"""Sizes of a shape. Weights have up to five."""

BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64,
    "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
"""dtype -> bits of a value (safetensors, Dtype); ours are the same names in lower case."""


def header(tensors: Sequence[tuple[str, str, Shape]]) -> bytes:
    """All that stands before the tensors, padded with spaces to 8 bytes, for tensors that follow one another.

    tensors  (name, dtype, shape) in file order. The metadata is what transformers asks for: whose layout of tensors it is
    """
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, dtype, shape in tensors:
        length = byte_count(dtype, shape)
        entries[name] = {"dtype": dtype.upper(), "shape": list(shape), "data_offsets": [at, at + length]}
        at += length
    data = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    data += b" " * (-len(data) % 8)
    return len(data).to_bytes(8, "little") + data


class Shard(NamedTuple):
    """A part of a large file: its header, and the tensors of the whole file that follow it."""

    head: bytes
    tensors: tuple[Tensor, ...]


def shards(table: TensorTable, limit: int, count: int) -> list[Shard]:
    """The files that a large one is saved as: of at most `limit` bytes of tensors each, and `count` of them; 0 for as many as fit."""
    groups: list[list[Tensor]] = [[]]
    size = 0
    for tensor in table.tensors.values():
        is_full = (limit and size + tensor.length > limit) or (count and len(groups[-1]) == count)
        if groups[-1] and is_full:
            groups.append([])
            size = 0
        groups[-1].append(tensor)
        size += tensor.length
    return [Shard(header([(each.name, each.dtype, each.shape) for each in group]), tuple(group)) for group in groups]


def table(path: str, unread: str = "") -> TensorTable:
    """Read the table of a safetensors file, checking it against the file's size; for digests there is what `marked` makes of `unread`.

    Raises Error for every way a header can lie. Source: safetensors, SafeTensors::read_metadata and Metadata::validate.
    """
    return _front(path, unread)[1]


def survey(path: str, executor: Executor | None = None) -> file_digest.Digested:
    """Read a safetensors file whole: its table, the digest of each tensor, and the file's own."""
    return file_digest.digest_all(path, *_front(path), executor)


def running(path: str) -> file_digest.RunningDigest:
    """The digest that `survey` finds, of a copy of the file while it is made."""
    head, table, size = _front(path)
    return file_digest.RunningDigest(head.size, table, size)


def _front(path: str, unread: str = "") -> tuple[file_digest.Head, TensorTable, int]:
    """What stands before the tensors, what it says, and the file's size."""
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        return *_read(file, size, path, unread), size


def _read(file: BinaryIO, size: int, path: str, unread: str) -> tuple[file_digest.Head, TensorTable]:
    head = file.read(256)
    # A header of 640 bytes begins as a pickle does: what follows the length tells.
    if head[4:9] != b"\0\0\0\0{":
        mistaken.refuse_other(head, path, "safetensors")
    if size < 8:
        raise Error(f"is {size} bytes long, expected a safetensors header of 8 bytes and more", path=path)
    length = int.from_bytes(head[:8], "little")
    if length > HEADER_LIMIT:
        raise Error(
            f"claims a header of {length:,} bytes, expected at most {HEADER_LIMIT:,}", path=path, hint=_NOT_SAFETENSORS
        )
    if 8 + length > size:
        raise Error(
            "ends within its header",
            path=path,
            facts=[("expected", f"{8 + length:,} bytes"), ("got", f"{size:,} bytes")],
            hint="the download was cut short; download the file again",
        )
    file.seek(8)
    text = head[:8] + file.read(length)
    front = file_digest.Head.of(text)
    with bounded_json.uncollected(length):
        decoded = _decoded(text[8:], path)
        del text
        found = _rows(decoded, 8 + length, size, unread)
        return front, found or _table(_parse(decoded, path), 8 + length, size, path).marked(unread)


_NOT_SAFETENSORS = "this is not a safetensors file"


def _decoded(text: bytes, path: str) -> str:
    """The header's text, if what it says can be held in memory."""
    if not text.startswith(b"{"):
        raise Error("the header is not a JSON object", path=path, hint=_NOT_SAFETENSORS)
    values = bounded_json.check(text, path)
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Error(f"the header is not UTF-8 at byte {8 + error.start}", path=path) from None
    bounded_json.require(values + 2 * sys.getsizeof(decoded), path)
    return decoded


_BEFORE = re.compile(r'\{(?:"__metadata__":(\{[^{}]*\}),)?')
_ROW = re.compile(
    r'"([^"\\\x00-\x1f]*)":\{"dtype":"([A-Z0-9_]+","shape":\[[0-9,]*)\],'
    r'"data_offsets":\[(0|[1-9][0-9]{0,18}),(0|[1-9][0-9]{0,18})\]\},'
)
_AROUND = len('"":{"dtype":"],"data_offsets":[,]},')
"""Characters of a row that no group of _ROW has."""


def _rows(text: str, start: int, size: int, unread: str) -> TensorTable | None:
    """The table of a header as writers spell it: compact, without escapes, tensors in the order of their bytes, one behind the other.

    None for any other header, right or wrong. A model of experts has a hundred thousand rows, and few dtypes and shapes, which are
    checked once: as JSON, each row would become three objects to be checked one by one.
    """
    text = text.rstrip(" ")
    before = _BEFORE.match(text)
    if before is None or not text.endswith("}}"):
        return None
    text = text[before.end() : -1] + ","
    rows = _ROW.findall(text)
    if len(rows) > TENSORS_LIMIT or sum(map(len, chain.from_iterable(rows))) + _AROUND * len(rows) != len(text):
        return None
    forms: dict[str, tuple[str, Shape, int]] = {}
    tensors: dict[str, Tensor] = {}
    end = start
    for name, spelled, first, last in rows:
        if spelled not in forms:
            if (form := _form(*spelled.split('","shape":['))) is None:
                return None
            forms[spelled] = form
        dtype, shape, length = forms[spelled]
        if start + int(first) != end or start + int(last) != end + length:
            return None
        # As _make does it, by position: a call by the names of the fields takes twice as long.
        tensors[name] = tuple.__new__(
            Tensor, (name, dtype, shape, end, length, f"{UNREAD}{name}{unread}" if unread else "")
        )
        end += length
    metadata = _metadata(before[1] or "{}")
    if end != size or len(tensors) != len(rows) or "__metadata__" in tensors or metadata is None:
        return None
    return TensorTable(metadata, tensors)


def _form(dtype: str, sizes: str) -> tuple[str, Shape, int] | None:
    """A dtype as we call it, a shape, and the bytes of a tensor of these; None for what is wrong or spelled oddly."""
    if dtype not in BITS or not re.fullmatch(r"((0|[1-9][0-9]{0,18})(,(0|[1-9][0-9]{0,18}))*)?", sizes):
        return None
    shape = tuple(map(int, sizes.split(","))) if sizes else ()
    # Before they are multiplied: the product of a million sizes takes hours.
    if not _counts(list(shape)):
        return None
    bits = prod(shape) * BITS[dtype]
    return (_LOWER[dtype], shape, bits // 8) if bits % 8 == 0 else None


def _metadata(text: str) -> dict[str, bytes] | None:
    """The metadata of a header; None for what is wrong."""
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    found = {key: value.encode("utf-8", "surrogatepass") for key, value in pairs if isinstance(value, str)}
    return found if len(found) == len(pairs) else None


def _parse(text: str, path: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = Counter(names).most_common(1)[0][0]
            raise Error(f"the header names '{shown(twice)}' twice", path=path)
        return found

    try:
        header = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        what = (error.msg[:1].lower() + error.msg[1:]).removesuffix(" at")
        raise Error(f"the header is not JSON: {what} at byte {8 + error.pos}", path=path) from None
    except (ValueError, RecursionError):
        raise Error(
            "the header is not a table of tensors: it is nested too deeply, or a number in it is too long", path=path
        ) from None
    assert isinstance(header, dict)
    return header


def _table(header: dict[str, Any], start: int, size: int, path: str) -> TensorTable:
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise Error("'__metadata__' in the header expects texts by name", path=path)
    if len(header) > TENSORS_LIMIT:
        raise Error(
            f"contains {len(header):,} tensors, expected at most {TENSORS_LIMIT:,}",
            path=path,
            hint="no real file contains so many: save the model in several files, as save_pretrained does",
        )
    # What is read goes, so that entries and tensors are not all there at once.
    tensors = [_tensor(name, header.pop(name), start, path) for name in list(header)]
    end, before = start, ""
    for tensor in sorted(tensors, key=lambda tensor: (tensor.offset, tensor.length)):
        if tensor.offset != end:
            what = "overlaps" if tensor.offset < end else "leaves a gap after"
            other = f"tensor '{shown(before)}'" if before else "the header"
            raise Error(
                f"tensor '{shown(tensor.name)}' {what} {other}",
                path=path,
                facts=[
                    ("expected", f"it to start at byte {end - start:,} of the data"),
                    ("got", f"{tensor.offset - start:,}"),
                ],
            )
        end, before = tensor.offset + tensor.length, tensor.name
    if end != size:
        cut = end > size
        raise Error(
            "ends within its tensors" if cut else "goes on after its last tensor",
            path=path,
            facts=[("expected", f"{end:,} bytes"), ("got", f"{size:,} bytes")],
            hint="the download was cut short; download the file again" if cut else None,
        )
    return TensorTable(
        {key: value.encode("utf-8", "surrogatepass") for key, value in metadata.items()},
        {tensor.name: tensor for tensor in sorted(tensors, key=lambda tensor: tensor.offset)},
    )


_FIELDS = {"dtype", "shape", "data_offsets"}


def _tensor(name: str, entry: Any, start: int, path: str) -> Tensor:
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise _wrong(name, "expects dtype, shape and data_offsets", path)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _wrong(name, f"has an unknown dtype {shown(dtype)}", path, ("known", ", ".join(BITS)))
    if not _counts(shape):
        raise _wrong(name, f"has a shape that is not a list of sizes: {shown(shape)}", path)
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _wrong(name, f"has data_offsets that are not a range: {shown(offsets)}", path)
    bits = prod(shape) * BITS[dtype]
    length = offsets[1] - offsets[0]
    if bits != 8 * length:
        raise _wrong(
            name,
            f"is {length:,} bytes long, which does not fit its dtype and shape",
            path,
            ("expected", f"{-(-bits // 8):,} bytes ({dtype} {shown(shape)})"),
            ("got", f"{length:,} bytes"),
        )
    return Tensor(name, _LOWER[dtype], tuple(shape), start + offsets[0], length)


_LOWER = {dtype: dtype.lower() for dtype in BITS}


def _wrong(name: str, what: str, path: str, *facts: tuple[str, str]) -> Error:
    return Error(f"tensor '{shown(name)}' {what}", path=path, facts=list(facts))


def _counts(value: Any) -> bool:
    if not isinstance(value, list) or len(value) > DIMENSIONS_LIMIT:
        return False
    return set(map(type, value)) <= _INT and (not value or (min(value) >= 0 and max(value) < 1 << 63))


_INT = {int}
