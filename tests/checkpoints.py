"""Small Llama checkpoints with no chance in them: weights from a linear congruential generator, a vocabulary of 288 pieces."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 288,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "vocab_size": 288,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""Rows of 288 in ffn_down take no K-quant and fall back; all others do."""

SAFETENSORS_NAMES = {"f32": "F32", "f16": "F16", "bf16": "BF16"}

Tensors = Mapping[str, tuple[str, tuple[int, ...], bytes]]
"""name -> dtype as safetensors spells it, shape, bytes."""


def save(path: Path, tensors: Tensors, metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def values(count: int, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """f32 in -0.25 to 0.25, the same on every machine and with every numpy."""
    state = np.arange(count, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(seed * 40503 + 12345)
    for _ in range(3):
        state = (state * np.uint64(1664525) + np.uint64(1013904223)) & np.uint64(0xFFFFFFFF)
        state ^= state >> np.uint64(13)
    units = (state >> np.uint64(8)).astype(np.float32) * np.float32(2**-24) - np.float32(0.5)
    return units * np.float32(0.5)


def encode(floats: np.ndarray[Any, np.dtype[np.float32]], dtype: str) -> bytes:
    if dtype == "bf16":
        return (floats.view(np.uint32) >> np.uint32(16)).astype(np.uint16).tobytes()
    return floats.astype({"f32": np.float32, "f16": np.float16}[dtype]).tobytes()


@lru_cache(256)
def _encoded(count: int, seed: int, dtype: str) -> bytes:
    """Most tests write the same few checkpoints."""
    return encode(values(count, seed), dtype)


def tensors(
    config: Mapping[str, Any], dtype: str, *, tied: bool = False
) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """The weights of a Llama."""
    hidden, forward, head = (
        config["hidden_size"],
        config["intermediate_size"],
        config["hidden_size"] // config["num_attention_heads"],
    )
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    if not tied:
        shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    for block in range(config["num_hidden_layers"]):
        stem = f"model.layers.{block}."
        for name, rows, columns in (
            ("self_attn.q_proj", hidden, hidden),
            ("self_attn.k_proj", config["num_key_value_heads"] * head, hidden),
            ("self_attn.v_proj", config["num_key_value_heads"] * head, hidden),
            ("self_attn.o_proj", hidden, hidden),
            ("mlp.gate_proj", forward, hidden),
            ("mlp.up_proj", forward, hidden),
            ("mlp.down_proj", hidden, forward),
        ):
            shapes[f"{stem}{name}.weight"] = (rows, columns)
        shapes[f"{stem}input_layernorm.weight"] = shapes[f"{stem}post_attention_layernorm.weight"] = (hidden,)
    return {
        name: (SAFETENSORS_NAMES[dtype], shape, _encoded(int(np.prod(shape)), seed, dtype))
        for seed, (name, shape) in enumerate(sorted(shapes.items()))
    }


def pieces(count: int = 288) -> bytes:
    """A SentencePiece model of three control tokens, all bytes, and words."""
    texts = [("<unk>", 2, 0.0), ("<s>", 3, 0.0), ("</s>", 3, 0.0)]
    texts += [(f"<0x{byte:02X}>", 6, 0.0) for byte in range(256)]
    texts += [
        ("\u2581" + chr(97 + number % 26) * (1 + number // 26), 1, -float(number))
        for number in range(count - len(texts))
    ]
    return protobuf(texts, trainer=b"\x18\x02\x98\x02\x01")  # model_type = BPE, byte_fallback = true


def protobuf(texts: Sequence[tuple[str, int, float]], *, trainer: bytes, normalizer: bytes = b"") -> bytes:
    """A SentencePiece model of pieces (text, type, score), its trainer's and its normalizer's fields already spelled."""

    def message(field: int, data: bytes) -> bytes:
        length = len(data)
        return bytes([field << 3 | 2, *([length] if length < 128 else [length & 127 | 128, length >> 7])]) + data

    parts = []
    for text, kind, score in texts:
        body = message(1, text.encode()) + b"\x15" + struct.pack("<f", score)
        parts.append(message(1, body + (bytes([0x18, kind]) if kind != 1 else b"")))
    return b"".join(parts) + message(2, trainer) + (message(3, normalizer) if normalizer else b"")


def write(folder: Path, dtype: str = "bf16", *, tied: bool = False, shards: int = 1, **changes: Any) -> Path:
    """Write a checkpoint folder; `changes` are keys of its configuration, None to leave one out."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {key: value for key, value in {**CONFIG, **changes}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "tokenizer.model").write_bytes(pieces(config.get("vocab_size", 288)))
    weights = tensors(
        {**CONFIG, **{key: value for key, value in changes.items() if value is not None}}, dtype, tied=tied
    )
    if shards == 1:
        save(folder / "model.safetensors", weights, {"format": "pt"})
        return folder
    names = list(weights)
    size = -(-len(names) // shards)
    index = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = names[number * size : (number + 1) * size]
        save(folder / file, {name: weights[name] for name in part}, {"format": "pt"})
        index |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return folder
