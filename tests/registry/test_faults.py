from __future__ import annotations

import socket

import pytest
from urllib3 import exceptions as http

from modelbuild.errors import Error
from modelbuild.registry.faults import Unreachable, fault
from modelbuild.registry.origin import origin_of
from tests.registry.clients import transport
from tests.registry.standin import Reply, Standin

SECRET = "https://storage.example.com/blob?signature=secret"
HOST = origin_of("https://storage.example.com/")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_host_that_refuses_is_said_so() -> None:
    with pytest.raises(Unreachable) as caught:
        transport().request("GET", f"http://127.0.0.1:{free_port()}/v2/")
    assert ("reason", "connection refused") in caught.value.facts


def test_a_host_that_speaks_no_tls_is_said_so() -> None:
    with Standin() as registry, pytest.raises(Error, match="does not speak TLS") as caught:
        transport().request("GET", f"https://{registry.host}/v2/")
    assert "--insecure" in str(caught.value)


def test_what_is_no_http_is_a_broken_connection() -> None:
    with Standin() as registry, pytest.raises(Unreachable, match="broke"):
        registry.script.append(lambda asked: Reply(200, length=-1, headers=[("X", "y" * 100_000)]))
        transport().request("GET", f"{registry.url}/v2/")


@pytest.mark.parametrize(
    "error",
    [
        http.ProtocolError(SECRET, ConnectionResetError(104, "Connection reset by peer")),
        http.SSLError(SECRET),
        http.ProxyError(SECRET, OSError(SECRET)),
        http.LocationParseError(SECRET),
        http.HTTPError(SECRET),
        TimeoutError(SECRET),
        ValueError(SECRET),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_error_shows_a_url(error: Exception) -> None:
    found = fault(HOST, error, "http://proxy:3128")
    assert "secret" not in str(found.error) and "storage.example.com" in str(found.error)


def test_what_cannot_have_been_sent_is_told_apart() -> None:
    reset = fault(HOST, http.ProtocolError("x", ConnectionResetError(104, "reset")), None)
    assert (reset.passing, reset.unsent) == (True, False)
    cause = OSError(111, "Connection refused")
    assert fault(HOST, http.ProxyError("x", cause), "http://proxy").unsent
