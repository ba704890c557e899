"""Split files, beside llama-gguf-split."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from modelbuild.checkpoint import ggufs
from modelbuild.errors import Error
from modelbuild.tensors.formats import split
from modelbuild.tensors.formats.gguf import decode_value, encode_value
from modelbuild.tensors.formats.limit import Limit
from modelbuild.tensors.formats.limit import limit as limit_of
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


def whole(*sizes: int, **metadata: bytes) -> TensorTable:
    """The table of a file with tensors of some bytes."""
    tensors = {f"t{n}": Tensor(f"t{n}", "f32", (size // 4,), 0, size, "") for n, size in enumerate(sizes)}
    return TensorTable({"general.architecture": encode_value("str", "x"), **metadata}, tensors)


def grouped(table: TensorTable, limit: object) -> list[list[str]]:
    return [[each.name for each in part.tensors] for part in split.parts(table, limit_of(limit))]


def test_parts_are_full_and_count_padded_tensors() -> None:
    table = whole(400_000, 600_000, 400_000, 999_996, 4, 4)
    assert grouped(table, "1M") == [["t0", "t1"], ["t2"], ["t3"], ["t4", "t5"]]
    assert grouped(table, 4) == [["t0", "t1", "t2", "t3"], ["t4", "t5"]] and len(grouped(table, "1G")) == 1


def test_the_first_part_has_the_metadata_and_each_says_which_it_is() -> None:
    first, second = split.parts(whole(4, 4, **{"split.count": encode_value("u16", 0)}), Limit(0, 1))
    assert b"general.architecture" in first.head and b"general.architecture" not in second.head
    assert first.head.count(b"split.count") == 1 and len(first.head) % 32 == len(second.head) % 32 == 0


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(Error, match="parts so small: tensor 't0' is 2,000,000 bytes long"):
        split.parts(whole(2_000_000, 4), limit_of("1M"))
    assert grouped(whole(4, 2_000_000), "1M") == [["t0"], ["t1"]], "only the first is in the tool's way"
    with pytest.raises(Error, match="would be split into 513 parts, expected at most 512"):
        split.parts(whole(*[4] * 513), Limit(0, 1))
    with pytest.raises(Error, match="aligned to 64 bytes, expected 32"):
        split.parts(whole(4, 4, **{"general.alignment": encode_value("u32", 64)}), Limit(0, 1))
    with pytest.raises(Error, match="a part of a split file already"):
        split.parts(whole(4, **{"split.count": encode_value("u16", 2)}), Limit(0, 1))


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
