"""Quantized files are llama-quantize's, byte for byte: every ftype, its flags, importance matrices, and what is quantized already."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelbuild.digest import xxh3
from modelbuild.errors import Error
from modelbuild.tensors import packing, quants
from modelbuild.tensors.evaluate import Region
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.ftypes import ALIASES, FTYPES, NOT_YET, Mix
from modelbuild.tensors.materialize import Resources, materialize
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.quantization import Importance, quantize
from modelbuild.tensors.recipe import Entry, Recipe

SHAPES = {
    "llama": {"blocks": 9, "hidden": 256, "ff": 512},
    "grouped": {"blocks": 4, "hidden": 256, "ff": 256, "heads": 8, "kv_heads": 1},
    "tied": {"blocks": 3, "hidden": 256, "ff": 512, "tied": True},
    "rows of 288": {"blocks": 3, "hidden": 288, "ff": 544},
    "rows of 40": {"blocks": 2, "hidden": 40, "ff": 96},
    "four experts": {"blocks": 3, "hidden": 256, "ff": 256, "experts": 4},
    "eight experts": {"blocks": 3, "hidden": 256, "ff": 256, "experts": 8},
    "fused qkv": {"blocks": 3, "hidden": 256, "ff": 256, "fused": True, "architecture": "phi3"},
}


def tensors(
    blocks: int, hidden: int, ff: int, experts: int = 0, tied: bool = False, fused: bool = False, kv: int = 0
) -> dict[str, tuple[int, ...]]:
    kv = kv or hidden
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (96, hidden), "output_norm.weight": (hidden,)}
    if not tied:
        shapes["output.weight"] = (96, hidden)
    for i in range(blocks):
        if fused:
            shapes[f"blk.{i}.attn_qkv.weight"] = (3 * hidden, hidden)
        else:
            shapes |= {f"blk.{i}.attn_q.weight": (hidden, hidden), f"blk.{i}.attn_k.weight": (kv, hidden)}
            shapes[f"blk.{i}.attn_v.weight"] = (kv, hidden)
        shapes |= {f"blk.{i}.attn_output.weight": (hidden, hidden), f"blk.{i}.attn_norm.weight": (hidden,)}
        shapes[f"blk.{i}.ffn_norm.weight"] = (hidden,)
        if experts:
            shapes[f"blk.{i}.ffn_gate_inp.weight"] = (experts, hidden)
            shapes |= {f"blk.{i}.ffn_{part}_exps.weight": (experts, ff, hidden) for part in ("gate", "up")}
            shapes[f"blk.{i}.ffn_down_exps.weight"] = (experts, hidden, ff)
        else:
            shapes |= {f"blk.{i}.ffn_{part}.weight": (ff, hidden) for part in ("gate", "up")}
            shapes[f"blk.{i}.ffn_down.weight"] = (hidden, ff)
    return shapes


class Model:
    """A GGUF file of noise, its recipe, and llama-quantize to run on it."""

    def __init__(self, folder: Path, dtype: str = "f16", **shape: Any) -> None:
        self.folder = folder
        self.path = folder / "model.gguf"
        heads, kv_heads = shape.pop("heads", 4), shape.pop("kv_heads", 4)
        architecture = shape.pop("architecture", "llama")
        self.shapes = tensors(**shape, kv=shape["hidden"] * kv_heads // heads)
        counts = {
            "block_count": shape["blocks"], "context_length": 64, "embedding_length": shape["hidden"],
            "feed_forward_length": shape["ff"], "attention.head_count": heads, "attention.head_count_kv": kv_heads,
        } | ({"expert_count": shape["experts"], "expert_used_count": 2} if shape.get("experts") else {})  # fmt: skip
        self.metadata = {
            "general.architecture": gguf.encode_value("str", architecture),
            **{f"{architecture}.{key}": gguf.encode_value("u32", value) for key, value in counts.items()},
            f"{architecture}.attention.layer_norm_rms_epsilon": gguf.encode_value("f32", 1e-5),
            "general.file_type": gguf.encode_value("u32", 1),
        }
        random = np.random.default_rng(3)
        self.regions: dict[str, Region] = {}
        entries = []
        infos = [(name, "f32" if len(s) == 1 or "gate_inp" in name else dtype, s) for name, s in self.shapes.items()]
        parts = [gguf.header(self.metadata, infos)]
        at = len(parts[0])
        for name, kind, s in infos:
            data = pack(kind, random.standard_normal(int(np.prod(s)), dtype=np.float32) * np.float32(0.05))
            self.regions[xxh3(data)] = Region(str(self.path), at, len(data), name)
            entries.append(Entry(name, s, leaf(xxh3(data), kind, s)))
            parts.append(data + bytes(-len(data) % 32))
            at += len(parts[-1])
        self.path.write_bytes(b"".join(parts))
        self.recipe = Recipe(self.metadata, entries)

    def ours(self, ftype: str, mix: Mix | None = None, **options: Any) -> bytes:
        made = quantize(self.recipe, ftype, mix, **options)
        made = Recipe.decode(made.encode())
        target = self.folder / "ours.gguf"
        with ThreadPoolExecutor(2) as pool, target.open("wb") as file:
            materialize(
                made,
                file.fileno(),
                find=lambda keys: {},
                open_leaf=self.regions.__getitem__,
                # Little memory: chunks end within matrices and within experts.
                resources=Resources(pool, 2, 1 << 21, threading.Event()),
            )
        return target.read_bytes()

    def theirs(self, ftype: str, *flags: str) -> bytes:
        (tool,) = Path(os.environ["MODELBUILD_LLAMA_CPP"]).rglob("bin/llama-quantize")
        target = self.folder / "theirs.gguf"
        done = subprocess.run(
            [str(tool), *flags, str(self.path), str(target), ftype.upper(), "2"],
            capture_output=True,
            text=True,
            cwd=self.folder,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return target.read_bytes()


def pack(dtype: str, values: np.ndarray[Any, np.dtype[np.float32]]) -> bytes:
    kind = quants.get(dtype)
    out = bytearray(len(values) // kind.block * kind.bytes)
    packing.quantize(dtype, "f32", values.tobytes(), out)
    return bytes(out)


@pytest.fixture(scope="module", params=SHAPES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tmp_path_factory.mktemp("model"), **SHAPES[request.param])  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tmp_path_factory.mktemp("plain"), dtype="bf16", **SHAPES["llama"])  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tied_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tmp_path_factory.mktemp("tied"), **SHAPES["tied"])  # type: ignore[arg-type]


needs_tool = pytest.mark.skipif(
    "MODELBUILD_LLAMA_CPP" not in os.environ, reason="MODELBUILD_LLAMA_CPP names no llama.cpp build"
)
WITHOUT_IMATRIX = [ftype for ftype in FTYPES if ftype != "q2_K_S"]


@pytest.mark.peer
@needs_tool
@pytest.mark.parametrize("ftype", WITHOUT_IMATRIX)
def test_every_ftype_is_llama_quantizes(model: Model, ftype: str) -> None:
    assert model.ours(ftype) == model.theirs(ftype)


MIXES: dict[str, tuple[Mix, tuple[str, ...]]] = {
    "pure": (Mix(pure=True), ("--pure",)),
    "output": (Mix(output_tensor_type="q8_0"), ("--output-tensor-type", "q8_0")),
    "embedding": (Mix(token_embedding_type="q5_k"), ("--token-embedding-type", "q5_k")),
    "leave output": (Mix(leave_output_tensor=True), ("--leave-output-tensor",)),
    "rules": (
        Mix(tensors=(("attn_v", "q6_k"), ("ffn_(up|down)", "q5_0"), ("blk\\.1\\.", "q8_0"))),
        ("--tensor-type", "attn_v=q6_k", "--tensor-type", "ffn_(up|down)=q5_0", "--tensor-type", "blk\\.1\\.=q8_0"),
    ),
    "anchored": (Mix(tensors=((r"ATTN_V\.weight\Z", "q8_0"),)), ("--tensor-type", r"attn_v\.weight$=q8_0")),
    "all": (
        Mix(tensors=(("attn_k", "iq4_nl"),), output_tensor_type="f16", token_embedding_type="q4_0", pure=True),
        ("--tensor-type", "attn_k=iq4_nl", "--output-tensor-type", "f16", "--token-embedding-type", "q4_0", "--pure"),
    ),
}


@pytest.mark.peer
@needs_tool
@pytest.mark.parametrize("ftype", ["q4_K_M", "q3_K_L", "f16"])
@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("tied", [False, True])
def test_mix_is_what_the_flags_give(plain: Model, tied_model: Model, tied: bool, mix: str, ftype: str) -> None:
    fields, flags = MIXES[mix]
    model = tied_model if tied else plain
    assert model.ours(ftype, fields) == model.theirs(ftype, *flags)


def test_rule_that_fits_no_tensor_is_an_error(plain: Model) -> None:
    with pytest.raises(Error, match="no quantized tensor has a name that matches 'attn_w'"):
        plain.ours("q4_K_M", Mix(tensors=(("attn_w", "q6_k"),)))


@pytest.mark.peer
@needs_tool
@pytest.mark.parametrize("dtype", ["q8_0", "q4_k", "q6_k", "iq4_xs", "q4_0"])
@pytest.mark.parametrize("ftype", ["q4_K_M", "q8_0", "f16"])
def test_quantized_again_is_llama_quantizes(tmp_path: Path, dtype: str, ftype: str) -> None:
    model = Model(tmp_path, dtype=dtype, **SHAPES["tied"])  # type: ignore[arg-type]
    assert model.ours(ftype, requantize=True) == model.theirs(ftype, "--allow-requantize")


def test_quantized_again_only_where_it_is_allowed(tmp_path: Path) -> None:
    model = Model(tmp_path, dtype="q8_0", **SHAPES["tied"])  # type: ignore[arg-type]
    with pytest.raises(Error, match="it is already q8_0") as caught:
        model.ours("q4_K_M")
    assert "allow_requantize" in str(caught.value.hint)


def importance(model: Model, *, skip: str = "") -> Mapping[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Sums of squared activations, one row for each matrix of a tensor."""
    random = np.random.default_rng(11)
    return {
        name: random.random((int(np.prod(s[:-2])), s[-1]), dtype=np.float32) * np.float32(40)
        for name, s in model.shapes.items()
        if len(s) > 1 and "gate_inp" not in name and name != skip
    }


def write_imatrix(path: Path, sums: Mapping[str, np.ndarray[Any, np.dtype[np.float32]]]) -> None:
    import gguf as reference

    writer = reference.GGUFWriter(path, "")
    writer.kv_data[0].pop("general.architecture", None)
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["a text.txt", "another"])
    writer.add_uint32("imatrix.chunk_count", 7)
    writer.add_uint32("imatrix.chunk_size", 512)
    for name in sorted(sums):
        writer.add_tensor(f"{name}.in_sum2", sums[name])
        writer.add_tensor(f"{name}.counts", np.full((len(sums[name]), 1), 3, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.peer
@needs_tool
@pytest.mark.parametrize("ftype", [ftype for ftype in FTYPES if ftype not in ("f32", "f16", "bf16")])
def test_importance_matrix_gives_llama_quantizes_file(model: Model, ftype: str) -> None:
    from modelbuild.tensors.formats import imatrix

    skip = "" if ftype == "q2_K_S" else "blk.1.attn_output.weight"
    write_imatrix(model.folder / "im.gguf", importance(model, skip=skip))
    read = imatrix.read(str(model.folder / "im.gguf"))
    ours = model.ours(ftype, importance=Importance(read, "im.gguf"))
    assert ours == model.theirs(ftype, "--imatrix", "im.gguf")


def test_importance_matrix_of_another_model_is_an_error(plain: Model, tmp_path: Path) -> None:
    from modelbuild.tensors.formats import imatrix

    sums = dict(importance(plain))
    sums["blk.0.attn_q.weight"] = sums["blk.0.attn_q.weight"][:, :128]
    write_imatrix(tmp_path / "im.gguf", sums)
    with pytest.raises(Error, match="does not fit 'blk.0.attn_q.weight'"):
        plain.ours("q4_K_M", importance=Importance(imatrix.read(str(tmp_path / "im.gguf")), "im.gguf"))


def test_q2_k_s_demands_an_importance_matrix(plain: Model) -> None:
    with pytest.raises(Error, match="q2_K_S needs an importance matrix for 'blk.0.attn_k.weight'"):
        plain.ours("q2_K_S")


@pytest.mark.peer
def test_every_type_of_llama_quantize_is_known_or_said_not_to_be_supported_yet() -> None:
    source = os.environ.get("MODELBUILD_LLAMA_SRC")
    if not source:
        pytest.skip("MODELBUILD_LLAMA_SRC names no source of llama.cpp")
    text = (Path(source) / "tools" / "quantize" / "quantize.cpp").read_text(encoding="utf-8")
    names = [name.lower() for name in re.findall(r'^ *\{ "(\w+)", *LLAMA_FTYPE', text, re.MULTILINE)]
    assert len(names) > 30
    known = {name.lower() for name in (*FTYPES, *ALIASES, *NOT_YET)}
    assert set(names) - known == {"copy"}
