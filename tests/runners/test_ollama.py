"""Ollama's server runs a model where it lists the same manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from modelbuild import runners
from modelbuild.runners import Model, Piece, Timing
from tests.ollama.stand_in import StandIn, serving

MANIFEST = b"a manifest"
MODEL = Model("m:latest", hashlib.sha256(MANIFEST).hexdigest(), "/weights", system="S", given={"temperature": 0.0})


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with serving(tmp_path / "server") as (stand_in, url):
        monkeypatch.setenv("OLLAMA_HOST", url)
        path = stand_in.folder / "manifests/registry.ollama.ai/library/m/latest"
        path.parent.mkdir(parents=True)
        path.write_bytes(MANIFEST)
        yield stand_in


def test_the_server_is_asked(server: StandIn) -> None:
    runner = runners.get("ollama")
    assert runner.missing(MODEL) is None
    with closing(runner.talk(MODEL)) as talk:
        said = [("user", "Tell"), ("assistant", "a"), ("user", "More")]
        pieces = list(talk.answer(said))
        assert pieces == [Piece("thought", "Hm."), Piece("answer", "Once "), Piece("answer", "upon.")]
        assert talk.timing == Timing(7, 0.5, 4, 2.0)
    # The system text, the messages and the parameters of the model are the server's to add.
    assert server.bodies == [
        {
            "model": "m:latest",
            "messages": [{"role": role, "content": content} for role, content in said],
            "options": {"temperature": 0.0},
        }
    ]


def test_an_answer_is_stopped(server: StandIn) -> None:
    server.endless = True
    talk = runners.get("ollama").talk(MODEL)
    count = 0
    for _ in talk.answer([("user", "Tell")]):
        count += 1
        if count == 9:
            talk.stop()
    assert count >= 9 and server.gone.wait(60)


def test_why_it_cannot(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = runners.get("ollama")
    assert "does not list 'other:latest'" in str(runner.missing(MODEL._replace(name="other:latest")))
    assert "lists a different 'm:latest'" in str(runner.missing(MODEL._replace(digest="0" * 64)))
    monkeypatch.setenv("OLLAMA_HOST", "https://example.com")
    assert runner.missing(MODEL) == "$OLLAMA_HOST is not a server of this machine"
