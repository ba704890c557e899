"""Importance matrices, in GGUF and in the older form."""

from __future__ import annotations

import struct
from functools import partial
from pathlib import Path

from . import case, each, head, pair, put, text

MIB = 1 << 20


def imatrix(folder: Path, content: bytes, size: int = 0) -> None:
    (folder / "ModelBuild.toml").write_text('[model.m]\nfrom = "./weights"\nquantize = "q4_0"\nimatrix = "m.imatrix"\n')
    put(folder, "m.imatrix", content, size=size)


def entry(name: bytes, calls: int, count: int) -> bytes:
    return struct.pack("<i", len(name)) + name + struct.pack("<ii", calls, count)


each("imatrix", {
    "claims-all": partial(imatrix, content=struct.pack("<i", 0x7FFFFFFF) + bytes(100)),
    "claims-a-long-name": partial(imatrix, content=struct.pack("<ii", 1, 0x7FFFFFFF) + bytes(100)),
    "claims-values": partial(imatrix, content=struct.pack("<i", 1) + entry(b"a", 1, 0x7FFFFFFF)),
    "of-one-value-100000-times": lambda folder: imatrix(
        folder, struct.pack("<i", 100_000) + b"".join(entry(b"%06d" % n, 1, 1) + bytes(4) for n in range(100_000))
    ),
})  # fmt: skip


@case(heavy=True)
def imatrix_of_190_mib(folder: Path) -> None:
    count = 190 * MIB // 4
    front = struct.pack("<i", 1) + entry(b"blk.0.attn_q.weight", 1, count)
    imatrix(folder, front, size=len(front) + 4 * count)


@case(heavy=True)
def imatrix_of_5_gib(folder: Path) -> None:
    imatrix(folder, struct.pack("<i", 1) + entry(b"a", 1, 1), size=5120 * MIB)


def gguf(folder: Path, counts: tuple[int, ...]) -> None:
    """A GGUF of one weight's importance, `counts` many values and counters, all zeros that take no space."""
    values = pair("general.type", "str", "imatrix") + pair("imatrix.datasets", "[str]", ["x"])
    values += pair("imatrix.chunk_count", "u32", 1) + pair("imatrix.chunk_size", "u32", 512)
    infos, at = b"", 0
    for name, count in zip((b"a.in_sum2", b"a.counts"), counts, strict=True):
        infos += text(name) + struct.pack("<IQIQ", 1, count, 0, at)
        at += -(-4 * count // 32) * 32
    front = head(4, 2) + values + infos
    front += bytes(-len(front) % 32)
    imatrix(folder, front, size=len(front) + at)


each("imatrix", {
    "gguf-of-190-mib": partial(gguf, counts=(190 * MIB // 4 - 100, 1)),
    "gguf-of-counters": partial(gguf, counts=(22 * MIB, 22 * MIB)),
}, heavy=True)  # fmt: skip
