"""`llama-server` is started with what the model declares, answers in pieces, and is gone afterwards."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from modelbuild import runners
from modelbuild.errors import Error
from modelbuild.runners import Full, Model, Timing
from tests.runners.fakes import Fakes

NAMES = ("llama-server", "xllamacpp")


def model(folder: Path, **fields: Any) -> Model:
    return Model("m:latest", "0" * 64, str(folder / "weights"), **fields)


@pytest.fixture(params=NAMES)
def runner(request: pytest.FixtureRequest, fakes: Fakes) -> runners.Runner:
    """Both runners of llama.cpp, which have to do the same."""
    fakes.program()
    fakes.package()
    return runners.get(request.param)


def test_an_answer(runner: runners.Runner, fakes: Fakes, tmp_path: Path) -> None:
    found = model(tmp_path, template="{{ .Prompt }}|{{ .Response }}", parameters={"temperature": 0.5})
    with closing(runner.talk(found)) as talk:
        assert [piece.text for piece in talk.answer([("user", "Tell")])] == ["Once ", "upon ", "a time."]
        assert talk.timing == Timing(5, 0.01, 3, 0.02)
        said = [("user", "Tell"), ("assistant", "Once."), ("user", "More")]
        assert "".join(piece.text for piece in talk.answer(said)) == "Once upon a time."
    assert [body["prompt"] for body in fakes.bodies()] == ["Tell|", "Tell|Once.More|"]
    assert fakes.bodies()[0]["temperature"] == 0.5


def test_messages_for_the_chat_template_of_the_weights(runner: runners.Runner, fakes: Fakes, tmp_path: Path) -> None:
    found = model(tmp_path, chat=("{{ messages }}", "", ""), system="S")
    with closing(runner.talk(found)) as talk:
        pieces = list(talk.answer([("user", "Tell")]))
    assert [piece.kind for piece in pieces] == ["thought", "answer", "answer", "answer"]
    assert fakes.bodies()[0]["messages"] == [{"role": "system", "content": "S"}, {"role": "user", "content": "Tell"}]


def test_an_answer_is_stopped_and_the_next_one_comes(
    runner: runners.Runner, fakes: Fakes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_LLAMA", "endless")
    with closing(runner.talk(model(tmp_path))) as talk:
        for _ in range(2):
            count = 0
            for _piece in talk.answer([("user", "Tell")]):
                count += 1
                if count == 10:
                    talk.stop()
            assert count >= 10
    assert len(fakes.bodies()) == 2


def test_faults_of_an_answer(
    runner: runners.Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fakes: Fakes
) -> None:
    monkeypatch.setenv("FAKE_LLAMA", "refuse")
    with closing(runner.talk(model(tmp_path))) as talk, pytest.raises(Error, match="roles must alternate"):
        list(talk.answer([("user", "Tell")]))
    monkeypatch.setenv("FAKE_LLAMA", "full")
    with closing(runner.talk(model(tmp_path))) as talk:
        with pytest.raises(Full):
            list(talk.answer([("user", "a|b|c|d")]))
        assert len(list(talk.answer([("user", "a")]))) == 3


def test_a_model_that_is_not_loaded(
    runner: runners.Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fakes: Fakes
) -> None:
    monkeypatch.setenv("FAKE_LLAMA", "fail")
    with pytest.raises(Error, match=r"llama\.cpp cannot run 'm:latest'") as caught:
        runner.talk(model(tmp_path))
    assert "unknown architecture" in str(caught.value)


def test_nothing_is_left(runner: runners.Runner, fakes: Fakes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    talk: Any = runner.talk(model(tmp_path))
    assert os.listdir(temporary)
    talk.close()
    assert not os.listdir(temporary) and talk._process.returncode is not None


def test_the_arguments_of_the_program(fakes: Fakes, tmp_path: Path) -> None:
    fakes.program("llama")
    adapters = [str(tmp_path / "a,b.gguf"), str(tmp_path / "c.gguf")]
    parameters = {"num_ctx": 64, "num_thread": 2, "num_gpu": 0, "num_batch": 8, "main_gpu": 1}
    found = model(tmp_path, adapters=adapters, projector="/projector", parameters=parameters)
    with closing(runners.get("llama-server").talk(found)):
        pass
    arguments = fakes.noted()[0]["arguments"]
    assert arguments[:3] == ["serve", "-m", found.weights]
    assert arguments[arguments.index("-c") + 1] == "64"
    assert arguments[arguments.index("--mmproj") + 1] == "/projector"
    loras = [arguments[at + 1] for at, word in enumerate(arguments) if word == "--lora"]
    assert [os.path.basename(path) for path in loras] == ["adapter-0.gguf", "adapter-1.gguf"]
    options = {"-t": "2", "-ngl": "0", "-b": "8", "-mg": "1"}
    assert all(arguments[arguments.index(option) + 1] == value for option, value in options.items())


def test_it_is_missing(fakes: Fakes, tmp_path: Path) -> None:
    runner = runners.get("llama-server")
    assert runner.missing(model(tmp_path)) == "neither `llama-server` nor `llama` is on PATH"
    fakes.program()
    assert runner.missing(model(tmp_path)) is None
