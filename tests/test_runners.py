"""Which program runs a model, and what is said if none can."""

from __future__ import annotations

import pytest

from modelbuild import runners
from modelbuild.errors import Error, render
from modelbuild.runners import Model

MODEL = Model("m:latest", "0" * 64, "/weights")


def test_the_files_of_the_folder_in_their_order() -> None:
    assert runners.names() == ("ollama", "llama-server", "xllamacpp")
    assert all(runners.get(name).WAY for name in runners.names())


def test_the_first_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons: dict[str, str | None] = {"ollama": "no server", "llama-server": "not on PATH", "xllamacpp": None}
    for name in reasons:
        monkeypatch.setattr(runners.get(name), "missing", lambda model, name=name: reasons[name])
    assert runners.choose(MODEL)[0] == "xllamacpp"
    reasons["llama-server"] = None
    assert runners.choose(MODEL)[0] == "llama-server"
    assert runners.choose(MODEL, "xllamacpp")[0] == "xllamacpp"
    with pytest.raises(Error) as caught:
        runners.choose(MODEL, "ollama")
    assert caught.value.what == "'ollama' cannot run 'm:latest' here"
    assert [label for label, _ in caught.value.facts] == ["ollama"]


def test_none_can_and_each_is_named_with_the_way_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in runners.names():
        monkeypatch.setattr(runners.get(name), "missing", lambda model: "it is missing")
    with pytest.raises(Error) as caught:
        runners.choose(MODEL)
    assert caught.value.what == "nothing here can run 'm:latest'"
    assert render(caught.value) == (
        "error: nothing here can run 'm:latest'\n"
        "  ollama        it is missing: start `ollama serve` on this models folder, or send the model to a server: "
        "`modelbuild --ollama TARGET`\n"
        "  llama-server  it is missing: install llama.cpp (https://llama.app, or brew install llama.cpp), which brings `llama-server`\n"
        "  xllamacpp     it is missing: install modelbuild with the extra 'run': pip install 'modelbuild[run]'"
    )
