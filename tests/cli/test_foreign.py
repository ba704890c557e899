"""Words of other tools are answered with what does the same here, unless a target has the name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modelbuild.cli import arguments, foreign, main
from modelbuild.cli.invocation import commands
from modelbuild.errors import Error
from tests import checkpoints
from tests.projects import write


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["stop", "chat"], "Ollama stops models: `ollama stop chat`; Ctrl-C stops a build"),
        (["stop"], "Ollama stops models: `ollama stop NAME`; Ctrl-C stops a build"),
        (
            ["create", "me/chat"],
            "`modelbuild -f Modelfile -t me/chat` builds a Modelfile; a model of a ModelBuild.toml is built by its name alone",
        ),
        (["copy", "a", "b"], "did you mean the command 'cp'?"),
        (
            ["quantize", "model.gguf", "out.gguf", "Q4_K_M"],
            '`modelbuild model.gguf -q Q4_K_M -o out.gguf` quantizes weights; in ModelBuild.toml it is `quantize = "TYPE"`',
        ),
        (
            ["llama-quantize"],
            '`modelbuild ./WEIGHTS -q TYPE -o FILE.gguf` quantizes weights; in ModelBuild.toml it is `quantize = "TYPE"`',
        ),
        (
            ["convert", "weights/"],
            '`modelbuild ./weights/ -o FILE.gguf` converts weights; in ModelBuild.toml it is `from = "./weights/"`',
        ),
        (["tree"], "did you mean the command 'graph'?"),
        (["repro"], "`modelbuild` builds what has changed"),
    ],
)
def test_a_verb_of_another_tool(words: list[str], hint: str) -> None:
    error = foreign.verb(words)
    assert error is not None
    assert (error.what, error.hint) == (f"'{words[0]}' is not a command", hint)


def test_clean_of_one_target_and_other_words_for_the_same() -> None:
    for word in ("clean-chat", "clean:chat"):
        error = foreign.verb([word])
        assert error is not None and "`modelbuild rm chat`" in str(error.hint)
    assert foreign.verb(["remove", "x"]) is not None
    assert foreign.verb(["chat"]) is None


def test_every_word_of_the_lists_means_something_and_no_command_is_among_them() -> None:
    assert set(foreign.SAME.values()) <= foreign.VERBS.keys()
    assert not (foreign.VERBS.keys() | foreign.SAME.keys()) & set(commands())
    ours = {option for parameter in arguments.common(hidden=False) for option in parameter.opts}
    assert not ours & foreign.OPTIONS.keys()


@pytest.mark.parametrize(
    "hint", sorted({*foreign.VERBS.values(), *foreign.OPTIONS.values(), *foreign.OUTSIDE.values()})
)
def test_what_a_hint_names_is_there(hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in re.findall(r"the command '(\w+)'", hint):
        assert command in commands()
    for words in re.findall(r"`modelbuild ?([^`]*)`", hint):
        first = words.split()[0] if words else ""
        assert first == "" or first.startswith(("-", "{")) or first in commands()
    for option in re.findall(r"(?<![\w-])(--?[a-zA-Z][\w-]*)", hint.replace("llama-server -m", "")):
        for words in (
            ["help"],
            ["help", "build"],
            ["help", "clean"],
            ["help", "export"],
            ["help", "graph"],
            ["help", "export"],
            ["help", "list"],
            ["help", "push"],
            ["help", "run"],
        ):
            assert main.main(words) == 0
        assert option in capsys.readouterr().out


def test_a_target_of_that_name_wins_and_a_broken_project_says_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints.write(tmp_path / "weights")
    write(tmp_path, {"ModelBuild.toml": '[model.run]\nfrom = "./weights"\n'})
    at = ["-C", str(tmp_path), "--cache", str(tmp_path / "cache"), "--models", str(tmp_path / "models")]
    assert main.main([*at, "-n", "run"]) == 0
    capsys.readouterr()
    assert main.main([*at, "-n", "run", "chat"]) == 2
    assert "'chat' is not a model" in capsys.readouterr().err
    assert main.main([*at, "fetch", "run"]) == 2
    assert "did you mean the command 'pull'?" in capsys.readouterr().err
    write(tmp_path, {"ModelBuild.toml": "[model"})
    assert main.main([*at, "fetch", "run"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: 'fetch' is not a command") and "not TOML" in told


def test_a_verb_before_a_path_is_a_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints.write(tmp_path / "weights")
    at = ["-C", str(tmp_path), "--cache", str(tmp_path / "cache"), "--models", str(tmp_path / "models")]
    assert main.main([*at, "convert", "./weights"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: 'convert' is not a command") and "./weights -o FILE.gguf` converts weights" in told
    write(tmp_path, {"ModelBuild.toml": '[model.convert]\nfrom = "./weights"\n'})
    assert main.main([*at, "convert", "./weights"]) == 2
    assert "a path cannot be combined with targets, got 'convert'" in capsys.readouterr().err


def test_no_project_is_needed_to_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {".git/": ""})
    assert main.main(["-C", str(tmp_path), "--cache", str(tmp_path / "cache"), "serve", "llama3.2"]) == 2
    told = capsys.readouterr().err
    assert "`ollama serve`" in told and "ModelBuild.toml" not in told
    assert main.main(["--outtype", "f16"]) == 2
    assert "--set MODEL.outtype=bf16" in capsys.readouterr().err


@pytest.mark.parametrize("command, told", [("list", "--installed"), ("push", "push NAME"), ("export", "FROM NAME")])
def test_where_there_is_no_project_a_command_says_what_it_does_without(
    command: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {".git/": ""})
    words = ["x", "y"] if command == "export" else []
    assert main.main(["-C", str(tmp_path), "--cache", str(tmp_path / "cache"), command, *words]) == 2
    said = capsys.readouterr().err
    assert "no ModelBuild.toml here" in said and told in said and " init` writes one" in said


def test_help_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["help"]) == 0
    whole = capsys.readouterr().out
    assert main.main(["--help"]) == 0
    assert whole == capsys.readouterr().out
    assert main.main(["help", "stop"]) == 2
    assert "Ollama stops models" in capsys.readouterr().err
    assert main.main(["help", "lst"]) == 2
    assert "did you mean 'list'?" in capsys.readouterr().err


def test_where_there_is_no_project_two_ways_out_are_told() -> None:
    from modelbuild.session.missing import NO_PROJECT

    error = foreign.outside("list", Error(NO_PROJECT, hint="`modelbuild init` writes one; `modelbuild ./WEIGHTS` too"))
    assert (
        error.hint
        == "`modelbuild list --installed` lists the models of the models folder; `modelbuild init` writes one"
    )


@pytest.mark.parametrize(("word", "more"), [("build", ", or leave it out"), ("list", "")])
def test_a_command_behind_options_of_a_build_says_where_it_belongs(
    word: str, more: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints.write(tmp_path / "weights")
    write(tmp_path, {"ModelBuild.toml": '[model.big]\nfrom = "./weights"\n'})
    at = ["-C", str(tmp_path), "--cache", str(tmp_path / "cache"), "--models", str(tmp_path / "models")]
    for words in (["-j2", word, "big"], ["-j2", word, "./weights"], ["--profile", str(tmp_path / "p.json"), word]):
        assert main.main([*at, *words]) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"error: '{word}' is a command, and no target has its name")
        assert f" {word} …`{more}\n" in told and "wrote" not in told
    assert not (tmp_path / "p.json").exists()
