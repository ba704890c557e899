"""Write random Llama checkpoints of any size: the weights are noise, everything else is as a real one's.

python benchmarks/synthetic.py FOLDER [--layers N] [--hidden N] [--intermediate N] [--vocabulary N]
"""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np

LARGE = {"layers": 12, "hidden": 2048, "intermediate": 5632, "vocabulary": 32000}
"""1.34 GB of bf16."""
SMALL = {"layers": 1, "hidden": 256, "intermediate": 256, "vocabulary": 300}
"""1 MB of bf16."""


def shapes(layers: int, hidden: int, intermediate: int, vocabulary: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "lm_head.weight", (vocabulary, hidden)
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    for i in range(layers):
        layer = f"model.layers.{i}"
        yield f"{layer}.input_layernorm.weight", (hidden,)
        yield f"{layer}.mlp.down_proj.weight", (hidden, intermediate)
        yield f"{layer}.mlp.gate_proj.weight", (intermediate, hidden)
        yield f"{layer}.mlp.up_proj.weight", (intermediate, hidden)
        yield f"{layer}.post_attention_layernorm.weight", (hidden,)
        yield f"{layer}.self_attn.k_proj.weight", (hidden // 4, hidden)
        yield f"{layer}.self_attn.o_proj.weight", (hidden, hidden)
        yield f"{layer}.self_attn.q_proj.weight", (hidden, hidden)
        yield f"{layer}.self_attn.v_proj.weight", (hidden // 4, hidden)
    yield "model.norm.weight", (hidden,)


def checkpoint(folder: Path, layers: int, hidden: int, intermediate: int, vocabulary: int) -> None:
    """Write config, tokenizer and one safetensors file of bf16."""
    folder.mkdir(parents=True, exist_ok=True)
    heads = max(4, hidden // 64)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden, "intermediate_size": intermediate,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": heads // 4, "vocab_size": vocabulary,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "bos_token_id": 1, "eos_token_id": 2,
        "tie_word_embeddings": False, "torch_dtype": "bfloat16",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    (folder / "tokenizer.model").write_bytes(sentencepiece(vocabulary))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False})
    )
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shapes(layers, hidden, intermediate, vocabulary):
        size = 2 * prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.default_rng(7)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes(layers, hidden, intermediate, vocabulary):
            values = random.standard_normal(prod(shape), dtype=np.float32) * np.float32(0.02)
            if name.endswith("norm.weight"):
                values += np.float32(1)
            file.write((values.view(np.uint32) >> np.uint32(16)).astype("<u2").tobytes())


def sentencepiece(vocabulary: int) -> bytes:
    """A SentencePiece model (protobuf ModelProto): the three special pieces, the bytes, then made-up words."""

    def field(number: int, data: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(data)) + data

    def piece(text: str, score: float, kind: int) -> bytes:
        return field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + varint(kind))

    pieces = [piece("<unk>", 0, 2), piece("<s>", 0, 3), piece("</s>", 0, 3)]
    pieces += [piece(f"<0x{byte:02X}>", 0, 6) for byte in range(256)]
    pieces += [piece(f"\u2581w{index}", -float(index), 1) for index in range(vocabulary - len(pieces))]
    trainer = field(2, b"\x18\x02" + b"\x20" + varint(vocabulary) + b"\x98\x02\x01")
    normalizer = field(3, field(1, b"identity") + b"\x18\x01\x20\x00")
    return b"".join(pieces) + trainer + normalizer


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    for key, default in LARGE.items():
        parser.add_argument(f"--{key}", type=int, default=default)
    asked = vars(parser.parse_args())
    checkpoint(asked.pop("folder"), **asked)
