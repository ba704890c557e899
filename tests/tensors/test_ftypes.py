"""The type rules: as the reference states them, and as llama-quantize itself chooses for models of many shapes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelbuild.ollama.manifest import file_type_name
from modelbuild.tensors import ftypes
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.ftypes import FTYPES, Traits, choose
from modelbuild.tensors.tensor import Shape

GOLDEN = Path(__file__).parents[1] / "golden/formats/types.json"


@dataclass(frozen=True)
class Kind:
    """A model of a shape that some rule asks for."""

    blocks: int = 4
    heads: int = 8
    kv_heads: int = 4
    experts: int = 0
    tied: bool = False
    fused: bool = False
    row: int = 256
    architecture: str = "llama"

    @property
    def tensors(self) -> dict[str, Shape]:
        row = self.row
        found: dict[str, Shape] = {"token_embd.weight": (32, row), "output_norm.weight": (row,)}
        if not self.tied:
            found["output.weight"] = (32, row)
        for block in range(self.blocks):
            names = ["attn_qkv"] if self.fused else ["attn_q", "attn_k", "attn_v"]
            blocks: dict[str, Shape] = dict.fromkeys([*names, "attn_output"], (row, row))
            if self.experts:
                blocks["ffn_gate_inp"] = (self.experts, row)
                blocks |= {f"ffn_{name}_exps": (self.experts, row, row) for name in ("gate", "up", "down")}
            else:
                blocks |= {f"ffn_{name}": (row, row) for name in ("gate", "up", "down")}
            blocks |= {"attn_norm": (row,), "ffn_norm": (row,)}
            found |= {f"blk.{block}.{name}.weight": shape for name, shape in blocks.items()}
        return dict(sorted(found.items(), key=lambda item: ftypes.file_order(item[0])))

    @property
    def model(self) -> Traits:
        return Traits(self.architecture, self.blocks, self.experts, self.heads, self.kv_heads)

    @property
    def metadata(self) -> dict[str, bytes]:
        name = self.architecture
        numbers = {
            "block_count": self.blocks, "context_length": 64, "embedding_length": self.row, "feed_forward_length": self.row,
            "attention.head_count": self.heads, "attention.head_count_kv": self.kv_heads,
        }  # fmt: skip
        if self.experts:
            numbers |= {"expert_count": self.experts, "expert_used_count": 2}
        return {
            "general.architecture": encode_value("str", name),
            **{f"{name}.{key}": encode_value("u32", value) for key, value in numbers.items()},
            f"{name}.attention.layer_norm_rms_epsilon": encode_value("f32", 1e-5),
            f"{name}.attention.layer_norm_epsilon": encode_value("f32", 1e-5),
            "tokenizer.ggml.model": encode_value("str", "none"),
        }


KINDS = {
    "dense": Kind(),
    "2 blocks": Kind(blocks=2),
    "32 blocks, one head a group": Kind(blocks=32, kv_heads=8),
    "17 blocks, groups of 8": Kind(blocks=17, kv_heads=1),
    "tied": Kind(blocks=12, tied=True),
    "fused": Kind(blocks=9, fused=True, kv_heads=2),
    "70B": Kind(blocks=80, kv_heads=2),
    "65B": Kind(blocks=80, kv_heads=8),
    "4 experts": Kind(blocks=9, experts=4, kv_heads=2),
    "8 experts": Kind(blocks=9, experts=8),
    "8 experts, 80 blocks": Kind(blocks=80, experts=8),
    "16 experts, tied": Kind(blocks=8, experts=16, tied=True),
    "rows of 288": Kind(blocks=8, row=288),
    "rows of 40": Kind(blocks=8, row=40),
    "rows of 288, tied": Kind(blocks=8, row=288, tied=True),
    "qwen2": Kind(blocks=80, kv_heads=8, architecture="qwen2"),
    "falcon": Kind(blocks=32, fused=True, kv_heads=1, architecture="falcon"),
}


def types(kind: Kind, ftype: str) -> dict[str, str]:
    chosen = choose(ftype, kind.model, kind.tensors)
    return {name: chosen.get(name, "f32") for name in kind.tensors}


def digest(kind: Kind, ftype: str) -> str:
    text = "\n".join(f"{name} {quant}" for name, quant in types(kind, ftype).items())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("case", KINDS)
def test_types_are_the_recorded_ones(case: str) -> None:
    golden = json.loads(GOLDEN.read_text())
    assert {ftype: digest(KINDS[case], ftype) for ftype in FTYPES} == golden[case]


@pytest.mark.peer
@pytest.mark.parametrize("case", KINDS)
def test_types_are_those_llama_quantize_chooses(case: str, tmp_path: Path) -> None:
    """UPDATE_GOLDEN=1 records them."""
    build = os.environ.get("MODELBUILD_LLAMA_CPP")
    if not build:
        pytest.skip("MODELBUILD_LLAMA_CPP does not name a llama.cpp build")
    quantizer = next(Path(build).rglob("llama-quantize"))
    kind = KINDS[case]
    file = tmp_path / "m.gguf"
    tensors = [(name, "f32", shape) for name, shape in kind.tensors.items()]
    header = gguf.header(kind.metadata, tensors)
    size = sum(gguf.padded(gguf.byte_count(dtype, shape)) for _, dtype, shape in tensors)
    with file.open("wb") as out:
        out.write(header)
        out.truncate(len(header) + size)
    for ftype in FTYPES:
        made = subprocess.run([quantizer, "--dry-run", file, ftype], capture_output=True, text=True, check=True)
        lines = re.findall(
            r"\] (\S+) +- \[.*\], type = +(\w+), size = +[\d.]+ MiB(?: -> +[\d.]+ MiB \((\w+)\))?",
            made.stdout + made.stderr,
        )
        theirs = {name: (to or old).lower() for name, old, to in lines}
        assert theirs == types(kind, ftype), ftype
    if os.environ.get("UPDATE_GOLDEN"):
        golden = json.loads(GOLDEN.read_text()) if GOLDEN.is_file() else {}
        golden[case] = {ftype: digest(kind, ftype) for ftype in FTYPES}
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")


def test_q4_k_m_spends_more_bits_where_the_reference_says() -> None:
    found = types(Kind(blocks=8), "q4_K_M")
    more = [name for name, quant in found.items() if quant == "q6_k"]
    # more(i, 8): the first eighth, the last, and every third between.
    assert [n for n in more if "attn_v" in n] == [f"blk.{block}.attn_v.weight" for block in (0, 3, 6, 7)]
    assert [n for n in more if "ffn_down" in n] == [f"blk.{block}.ffn_down.weight" for block in (0, 3, 6, 7)]
    assert found["output.weight"] == "q6_k"
    assert found["token_embd.weight"] == "q4_k"
    assert found["output_norm.weight"] == "f32"


def test_blocks_are_in_numerical_order_and_other_tensors_first() -> None:
    names = ["blk.10.a", "token_embd.weight", "blk.2.b", "blk.2.a", "output.weight", "rope_freqs.weight"]
    assert sorted(names, key=ftypes.file_order) == [
        "output.weight", "rope_freqs.weight", "token_embd.weight", "blk.2.a", "blk.2.b", "blk.10.a",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shape", "may"),
    [
        ("blk.0.attn_q.weight", (8, 8), True),
        ("blk.0.attn_q.weight", (1, 8), False),
        ("blk.0.attn_q.bias", (8, 8), False),
        ("blk.0.attn_q_norm.weight", (8, 8), False),
        ("blk.0.ffn_gate_inp.weight", (8, 8), False),
        ("blk.0.ffn_gate_exps.weight", (2, 8, 8), True),
        ("blk.0.ssm_conv1d.weight", (8, 8), False),
        ("position_embd.weight", (8, 8), False),
        ("v.position_embd.weight", (8, 8), False),
    ],
)
def test_what_may_be_quantized(name: str, shape: Shape, may: bool) -> None:
    assert ftypes.quantizable(name, shape) is may


def test_ftypes_are_spelled_in_any_case() -> None:
    assert [ftypes.canonical(word) for word in ("Q4_K_M", "q4_k", "F16", "IQ4_XS", "q9")] == [
        "q4_K_M", "q4_K_M", "f16", "iq4_xs", None,
    ]  # fmt: skip
    assert [ftypes.default_quant(name) for name in ("q3_K_L", "q2_K", "mxfp4_moe", "iq4_nl", "bf16")] == [
        "q3_k", "q2_k", "mxfp4", "iq4_nl", "bf16",
    ]  # fmt: skip


def test_numbers_of_types_are_those_of_llama_cpp() -> None:
    assert [ftypes.of_number(number) for number in (0, 15, 19, 39, 41, 33, None)] == [
        "f32", "q4_K_M", "iq2_xxs", "nvfp4", "q2_0", None, None,
    ]  # fmt: skip
    assert not FTYPES.keys() & ftypes.FURTHER.keys() and not set(FTYPES.values()) & set(ftypes.FURTHER.values())
    for name, number in (FTYPES | ftypes.FURTHER).items():
        assert file_type_name(number) in (name.upper(), "unknown"), "as Ollama calls it"
