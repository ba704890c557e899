"""Time variants of one model that adapters are merged into, and one of them against PEFT, convert_hf_to_gguf.py and llama-quantize.

    python benchmarks/adapters.py [--work build/benchmarks] [--rounds 2] [--variants 20]

Twenty random LoRAs (rank 16, of q and v) over a synthetic Llama of 1.34 GB, each to q4_K_M, one after the other; `sync -f` counts.
The peers are those that `.ci/peers` installs (source the `env` file it leaves).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np

import synthetic
from build import MIB, MODELBUILD, Run, described, in_turn, made, medians, ratio, timed

RANK = 16

PEFT = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base, adapter, out = sys.argv[1:]
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16), adapter)
model.merge_and_unload().save_pretrained(out)
"""


def adapter(folder: Path, size: dict[str, int], seed: int) -> None:
    """Write a LoRA of q and v as PEFT does, of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    parts: list[bytes] = []
    at = 0
    for name, shape in synthetic.shapes(**size):
        if not name.endswith(("q_proj.weight", "v_proj.weight")):
            continue
        for half, rows, columns in (("A", RANK, shape[1]), ("B", shape[0], RANK)):
            data = (random.standard_normal((rows, columns), dtype=np.float32) * np.float32(0.02)).tobytes()
            key = f"base_model.model.{name.removesuffix('.weight')}.lora_{half}.weight"
            header[key] = {"dtype": "F32", "shape": [rows, columns], "data_offsets": [at, at + len(data)]}
            parts.append(data)
            at += len(data)
    text = json.dumps(header).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": 32,
        "target_modules": ["q_proj", "v_proj"],
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))


def project(folder: Path, weights: Path, adapters: Path, names: list[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "ModelBuild.toml").write_text(
        f'[project]\nmodels = "models"\n[model.m]\nfrom = "{weights}"\nquantize = "q4_K_M"\n'
        f'adapters = [{{ path = "{adapters}/${{matrix.voice}}", mode = "merge" }}]\n'
        f"matrix.voice = {json.dumps(names)}\n"
    )


def variants(work: Path, weights: Path, names: list[str]) -> None:
    """Every variant in a build of its own, then one adapter edited."""
    folder = work / "voices"
    project(folder, weights, work / "loras", names)
    base = [*MODELBUILD, "-C", str(folder), "--cache", str(folder / "cache")]
    # Else the first alone would read the weights from the disk.
    with (weights / "model.safetensors").open("rb") as file:
        while file.read(16 * MIB):
            pass
    runs: list[Run] = []
    for name in names:
        runs.append(timed([*base, f"m:{name}"], sync=folder))
        print(f"  {name:<24} {described(runs[-1])}", flush=True)
    later = [run.seconds / runs[0].seconds for run in runs[1:]]
    print(
        f"  the 2nd to {len(names)}th over the first: {min(later):.3f} to {max(later):.3f}; peak {max(r.peak for r in runs) / MIB:.0f} MiB"
    )
    largest = max((folder / "models/blobs").iterdir(), key=lambda path: path.stat().st_size)
    for command in (["sha256sum", str(largest)], ["cp", str(largest), str(folder / "copy")]):
        print(f"  {command[0] + ' of a result':<24} {described(timed(command, sync=folder))}")
    adapter(work / "loras" / names[-1], synthetic.LARGE, 999)
    edited = timed(base, sync=folder)
    print(f"  one adapter edited: {edited.seconds * 1000:.1f} ms")
    adapter(work / "loras" / names[-1], synthetic.LARGE, len(names) - 1)
    shutil.rmtree(folder)


def peers(work: Path, weights: Path, rounds: int) -> None:
    """One variant, nothing kept from before."""
    python = os.environ["MODELBUILD_PEERS_PYTHON"]
    convert = Path(os.environ["MODELBUILD_LLAMA_SRC"]) / "convert_hf_to_gguf.py"
    (quantize,) = Path(os.environ["MODELBUILD_LLAMA_CPP"]).rglob("bin/llama-quantize")
    lora, theirs, ours = work / "loras/v00", work / "theirs", work / "ours"

    def peft() -> Run:
        shutil.rmtree(theirs, ignore_errors=True)
        (theirs / "merged").mkdir(parents=True)
        for name in ("tokenizer.model", "tokenizer_config.json"):
            shutil.copy(weights / name, theirs / "merged" / name)
        merged, bf16, q4 = str(theirs / "merged"), str(theirs / "bf16.gguf"), str(theirs / "q4.gguf")
        return timed(
            [python, "-c", PEFT, str(weights), str(lora), merged],
            [python, str(convert), merged, "--outfile", bf16, "--outtype", "bf16"],
            [str(quantize), bf16, q4, "Q4_K_M", str(os.cpu_count())],
            sync=theirs,
        )

    def modelbuild() -> Run:
        project(ours, weights, work / "loras", ["v00"])
        return timed([*MODELBUILD, "-C", str(ours), "--cache", str(ours / "cache")], sync=ours)

    runs = in_turn(rounds, {"PEFT and llama.cpp": peft, "modelbuild": modelbuild})
    medians(runs)
    ratio(runs, "PEFT and llama.cpp", "modelbuild")
    for folder in (theirs, ours):
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time merged variants.")
    parser.add_argument("--work", type=Path, default=Path("build/benchmarks"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--variants", type=int, default=20)
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    weights = made(work, "large", synthetic.LARGE)
    names = [f"v{number:02}" for number in range(arguments.variants)]
    for number, name in enumerate(names):
        adapter(work / "loras" / name, synthetic.LARGE, number)
    variants(work, weights, names)
    if "MODELBUILD_PEERS_PYTHON" in os.environ:
        peers(work, weights, arguments.rounds)


if __name__ == "__main__":
    main()
