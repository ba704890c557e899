"""A zoo of tiny checkpoints, one file of cases for each `model_type`: no chance in them, and no torch needed to make them."""

from __future__ import annotations

import importlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ..checkpoints import SAFETENSORS_NAMES, encode, pieces, save, values
from . import _gemma4_tokenizer

DATA = Path(__file__).parents[2] / "../shared/data"

OUTTYPES = ("auto", "f32", "f16", "bf16", "q8_0")

NAMES = {
    **SAFETENSORS_NAMES, "f64": "F64", "f8_e4m3": "F8_E4M3", "f8_e5m2": "F8_E5M2", "f8_e8m0": "F8_E8M0", "u8": "U8", "i8": "I8",
    "i16": "I16", "i32": "I32", "i64": "I64", "bool": "BOOL",
}  # fmt: skip
"""dtype -> as safetensors spells it."""


@dataclass(frozen=True)
class Case:
    """One checkpoint.

    config     config.json as it is written
    shapes     tensor name -> shape; shards are filled in this order
    dtype      f32, f16, bf16: of every tensor …
    dtypes     … but these
    tokenizer  "sentencepiece": a synthetic tokenizer.model of 288 pieces; "byte pairs": a synthetic tokenizer.json of 280 tokens;
               "answers": the same with "yes" and "no";
               "gemma4": a synthetic tokenizer.json of 307 tokens that falls back to bytes;
               "word pieces", "cased word pieces", "unigram", "unigram, sentencepiece", "roberta", "modernbert": of encoders, in
               `_tokenizers`; else one of TOKENIZERS or the name of a folder of real ones (skipped where it is absent); "": none
    shards     how many weights files
    files      further files of the folder, by name; they win over those that the tokenizer brings
    logits     whether the runtime's logits are compared with transformers'
    newer      whether only transformers 5 has its class
    mtp        what becomes of its blocks for the prediction of several tokens: `keep`, `drop`, or `only` these
    given      the bytes of tensors whose values are not for their names to say
    """

    config: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    dtype: str = "bf16"
    dtypes: Mapping[str, str] = field(default_factory=dict)
    tokenizer: str = "sentencepiece"
    shards: int = 1
    files: Mapping[str, str] = field(default_factory=dict)
    logits: bool = True
    given: Mapping[str, bytes] = field(default_factory=dict)
    newer: bool = False
    mtp: str = "keep"

    @property
    def options(self) -> list[str]:
        """What llama.cpp's converter is told."""
        return {"keep": [], "drop": ["--no-mtp"], "only": ["--mtp"]}[self.mtp]

    @property
    def pre(self) -> str | None:
        """The pre-tokenizer that has to be named, since nobody knows the synthetic tokenizer.json."""
        return _PRE.get(self.tokenizer)


_PRE = {
    "byte pairs": "gpt-2", "answers": "gpt-2", "word pieces": "default", "cased word pieces": "default", "roberta": "roberta-bpe",
    "modernbert": "modern-bert",
}  # fmt: skip

TOKENIZERS = {
    "mistral": {"tokenizer.model": "tokenizers/mistral/tokenizer.model.v1"},
    "mistral v3": {"tokenizer.model": "tokenizers/mistral/mistral_instruct_tokenizer_240323.model.v3"},
    "llama-2, tokenizer.model": {"tokenizer.model": "tokenizers/llama-2/tokenizer.model"},
    "llama-3.2": {
        "tokenizer.json": "tokenizers/llama-3.2/tokenizer.json",
        "tokenizer_config.json": "configs/llama-3.2-1b-ft/tokenizer_config.json",
        "special_tokens_map.json": "configs/llama-3.2-1b-ft/special_tokens_map.json",
    },
}
"""Tokenizers whose files have other names in the folder, or lie in several: name in the checkpoint -> below ../shared/data."""


@cache
def model_types() -> tuple[str, ...]:
    """The files of cases."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py")))


def cases(model_type: str) -> dict[str, Case]:
    found = importlib.import_module(f"{__name__}.{model_type}").CASES
    assert isinstance(found, dict)
    return found


def write(folder: Path, case: Case) -> Path:
    """Write a checkpoint folder. Skips the test where its tokenizer is not at hand."""
    folder.mkdir(parents=True, exist_ok=True)
    _tokenizer(folder, case.tokenizer)
    (folder / "config.json").write_text(json.dumps(dict(case.config), indent=2))
    for name, text in case.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, newline="")
    names = list(case.shapes)
    size = -(-len(names) // case.shards)
    index = {}
    for number in range(case.shards):
        whole = case.shards == 1
        file = "model.safetensors" if whole else f"model-{number + 1:05}-of-{case.shards:05}.safetensors"
        part = names[number * size : (number + 1) * size]
        found = {name: tensor(name, case.dtypes.get(name, case.dtype), case.shapes[name]) for name in part}
        found |= {name: (*found[name][:2], case.given[name]) for name in part if name in case.given}
        # Wide values first: then all of them are aligned.
        wide = {"f64": 0, "i64": 0, "f32": 1, "i32": 1, "bf16": 2, "f16": 2, "i16": 2}
        part.sort(key=lambda name: (wide.get(case.dtypes.get(name, case.dtype), 3), name))
        save(folder / file, {name: found[name] for name in part}, {"format": "pt"})
        index |= dict.fromkeys(part, file)
    if case.shards > 1:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return folder


@lru_cache(2048)
def tensor(name: str, dtype: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...], bytes]:
    """Values as a trained model might have them, by the tensor's name alone: norms near one, matrices below 0.2, embeddings larger."""
    noise = values(int(np.prod(shape)), zlib.crc32(name.encode())) * np.float32(4)
    if dtype in ("u8", "i8", "i16", "i32", "i64", "bool"):
        form = {"u8": np.uint8, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64, "bool": np.bool_}
        whole = np.floor((noise + 1) * np.float32(128)).astype(np.int64)
        if name.endswith("_scales"):
            whole = 120 + whole % 4
        elif dtype != "u8":
            whole = whole - 128 if dtype != "bool" else whole % 2
        return NAMES[dtype], shape, whole.astype(form[dtype]).tobytes()
    if dtype == "f8_e8m0":
        return NAMES[dtype], shape, (120 + np.floor((noise + 1) * 2)).astype(np.uint8).tobytes()
    if dtype in ("f8_e4m3", "f8_e5m2"):
        return NAMES[dtype], shape, _nearest(noise * np.float32(448), dtype)
    floats = _spread(name, len(shape), noise)
    if dtype == "f64":
        return NAMES[dtype], shape, floats.astype(np.float64).tobytes()
    return NAMES[dtype], shape, encode(floats, dtype)


def _spread(name: str, dimensions: int, noise: NDArray[np.float32]) -> NDArray[np.float32]:
    if name.endswith(("_global_scale", "_scale_2")):
        # Of values up to six times 448.
        factors = (noise * np.float32(0.5) + np.float32(1)) * np.float32(0.2 / 448 / 6)
        return factors if name.endswith("_scale_2") else np.float32(1) / factors
    if name.endswith(("_scale_inv", "_scale", ".scales")) and not name.endswith(".per_expert_scale"):
        # Of values up to 448.
        return (noise * np.float32(0.5) + np.float32(1)) * np.float32(0.2 / 448)
    near_one = (".layer_scalar", ".router.scale", ".per_expert_scale")
    if ("norm" in name.lower() and name.endswith("weight")) or name.endswith(near_one):
        return noise * np.float32(0.25) + np.float32(1)
    if dimensions < 2:
        return noise * np.float32(0.1)
    if "embed_tokens" in name or "embeddings.tok" in name or "embeddings.word" in name:
        return noise
    if "lm_head" in name:
        return noise * np.float32(0.5)
    return noise * np.float32(0.2)


@cache
def _eight_bit(dtype: str) -> NDArray[np.float32]:
    """The 128 values of an 8-bit float without its sign, in order; those that are no numbers are infinite."""
    exponent_bits, mantissa_bits, bias = {"f8_e4m3": (4, 3, 7), "f8_e5m2": (5, 2, 15)}[dtype]
    found = []
    for pattern in range(128):
        exponent, mantissa = pattern >> mantissa_bits, pattern & (1 << mantissa_bits) - 1
        part = mantissa / (1 << mantissa_bits)
        found.append((1 + part) * 2.0 ** (exponent - bias) if exponent else part * 2.0 ** (1 - bias))
    last = 127 if dtype == "f8_e4m3" else 124
    assert exponent_bits + mantissa_bits == 7
    return np.array([*found[:last], *[np.inf] * (128 - last)], np.float32)


def _nearest(noise: NDArray[np.float32], dtype: str) -> bytes:
    below = np.searchsorted(_eight_bit(dtype), np.abs(noise), side="right") - 1
    return (below + np.where(noise < 0, 128, 0)).astype(np.uint8).tobytes()


def _tokenizer(folder: Path, name: str) -> None:
    if not name:
        return
    if name == "sentencepiece":
        (folder / "tokenizer.model").write_bytes(pieces(288))
        return
    if name in ("byte pairs", "answers"):
        (folder / "tokenizer.json").write_text(json.dumps(byte_pairs(name == "answers"), ensure_ascii=False))
        (folder / "tokenizer_config.json").write_text(json.dumps(BYTE_PAIRS_CONFIG))
        return
    if name == "gemma4":
        for here, text in _gemma4_tokenizer.files().items():
            (folder / here).write_text(text)
        return
    if (made := _of_encoders(name)) is not None:
        for file, content in made.items():
            (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        return
    files = TOKENIZERS.get(name)
    if files is None:
        files = {path.name: f"tokenizers/{name}/{path.name}" for path in (DATA / "tokenizers" / name).glob("*")}
    if not files or not all((DATA / source).is_file() for source in files.values()):
        pytest.skip("no ../shared/data with this tokenizer beside the repository")
    for here, source in files.items():
        (folder / here).write_bytes((DATA / source).read_bytes())


def _of_encoders(name: str) -> Mapping[str, str | bytes] | None:
    from . import _tokenizers

    if name == "unigram, sentencepiece":
        return {**_tokenizers.unigram_json(), "sentencepiece.bpe.model": _tokenizers.unigram_model()}
    if name.endswith("word pieces"):
        return _tokenizers.word_pieces(lowercase=name == "word pieces")
    if name == "unigram":
        return _tokenizers.unigram_json()
    if name in ("roberta", "modernbert"):
        return _tokenizers.byte_pairs(byte_pairs(), berts=name == "modernbert")
    return None


BYTE_PAIRS_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": None,
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",
    "clean_up_tokenization_spaces": False,
}

MERGES = (
    "\u0120 t", "h e", "\u0120t he", "i n", "\u0120 a", "e r", "o n", "r e", "\u0120 w", "a t", "n d", "o u", "e n", "\u0120a nd", "in g",
    "\u0120 b", "i s", "o r", "\u0120 \u0120", "l l",
)  # fmt: skip


def byte_pairs(answers: bool = False) -> dict[str, Any]:
    """A tokenizer.json of GPT-2's kind: 256 bytes, 20 merges, four added tokens; `answers`: and what makes "yes" and "no"."""
    merges = (*MERGES, *(("n o", "y e", "ye s") if answers else ()))
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {**{byte: chr(byte) for byte in printable}, **{byte: chr(256 + n) for n, byte in enumerate(others)}}
    vocabulary = [*(alphabet[byte] for byte in range(256)), *(merge.replace(" ", "") for merge in merges)]
    added = [("<|endoftext|>", True), ("<|im_start|>", True), ("<|im_end|>", True), ("<tool_call>", False)]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": len(vocabulary) + number, "content": text, **flags, "special": special}
            for number, (text, special) in enumerate(added)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {text: number for number, text in enumerate(vocabulary)},
            "merges": list(merges),
        },
    }
