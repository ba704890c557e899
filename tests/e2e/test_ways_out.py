"""Mistakes of the command line and of folders: each is told at once, with one exit code and a way out, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.cli import main
from tests import checkpoints


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    checkpoints.write(tmp_path / "weights")
    (tmp_path / "ModelBuild.toml").write_text('[model.a]\nfrom = "./weights"\n[model.b]\nfrom = "./weights"\n')
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELBUILD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "models"))
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ["--cache", "file"],
            2,
            "a file is in its place\n  hint  name another folder with --cache or $MODELBUILD_CACHE",
        ),
        (["--cache", "file/below"], 2, "error: file: the cache cannot be used: a file is in its place"),
        (["--models", "file"], 1, "not a folder\n  hint  name another folder with --models, $OLLAMA_MODELS"),
        (["--models", "/proc/modelbuild"], 1, "hint     name another folder with --models"),
        (["--cache", "x", "--models", "x"], 2, "name a separate cache folder with --cache"),
        (["clean", "a"], 2, "`clean` takes no targets: `modelbuild rm NAME` removes one model"),
        (["clean", "--cache", "--cache", "x"], 2, "`modelbuild --cache DIR clean --cache` empties another cache"),
        (["build", "--poll"], 2, "hint  it is an option of `modelbuild watch`"),
        (["watch", "c"], 2, "'c' is not a model, a variant or a group of this project"),
        (["--watch", "a", "list"], 2, "'list' is not a model"),
        (["./weights", "-q", "q9_0", "-o", "out.gguf"], 2, "error: -q q9_0: unknown type 'q9_0'"),
        (["./weights", "-q", "iq2_xs", "-o", "out.gguf"], 2, "llama.cpp's iq2_xs is not supported yet"),
        (["a:"], 2, "no tag ''"),
        (
            ["export", "a"],
            2,
            "error: DEST is missing: 'a' is what to export\n  hint  name a folder: `modelbuild export a FOLDER`",
        ),
        (["show"], 2, "error: 'ModelBuild.toml' matches 2 variants, need one"),
        (["quality", "--models", "m m"], 1, "`modelbuild --models 'm m' a`"),
    ],
)
def test_a_mistake_is_told_with_a_way_out(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(words) == code
    assert said in capsys.readouterr().err


def test_one_mistake_has_one_exit_code(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine" / "manifests").mkdir(parents=True)
    at = ["--cache", "mine", "--models", "mine"]
    for words in ([], ["-n"], ["list"], ["check"], ["clean"], ["clean", "--cache"], ["explain"]):
        assert main.main([*at, *words]) == 2
        assert "--cache or $MODELBUILD_CACHE" in capsys.readouterr().err


def test_what_writes_nothing_makes_no_cache(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.name for path in folder.iterdir())
    for words in (["-n"], ["-n", "--explain", "a"], ["clean", "--cache"], ["clean", "--cache", "-n"]):
        assert main.main(words) == 0
        assert sorted(path.name for path in folder.iterdir()) == before
    assert "nothing to remove: there is no cache in" in capsys.readouterr().err


def test_hints_name_the_options_that_a_build_was_made_with(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["-C", str(folder), "--models", str(folder / "my models"), "--cache", "c"]
    assert main.main(at) == 0
    (folder / "ModelBuild.toml").write_text('[model.a]\nfrom = "./weights"\n')
    capsys.readouterr()
    assert main.main(at) == 0
    command = f"`modelbuild -C {folder} --models '{folder}/my models' --cache c clean --stale`"
    assert f"{command} removes" in capsys.readouterr().err


def test_a_number_of_thousands_of_digits_is_told_in_our_words(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "ModelBuild.toml").write_text(f'[model.a]\nfrom = "./w"\nparameters.seed = {"9" * 6000}\n')
    assert main.main(["list"]) == 2
    assert "ModelBuild.toml:3:19: a number has more than 4,300 digits" in capsys.readouterr().err


def test_the_only_model_of_a_project_needs_no_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "alone").mkdir()
    (folder / "alone/Modelfile").write_text("FROM ../weights\n")
    assert main.main(["-f", "alone/Modelfile", "export", "out"]) == 0
    assert (folder / "out/alone.gguf").is_file()
    assert main.main(["-f", "alone/Modelfile", "show"]) == 0
    assert capsys.readouterr().out.startswith("alone\n")


def test_a_misspelled_target_is_no_folder_to_export_everything_to(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "ModelBuild.toml").write_text('[model.narrator]\nfrom = "./weights"\n')
    assert main.main(["export", "narator"]) == 2
    assert (
        "did you mean `modelbuild export narrator FOLDER`? A folder of that name is ./narator"
        in capsys.readouterr().err
    )
    assert not (folder / "narator").exists()
    assert main.main(["export", "./narator"]) == 0
    assert (folder / "narator/narrator.gguf").is_file()
    assert main.main(["export", "narator"]) == 0, "it is a folder now"
