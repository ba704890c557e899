"""Checkpoints shaped as those of 2026: dense ones of 1.3 GB converted to q4_K_M, and one of 400 billion weights in experts looked at.

    python benchmarks/families.py cold --family gemma4     safetensors to q4_K_M: convert_hf_to_gguf.py and llama-quantize;
                                                           or `--family qwen35`
    python benchmarks/families.py check                    `modelbuild check` of 400 billion weights of Qwen3.5, sparse files with true
                                                           headers; with --apart each expert is a tensor of its own, 96,000 in all

`cold` wants the peers that `.ci/peers` installs; for Qwen3.5 also the tokenizer of Qwen2.5 in ../shared/data, whose rule of splitting
llama.cpp's converter knows.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from math import prod
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import gemma4
import numpy as np
from preflight import TOKENIZERS, measure, synthetic

from build import MIB, MODELBUILD, Run, in_turn, medians, project, ratio, timed

Shape = tuple[int, ...]

DENSE: dict[str, Any] = {
    "architectures": ["Qwen3_5ForCausalLM"], "model_type": "qwen3_5_text", "vocab_size": 151936, "hidden_size": 1024,
    "intermediate_size": 3584, "num_hidden_layers": 24, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 256,
    "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_num_key_heads": 8,
    "linear_num_value_heads": 16, "full_attention_interval": 4, "mtp_num_hidden_layers": 1, "max_position_embeddings": 262144,
    "rms_norm_eps": 1e-6, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e7, "partial_rotary_factor": 0.25, "mrope_section": [11, 11, 10]},
}  # fmt: skip
"""Qwen3.5 0.8B's, with two heads of values for a key, and a smaller vocabulary."""

EXPERTS: dict[str, Any] = {
    **DENSE, "architectures": ["Qwen3_5MoeForConditionalGeneration"], "model_type": "qwen3_5_moe_text", "vocab_size": 128256,
    "hidden_size": 4096, "num_hidden_layers": 60, "num_attention_heads": 32, "linear_num_key_heads": 16, "linear_num_value_heads": 64,
    "moe_intermediate_size": 1024, "shared_expert_intermediate_size": 1024, "num_experts": 512, "num_experts_per_tok": 10,
    "tie_word_embeddings": False,
}  # fmt: skip
"""Qwen3.5 397B-A17B's, with a smaller vocabulary."""


def shapes(config: dict[str, Any], *, apart: bool = False) -> Iterator[tuple[str, Shape]]:
    hidden, vocabulary, blocks = (config[key] for key in ("hidden_size", "vocab_size", "num_hidden_layers"))
    yield "model.language_model.embed_tokens.weight", (vocabulary, hidden)
    yield "model.language_model.norm.weight", (hidden,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (vocabulary, hidden)
    for block in range(blocks):
        yield from _block(config, f"model.language_model.layers.{block}", (block + 1) % 4 != 0, apart)
    yield from _block(config, "mtp.layers.0", False, apart)
    yield "mtp.fc.weight", (hidden, 2 * hidden)
    for name in ("norm", "pre_fc_norm_embedding", "pre_fc_norm_hidden"):
        yield f"mtp.{name}.weight", (hidden,)


def _block(config: dict[str, Any], stem: str, is_linear: bool, apart: bool) -> Iterator[tuple[str, Shape]]:
    hidden, head, heads = (config[key] for key in ("hidden_size", "head_dim", "num_attention_heads"))
    yield f"{stem}.input_layernorm.weight", (hidden,)
    yield f"{stem}.post_attention_layernorm.weight", (hidden,)
    if is_linear:
        rank = config["linear_num_value_heads"]
        values, keys = (128 * config[f"linear_num_{kind}_heads"] for kind in ("value", "key"))
        parts = {
            "A_log": (rank,),
            "dt_bias": (rank,),
            "conv1d.weight": (2 * keys + values, 1, 4),
            "norm.weight": (128,),
        }
        rows = {"qkv": 2 * keys + values, "z": values, "a": rank, "b": rank}
        parts |= {f"in_proj_{part}.weight": (count, hidden) for part, count in rows.items()}
        for name, shape in {**parts, "out_proj.weight": (hidden, values)}.items():
            yield f"{stem}.linear_attn.{name}", shape
    else:
        keys = config["num_key_value_heads"] * head
        rows = {"q_proj": 2 * heads * head, "k_proj": keys, "v_proj": keys}
        for name, shape in {
            **{part: (count, hidden) for part, count in rows.items()},
            "o_proj": (hidden, heads * head),
        }.items():
            yield f"{stem}.self_attn.{name}.weight", shape
        yield f"{stem}.self_attn.q_norm.weight", (head,)
        yield f"{stem}.self_attn.k_norm.weight", (head,)
    yield from _forward(config, f"{stem}.mlp", apart)


def _forward(config: dict[str, Any], stem: str, apart: bool) -> Iterator[tuple[str, Shape]]:
    hidden, count = config["hidden_size"], config.get("num_experts", 0)

    def gated(stem: str, size: int) -> Iterator[tuple[str, Shape]]:
        yield f"{stem}.gate_proj.weight", (size, hidden)
        yield f"{stem}.up_proj.weight", (size, hidden)
        yield f"{stem}.down_proj.weight", (hidden, size)

    if not count:
        yield from gated(stem, config["intermediate_size"])
        return
    size = config["moe_intermediate_size"]
    yield f"{stem}.gate.weight", (count, hidden)
    yield f"{stem}.shared_expert_gate.weight", (1, hidden)
    yield from gated(f"{stem}.shared_expert", config["shared_expert_intermediate_size"])
    if apart:
        for expert in range(count):
            yield from gated(f"{stem}.experts.{expert}", size)
    else:
        yield f"{stem}.experts.gate_up_proj", (count, 2 * size, hidden)
        yield f"{stem}.experts.down_proj", (count, hidden, size)


def _write(path: Path, tensors: Sequence[tuple[str, Shape]], *, sparse: bool) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in tensors:
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + 2 * prod(shape)]}
        at += 2 * prod(shape)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.default_rng(7)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        if sparse:
            file.truncate(8 + len(text) + at)
            return
        for _, shape in tensors:
            values = random.standard_normal(prod(shape), dtype=np.float32) * np.float32(0.02)
            file.write((values.view(np.uint32) >> np.uint32(16)).astype("<u2").tobytes())


def qwen_tokenizer(folder: Path) -> None:
    for path in (TOKENIZERS / "qwen2.5").iterdir():
        shutil.copyfile(path, folder / path.name)
    # Without a class, transformers looks for one by the model's type, which 4.57.6 does not know.
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>"})
    )


class Family(NamedTuple):
    """What a dense checkpoint is made of: its config.json, its tensors, and what writes its tokenizer."""

    config: dict[str, Any]
    shapes: Callable[[dict[str, Any]], Iterator[tuple[str, Shape]]]
    tokenizer: Callable[[Path], None]


FAMILIES = {
    "qwen35": Family(DENSE, shapes, qwen_tokenizer),
    "gemma4": Family(gemma4.DENSE, gemma4.shapes, gemma4.tokenizer),
}


def dense(folder: Path, family: Family) -> None:
    """1.3 GB of noise."""
    if not (folder / "model.safetensors").exists():
        print(f"making {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        family.tokenizer(folder)
        (folder / "config.json").write_text(json.dumps(family.config, indent=1))
        _write(folder / "model.safetensors", list(family.shapes(family.config)), sparse=False)


def of_experts(folder: Path, *, apart: bool, shards: int = 94) -> None:
    """A project of one model of 400 billion weights; of these only the heads take space."""
    weights = folder / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": EXPERTS["architectures"], "model_type": "qwen3_5_moe", "text_config": EXPERTS, "vision_config": {},
    }  # fmt: skip
    (weights / "config.json").write_text(json.dumps(config, indent=1))
    tensors = list(shapes(EXPERTS, apart=apart))
    each, index = -(-len(tensors) // shards), {}
    for number in range(shards):
        name = f"model.safetensors-{number + 1:05}-of-{shards:05}.safetensors"
        part = tensors[number * each : (number + 1) * each]
        _write(weights / name, part, sparse=True)
        index |= {tensor: name for tensor, _ in part}
    (weights / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    synthetic(weights / "tokenizer.json")
    bos, eos = "<|reserved_special_token_0|>", "<|reserved_special_token_1|>"
    (weights / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": bos, "eos_token": eos})
    )
    (folder / "ModelBuild.toml").write_text(
        '[model.large]\nfrom = "./weights"\npre = "qwen35"\nmtp = "split"\n[model.large.matrix]\nquantize = ["q4_K_M", "q8_0"]\n'
    )
    print(f"  {len(tensors):,} tensors, {sum(prod(shape) for _, shape in tensors) / 1e9:.0f} billion weights")


def check(work: Path, rounds: int, apart: bool) -> None:
    folder = work / ("experts apart" if apart else "experts")
    of_experts(folder, apart=apart)
    runs = [measure(folder) for _ in range(rounds)]
    seconds, peak = sorted(run[0] for run in runs), max(run[1] for run in runs)
    print(f"  median {median(seconds):.2f} s ({seconds[0]:.2f} to {seconds[-1]:.2f}), {peak / MIB:.0f} MiB")


def cold(work: Path, rounds: int, family: str) -> None:
    # In a process of its own: what a command inherits from this one would count as its peak memory.
    making = multiprocessing.get_context("spawn").Process(target=dense, args=(work / family, FAMILIES[family]))
    making.start()
    making.join()
    weights = work / family
    convert = Path(os.environ["MODELBUILD_LLAMA_SRC"]) / "convert_hf_to_gguf.py"
    (quantize,) = Path(os.environ["MODELBUILD_LLAMA_CPP"]).rglob("bin/llama-quantize")
    theirs, ours = work / "theirs", work / "ours"

    def llama_cpp() -> Run:
        shutil.rmtree(theirs, ignore_errors=True)
        theirs.mkdir()
        bf16, q4, python = str(theirs / "bf16.gguf"), str(theirs / "q4.gguf"), os.environ["MODELBUILD_PEERS_PYTHON"]
        return timed(
            [python, str(convert), str(weights), "--outfile", bf16, "--outtype", "bf16"],
            [str(quantize), bf16, q4, "Q4_K_M", str(os.cpu_count())],
            sync=theirs,
        )

    def modelbuild() -> Run:
        project(ours, weights, '[model.ours]\nmodelfile = "Modelfile"\n')
        return timed([*MODELBUILD, "-C", str(ours), "--cache", str(ours / "cache")], sync=ours)

    runs = in_turn(rounds, {"llama.cpp": llama_cpp, "modelbuild": modelbuild})
    result = max((ours / "models/blobs").iterdir(), key=lambda path: path.stat().st_size)
    # The decays of linear attention may be one unit in the last place apart (docs/conversion.md).
    compared = subprocess.run(["cmp", "-l", str(theirs / "q4.gguf"), str(result)], capture_output=True, check=False)
    apart = len(compared.stdout.splitlines())
    medians(runs)
    ratio(runs, "llama.cpp", "modelbuild")
    print(
        f"  {apart} bytes apart; {(weights / 'model.safetensors').stat().st_size / 1e9:.2f} GB to {result.stat().st_size / MIB:.0f} MiB"
    )
    for folder in (theirs, ours):
        shutil.rmtree(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=["cold", "check"])
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("build/benchmarks/families"),
        help="folder for what is made (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--family", choices=FAMILIES, default="qwen35", help="whose shape (default: %(default)s)")
    parser.add_argument("--apart", action="store_true", help="each expert is a tensor of its own")
    asked = parser.parse_args()
    folder = asked.work.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if asked.which == "cold":
        cold(folder, asked.rounds, asked.family)
    else:
        check(folder, asked.rounds, asked.apart)
