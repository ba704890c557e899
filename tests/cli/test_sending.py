"""What is said of models on their way to a server; the whole way is in tests/e2e/test_run.py."""

from __future__ import annotations

import pytest

from modelbuild.cli import sending
from modelbuild.cli.kinds import with_address
from modelbuild.ollama.api import Address, Client
from modelbuild.ollama.manifest import MODEL, Layer
from modelbuild.session.delivering import Delivered
from tests.cli.streams import Streams

CLIENT = Client(Address("http", "127.0.0.1", 7))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--ollama"], ["--ollama="]),
        (["--ollama", "chat"], ["--ollama=", "chat"]),
        (["--ollama", "chat:8"], ["--ollama=", "chat:8"]),
        (["--ollama", "http://x", "chat"], ["--ollama=http://x", "chat"]),
        (["--ollama", "localhost:7"], ["--ollama=localhost:7"]),
        (["-k", "--ollama", "[::1]:7"], ["-k", "--ollama=[::1]:7"]),
        (["--ollama=x:7", "chat"], ["--ollama=x:7", "chat"]),
        (["--", "--ollama", "localhost"], ["--", "--ollama", "localhost"]),
    ],
)
def test_only_an_address_is_taken_for_one(words: list[str], expected: list[str]) -> None:
    assert with_address(words) == expected


def test_what_became_of_a_model() -> None:
    streams = Streams()
    sending._say(streams.report, CLIENT, Delivered("m:latest", "unchanged", "11", "11"))
    sending._say(streams.report, CLIENT, Delivered("m:latest", "sent", "11", "11"))
    sending._say(streams.report, CLIENT, Delivered("m:latest", "different", "11", "22", ["TEMPLATE"]))
    assert streams.err.splitlines() == [
        "unchanged  m:latest  http://127.0.0.1:7",
        "sent       m:latest  http://127.0.0.1:7",
        "sent       m:latest  http://127.0.0.1:7",
        "warning: the server made another model of 'm:latest': its manifest has another digest",
        "  ours          11",
        "  the server's  22",
        "  differs       TEMPLATE",
    ]


def test_how_it_goes() -> None:
    streams = Streams(verbose=True)
    shown = sending._Shown(streams.report)
    shown.sending("m:latest", Layer(MODEL, "sha256:11", 1000))
    shown.sent(1000)
    shown.status("m:latest", "success")
    assert streams.err.splitlines() == ["sending    m:latest  model, 1.0 kB", "server     m:latest  success"]
