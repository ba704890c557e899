from __future__ import annotations

import pytest

from modelbuild.errors import Error
from modelbuild.registry.origin import Origin, origin_of


@pytest.mark.parametrize(
    ("url", "origin", "shown"),
    [
        ("https://registry.ollama.ai/v2/", Origin("https", "registry.ollama.ai", 443), "registry.ollama.ai"),
        ("http://HOST:443/x", Origin("http", "host", 443), "host:443"),
        ("https://host:443", Origin("https", "host", 443), "host"),
        ("http://[::1]:5000/v2/", Origin("http", "::1", 5000), "[::1]:5000"),
    ],
)
def test_the_origin_of_a_url(url: str, origin: Origin, shown: str) -> None:
    assert origin_of(url) == origin
    assert str(origin) == shown
    assert origin_of(origin.url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/x",
        "file:///etc/passwd",
        "//host/x",
        "https:///x",
        "https://host:99999/",
        "https://host:x/",
        "https://a b/",
    ]
    + ["https://user:secret@host/", "https://host/\n", "https://[::1/", ""],
)
def test_what_is_no_origin_is_an_error_that_shows_no_secret(url: str) -> None:
    with pytest.raises(Error) as caught:
        origin_of(url)
    assert "secret" not in str(caught.value)


def test_this_machine_is_told_by_its_name_or_address() -> None:
    for host in ("localhost", "127.0.0.1", "127.9.9.9", "[::1]", "a.localhost"):
        assert origin_of(f"http://{host}:1/").is_loopback
    for host in ("localhost.example.com", "10.0.0.1", "example.com", "0x7f000001.example"):
        assert not origin_of(f"http://{host}/").is_loopback
