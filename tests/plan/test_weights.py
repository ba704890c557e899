"""Looking at weights: folders to convert, GGUF files and what they hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelbuild.digest import xxh3
from modelbuild.engine.graph import Source
from modelbuild.errors import Error
from modelbuild.observed import Observed
from modelbuild.plan.gguf_files import GgufFile
from modelbuild.plan.weights import CheckpointFolder, Weights, WeightsReader
from modelbuild.project.locate import Place
from modelbuild.project.variant import File, From
from tests.plan.test_plan import CHATML, CHECKPOINT, chatting, gguf_file
from tests.projects import write

PLACE = Place("ModelBuild.toml")


def weights(root: Path, *names: str) -> Weights:
    return WeightsReader(Observed()).read([(From(name, True, str(root), PLACE), str(root / name)) for name in names])


def test_a_folder_of_safetensors_is_a_checkpoint_with_all_that_decides_it(tmp_path: Path) -> None:
    nested = {"weights/additional_chat_templates/tools.jinja": "x", "weights/notes.txt": "x"}
    write(tmp_path, {**chatting(), **nested})
    found = weights(tmp_path, "weights")
    assert isinstance(found, CheckpointFolder)
    assert (found.name, found.plugin) == ("weights", None)
    assert found.chat is not None and found.chat.template == CHATML
    files = dict(found.files)
    assert files["model.safetensors"] == Source(str(tmp_path / "weights/model.safetensors"), "safetensors")
    assert files["README.md"].form == "bytes"
    assert "additional_chat_templates/tools.jinja" in files and "notes.txt" not in files


def test_a_folder_of_gguf_files_is_these_files(tmp_path: Path) -> None:
    write(tmp_path, {"m/x.gguf": gguf_file(), "m/mmproj.gguf": gguf_file("mmproj"), "m/notes.txt": "x"})
    found = weights(tmp_path, "m")
    assert isinstance(found, tuple)
    assert [(file.parts, file.contents.role) for file in found] == [
        ((str(tmp_path / "m/mmproj.gguf"),), "projector"),
        ((str(tmp_path / "m/x.gguf"),), "model"),
    ]


def test_one_part_stands_for_all_of_a_split_file(tmp_path: Path) -> None:
    parts = {f"x-{n:05}-of-00002.gguf": gguf_file(**{"split.no": n - 1, "split.count": 2}) for n in (1, 2)}
    write(tmp_path, parts)
    (file,) = weights(tmp_path, "x-00002-of-00002.gguf")
    assert isinstance(file, GgufFile)
    assert file.parts == tuple(str(tmp_path / name) for name in parts)


def test_an_unreadable_tokenizer_file_is_for_the_conversion_to_tell(tmp_path: Path) -> None:
    write(tmp_path, {**CHECKPOINT, "weights/tokenizer_config.json": "{,"})
    found = weights(tmp_path, "weights")
    assert isinstance(found, CheckpointFolder) and found.chat is None


def test_the_pooling_that_modules_json_names_is_read(tmp_path: Path) -> None:
    modules = json.dumps([{"type": "sentence_transformers.models.Pooling", "path": "2_Pool"}])
    write(tmp_path, {**CHECKPOINT, "weights/modules.json": modules, "weights/2_Pool/config.json": "{}"})
    observed = Observed()
    path = str(tmp_path / "weights")
    found = WeightsReader(observed).read([(From("weights", True, str(tmp_path), PLACE), path)])
    assert isinstance(found, CheckpointFolder)
    assert dict(found.files)["2_Pool/config.json"] == Source(f"{path}/2_Pool/config.json", "bytes")
    assert ("read", f"{path}/modules.json", xxh3(modules.encode())) in observed.looks()


@pytest.mark.parametrize(
    ("files", "names", "what"),
    [
        (CHECKPOINT, ["weights", "weights"], "one of them is a folder"),
        (CHECKPOINT, ["weights/model.safetensors"], "names one file of a checkpoint"),
        ({"p.gguf": gguf_file("mmproj")}, ["p.gguf"], "'p.gguf' is not a model"),
        ({"x.gguf": gguf_file(), "y.gguf": gguf_file()}, ["x.gguf", "y.gguf"], "more than one model"),
        ({"x.gguf": b"x" * 99}, ["x.gguf"], "'x.gguf': is not a GGUF file"),
        ({"weights/config.json": json.dumps({})}, ["weights"], "'weights': no weights here"),
    ],
)
def test_what_cannot_be_a_base_says_why(
    tmp_path: Path, files: dict[str, str | bytes], names: list[str], what: str
) -> None:
    write(tmp_path, files)
    with pytest.raises(Error, match=what) as caught:
        weights(tmp_path, *names)
    assert caught.value.path == "ModelBuild.toml"


def test_what_is_named_beside_a_model_must_be_what_it_is_named_as(tmp_path: Path) -> None:
    write(tmp_path, {"a.gguf": gguf_file("adapter"), "x.gguf": gguf_file()})
    reader = WeightsReader(Observed())
    adapter, model, none = (
        File(str(tmp_path / name), name, str(tmp_path), PLACE) for name in ("a.gguf", "x.gguf", "none")
    )
    assert reader.beside("adapter", adapter, adapter.path).role == "adapter"
    assert reader.beside("draft", model, model.path).architecture == "llama"
    with pytest.raises(Error, match="expected an adapter, got a model: 'x.gguf'"):
        reader.beside("adapter", model, model.path)
    with pytest.raises(Error, match="no such file: 'none'"):
        reader.beside("draft", none, none.path)
    with pytest.raises(Error, match="no such file: 'none'"):
        reader.file(none)


@pytest.mark.parametrize(
    ("leads", "what"), [("/dev/null", "is neither a file nor a folder"), ("x", "is a link that leads to nothing")]
)
def test_what_is_there_and_cannot_be_read_is_not_missing(leads: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to(leads)
    file = File(str(tmp_path / "x"), "x", str(tmp_path), PLACE)
    with pytest.raises(Error, match=f"'x' {what}"):
        WeightsReader(Observed()).file(file)
