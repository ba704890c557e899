"""GGUF files that are taken as they are."""

from __future__ import annotations

import struct
from functools import partial
from pathlib import Path
from typing import Any

from modelbuild.tensors.formats.gguf import encode_value

from . import ARCHITECTURE, case, each, head, import_gguf, pair, put, repeated, text

MIB = 1 << 20
INFO = struct.pack("<IQIQ", 1, 0, 0, 0)
"""What follows the name of a tensor of no values: dimensions, extent, type, offset."""


def sparse(folder: Path, form: int, item: int | None, count: int, size: int) -> None:
    """One value of `count` bytes or items, all of them zeros that take no space."""
    kind = struct.pack("<I", form) if item is None else struct.pack("<II", form, item)
    front = head(3) + ARCHITECTURE + text(b"acme.x") + kind + struct.pack("<Q", count)
    put(folder, "m.gguf", front, size=len(front) + size + 64)
    import_gguf(folder)


each("gguf", {
    "text-of-100-mib": partial(sparse, form=8, item=None, count=100 * MIB, size=100 * MIB),
    "text-of-94-mib": partial(sparse, form=8, item=None, count=94 * MIB, size=94 * MIB),
    "numbers-of-94-mib": partial(sparse, form=9, item=0, count=94 * MIB, size=94 * MIB),
    "flags-of-94-mib": partial(sparse, form=9, item=7, count=94 * MIB, size=94 * MIB),
    "texts-4-million-empty": partial(sparse, form=9, item=8, count=4 * MIB, size=32 * MIB),
    "text-of-400-mib": partial(sparse, form=8, item=None, count=400 * MIB, size=400 * MIB),
    "text-of-5-gib": partial(sparse, form=8, item=None, count=5120 * MIB, size=5120 * MIB),
    "bytes-of-100-mib": partial(sparse, form=9, item=0, count=100 * MIB, size=100 * MIB),
    "flags-of-100-mib": partial(sparse, form=9, item=7, count=100 * MIB, size=100 * MIB),
    "texts-12-million-empty": partial(sparse, form=9, item=8, count=12 * MIB, size=96 * MIB),
}, heavy=True)  # fmt: skip


@case(heavy=True)
def gguf_vocabulary_of_60_mib_quantized(folder: Path) -> None:
    vocabulary_of_60_mib(folder, 'matrix.quantize = ["q8_0", "q4_0"]\n')


@case(heavy=True)
def gguf_vocabulary_of_60_mib(folder: Path) -> None:
    """Twice what the largest real vocabularies take: this one is built."""
    vocabulary_of_60_mib(folder)


def vocabulary_of_60_mib(folder: Path, toml: str = "") -> None:
    tokens = encode_value("[str]", [b"token-%07d" % number for number in range(1 << 20)])
    scores = encode_value("[f32]", bytes(1 << 20))
    types = encode_value("[i32]", bytes(1 << 20))
    merges = encode_value("[str]", [b"piece piece-%07d" % number for number in range(1 << 20)])
    keys = ("tokens", tokens), ("scores", scores), ("token_type", types), ("merges", merges)
    values = b"".join(text(b"tokenizer.ggml." + key.encode()) + value for key, value in keys)
    put(
        folder,
        "m.gguf",
        [head(6, 1), ARCHITECTURE, values, text(b"a.weight"), struct.pack("<I2QIQ", 2, 32, 8, 0, 0), bytes(2048)],
    )
    import_gguf(folder, toml=toml)


@case(heavy=True)
def gguf_keys_by_the_million(folder: Path) -> None:
    keys = (text(b"k%07d" % number) + struct.pack("<IB", 0, 0) for number in range(3_000_000))
    put(folder, "m.gguf", [head(3_000_002), ARCHITECTURE, *keys, bytes(64)])
    import_gguf(folder)


@case(heavy=True)
def gguf_tensors_by_the_million(folder: Path) -> None:
    tensors = (text(b"t%07d" % number) + INFO for number in range(2_000_000))
    put(folder, "m.gguf", [head(2, 2_000_000), ARCHITECTURE, *tensors, bytes(64)])
    import_gguf(folder)


@case
def gguf_tensors_of_no_values(folder: Path) -> None:
    tensors = (text(b"t%07d" % number) + INFO for number in range(50_000))
    put(folder, "m.gguf", [head(2, 50_000), ARCHITECTURE, *tensors, bytes(64)])
    import_gguf(folder)


@case(heavy=True)
def gguf_key_of_60_mib(folder: Path) -> None:
    put(folder, "m.gguf", [head(3), ARCHITECTURE, text(b"k" * (60 * MIB)), struct.pack("<IB", 0, 0), bytes(64)])
    import_gguf(folder)


@case
def gguf_alignment_of_32_mib(folder: Path) -> None:
    values = pair("general.alignment", "u32", 1 << 25)
    front = head(3, 1) + ARCHITECTURE + values + text(b"a") + struct.pack("<IQIQ", 1, 8, 0, 0)
    put(folder, "m.gguf", front, size=(1 << 25) + 64)
    import_gguf(folder)


def values(folder: Path, **given: tuple[str, Any]) -> None:
    """A file of some metadata, one tensor after it."""
    pairs = [pair(key.replace("__", "."), form, value) for key, (form, value) in given.items()]
    front = head(2 + len(pairs), 1) + ARCHITECTURE + b"".join(pairs) + text(b"a") + struct.pack("<IQIQ", 1, 8, 0, 0)
    put(folder, "m.gguf", front + bytes(-len(front) % 32) + bytes(32))
    import_gguf(folder)


SPLIT = {"split__no": ("u16", 0), "split__tensors__count": ("i32", 1)}
each("gguf", {
    "split-count-a-text": partial(values, **SPLIT, split__count=("str", "two")),
    "split-count-a-list": partial(values, **SPLIT, split__count=("[u16]", [2, 3])),
    "split-count-a-float": partial(values, **SPLIT, split__count=("f32", 2.5)),
    "split-count-endless": partial(values, **SPLIT, split__count=("u64", (1 << 64) - 1)),
    "split-count-negative": partial(values, **SPLIT, split__count=("i64", -(1 << 63))),
    "split-count-not-a-number": partial(values, **SPLIT, split__count=("f64", float("nan"))),
    "type-a-list": partial(values, general__type=("[str]", ["adapter"])),
    "type-a-number": partial(values, general__type=("f64", 1e300)),
    "blocks-a-text": partial(values, acme__vision__block_count=("str", "many")),
    "alignment-a-text": partial(values, general__alignment=("str", "32")),
    "template-a-list": partial(values, tokenizer__chat_template=("[str]", ["a", "b"])),
    "template-of-loops": partial(
        values, tokenizer__chat_template=("str", "{% for i in range(60000) %}" * 20 + "x" + "{% endfor %}" * 20)
    ),
    "bos-beyond-the-tokens": partial(
        values, tokenizer__chat_template=("str", "{{ bos_token }}"), tokenizer__ggml__bos_token_id=("u32", 4294967295),
        tokenizer__ggml__tokens=("[str]", ["a"]),
    ),
    "tokens-not-texts": partial(
        values, tokenizer__chat_template=("str", "{{ bos_token }}"), tokenizer__ggml__bos_token_id=("str", "1"),
        tokenizer__ggml__tokens=("[i8]", [1, 2, 3]),
    ),
})  # fmt: skip


@case(heavy=True)
def gguf_bos_behind_4_million_tokens(folder: Path) -> None:
    given = pair("tokenizer.chat_template", "str", "{{ bos_token }}")
    given += pair("tokenizer.ggml.bos_token_id", "u32", 4 * MIB - 1)
    front = head(5) + ARCHITECTURE + given + text(b"tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 4 * MIB)
    put(folder, "m.gguf", front, size=len(front) + 32 * MIB + 64)
    import_gguf(folder)


@case(heavy=True)
def gguf_template_of_40_mib(folder: Path) -> None:
    front = head(3) + ARCHITECTURE + text(b"tokenizer.chat_template") + struct.pack("<IQ", 8, 40 * MIB)
    put(folder, "m.gguf", [front, *repeated(b"{{ x }}.", 5 * MIB), bytes(64)])
    import_gguf(folder)


@case
def gguf_splits_without_end(folder: Path) -> None:
    values(folder, **SPLIT, split__count=("u32", 99_999))
    (folder / "m.gguf").rename(folder / "m-00001-of-99999.gguf")
    import_gguf(folder, "m-00001-of-99999.gguf")


@case
def gguf_shapes_that_no_memory_holds(folder: Path) -> None:
    tensor = text(b"a") + struct.pack("<I4QIQ", 4, 0, (1 << 63) - 1, (1 << 63) - 1, (1 << 63) - 1, 0, 0)
    put(folder, "m.gguf", [head(2, 1), ARCHITECTURE, tensor, bytes(64)])
    import_gguf(folder)
