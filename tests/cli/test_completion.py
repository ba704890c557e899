"""Completion: what is offered, and that real shells put it into the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from modelbuild.cli import arguments
from modelbuild.cli.completion import SCRIPTS, answer, offered
from tests import checkpoints
from tests.cli.shells import shell

TOML = """
[project]
name = "demo"
[vars]
ctx = 2048
[ftype.mine]
base = "q4_K_M"
[model.base]
from = "./weights"
[model.base.matrix]
quantize = ["q8_0", "q4_K_M"]
[model.chat]
from = "base:q8_0"
parameters = { num_ctx = "${ctx}" }
[group]
release = ["chat"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "ModelBuild.toml").write_text(TOML)
    (folder / "texts").mkdir()
    (folder / "texts" / "Chat.Modelfile").write_text("FROM base\n")
    checkpoints.write(folder / "weights")
    return folder


@pytest.fixture(autouse=True)
def places(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MODELBUILD_CACHE", str(tmp_path / "cache"))


def values(*words: str) -> list[str]:
    return [item.value for item in offered(arguments.root(), words)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["c"], ["cache", "check", "clean", "cp", "chat", "chat:latest"]),
        (["show", "base:"], ["base:q4_K_M", "base:q8_0"]),
        (["-k", "rel"], ["release"]),
        (["build", "chat", "ba"], ["base", "base:q4_K_M", "base:q8_0"]),
        (["-q", "q5_K"], ["q5_K_S", "q5_K_M"]),
        (["-q", "q4_K_M", "ch"], ["check", "chat", "chat:latest"]),
        (["build", "-q", "tq"], ["tq1_0", "tq2_0"]),
        (["list", "--quantize", "MXFP"], ["mxfp4_moe"]),
        (["--quantize=tq"], ["--quantize=tq1_0", "--quantize=tq2_0"]),
        (["build", "--quantize", "mi"], ["mine"]),
        (["graph", "--format", ""], ["text", "dot", "mermaid", "json"]),
        (["graph", "--format=m"], ["--format=mermaid"]),
        (["--set", "ba"], ["base."]),
        (["--set", "chat.quant"], ["chat.quantize="]),
        (["--set", "chat.para"], ["chat.parameters."]),
        (["--set", "chat.parameters.num_c"], ["chat.parameters.num_ctx="]),
        (["list", "--set", "chat.quantize=q8"], ["chat.quantize=q8_0"]),
        (["--set=chat.quantize=mi"], ["--set=chat.quantize=mine"]),
        (["--set", "chat.link="], ["chat.link=copy", "chat.link=hard"]),
        (["--set", "chat.allow_requantize=t"], ["chat.allow_requantize=true"]),
        (["--var", ""], ["ctx="]),
        (["help", "cl"], ["clean"]),
        (["clean", "--st"], ["--stale"]),
        (["list", "--mod"], ["--models"]),
        (["--keep"], ["--keep-going"]),
    ],
)
def test_what_is_offered(words: list[str], expected: list[str]) -> None:
    found = values(*words)
    if words[-1] == "tq":
        found = found[:2]
    assert found == expected


def test_types_are_offered_behind_the_first_q_beside_what_may_follow_quiet() -> None:
    found = values("-q", "")
    assert found[:2] == ["f32", "f16"]
    assert "chat" in found and "list" in found
    assert "f32" not in values("list", "--quiet", "")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["-f", ""], "file"),
        (["-C", "te"], "dir"),
        (["--models", ""], "dir"),
        (["--cache=x"], "dir"),
        (["quality", "--html", ""], "file"),
    ],
)
def test_paths_are_left_to_the_shell(words: list[str], kind: str) -> None:
    assert [item.type for item in offered(arguments.root(), words)] == [kind]


@pytest.mark.parametrize(
    "text", ['[model.chat]\nfrom = "./none"\n[model.b]\nfrom = 5\n', "[model.chat\n[model.chat]\n[model.b]\nx x", ""]
)
def test_a_broken_project_gives_what_it_can_and_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "ModelBuild.toml").write_text(text)
    assert [word for word in values("-C", str(tmp_path), "show", "") if ":" not in word] == (
        ["b", "chat"] if text else []
    )
    assert values("-C", str(tmp_path), "--set", "c") == (["chat."] if text else [])
    assert values("-C", str(tmp_path / "nowhere"), "show", "") == []
    assert "list" in values("-C", str(tmp_path), "")
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "cache").exists()


def test_bash_breaks_words_at_colons_and_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_WORDBREAKS", " \t\n\"'><=;|&(:")

    def lines(line: str) -> str | None:
        return answer(arguments.root(), "bash_complete", [line])

    assert lines("modelbuild show base:q4") == "plain,q4_K_M\n"
    assert lines("modelbuild show 'base:q4") == "plain,base:q4_K_M\n"
    assert lines("X=1 modelbuild --set chat.quantize=q8") == "plain,q8_0\n"
    assert lines("modelbuild --set cha") == "open,chat.\n"
    assert lines("modelbuild show chat:latest ") == ""
    monkeypatch.setenv("COMP_WORDBREAKS", " \t\n")
    assert lines("modelbuild show base:q4") == "plain,base:q4_K_M\n"


def test_what_no_shell_asks_is_no_instruction() -> None:
    assert answer(arguments.root(), "tcsh_source", []) is None
    assert answer(arguments.root(), "bash_nothing", []) is None
    assert [answer(arguments.root(), f"{name}_source", []) for name in SCRIPTS] == list(SCRIPTS.values())


TYPED: dict[str, list[str]] = {
    "show base:q4": ["show", "base:q4_K_M"],
    "-q q4_K_M rel": ["-q", "q4_K_M", "release"],
    "--set chat.quanti": ["--set", "chat.quantize="],
    "--file=texts/Ch": ["--file=texts/Chat.Modelfile"],
    "-C te": ["-C", "texts"],
    "bui": ["build"],
    "show chat:l": ["show", "chat:latest"],
    "-q iq4_n": ["-q", "iq4_nl"],
    "build -q iq4_x": ["build", "-q", "iq4_xs"],
    "--quantize=iq4_x": ["--quantize=iq4_xs"],
    "--set chat.quantize=iq4_x": ["--set", "chat.quantize=iq4_xs"],
    "--var c": ["--var", "ctx="],
    "-f texts/Ch": ["-f", "texts/Chat.Modelfile"],
    "clean --sta": ["clean", "--stale"],
}
"""What is typed -> what then stands there. The first five are one of each kind: a colon, a word, no space after it, a file, a folder."""


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("bash", 5),
        *(pytest.param(name, len(TYPED), marks=pytest.mark.peer) for name in ("bash", "zsh", "fish")),
    ],
)
def test_in_a_real_shell(name: str, count: int, folder: Path, tmp_path: Path) -> None:
    if not shutil.which(name):
        pytest.skip(f"no {name} here")
    env = {"MODELBUILD_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    with shell(name, folder, tmp_path / "bin", env) as typed:
        for line, expected in list(TYPED.items())[:count]:
            # Of a folder a shell may show that it is one.
            assert [part.rstrip("/") for part in typed.completed(line)] == expected
        typed.offered("show base:", "q8_0" if name == "bash" else "base:q8_0")
