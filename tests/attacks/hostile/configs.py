"""config.json, generation_config.json and the small files beside them."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from . import byte_pairs, case, change, deep, each, put, repeated

MIB = 1 << 20
CONFIG = "weights/config.json"


def config(folder: Path, **changes: Any) -> None:
    change(folder, "config.json", **changes)


def spelled(folder: Path, value: str, key: str = "rope_theta") -> None:
    """A value in config.json that json.dumps does not write."""
    config(folder, **{key: "HERE"})
    path = folder / CONFIG
    path.write_text(path.read_text().replace('"HERE"', value))


each("config", {
    "vocab-size-16777216": partial(config, vocab_size=1 << 24),
    "vocab-size-1048576": partial(config, vocab_size=1 << 20),
    "vocab-size-past-all-bounds": partial(config, vocab_size=1 << 62),
    "blocks-2147483647": partial(config, num_hidden_layers=(1 << 31) - 1),
    "architectures-deep": partial(spelled, value=deep(900), key="architectures"),
    "number-of-5000-digits": partial(spelled, value="9" * 5000),
    "number-past-floats": partial(spelled, value="1e999"),
    "number-of-400-digits": partial(spelled, value="9" * 400),
    "not-a-number": partial(spelled, value="NaN"),
    **{f"{depth}-deep": partial(spelled, value=deep(depth), key="x") for depth in (63, 900, 9000, 200_000)},
    "scaling-900-deep": partial(spelled, value=deep(900, '{"factor":', "}").replace(":}", ":1}", 1), key="rope_scaling"),
    "quantized-layers-deep": partial(spelled, value=deep(900), key="quantization_config"),
})  # fmt: skip


@case
def config_vocab_size_of_a_million_with_byte_pairs(folder: Path) -> None:
    byte_pairs(folder, pre="llama-bpe")
    config(folder, vocab_size=1 << 20)


@case(heavy=True)
def config_vocab_size_of_a_million_with_as_many_rows(folder: Path) -> None:
    """The rows are there, though they take no space: padding is made for each."""
    from ...checkpoints import CONFIG as small
    from .headers import safetensors

    header: dict[str, Any] = {}
    at = 0
    for name, rows in (("model.embed_tokens.weight", 1 << 20), ("lm_head.weight", 1 << 20), ("model.norm.weight", 0)):
        shape = [rows, 64] if rows else [64]
        length = 2 * max(rows, 1) * 64
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + length]}
        at += length
    spelled = json.dumps(header).encode()
    safetensors(folder, spelled)
    with (folder / "weights/model.safetensors").open("r+b") as file:
        file.truncate(8 + len(spelled) + at)
    byte_pairs(folder, pre="llama-bpe")
    config(
        folder, **{**small, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 1 << 20}
    )


@case(heavy=True)
def config_of_150_mib(folder: Path) -> None:
    put(folder, CONFIG, [b'{"x": "', b"x" * (150 * MIB), b'"}'])


@case(heavy=True)
def config_of_5_gib(folder: Path) -> None:
    put(folder, CONFIG, b"{", size=5120 * MIB)


@case(heavy=True)
def config_of_20_million_numbers(folder: Path) -> None:
    put(folder, CONFIG, [b'{"x": [', *repeated(b"257,", 20_000_000), b"1]}"])


@case(heavy=True)
def config_of_5_million_objects(folder: Path) -> None:
    put(folder, CONFIG, [b'{"x": [', *repeated(b'{"":1},', 5_000_000), b"1]}"])


def generation(folder: Path, content: str) -> None:
    put(folder, "weights/generation_config.json", content)


each("generation", {
    "top-k-of-400-digits": partial(generation, content=f'{{"top_k": {"9" * 400}}}'),
    "temperature-of-400-digits": partial(generation, content=f'{{"temperature": {"9" * 400}}}'),
    "temperature-past-floats": partial(generation, content='{"temperature": 1e999}'),
    "deep": partial(generation, content=deep(9000)),
    "sequence-half-a-character": partial(generation, content='{"sequence": "\\ud800"}'),
})  # fmt: skip


@case(heavy=True)
def generation_config_of_40_million_lists(folder: Path) -> None:
    put(folder, "weights/generation_config.json", [b'{"x": [', *repeated(b"[],", 40_000_000), b"1]}"])


@case
def scales_config_900_deep(folder: Path) -> None:
    put(folder, "weights/hf_quant_config.json", f'{{"quantization": {deep(900)}}}')
