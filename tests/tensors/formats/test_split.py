"""Split files, beside llama-gguf-split."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from modelbuild.checkpoint import ggufs
from modelbuild.tensors.formats import split
from modelbuild.tensors.formats.gguf import decode_value, encode_value
from modelbuild.tensors.tensor import Tensor, TensorTable
from tests import checkpoints, recipes


def parts() -> list[tuple[str, TensorTable]]:
    tables = []
    for number, names in enumerate((["a", "b"], ["c"], ["d"])):
        metadata = (
            {"general.architecture": encode_value("str", "llama"), "x": encode_value("u8", number)}
            if not number
            else {}
        )
        metadata |= {"split.no": encode_value("u16", number), "split.count": encode_value("u16", 3)}
        metadata |= {"split.tensors.count": encode_value("i32", 4)}
        tensors = {name: Tensor(name, "f32", (1, 4), 0, 16, f"xxh3:{name}") for name in names}
        tables.append((f"m-0000{number + 1}-of-00003.gguf", TensorTable(metadata, tensors)))
    return tables


def test_parts_in_any_order_make_one_table() -> None:
    made = split.merge(parts())
    assert list(made.tensors) == ["a", "b", "c", "d"]
    assert list(made.metadata) == ["general.architecture", "x", "split.no", "split.tensors.count", "split.count"]
    assert decode_value(made.metadata["split.count"]) == 0
    shuffled = parts()
    random.Random(1).shuffle(shuffled)
    assert split.merge(shuffled) == made
    assert split.is_part(parts()[0][1]) and not split.is_part(made)


@pytest.mark.peer
def test_parts_make_the_file_that_llama_gguf_split_makes(tmp_path: Path) -> None:
    build = os.environ.get("MODELBUILD_LLAMA_CPP")
    splitter = next(Path(build).rglob("llama-gguf-split"), None) if build else None
    if splitter is None:
        pytest.skip("MODELBUILD_LLAMA_CPP names no build with llama-gguf-split")
    folder = checkpoints.write(tmp_path / "m")
    leaves = recipes.Folder(folder).leaves()
    whole = tmp_path / "whole.gguf"
    whole.write_bytes(recipes.file_of(recipes.quantized(recipes.converted(folder), "q4_K_M"), leaves))
    run = [splitter, "--split", "--split-max-tensors", "5", whole, tmp_path / "part"]
    subprocess.run(run, check=True, capture_output=True)
    files = sorted(path.name for path in tmp_path.glob("part-*.gguf"))
    assert ggufs.parts(files[2], files) == files
    subprocess.run(
        [splitter, "--merge", tmp_path / files[0], tmp_path / "merged.gguf"], check=True, capture_output=True
    )
    made = recipes.file_of(recipes.imported(tmp_path, files), recipes.Folder(tmp_path, files).leaves())
    assert made == (tmp_path / "merged.gguf").read_bytes()
    assert (
        recipes.file_of(recipes.imported(tmp_path, ["whole.gguf"]), recipes.Folder(tmp_path, ["whole.gguf"]).leaves())
        == whole.read_bytes()
    )
