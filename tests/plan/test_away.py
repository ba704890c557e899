"""Weights that are not here, as the planner sees them by the lock."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.checkpoint.chat import Chat
from modelbuild.checkpoint.ggufs import Contents
from modelbuild.engine.graph import Source
from modelbuild.errors import Error
from modelbuild.observed import Observed
from modelbuild.plan.away import Away
from modelbuild.project.lock import Pinned
from tests.projects import write

PINNED = Pinned("sha256:" + "a" * 64, "xxh3:" + "b" * 32)
POINTER = f"version https://git-lfs.github.com/spec/v1\noid {PINNED.sha256}\nsize 1000\n"


def away(root: Path, *names: str) -> Away:
    return Away(Observed(), {str(root / name): PINNED for name in names})


def test_what_is_pinned_seems_to_be_there(tmp_path: Path) -> None:
    write(tmp_path, {"m/config.json": "{}"})
    found = away(tmp_path, "m/model.safetensors", "gone/deep/x.gguf")
    paths = ("m", "m/model.safetensors", "gone", "gone/deep", "gone/deep/x.gguf", "gone/other", "m/other")
    kinds = ["folder", "file", "folder", "folder", "file", None, None]
    assert [found.kind(str(tmp_path / path)) for path in paths] == kinds
    assert found.entries(str(tmp_path / "gone")) == ()
    assert [name for name, _, _ in found.entries(str(tmp_path / "m"))] == ["config.json"]
    with pytest.raises(FileNotFoundError):
        found.entries(str(tmp_path / "other"))


def test_a_name_that_only_begins_alike_is_no_folder(tmp_path: Path) -> None:
    found = away(tmp_path, "m-2/x.gguf", "m.gguf", "m0/x.gguf")
    assert [found.kind(str(tmp_path / path)) for path in ("m", "m-", "m-2", "m0")] == [None, None, "folder", "folder"]


@pytest.mark.parametrize(("text", "known"), [(None, True), (POINTER, True), ("weights", False)])
def test_only_what_is_not_there_is_known_by_the_lock(tmp_path: Path, text: str | None, known: bool) -> None:
    if text is not None:
        write(tmp_path, {"model.safetensors": text})
    path = str(tmp_path / "model.safetensors")
    expected = Source(path, "safetensors", PINNED.known if known else "")
    assert away(tmp_path, "model.safetensors").source(path, "safetensors") == expected


def test_a_pointer_to_other_weights_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, {"model.safetensors": POINTER.replace("aaa", "abc")})
    with pytest.raises(Error, match="other weights than the lock pins"):
        away(tmp_path, "model.safetensors").source(str(tmp_path / "model.safetensors"), "safetensors")


NAMES = {
    "none are here": ("config.json", "model.safetensors", "model.safetensors"),
    "another save is here": ("config.json model.safetensors", "model-00001-of-00002.safetensors", ""),
    "a part is here": (
        "config.json model-00002-of-00002.safetensors",
        "model-00001-of-00002.safetensors model-00001-of-00003.safetensors",
        "model-00001-of-00002.safetensors",
    ),
    "an index decides": ("config.json model.safetensors.index.json a.safetensors", "b.safetensors", "b.safetensors"),
    "GGUF files": ("README.md", "a.gguf b.gguf", "a.gguf b.gguf"),
    "another GGUF file is here": ("a.gguf", "b.gguf", ""),
    "a checkpoint was replaced by a GGUF file": ("a.gguf", "model.safetensors", ""),
    "a checkpoint with an importance matrix": ("config.json imatrix.gguf", "model.safetensors", "model.safetensors"),
}
"""Case -> the files that are here, those that are pinned, and those of them that count."""


@pytest.mark.parametrize("case", NAMES)
def test_weights_that_are_here_count_alone(tmp_path: Path, case: str) -> None:
    here, pinned, counts = map(str.split, NAMES[case])
    assert away(tmp_path, *pinned).names(str(tmp_path), here) == sorted([*here, *counts])


def test_what_is_here_is_asked_first(tmp_path: Path) -> None:
    found = away(tmp_path, "b")

    def tell(names: object) -> str:
        asked.append(names)
        if names == ["a"]:
            raise Error("not enough")
        return "told"

    asked: list[object] = []
    assert found.told(str(tmp_path), ["a"], tell) == "told" and asked == [["a"], ["a", "b"]]
    with pytest.raises(Error, match="not enough"):
        found.told(str(tmp_path / "other"), ["a"], tell)


HEAD = {"role": "projector", "architecture": "clip", "unquantized": True, "chat": "{{ a }}", "bos": "<s>"}


def test_the_lock_says_what_a_head_says(tmp_path: Path) -> None:
    pinned = {str(tmp_path / "x.gguf"): PINNED._replace(head=HEAD), str(tmp_path / "y.gguf"): PINNED}
    found = Away(Observed(), pinned)
    x, y = map(str, (tmp_path / "x.gguf", tmp_path / "y.gguf"))
    chat = Chat("{{ a }}", "x.gguf", "<s>")
    assert found.head(x) == Contents("projector", True, "clip", chat, talks=False) and found.head(y) is None
    assert found.source(x, "gguf").known and not found.source(x, "safetensors").known
    assert not found.source(y, "gguf").known
    write(tmp_path, {"x.gguf": "GGUF"})
    assert found.head(x) is None


@pytest.mark.parametrize(("said", "parts"), [("", set()), ("draft projector", {"draft", "projector"}), (None, None)])
def test_the_lock_says_which_parts_a_checkpoint_gives(tmp_path: Path, said: str | None, parts: set[str] | None) -> None:
    path = str(tmp_path / "model.safetensors")
    pinned = PINNED if said is None else PINNED._replace(head={"parts": said})
    found = Away(Observed(), {path: pinned})
    assert found.parts([path]) == parts
    assert found.source(path, "safetensors").known and found.head(path) is None
