"""Headers of safetensors files, and their index."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from . import case, deep, each, put, repeated

INDEX = "weights/model.safetensors.index.json"
MIB = 1 << 20


def safetensors(folder: Path, header: Iterable[bytes], size: int = 0) -> None:
    """The checkpoint's weights, with such a header; `size` is what it comes to where it is not all in memory."""
    header = [header] if isinstance(header, bytes) else header
    parts = list(header) if not size else header
    length = size or sum(map(len, parts))
    put(folder, "weights/model.safetensors", (part for part in (struct.pack("<Q", length), *parts)))


def entry(**changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [0], "data_offsets": [0, 0], **changes}


def one(folder: Path, **changes: str) -> None:
    """A header of one tensor, of which some values are spelled as given."""
    fields = {"dtype": '"F32"', "shape": "[0]", "data_offsets": "[0, 0]", **changes}
    body = ", ".join(f'"{name}": {value}' for name, value in fields.items())
    safetensors(folder, f'{{"a": {{{body}}}}}'.encode())


def many(count: int) -> Iterable[bytes]:
    """`count` tensors of no values, in a header of about 70 bytes each."""
    yield b"{"
    for start in range(0, count, 10_000):
        names = range(start, min(start + 10_000, count))
        yield b"".join(b'"t%08d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},' % name for name in names)
    yield b'"z":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'


each("safetensors", {
    **{f"shape-{depth}-deep": partial(one, shape=deep(depth)) for depth in (63, 500, 955, 960, 965, 990, 9000)},
    "dtype-900-deep": partial(one, dtype=deep(900)),
    "offsets-900-deep": partial(one, data_offsets=deep(900)),
    "shape-of-100000-dimensions": partial(one, shape=json.dumps([(1 << 62) + 1] * 100_000)),
    "shape-of-million-digits": partial(one, shape=f"[{'9' * 1_000_000}]"),
    "offsets-past-any-disk": partial(one, data_offsets=f"[0, {(1 << 63) - 1}]", shape=f"[{(1 << 63) // 4}]"),
    "dtype-of-a-megabyte": partial(one, dtype=json.dumps("x" * MIB)),
    "name-half-a-character": lambda folder: safetensors(folder, json.dumps({"\ud800": entry()}).encode()),
    "one-key-of-20000-twice": lambda folder: safetensors(
        folder, b"{" + b",".join(b'"%06d": 0' % number for number in (*range(20_000), 19_999)) + b"}"
    ),
})  # fmt: skip


@case(heavy=True)
def safetensors_one_key_of_200000_twice(folder: Path) -> None:
    safetensors(folder, b"{" + b",".join(b'"%06d": 0' % number for number in (*range(200_000), 199_999)) + b"}")


@case(heavy=True)
def safetensors_header_of_96_mib_of_blanks(folder: Path) -> None:
    safetensors(folder, [b"{", b" " * (95 * MIB), b"}"])


@case(heavy=True)
def safetensors_header_with_a_text_of_90_mib(folder: Path) -> None:
    safetensors(folder, [b'{"__metadata__": {"x": "', b"x" * (90 * MIB), '🦙"}}'.encode()])


@case(heavy=True)
def safetensors_header_of_30_million_lists(folder: Path) -> None:
    safetensors(folder, [b'{"a": [', *repeated(b"[],", 30_000_000), b"[]]}"])


@case(heavy=True)
def safetensors_header_of_10_million_objects(folder: Path) -> None:
    safetensors(folder, [b'{"a": [', *repeated(b'{"":1},', 10_000_000), b"0]}"])


@case(heavy=True)
def safetensors_header_of_10_million_short_texts(folder: Path) -> None:
    safetensors(folder, [b'{"a": [', *repeated(b'"ab",', 18_000_000), b"0]}"])


@case(heavy=True)
def safetensors_metadata_of_a_million_keys(folder: Path) -> None:
    keys = b",".join(b'"%07d":"x"' % number for number in range(3_000_000))
    safetensors(folder, [b'{"__metadata__": {', keys, b"}}"])


@case(heavy=True)
def safetensors_header_of_a_million_tensors(folder: Path) -> None:
    safetensors(folder, many(1_300_000))


@case(heavy=True)
def safetensors_header_of_250000_tensors(folder: Path) -> None:
    safetensors(folder, many(250_000))


@case
def safetensors_header_of_30000_tensors(folder: Path) -> None:
    safetensors(folder, many(30_000))


@case(heavy=True)
def safetensors_three_files_of_100000_tensors(folder: Path) -> None:
    """Each is bounded: so must all of them together be."""
    for number in range(3):
        names = b"".join(
            b'"t%08d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},' % name
            for name in range(number * 100_000, (number + 1) * 100_000)
        )
        header = b"{" + names[:-1] + b"}"
        put(folder, f"weights/model-{number + 1:05}-of-00003.safetensors", struct.pack("<Q", len(header)) + header)
    (folder / "weights/model.safetensors").unlink()


@case(heavy=True)
def index_of_150_mib(folder: Path) -> None:
    put(folder, INDEX, [b'{"weight_map": {"a": "', b"x" * (150 * MIB), b'"}}'])


@case(heavy=True)
def index_of_two_million_tensors(folder: Path) -> None:
    parts = (
        b"".join(b'"t%07d": "f%07d",\n' % (number, number) for number in range(start, start + 100_000))
        for start in range(0, 2_000_000, 100_000)
    )
    put(folder, INDEX, [b'{"weight_map": {', *parts, b'"z": "z"}}'])


@case
def index_of_20000_missing_files(folder: Path) -> None:
    names = {f"t{number}": f"model-{number:05}.safetensors" for number in range(20_000)}
    put(folder, INDEX, json.dumps({"weight_map": names}))


@case
def index_900_deep(folder: Path) -> None:
    put(folder, INDEX, f'{{"weight_map": {{"a": {deep(900)}}}}}')


@case
def index_of_digits(folder: Path) -> None:
    put(folder, INDEX, f'{{"weight_map": {{"a": {"9" * 5000}}}}}')
