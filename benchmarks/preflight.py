"""Check a checkpoint of 70 billion weights in 80 shards, sparse files with true headers: seconds and memory of `modelbuild check`.

python benchmarks/preflight.py [--rounds N] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from math import prod
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
TOKENIZERS = ROOT / "../shared/data/tokenizers"

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672,
    "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "bos_token_id": 128000, "eos_token_id": 128001, "torch_dtype": "bfloat16",
    "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
    },
}  # fmt: skip
"""Llama 3.1 70B's."""


def shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, forward, vocabulary = 8192, 28672, 128256
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    for block in range(80):
        stem = f"model.layers.{block}"
        for name, shape in (
            ("input_layernorm", (hidden,)), ("mlp.down_proj", (hidden, forward)), ("mlp.gate_proj", (forward, hidden)),
            ("mlp.up_proj", (forward, hidden)), ("post_attention_layernorm", (hidden,)), ("self_attn.k_proj", (1024, hidden)),
            ("self_attn.o_proj", (hidden, hidden)), ("self_attn.q_proj", (hidden, hidden)), ("self_attn.v_proj", (1024, hidden)),
        ):  # fmt: skip
            yield f"{stem}.{name}.weight", shape
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (vocabulary, hidden)


def checkpoint(folder: Path, shards: int = 80) -> None:
    """Write config, index and shards; of these only the heads take space."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=1))
    tensors = list(shapes())
    each = -(-len(tensors) // shards)
    index = {}
    for number in range(shards):
        name = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        at = 0
        for tensor, shape in tensors[number * each : (number + 1) * each]:
            header[tensor] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + 2 * prod(shape)]}
            at += 2 * prod(shape)
            index[tensor] = name
        text = json.dumps(header, separators=(",", ":")).encode()
        with (folder / name).open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + at)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def synthetic(path: Path) -> None:
    """A byte-level tokenizer.json of 128,000 tokens and 256 more, about as large as the real one."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = [chr(byte) for byte in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    vocabulary, merges = list(alphabet), []
    known = set(vocabulary)
    for length in range(1, 20):
        for left in vocabulary[256 * (length > 1) :]:
            for right in alphabet[33:97]:
                if len(vocabulary) < 128000 and left + right not in known:
                    known.add(left + right)
                    vocabulary.append(left + right)
                    merges.append(f"{left} {right}")
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": 128000 + n, "content": f"<|reserved_special_token_{n}|>", **flags} for n in range(256)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    data = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None, "pre_tokenizer": byte_level,
        "post_processor": byte_level, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": True, "vocab": {text: n for n, text in enumerate(vocabulary)},
            "merges": merges,
        },
    }  # fmt: skip
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False))


def project(folder: Path, tokenizer: Path | None) -> None:
    """A project of one model with two types; `tokenizer` is a real one, else there is a synthetic one."""
    weights = folder / "weights"
    checkpoint(weights)
    bos, eos = "<|begin_of_text|>", "<|end_of_text|>"
    if tokenizer is None:
        synthetic(weights / "tokenizer.json")
        bos, eos = "<|reserved_special_token_0|>", "<|reserved_special_token_1|>"
    else:
        shutil.copyfile(tokenizer, weights / "tokenizer.json")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": bos, "eos_token": eos}
    (weights / "tokenizer_config.json").write_text(json.dumps(config))
    pre = 'pre = "llama-bpe"\n' if tokenizer is None else ""
    (folder / "ModelBuild.toml").write_text(
        f'[model.large]\nfrom = "./weights"\n{pre}[model.large.matrix]\nquantize = ["q4_K_M", "q8_0"]\n'
    )


def measure(folder: Path) -> tuple[float, int]:
    """Seconds and bytes of one `modelbuild check` of a project that nothing is known of."""
    shutil.rmtree(folder / "cache", ignore_errors=True)
    places = ["-C", str(folder), "--cache", str(folder / "cache"), "--models", str(folder / "models")]
    command = [sys.executable, "-m", "modelbuild", *places, "check"]
    begun = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begun
    # The disk need not have room for what is only looked at.
    if "Traceback" in said or process.returncode and "not enough space on the disk" not in said:
        raise SystemExit(said)
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=ROOT / "build/benchmarks/preflight")
    asked = parser.parse_args()
    real = TOKENIZERS / "llama-3.2/tokenizer.json"
    for name, tokenizer in (("synthetic", None), ("llama-3.2", real)):
        if tokenizer is not None and not tokenizer.is_file():
            print(f"{name:<10}  not here")
            continue
        folder = asked.folder / name
        project(folder, tokenizer)
        runs = [measure(folder) for _ in range(asked.rounds)]
        seconds = [run[0] for run in runs]
        peak = max(run[1] for run in runs)
        print(
            f"{name:<10}  {median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})  {peak / (1 << 20):.0f} MiB"
        )


if __name__ == "__main__":
    main()
