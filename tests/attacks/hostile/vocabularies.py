"""tokenizer.json, through the library that reads it, and tokenizer.model."""

from __future__ import annotations

import json
import struct
from functools import partial
from pathlib import Path
from typing import Any

from . import BYTE_LEVEL, byte_pairs, case, change, deep, each, put, repeated, tokenizer

MIB = 1 << 20
TOKENIZER = "weights/tokenizer.json"


def with_parts(folder: Path, **changes: Any) -> None:
    """Change parts of tokenizer.json; a large one is given as a function that makes it."""
    byte_pairs(folder, tokenizer(**{key: value() if callable(value) else value for key, value in changes.items()}))


def replace(pattern: Any, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def sequence(*parts: Any) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(parts)}


def split(pattern: str) -> dict[str, Any]:
    regex = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [regex, BYTE_LEVEL]}


def template(*texts: str) -> dict[str, Any]:
    parts = [{"SpecialToken": {"id": text, "type_id": 0}} for text in texts]
    return {
        "type": "TemplateProcessing",
        "single": [*parts, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [],
        "special_tokens": {},
    }


def added(*texts: str, **flags: bool) -> list[dict[str, Any]]:
    off = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False, **flags}
    return [{"id": 256 + number, "content": text, **off} for number, text in enumerate(texts)]


THREES = replace({"String": "3"}, "3" * 1000)
each("tokenizer", {
    # What grows
    "prepend-10-kib": partial(with_parts, normalizer={"type": "Prepend", "prepend": "x" * 10_240}),
    "prepend-10-mib": partial(with_parts, normalizer=lambda: {"type": "Prepend", "prepend": "x" * 10 * MIB}),
    "prepend-1000-times": partial(with_parts, normalizer=sequence(*[{"type": "Prepend", "prepend": "xyz"}] * 1000)),
    "replace-by-a-thousand": partial(with_parts, normalizer=THREES),
    "replace-by-a-thousand-four-times": partial(with_parts, normalizer=sequence(*[THREES] * 4)),
    "replace-doubling-60-times": partial(with_parts, normalizer=sequence(*[replace({"String": "3"}, "33")] * 60)),
    "replace-nothing": partial(with_parts, normalizer=replace({"String": ""}, "x" * 1000)),
    "replace-any": partial(with_parts, normalizer=sequence(*[replace({"Regex": "."}, "xxxxxxxxxx")] * 8)),
    "decompose-and-replace": partial(
        with_parts, normalizer=sequence({"type": "NFKD"}, *[replace({"Regex": r"\p{L}"}, "aaaaaaaa")] * 9)
    ),
    "decoder-that-grows": partial(
        with_parts, added_tokens=added("<3>"),
        decoder={"type": "Sequence", "decoders": [replace({"String": "3"}, "3" * 1000)] * 4},
    ),
    "decoder-fuses-and-strips": partial(
        with_parts, added_tokens=added("<3>"),
        decoder={"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Strip", "content": "<", "start": 10**9, "stop": 10**9}]},
    ),
    "added-normalized-10000": partial(
        with_parts, added_tokens=lambda: added(*[f"<{number}>" for number in range(10_000)], normalized=True),
        normalizer={"type": "Prepend", "prepend": "y" * 60},
    ),
    "pieces-of-one-length": partial(with_parts, pre_tokenizer=None),
    "byte-level-upon-byte-level": partial(
        with_parts, pre_tokenizer={"type": "Sequence", "pretokenizers": [BYTE_LEVEL] * 12}
    ),
    "byte-level-60-times": partial(
        with_parts, pre_tokenizer={"type": "Sequence", "pretokenizers": [BYTE_LEVEL] * 60}
    ),
    "metaspace-of-words": partial(
        with_parts, pre_tokenizer={"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": False}
    ),
    # What is nested
    **{
        f"normalizers-{depth}-deep": partial(byte_pairs, data=[
            json.dumps(tokenizer(normalizer="HERE")).replace(
                '"HERE"', '{"type": "Sequence", "normalizers": [' * depth + "]}" * depth).encode()])
        for depth in (20, 100, 240, 480, 4500)
    },
    "processors-deep": partial(byte_pairs, data=[
        json.dumps(tokenizer(post_processor="HERE")).replace(
            '"HERE"', '{"type": "Sequence", "processors": [' * 240 + "]}" * 240).encode()]),
    "json-9000-deep": partial(byte_pairs, data=[deep(9000).encode()]),
    # Regular expressions
    **{
        f"regex-{name}": partial(with_parts, pre_tokenizer=split(pattern))
        for name, pattern in {
            "stars-of-stars": r"(.*)*(.*)*(?!)", "pluses": r"(\S+\S+)+y", "alternatives": r"(\s|.|3|[^q])*(?!)",
            "four-stars": r"[^Q]{0,60}[^Q]{0,60}[^Q]{0,60}[^Q]{0,40}(?!)", "three-stars": r"[^Q]*[^Q]*[^Q]*(?!)", "open": r"(((",
            "counts": "((((a{1,100}){1,100}){1,100}){1,100}){1,100}", "recursive": r"(?<a>\(\g<a>*\)|.)*Q", "nothing": "",
            "lookbehind": r"(?<=(a|b|3|33|333|3333)*)x", "many": "|".join(f"{number:04}" for number in range(20_000)),
            "ten-thousand-groups": "(a?)" * 10_000 + "b",
        }.items()
    },
    "regex-a-thousand-times": partial(
        with_parts, pre_tokenizer={"type": "Sequence", "pretokenizers": [split(r"\p{L}+")["pretokenizers"][0]] * 1000}
    ),
    "regex-in-a-replacement": partial(with_parts, normalizer=replace({"Regex": r"[^Q]*[^Q]*[^Q]*(?!)"}, "y")),
    # What the library panics or fails at
    "charsmap-bad": partial(with_parts, normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAAAAA="}),
    "charsmap-short": partial(with_parts, normalizer={"type": "Precompiled", "precompiled_charsmap": ""}),
    "charsmap-of-ff": partial(with_parts, normalizer={"type": "Precompiled", "precompiled_charsmap": "////////////////////"}),
    "template-of-a-missing-token": partial(with_parts, post_processor=template("<none>")),
    "length-0": partial(with_parts, pre_tokenizer={"type": "FixedLength", "length": 0}),
    "unk-missing": partial(with_parts, model={"type": "WordLevel", "unk_token": "[UNK]"}),
    "word-piece": partial(with_parts, model={
        "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}),
    "subword-prefix": partial(with_parts, model={"continuing_subword_prefix": "##", "merges": ["a b"], "vocab": {"a": 0, "b": 1, "ab": 2}}),
    "subword-prefix-longer": partial(with_parts, model={
        "continuing_subword_prefix": "########", "merges": ["a b"], "vocab": {"a": 0, "b": 1, "ab": 2}}),
    "subword-prefix-cuts": partial(with_parts, model={
        "continuing_subword_prefix": "x", "merges": ["a \u0120"], "vocab": {"a": 0, "\u0120": 1, "a\u0120": 2}}),
    "end-of-word": partial(with_parts, model={"end_of_word_suffix": "</w>"}),
    "unk-not-in-the-vocabulary": partial(with_parts, model={"unk_token": "<unk>", "vocab": {"a": 0}}),
    "unigram": partial(with_parts, model={"type": "Unigram", "unk_id": 9}),
    "merges-of-nothing": partial(with_parts, model={"merges": ["x y", "a b"]}),
    "dropout": partial(with_parts, model={"dropout": 1.0}),
    "cache-without-end": partial(with_parts, model={"cache_capacity": 1 << 60}),
    "ids-negative": partial(with_parts, model={"vocab": {"a": -1, "b": 0}}),
    "ids-of-80-bits": partial(with_parts, model={"vocab": {"a": 1 << 80, "b": 0}}),
    "ids-twice": partial(with_parts, model={"vocab": {"a": 0, "b": 0, "c": 1}}),
    "added-id-of-60-bits": partial(with_parts, added_tokens=[{"id": 1 << 60, "content": "<x>"}]),
    "added-half-a-character": partial(with_parts, added_tokens=[{"id": 256, "content": "\ud800"}]),
    "added-of-5-mib": partial(with_parts, added_tokens=lambda: added("x" * 5 * MIB)),
    "added-of-5-mib-normalized": partial(with_parts, added_tokens=lambda: added("x y " * MIB, normalized=True)),
    "truncation-and-padding": partial(
        with_parts, truncation={"max_length": 0, "strategy": "LongestFirst", "stride": 9}, padding={"strategy": {"Fixed": 1 << 40}}
    ),
})  # fmt: skip


@case
def tokenizer_json_is_sentencepiece(folder: Path) -> None:
    """Whose ids leave a gap as wide as numbers go."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 1 << 40}
    byte_pairs(
        folder,
        tokenizer(model={"vocab": vocabulary, "byte_fallback": True}, decoder={"type": "Sequence", "decoders": []}),
    )


@case(heavy=True)
def tokenizer_json_of_150_mib(folder: Path) -> None:
    byte_pairs(folder, [b'{"x": "', *repeated(b"x", 150 * MIB), b'"}'])


@case(heavy=True)
def tokenizer_json_of_60_mib_and_a_llama(folder: Path) -> None:
    byte_pairs(folder, [b'{"x": "', *repeated(b"x", 60 * MIB), '🦙"}'.encode()])


@case(heavy=True)
def tokenizer_json_of_20_million_lists(folder: Path) -> None:
    byte_pairs(folder, [b'{"x": [', *repeated(b"[],", 20_000_000), b"1]}"])


@case(heavy=True)
def tokenizer_json_of_5_million_objects(folder: Path) -> None:
    byte_pairs(folder, [b'{"x": [', *repeated(b'{"":1},', 5_000_000), b"1]}"])


def vocabulary(folder: Path, tokens: int, merges: int, *, pairs: bool) -> None:
    vocab = {f"t{number:06}": number for number in range(tokens)}
    listed: list[Any] = [f"t{number % tokens:06} x{number:07}" for number in range(merges)]
    data = tokenizer(model={"vocab": vocab, "merges": [text.split() for text in listed] if pairs else listed})
    byte_pairs(folder, data, pre="llama-bpe")


each("tokenizer", {
    "json-of-a-million-tokens": partial(vocabulary, tokens=1_000_000, merges=0, pairs=False),
    "json-of-600000-merges": partial(vocabulary, tokens=270_000, merges=600_000, pairs=True),
    "json-of-two-million-merges": partial(vocabulary, tokens=1000, merges=2_000_000, pairs=True),
    "json-of-four-million-merges": partial(vocabulary, tokens=1000, merges=4_000_000, pairs=False),
    "json-of-300000-added-tokens": partial(
        with_parts, added_tokens=lambda: added(*[f"<|{number}|>" for number in range(300_000)])
    ),
    "json-of-100000-normalized-tokens": partial(
        with_parts, added_tokens=lambda: added(*[f"<|{number}|>" for number in range(100_000)], normalized=True),
        normalizer=sequence({"type": "NFC"}, {"type": "Prepend", "prepend": "x" * 100}),
    ),
}, heavy=True)  # fmt: skip


# tokenizer.model


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


UNKNOWN = field(1, field(1, b"<unk>") + b"\x18\x02")


@case(heavy=True)
def pieces_of_150_mib(folder: Path) -> None:
    size = 150 * MIB
    front = UNKNOWN + b"\x0a" + varint(size + len(varint(size)) + 1) + b"\x0a" + varint(size)
    put(folder, "weights/tokenizer.model", front, size=len(front) + size)


@case(heavy=True)
def pieces_by_the_ten_million(folder: Path) -> None:
    put(folder, "weights/tokenizer.model", [UNKNOWN, *repeated(field(1, field(1, b"x")), 12_000_000)])


@case(heavy=True)
def pieces_with_30_million_other_fields(folder: Path) -> None:
    put(folder, "weights/tokenizer.model", [UNKNOWN, *repeated(b"\x18\x01", 30_000_000)])


@case(heavy=True)
def pieces_one_with_30_million_fields(folder: Path) -> None:
    inner = field(1, b"x") + b"\x20\x01" * 30_000_000
    put(folder, "weights/tokenizer.model", [UNKNOWN, field(1, inner)])


@case
def pieces_300000_and_a_vocabulary_of_288(folder: Path) -> None:
    pieces = (field(1, field(1, b"%06d" % number) + b"\x15" + struct.pack("<f", 0)) for number in range(300_000))
    put(folder, "weights/tokenizer.model", [UNKNOWN, *pieces])


@case
def pieces_and_a_vocabulary_of_a_million(folder: Path) -> None:
    change(folder, "config.json", vocab_size=1_000_000)


@case
def pieces_and_ids_of_19_digits(folder: Path) -> None:
    put(folder, "weights/added_tokens.json", json.dumps({"<x>": 10**18, "<y>": "9" * 19}))
