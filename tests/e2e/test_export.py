"""Exports in every shape, asked for and declared: what stands in the folder, and what happens to what stood there before."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from modelbuild import shapes
from modelbuild.cli.main import main
from modelbuild.tensors.formats import gguf, safetensors
from tests.e2e.project import old
from tests.e2e.test_files import Hand

GOLDEN = Path(__file__).parents[1] / "golden/shapes"

TOML = """
[project]
models = "models"

[model.tale]
from = "./weights"
name = "acme/tale"
system = "Tell."
license = "MIT"
parameters = {{ num_ctx = 512, stop = ["<end>"] }}
export = {export}
[model.tale.matrix]
quantize = ["q8_0", "f16"]
"""
COMMAND = TOML.format(export="[]")


def declared(*entries: str) -> str:
    return TOML.format(export="[" + ", ".join(entries) + "]")


class Here(Hand):
    """A project whose commands run in this process, which is quicker: there are many of them."""

    def __init__(
        self, folder: Path, cache: Path, screen: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch
    ) -> None:
        super().__init__(folder)
        self.cache = cache
        self._screen = screen
        self._patch = patch

    def do(self, *words: str, code: int = 0, cwd: str = ".") -> str:
        self._patch.chdir(self.folder / cwd)
        self._patch.setenv("MODELBUILD_CACHE", str(self.cache))
        self._patch.setenv("OLLAMA_MODELS", str(self.models))
        self._screen.readouterr()
        found = main(list(words))
        out, err = self._screen.readouterr()
        assert "Traceback" not in err and "internal error" not in err, err
        assert found == code, out + err
        return out + err


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint, and with a cache that all tests share."""
    folder = tmp_path_factory.mktemp("made")
    for path in Hand(folder).checkpoint(layers=1, hidden=128, intermediate=128).iterdir():
        old(path)
    return folder


@pytest.fixture
def hand(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    hand = Here(tmp_path, made / "cache", capsys, monkeypatch)
    shutil.copytree(made / "weights", tmp_path / "weights")
    hand.write("ModelBuild.toml", COMMAND)
    return hand


@pytest.fixture
def alone(hand: Here) -> Here:
    """One with a cache of its own, to be deleted."""
    hand.cache = hand.folder / "cache"
    return hand


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def blob_of(hand: Hand, namespace: str, name: str) -> bytes:
    """The bytes of a model's GGUF in the models folder."""
    path = hand.models / "manifests/registry.ollama.ai" / namespace / name.replace(":", "/")
    layer = next(each for each in json.loads(path.read_text())["layers"] if each["mediaType"].endswith(".model"))
    return (hand.models / "blobs" / layer["digest"].replace(":", "-")).read_bytes()


def listing(folder: Path) -> str:
    """A folder as a golden has it: sizes and digests of files, and the texts of small ones."""
    lines = []
    for name, data in files(folder).items():
        lines.append(f"{name}  {len(data)}  sha256:{hashlib.sha256(data).hexdigest()}")
        if not data.startswith(b"GGUF") and not name.endswith((".safetensors", "tokenizer.json", "tokenizer.model")):
            lines += ["    " + line for line in data.decode().splitlines()]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("shape", shapes.names())
def test_an_exported_folder_is_as_its_golden(hand: Here, shape: str) -> None:
    hand.do("export", "--as", shape, "tale:q8_0", "out")
    text = listing(hand.folder / "out").replace(str(hand.folder), "<folder>")
    golden = GOLDEN / "exported" / f"{shape}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()
    before = {path: path.stat().st_mtime_ns for path in (hand.folder / "out").rglob("*")}
    assert "written" not in hand.do("export", "--as", shape, "tale:q8_0", "out")
    assert before == {path: path.stat().st_mtime_ns for path in (hand.folder / "out").rglob("*")}
    assert not hand.models.exists()


def test_every_golden_of_a_folder_has_its_shape() -> None:
    assert sorted(path.stem for path in (GOLDEN / "exported").iterdir()) == sorted(shapes.names())


# Declared


def test_a_build_keeps_folders_of_other_runners(hand: Here) -> None:
    hand.write(
        "ModelBuild.toml", declared('{ as = "hugging-face", path = "hub" }', '{ as = "llama-server", path = "srv" }')
    )
    text = hand.do()
    assert "written    hub/tale-Q8_0.gguf" in text and "written    srv/presets.ini" in text
    assert sorted(files(hand.folder / "hub")) == ["LICENSE", "README.md", "tale-F16.gguf", "tale-Q8_0.gguf"]
    card = (hand.folder / "hub/README.md").read_text()
    assert "| `tale-F16.gguf` | F16 |" in card and "| `tale-Q8_0.gguf` | Q8_0 |" in card
    assert "nothing to do" in hand.do() and "nothing to do" in hand.do()
    assert hand.bytes("hub/tale-F16.gguf") == blob_of(hand, "acme", "tale:f16")
    (hand.folder / "hub/README.md").unlink()
    assert hand.do("list").count("changed") == 2
    assert "write    hub/tale-Q8_0.gguf" in hand.do("-n")
    assert "written    hub/README.md" in hand.do()
    assert (hand.folder / "hub/README.md").read_text() == card
    assert '"exports": [' in hand.do("--json", "show", "tale:f16")


def test_one_row_alone_leaves_the_others_where_they_are(hand: Here) -> None:
    hand.write("ModelBuild.toml", declared('{ as = "hugging-face", path = "hub" }'))
    hand.do("tale:q8_0")
    assert "F16" not in (hand.folder / "hub/README.md").read_text()
    hand.do()
    whole = files(hand.folder / "hub")
    hand.write("ModelBuild.toml", declared('{ as = "hugging-face", path = "hub" }').replace("512", "1024"))
    hand.do("tale:q8_0")
    assert files(hand.folder / "hub").keys() == whole.keys()
    card = (hand.folder / "hub/README.md").read_text()
    assert "`1024`" in card and "`512`" in card, "each as it stands there"


def test_what_is_no_longer_declared_is_told_of_and_removed_on_request(hand: Here) -> None:
    both = declared('{ as = "llama-server", path = "srv" }', '{ as = "lm-studio", path = "lms" }')
    hand.write("ModelBuild.toml", both)
    hand.do()
    hand.write("ModelBuild.toml", declared('{ as = "llama-server", path = "srv" }').replace('"f16"', '"q4_0"'))
    text = hand.do()
    assert "no longer declared" in text and "srv/tale-f16.gguf" in text and "lms/acme/tale/tale-Q8_0.gguf" in text
    (hand.folder / "lms/acme/tale/tale-Q8_0.gguf").write_bytes(b"GGUF mine")
    hand.do("clean", "--stale")
    assert sorted(files(hand.folder / "srv")) == ["presets.ini", "tale-q4_0.gguf", "tale-q8_0.gguf"]
    assert files(hand.folder / "lms") == {"acme/tale/tale-Q8_0.gguf": b"GGUF mine"}
    hand.do("clean")
    assert not (hand.folder / "srv").exists()


@pytest.mark.parametrize("shape", ["folder", "llama-server", "hugging-face", "modelpack", "oci"])
def test_deleting_the_cache_costs_an_export_nothing(alone: Here, shape: str) -> None:
    hand = alone
    entry = f'{{ as = "{shape}", path = "out" }}'
    hand.write("ModelBuild.toml", declared(entry))
    hand.do()
    before = files(hand.folder / "out")
    shutil.rmtree(hand.cache)
    hand.write("ModelBuild.toml", declared(entry).replace("512", "1024"))
    hand.do()
    after = files(hand.folder / "out")
    assert before.keys() <= after.keys() and before != after


def test_an_edited_text_stays(alone: Here) -> None:
    hand = alone
    hand.write("ModelBuild.toml", declared('{ as = "hugging-face", path = "hub" }'))
    hand.do()
    mine = (hand.folder / "hub/README.md").read_text() + "mine\n"
    hand.write("hub/README.md", mine)
    assert "hub/README.md: was edited since modelbuild wrote it" in hand.do(code=1)
    shutil.rmtree(hand.cache)
    assert "hub/README.md: already exists; modelbuild did not write it" in hand.do(code=1)
    assert (hand.folder / "hub/README.md").read_text() == mine


# Split


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.gguf"))


def test_parts_are_read_back_as_one_and_old_parts_go(hand: Here) -> None:
    told = hand.do("export", "tale:f16", "out", "--split", "5")
    assert told.endswith("try it: modelbuild run out/Modelfile\n"), "Ollama reads no split files"
    found = parts(hand.folder / "out")
    assert len(found) > 2 and found[0] == f"tale-f16-00001-of-{len(found):05}.gguf"
    assert "FROM ./tale-f16-00001-of-" in (hand.folder / "out/Modelfile").read_text()
    hand.do("-f", "out/Modelfile", "-t", "back", "-o", "back.gguf")
    whole, back = (gguf.table(str(hand.folder / name)) for name in ("back.gguf", "back.gguf"))
    hand.do("tale:f16", "-o", "whole.gguf")
    whole = gguf.table(str(hand.folder / "whole.gguf"))
    assert [(each.name, each.length) for each in whole.tensors.values()] == [
        (each.name, each.length) for each in back.tensors.values()
    ]
    mine = hand.write("out/tale-f16-00009-of-00009.gguf", "GGUF mine")
    hand.do("export", "tale:f16", "out", "--split", "100MB")
    assert parts(hand.folder / "out") == ["tale-f16-00009-of-00009.gguf", "tale-f16.gguf"], "one that fits stays whole"
    assert mine.read_text() == "GGUF mine"
    assert hand.bytes("out/tale-f16.gguf") == hand.bytes("whole.gguf")


def test_a_part_that_somebody_edited_stays(hand: Here) -> None:
    hand.do("export", "tale:f16", "out", "--split", "10")
    first, last = parts(hand.folder / "out")[0], parts(hand.folder / "out")[-1]
    (hand.folder / "out" / last).write_bytes(b"GGUF mine")
    hand.do("export", "tale:f16", "out", "--split", "5")
    assert last in parts(hand.folder / "out") and first not in parts(hand.folder / "out")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--split", "1.5G"], "--split: expected a size such as '50GB' or '500MB', or a number of tensors, got '1.5G'"),
        (["--split", "0"], "--split: expected a size"),
        (["--as", "oci", "--split", "1G"], "--split has no effect: the shape 'oci' has no split files"),
        (["--as", "tarball"], "'tarball' is not one of"),
    ],
)
def test_what_cannot_be_asked_for(hand: Here, words: list[str], said: str) -> None:
    assert said in hand.do("export", "tale:f16", "out", *words, code=2)
    assert not (hand.folder / "out").exists()


def test_parts_that_cannot_be_so_small(hand: Here) -> None:
    hand.checkpoint("wide", layers=1, hidden=1024, intermediate=128, vocabulary=1000)
    text = hand.do("export", "./wide", "out", "--split", "1M", code=1)
    assert "cannot be split into parts so small: tensor '" in text and "limit  1,000,000 bytes" in text
    assert not (hand.folder / "out").exists()


# Links


def test_hard_links_are_made_where_they_are_asked_for(hand: Here) -> None:
    hand.do("export", "tale:q8_0", "out")
    assert (hand.folder / "out/tale-q8_0.gguf").stat().st_nlink == 1
    hand.do("export", "tale:q8_0", "links", "--link")
    assert (hand.folder / "links/tale-q8_0.gguf").stat().st_nlink > 1
    assert "written" not in hand.do("export", "tale:q8_0", "links", "--link")
    assert hand.bytes("links/tale-q8_0.gguf") == hand.bytes("out/tale-q8_0.gguf")


# What is somebody else's


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ("hugging-face", "README.md"),
        ("hugging-face", "LICENSE"),
        ("hugging-face", "tale-Q8_0.gguf"),
        ("llama-server", "presets.ini"),
        ("oci", "index.json"),
        ("safetensors", "config.json"),
        ("safetensors", "model.safetensors"),
        ("lm-studio", "acme/tale/tale-Q8_0.gguf"),
    ],
)
def test_no_file_of_somebody_elses_is_written_over(hand: Here, shape: str, name: str) -> None:
    hand.write(f"out/{name}", "mine")
    text = hand.do("export", "--as", shape, "tale:q8_0", "out", code=1)
    assert f"out/{name}: already exists" in text
    assert files(hand.folder / "out") == {name: b"mine"}
    hand.do("export", "--force", "--as", shape, "tale:q8_0", "out")
    assert hand.bytes(f"out/{name}") != b"mine"


def test_an_export_into_what_it_is_made_from_is_refused(hand: Here) -> None:
    before = files(hand.folder / "weights")
    text = hand.do("export", "--force", "--as", "safetensors", "tale:q8_0", "weights", code=1)
    assert "weights/config.json: is an input of this build and would be overwritten" in text
    hand.write("out", "a file")
    assert "out: is a file, expected a folder" in hand.do("export", "--as", "oci", "tale", "out", code=1)
    for place in (str(hand.cache), "models/blobs"):
        text = hand.do("export", "--as", "hugging-face", "tale", f"{place}/x", code=1)
        assert "cannot be inside a folder that belongs to Ollama or modelbuild" in text
    assert files(hand.folder / "weights") == before


def test_a_folder_is_exported_to_in_one_way(hand: Here) -> None:
    toml = (
        declared('{ as = "folder", path = "out" }')
        + '[model.b]\nfrom = "./weights"\nexport = [{ as = "oci", path = "./out/" }]\n'
    )
    hand.write("ModelBuild.toml", toml)
    assert "model 'b': './out/' cannot be exported to in two ways" in hand.do(code=2)


# Weights


def test_weights_without_an_adapter_are_the_checkpoints_own(hand: Here) -> None:
    hand.do("export", "--as", "safetensors", "tale:q8_0", "out")
    theirs, ours = (safetensors.table(str(hand.folder / name / "model.safetensors")) for name in ("weights", "out"))
    shapes_ = [{name: (each.dtype, each.shape) for name, each in table.tensors.items()} for table in (theirs, ours)]
    assert shapes_[0] == shapes_[1] and ours.metadata == {"format": b"pt"}
    data = [hand.bytes(f"{name}/model.safetensors") for name in ("weights", "out")]
    for name, tensor in theirs.tensors.items():
        there, here = (
            each[at.offset : at.offset + at.length] for each, at in zip(data, (tensor, ours.tensors[name]), strict=True)
        )
        assert there == here, name
    assert hand.bytes("out/config.json") == hand.bytes("weights/config.json")


def test_large_weights_are_several_files_with_an_index(hand: Here) -> None:
    hand.do("export", "--as", "safetensors", "tale:q8_0", "one")
    hand.do("export", "--as", "safetensors", "tale:q8_0", "many", "--split", "7")
    index = json.loads(hand.bytes("many/model.safetensors.index.json"))
    whole = safetensors.table(str(hand.folder / "one/model.safetensors")).tensors
    found: dict[str, Any] = {}
    for name in sorted(set(index["weight_map"].values())):
        table = safetensors.table(str(hand.folder / "many" / name))
        assert len(table.tensors) <= 7 and all(index["weight_map"][each] == name for each in table.tensors)
        data = hand.bytes(f"many/{name}")
        found |= {each.name: data[each.offset : each.offset + each.length] for each in table.tensors.values()}
    one = hand.bytes("one/model.safetensors")
    assert found == {each.name: one[each.offset : each.offset + each.length] for each in whole.values()}
    assert index["metadata"]["total_size"] == sum(map(len, found.values()))
    assert "built" in hand.do("./many", "-t", "again")


def test_a_gguf_has_no_weights_before_quantization(hand: Here) -> None:
    hand.do("tale:f16", "-o", "tale.gguf")
    said = "is not made from a folder of safetensors, and has no weights before quantization"
    assert f"'tale' {said}" in hand.do("export", "--as", "safetensors", "./tale.gguf", "out", code=1)
    hand.write("ModelBuild.toml", '[model.g]\nfrom = "./tale.gguf"\nexport = [{ as = "safetensors", path = "out" }]\n')
    assert f"model 'g': 'g' {said}" in hand.do(code=2)
