"""Every place that takes a path names the file that a misspelled one was meant for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from modelbuild.cli import main
from tests.plan.test_plan import gguf_file
from tests.projects import load, write

FILES: Mapping[str, str | bytes] = {
    "checkpoints/gguf/Small.Q4_K_M.gguf": gguf_file(),
    "checkpoints/gguf/Vision.gguf": gguf_file(),
    "prompts/system.txt": "x",
    "imatrix.dat": "x",
    "texts/Chat.Modelfile": "FROM ../checkpoints/gguf/Small.Q4_K_M.gguf\n",
}
WEIGHTS = "./checkpoints/gguf/Small.Q4_K_M.gguf"
MODEL = f'[model.a]\nfrom = "{WEIGHTS}"\n'


def said(tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main.main(["-C", str(tmp_path), "--cache", str(tmp_path / "cache"), *words]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('[model.a]\nfrom = "checkpoints"', "'./checkpoints'? In ModelBuild.toml a path begins with '.', '/' or '~'"),
        ('[model.a]\nfrom = "Checkpoints/GGUF"', "'./checkpoints/gguf'?"),
        ("[model.a]\nfrom = './checkpoints\\gguf\\small.q4_k_m.gguf'", f"'{WEIGHTS}'?"),
        ('[model.a]\nfrom = "./checkpoints/gguf/small.q4-k-m"', f"'{WEIGHTS}'?"),
        (MODEL + 'projector = "checkpoints/gguf/vision"', "'checkpoints/gguf/Vision.gguf'?"),
        (MODEL + 'draft = "checkpoints/Vision.gguf"', "'checkpoints/gguf/Vision.gguf'?"),
        (MODEL + 'adapters = [{ path = "checkpoint/gguf/Vision.gguf" }]', "'checkpoints/gguf/Vision.gguf'?"),
        (MODEL + 'quantize = "q8_0"\nimatrix = "Imatrix.data"', "'imatrix.dat'?"),
        (MODEL + 'system = { file = "prompt/system.txt" }', "'prompts/system.txt'?"),
        ('[model.a]\nmodelfile = "texts/chat.modelfile"', "'texts/Chat.Modelfile'?"),
    ],
)
def test_in_a_project(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, hint: str) -> None:
    write(tmp_path, {**FILES, "ModelBuild.toml": text + "\n"})
    assert f"did you mean {hint}" in said(tmp_path, capsys)


def test_in_a_glob(tmp_path: Path) -> None:
    project = load(tmp_path, '[project]\nmodelfiles = ["text/*.Modelfile", "x/*", "texts/*.y"]\n' + MODEL, FILES)
    assert [warning.hint for warning in project.warnings] == ["did you mean 'texts/*.Modelfile'?", None, None]


@pytest.mark.parametrize(
    "line",
    [
        "FROM checkpoints\\gguf\\Small.Q4_K_M.gguf",
        "FROM ./checkpoint/gguf/Small.Q4_K_M.gguf",
        "FROM small.q4_k_m.gguf",
        "FROM ./checkpoints/gguf/small.q4_k_m.gguf \n# a comment",
        "FROM checkpoints/gguf/Small.Q4_K_M.gguf\nADAPTER checkpoints/gguf/Small.Q4_K_M",
        "FROM checkpoints/gguf/Small.Q4_K_M.gguf\nDRAFT gguf/Small.Q4_K_M.gguf",
    ],
)
def test_in_a_modelfile(tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    write(tmp_path, {**FILES, "Modelfile": line + "\n"})
    assert "checkpoints/gguf/Small.Q4_K_M.gguf'?" in said(tmp_path, capsys, "-f", "Modelfile", "-t", "try")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["-f", "Texts/Chat.Modelfile"], "did you mean 'texts/Chat.Modelfile'?"),
        (["-f", "sub"], "did you mean 'sub/ModelBuild.toml'?"),
        (["-f", "prompts"], "-f takes a ModelBuild.toml or a Modelfile"),
        ([], "'modelbuild.toml' is here: rename it to ModelBuild.toml, or name it: -f modelbuild.toml"),
    ],
)
def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], hint: str) -> None:
    write(tmp_path, {**FILES, "sub/ModelBuild.toml": MODEL, "modelbuild.toml": MODEL, ".git/": ""})
    assert hint in said(tmp_path, capsys, *words)


def test_a_folder_to_start_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, FILES)
    for command in ("list", "init"):
        assert main.main(["-C", "Prompts", command]) == 2
        assert "did you mean 'prompts'?" in capsys.readouterr().err
    assert main.main(["-C", "imatrix.dat", "list"]) == 2
    assert "-f FILE names a file" in capsys.readouterr().err


def test_the_file_that_a_hint_names_is_all_that_it_hangs_on(tmp_path: Path) -> None:
    from modelbuild.observed import Observed

    write(tmp_path, FILES)
    observed = Observed()
    assert observed.meant("Prompts/sys.txt", str(tmp_path)) == "prompts/system.txt"
    assert observed.meant("nothing/near", str(tmp_path)) is None
    assert observed.looks() == [("kind", str(tmp_path / "prompts/system.txt"), "file")]
