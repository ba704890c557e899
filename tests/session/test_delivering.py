"""Models are sent to a server: only what it lacks, and what it made of them is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.ollama import manifest
from modelbuild.ollama.api import Client, address
from modelbuild.ollama.library import Library
from modelbuild.ollama.manifest import Layer
from modelbuild.session import delivering
from tests.ollama.stand_in import StandIn, serving
from tests.session.test_layers import NAME, write

LAYERS = (
    (manifest.MODEL, b"weights"),
    (manifest.PROJECTOR, b"a projector"),
    (manifest.ADAPTER, b"an adapter"),
    (manifest.TEMPLATE, b"{{ .Prompt }}!"),
    (manifest.SYSTEM, b"S"),
    (manifest.LICENSE, b"L"),
    (manifest.PARAMS, manifest.params_blob({"seed": 3, "stop": ["x"], "top_p": 0.5})),
    (manifest.MESSAGES, manifest.messages_blob([("user", "Hi"), ("assistant", "Ho")])),
)


class Heard:
    def __init__(self) -> None:
        self.layers: list[str] = []
        self.bytes = 0
        self.texts: list[str] = []

    def sending(self, name: str, layer: Layer) -> None:
        self.layers.append(layer.media_type.rpartition(".")[2])

    def sent(self, count: int) -> None:
        self.bytes += count

    def status(self, name: str, text: str) -> None:
        self.texts.append(text)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[StandIn, Client]]:
    with serving(tmp_path / "server") as (stand_in, url):
        # What a server finds out from the weights, which are none here.
        (stand_in.folder / "config.json").write_text(json.dumps({}))
        yield stand_in, Client(address(url))


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return write(tmp_path / "models", *LAYERS)


def test_the_server_makes_the_same_model(server: tuple[StandIn, Client], library: Library) -> None:
    stand_in, client = server
    heard = Heard()
    found = delivering.deliver(client, library, NAME, heard)
    assert (found.state, found.digest) == ("sent", found.ours)
    assert heard.layers == ["model", "projector", "adapter"]
    assert heard.bytes == len(b"weightsa projectoran adapter") and heard.texts == ["parsing GGUF", "success"]
    body = stand_in.bodies[0]
    assert list(body["files"]) == ["00-model.gguf", "01-projector.gguf"]
    assert body["parameters"] == {"seed": 3, "stop": ["x"], "top_p": 0.5}

    stand_in.asked.clear()
    assert delivering.deliver(client, library, NAME, heard).state == "unchanged"
    assert stand_in.asked == [("GET", "/api/tags")]


def test_only_what_it_lacks_is_sent(server: tuple[StandIn, Client], library: Library) -> None:
    stand_in, client = server
    stand_in.put(b"weights")
    heard = Heard()
    assert delivering.deliver(client, library, NAME, heard).state == "sent"
    assert heard.layers == ["projector", "adapter"]


def test_a_server_that_writes_weights_anew(server: tuple[StandIn, Client], library: Library) -> None:
    stand_in, client = server
    stand_in.rewrites = True
    found = delivering.deliver(client, library, NAME, Heard())
    assert found.state == "different" and found.digest != found.ours
    # The stand-in shows neither.
    assert list(found.differs) == ["TEMPLATE", "SYSTEM"]


def test_what_the_server_refuses(server: tuple[StandIn, Client], library: Library) -> None:
    stand_in, client = server
    stand_in.refuses = "adapters are not supported"
    with pytest.raises(Error, match="refuses 'm:latest': adapters are not supported") as caught:
        delivering.deliver(client, library, NAME, Heard())
    assert "merge" in str(caught.value.hint)
    stand_in.refuses, stand_in.cuts = "", True
    with pytest.raises(Error, match="did not finish 'm:latest'") as caught:
        delivering.deliver(client, library, NAME, Heard())
    assert caught.value.facts == (("it said last", "parsing GGUF"),)


def test_a_blob_that_is_damaged_here_is_refused_there(server: tuple[StandIn, Client], library: Library) -> None:
    served = library.served(NAME)
    assert served is not None
    Path(library.blob_path(str(served.model_blob))).write_bytes(b"wrong..")
    with pytest.raises(Error, match="digest mismatch"):
        delivering.deliver(server[1], library, NAME, Heard())


@pytest.mark.parametrize(
    ("version", "fine"),
    [("0.5.4", False), ("0.5.5-rc1", True), ("0.34.1", True), ("1.0", True), ("0.0.0", True), ("", True)],
)
def test_old_servers(server: tuple[StandIn, Client], version: str, fine: bool) -> None:
    """A development build says 0.0.0."""
    server[0].version = version
    if fine:
        delivering.check(server[1])
    else:
        with pytest.raises(Error, match=r"too old: version 0\.5\.4, expected 0\.5\.5 or later"):
            delivering.check(server[1])


@pytest.mark.parametrize(
    ("kind", "what"),
    [("application/vnd.ollama.image.tensor", "a layer of the kind 'tensor'"), (manifest.SYSTEM, "no GGUF file")],
)
def test_layers_that_create_does_not_take(tmp_path: Path, server: tuple[StandIn, Client], kind: str, what: str) -> None:
    library = write(tmp_path / "other", (kind, b"x"))
    with pytest.raises(Error, match=what):
        delivering.deliver(server[1], library, NAME, Heard())
    assert not server[0].bodies
