"""The registry of tools, the files that each consists of, and what is believed of what each made."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from modelbuild import observed, tools
from modelbuild.errors import Error
from modelbuild.tensors.formats import gguf
from modelbuild.tools import converter, divergence, imatrix, logits
from tests import tooling


def entries(folder: str) -> observed.Listing:
    try:
        return observed.entries(folder)
    except OSError:
        return ()


@pytest.mark.parametrize("name", tools.names())
def test_every_tool_has_its_parts_and_its_place_in_the_docs(name: str) -> None:
    tool = tools.get(name)
    page = (Path(tools.__file__).parents[2] / "docs/tools.md").read_text()
    assert tool.TITLE.removeprefix("llama.cpp's ") in page
    needed = tool.needs({"outtype": "f16"}, tools.Sizes(1 << 30, 1 << 20))
    assert needed.memory > 0 and needed.disk > 0


def test_a_name_that_is_none() -> None:
    with pytest.raises(KeyError):
        tools.get("_model")


def test_a_converter_is_its_scripts_and_packages(tmp_path: Path) -> None:
    folder = tooling.write(tmp_path)
    for name in (
        "conversion/__pycache__/x.py",
        "conversion/deep/er.py",
        "models/templates/a.jinja",
        "models/vocab.gguf",
        "src/x.py",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    closure = converter.closure(str(folder), entries)
    assert closure.main == "convert_hf_to_gguf.py" and sorted(closure.files) == [
        "conversion/__init__.py", "conversion/base.py", "conversion/deep/er.py", "convert_hf_to_gguf.py",
        "gguf-py/gguf/__init__.py", "models/templates/a.jinja", "models/vocab.gguf",
    ]  # fmt: skip
    assert converter.closure(str(tmp_path), entries).main == ""


@pytest.mark.parametrize("place", ["", "bin", "build/bin"])
def test_a_program_is_itself_and_the_libraries_beside_it(tmp_path: Path, place: str) -> None:
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    beside = ["libggml.so", "libggml.so.0", "libggml.so.0.25.3", "libllama.dylib", "ggml-cuda.so", "ggml-cpu.dll"]
    for name in ("llama-imatrix", "llama-quantize", "notes.txt", *beside):
        (folder / name).touch()
    closure = imatrix.closure(str(tmp_path), entries)
    assert closure.folder.rstrip("/") == str(folder) and closure.main == "llama-imatrix"
    assert sorted(closure.files) == sorted(["llama-imatrix", *beside])


def test_arguments() -> None:
    words = converter.arguments({"folder": "Falcon", "outtype": "auto"}, [])
    assert words == ["./Falcon", "--outfile", "../made/model.gguf", "--outtype", "auto"]
    words = imatrix.arguments({"text": "c.txt", "chunks": 3}, [])
    assert words == ["-m", "../model/model.gguf", "-f", "c.txt", "-o", "../made/imatrix.gguf", "--chunks", "3"]
    assert "--chunks" not in logits.arguments({"text": "c.txt"}, [])


LLAMA: dict[str, Any] = {"general.architecture": ("str", "odd"), "odd.block_count": ("u32", 1)}


def model(path: Path, rows: list[tuple[str, tuple[int, ...]]], **changes: Any) -> Path:
    values = {**LLAMA, **{key.replace("__", "."): value for key, value in changes.items()}}
    metadata = {key: gguf.encode_value(*value) for key, value in values.items() if value}
    tensors = [(name, "f32", shape) for name, shape in rows]
    data = b"".join(bytes(-(-4 * shape[0] * (shape[1:] or (1,))[0] // 32) * 32) for _, shape in rows)
    path.write_bytes(gguf.header(metadata, tensors) + data)
    return path


ROWS = [("token_embd.weight", (8, 16)), ("blk.0.attn_q.weight", (16, 16)), ("blk.0.attn_k.weight", (8, 16))]
HEADS = {"odd__attention__head_count": ("u32", 4), "odd__embedding_length": ("u32", 16)}


@pytest.mark.parametrize(
    ("rows", "changes", "what"),
    [
        ([], {}, "it contains no tensor"),
        (ROWS, {"general__architecture": None}, "lacks 'general.architecture'"),
        (ROWS, {"general__architecture": ("u32", 1)}, "lacks 'general.architecture'"),
        (ROWS, {"general__type": ("str", "adapter")}, "expected a model, got 'adapter'"),
        (ROWS, {"tokenizer__ggml__tokens": ("[str]", ["a"] * 7)}, "the vocabulary has 7 tokens, but 'token_embd.weight' has 8 rows"),
        (ROWS, {"odd__block_count": ("u32", 3)}, "it lacks block 1 of 3"),
        (ROWS, {"odd__block_count": ("u32", 4_000_000_000)}, "it lacks block 1 of 4000000000"),
        ([*ROWS, ("blk.7.ffn.weight", (2, 2))], {}, "it contains block 7, but 'odd.block_count' is 1"),
        (ROWS, {**HEADS, "odd__attention__head_count": ("u32", 3)}, "'blk.0.attn_q.weight' has 16 rows, which are not 3 heads"),
        (ROWS, {**HEADS, "odd__attention__head_count_kv": ("u32", 3)}, "'blk.0.attn_k.weight' has 8 rows, which are not 3 heads"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_one(tmp_path: Path, rows: Any, changes: Any, what: str) -> None:
    with pytest.raises(Error) as caught:
        converter.read(str(model(tmp_path / "x.gguf", rows, **changes)), "")
    assert what in caught.value.what


def test_a_model_is_read_with_the_digests_of_its_tensors(tmp_path: Path) -> None:
    path = model(tmp_path / "x.gguf", ROWS, **HEADS, tokenizer__ggml__tokens=("[str]", ["a"] * 8))
    found = converter.read(str(path), "").tensors
    assert len(found) == 3 and all(digest.startswith("xxh3:") for digest, _, _ in found)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(Error):
        converter.read(str(path), "")


def test_answers_of_a_text_that_is_too_short(tmp_path: Path) -> None:
    path = tmp_path / "logits"
    good = struct.pack("<8sIii", b"_logits_", 8, 300, 2) + bytes(4 * 16 + 2 * 3 * 2 * 304)
    path.write_bytes(good)
    assert logits.read(str(path), "") == tools.Read()
    for data, what in (
        (b"_logits_\0\0\0\0", "too short"),
        (good[:-1], "expected a file of"),
        (b"x" * 100, "not a file of logits"),
    ):
        path.write_bytes(data)
        with pytest.raises(Error, match=what):
            logits.read(str(path), "")


SAID = "kl_divergence: computing over 3 chunks\nMean    KLD:   0.051500 ± 0.000033\nSame top p: 97.908 ± 0.518 %\n"


def test_figures() -> None:
    answer = divergence.read("", "Mean    KLD:   9.000000\n" + SAID).answer
    assert json.loads(answer or b"") == {"kld": 0.0515, "same_top": 97.908}
    with pytest.raises(tools.Cut):
        divergence.read("", SAID.partition("Mean")[0])
    for said in ("", "Mean    KLD:   nan ± nan\n", SAID.replace("0.051500", "nan"), SAID.replace("0.051500", "-inf")):
        with pytest.raises(Error, match="no finite divergence"):
            divergence.read("", said)


def test_an_importance_matrix_without_entries(tmp_path: Path) -> None:
    path = tmp_path / "imatrix.gguf"
    path.write_bytes(gguf.header({"general.type": gguf.encode_value("str", "imatrix")}, []))
    with pytest.raises(Error):
        imatrix.read(str(path), "")


@pytest.mark.parametrize(
    ("text", "chunks", "expected"),
    [(15_000, 500, 3), (15_000, None, 3), (1 << 30, 500, 500), (100, None, 1)],
)
def test_logits_take_what_their_text_and_vocabulary_can_make(text: int, chunks: int | None, expected: int) -> None:
    needed = logits.needs({"chunks": chunks}, tools.Sizes(0, 0, text, 1024))
    assert needed.disk == 20 + expected * (4 * 512 + 255 * 2 * (1024 + 4))
    assert logits.needs({"chunks": 500}, tools.Sizes(0, 0, 1 << 30)).disk < 100


def test_the_vocabulary_of_a_model_is_known_by_its_embeddings() -> None:
    assert tools.vocabulary({"token_embd.weight": (1024, 64)}) == 1024
    assert tools.vocabulary({"blk.0.attn_q.weight": (64, 64)}) == tools.vocabulary({"token_embd.weight": (64,)}) == 0
