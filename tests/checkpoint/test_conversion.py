"""One conversion, part by part: what is wrong with each, and what is remembered of the last ones."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint import conversion
from modelbuild.checkpoint.architectures.llama import Llama
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.conversion import Conversion
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from tests import checkpoints, recipes


def convert(folder: Path, outtype: str = "source", **config: Any) -> Conversion:
    if config:
        found = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**found, **config}))
    return Conversion(recipes.Folder(folder), folder=folder.name, outtype=outtype)


@pytest.mark.parametrize(
    ("outtype", "dtype", "matrix"),
    [("source", "f32", "f32"), ("auto", "f32", "f16"), ("source", "bf16", "bf16"), ("q8_0", "f16", "q8_0")],
)
def test_matrices_are_of_the_type_that_is_asked_for_and_vectors_are_f32(
    tmp_path: Path, outtype: str, dtype: str, matrix: str
) -> None:
    entries = convert(checkpoints.write(tmp_path / "m", dtype=dtype), outtype).recipe.tensors
    types = {len(entry.shape): entry.expression.dtype for entry in entries}
    assert types == {1: "f32", 2: matrix}


def test_every_part_that_is_wrong_is_told_once(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    assert convert(folder).faults() == []
    (folder / "tokenizer.model").write_bytes(b"")
    faults = convert(folder, num_hidden_layers=3, rms_norm_eps="small").faults()
    assert [error.path for error in faults] == ["tokenizer.model", "config.json", "config.json"]


def test_a_vocabulary_is_read_once_for_all_conversions_of_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "_vocabularies", {})
    folders = [checkpoints.write(tmp_path / name) for name in "ab"]
    first = convert(folders[0]).vocabulary
    monkeypatch.setattr(Llama, "tokenizer", property(lambda self: pytest.fail("read again")))
    assert convert(folders[1]).vocabulary is first
    assert len(decode_value(first["tokenizer.ggml.tokens"])) == 288


def test_other_files_have_another_vocabulary_and_few_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "_vocabularies", {})
    folder = checkpoints.write(tmp_path / "m")
    for number in range(2 * conversion.REMEMBERED):
        assert convert(folder, note=number).vocabulary
        assert len(conversion._vocabularies) <= conversion.REMEMBERED
    assert conversion._vocabularies


def test_tokens_that_no_tensor_has_rows_for_are_not_made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Llama, "tokenizer", property(lambda self: pytest.fail("padded")))
    with pytest.raises(Error, match="rows, one for each token of vocab_size"):
        convert(checkpoints.write(tmp_path / "m"), vocab_size=1_000_000).vocabulary  # noqa: B018


def test_a_conversion_goes_at_once_when_it_is_done(tmp_path: Path) -> None:
    gc.disable()
    try:
        conversion = convert(checkpoints.write(tmp_path / "m"))
        assert conversion.faults() == [] and conversion.warnings() and conversion.recipe
        left = weakref.ref(conversion)
        del conversion
        assert left() is None
    finally:
        gc.enable()


def test_one_expert_of_a_block_is_asked_for_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Reader(Llama):
        def named(self, source: str) -> str | None:
            asked.append(source)
            return None if "vision" in source else source.replace("lm.", "").replace("up.odd", "odd")

    stems = ["lm.layers.0.experts", "vision.layers.0.experts"]
    names = [f"{stem}.{index}.{part}" for stem in stems for index in range(20) for part in ("up", "up.odd")]
    reader = Reader(Checkpoint({"config.json": b"{}"}.get))
    assert list(conversion._named(["lm.norm", *names], reader)) == [
        Reader.named(reader, name) for name in ["lm.norm", *names]
    ]
    assert (
        asked.count(f"{stems[0]}.19.up.odd") == 2
        and asked.count(f"{stems[0]}.19.up") == asked.count(f"{stems[1]}.19.up") == 1
    )
