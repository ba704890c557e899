"""Paths with a mistake in them, and the files that they were meant for."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from modelbuild import misspelled
from modelbuild.misspelled import FILE, FOLDER, WEIGHTS, Wanted, hint, path

FILES = (
    "checkpoints/gguf/Small.Q4_K_M.gguf",
    "Tiny One/model.safetensors",
    "blobs/sha256-00ff",
    "prompts/système.txt",
    "prompts/it's.txt",
    "project/models/chat/Modelfile",
    "project/weights.gguf",
    "notes",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("checkpoints\\gguf\\Small.Q4_K_M.gguf", "checkpoints/gguf/Small.Q4_K_M.gguf"),
        (".\\checkpoints\\gguf\\small.q4_k_m.gguf", "checkpoints/gguf/Small.Q4_K_M.gguf"),
        ("C:\\Users\\me\\checkpoints\\gguf\\Small.Q4_K_M.gguf", "checkpoints/gguf/Small.Q4_K_M.gguf"),
        ("./Checkpoints/GGUF/small.q4_k_m.GGUF", "./checkpoints/gguf/Small.Q4_K_M.gguf"),
        ("./checkpoints/gguf/Small.Q4_K_M", "./checkpoints/gguf/Small.Q4_K_M.gguf"),
        ("./checkpoints/gguf/small", "./checkpoints/gguf/Small.Q4_K_M.gguf"),
        ("./checkpoints/gguf/Small.gguf", "./checkpoints/gguf/Small.Q4_K_M.gguf"),
        ("./checkpoints/gguf/Small.Q4-K-M.bin", "./checkpoints/gguf/Small.Q4_K_M.gguf"),
        ("./checkpoint/guf/Smal.Q4_K_M.gguf", "./checkpoints/gguf/Small.Q4_K_M.gguf"),
        ("./checkpoints/Small.Q4_K_M.gguf", "./checkpoints/gguf/Small.Q4_K_M.gguf"),
        ("./checkpoints/old/gguf/Small.Q4_K_M.gguf", "./checkpoints/gguf/Small.Q4_K_M.gguf"),
        ("gguf/Small.Q4_K_M.gguf", "checkpoints/gguf/Small.Q4_K_M.gguf"),
        ("elsewhere/checkpoints/gguf/Small.Q4_K_M.gguf", "checkpoints/gguf/Small.Q4_K_M.gguf"),
        ("'./checkpoints/gguf/Small.Q4_K_M.gguf'", "checkpoints/gguf/Small.Q4_K_M.gguf"),
        ("./checkpoints/gguf/Small.Q4_K_M.gguf \t", "./checkpoints/gguf/Small.Q4_K_M.gguf"),
        ("file:checkpoints/gguf/Small.Q4_K_M.gguf", "checkpoints/gguf/Small.Q4_K_M.gguf"),
        ("./Tiny%20One/model.safetensors", "./Tiny One/model.safetensors"),
        ("./Tiny\\ One/model.safetensors", "./Tiny One/model.safetensors"),
        ("./tiny-one/model.safetensors", "./Tiny One/model.safetensors"),
        ("blobs/sha256:00ff", "blobs/sha256-00ff"),
        ("prompts/it\\'s.txt", "prompts/it's.txt"),
        (unicodedata.normalize("NFD", "prompts/système.txt"), "prompts/système.txt"),
        ("notes.txt", "notes"),
        ("./notes/", "./notes"),
    ],
)
def test_a_file_is_found_however_it_is_misspelled(folder: Path, text: str, meant: str) -> None:
    assert path(text, str(folder)) == meant
    assert hint(text, str(folder)) == f"did you mean '{meant}'?"


def test_absolute_paths_stay_absolute_and_home_stays_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = str(folder / "checkpoints/gguf/Small.Q4_K_M.gguf")
    assert path(f"{folder}/Checkpoints/gguf/Small.Q4_K_M.gguf", "/") == whole
    assert path(whole[1:], str(folder / "project")) == "../checkpoints/gguf/Small.Q4_K_M.gguf"
    monkeypatch.setenv("HOME", str(folder))
    assert path("~/notes.md", "/") == "~/notes"
    assert path("$HOME/notes", "/") == "~/notes"
    assert path("./~/notes", "/tmp") == "~/notes"


def test_a_path_for_another_folder_is_found_from_this_one(folder: Path) -> None:
    chat = str(folder / "project" / "models" / "chat")
    assert path("weights.gguf", chat) == "../../weights.gguf"
    assert path("project/weights.gguf", chat) == "../../weights.gguf"
    assert path("models/chat/Modelfile", chat) == "Modelfile"


def test_only_what_is_wanted_is_found(folder: Path) -> None:
    here = str(folder)
    assert path("Blobs", here, FOLDER) == "blobs"
    assert path("Blobs", here, FILE) is None
    assert path("Notes", here, FOLDER) is None
    assert path("tiny one", here, WEIGHTS) == "Tiny One"
    assert path("blobz", here, WEIGHTS) == "blobs"
    assert path("blobz", here, Wanted(folders=True, loosely=False)) is None


@pytest.mark.parametrize("text", ["", ".", "/", "~", "quite another thing", "a\0b", "x/" * 500, "\udcff", "../" * 80])
def test_what_is_near_nothing_gets_no_hint(folder: Path, text: str) -> None:
    assert path(text, str(folder)) is None


def test_hidden_files_are_meant_only_by_hidden_names(folder: Path) -> None:
    (folder / ".notez").touch()
    (folder / ".hidden").mkdir()
    (folder / ".hidden/inner.txt").touch()
    assert path("notezz", str(folder)) == "notes"
    assert path(".notezz", str(folder)) == ".notez"
    assert path("inner.txt", str(folder)) is None


def test_a_look_into_folders_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        (tmp_path / f"{number:02}").mkdir()
        (tmp_path / f"{number:02}" / "File").touch()
    monkeypatch.setattr(misspelled, "SCANNED", 10)
    monkeypatch.setattr(misspelled, "FOLDERS", 3)
    listed: list[str] = []
    scandir = os.scandir

    def counted(folder: str) -> object:
        listed.append(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", counted)
    assert path("00/01/02/03/04/05/06/nothing", str(tmp_path)) is None
    assert len(listed) <= 3
    search = misspelled._Search(FILE)
    assert len(search._listing(str(tmp_path)).names) == 10


def test_a_folder_that_cannot_be_listed_holds_nothing(tmp_path: Path) -> None:
    assert path("x/y", str(tmp_path / "nowhere")) is None
