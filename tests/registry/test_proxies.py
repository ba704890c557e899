from __future__ import annotations

import pytest

from modelbuild.errors import Error
from modelbuild.registry.origin import origin_of
from modelbuild.registry.proxies import Proxy, proxy_for
from tests.registry.clients import transport
from tests.registry.standin import Asked, Reply, Standin


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_the_environment_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    host = origin_of("https://registry.example.com/")
    assert proxy_for(host) is None
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pass%40word@proxy:3128/")
    assert proxy_for(host) == Proxy("http", "proxy:3128", "me:pass@word")
    assert proxy_for(origin_of("http://registry.example.com/")) is None
    monkeypatch.setenv("https_proxy", "proxy")
    assert proxy_for(host) == Proxy("http", "proxy:80", None)


@pytest.mark.parametrize(
    ("excepted", "url"),
    [
        ("example.com", "https://registry.example.com/"),
        (".example.com", "https://registry.example.com/"),
        ("other, registry.example.com", "https://registry.example.com/"),
        ("*", "https://registry.example.com/"),
        ("10.0.0.0/8", "https://10.1.2.3:5000/"),
        ("", "https://localhost:5000/"),
        ("", "https://127.0.0.1/"),
    ],
)
def test_some_hosts_are_reached_without(monkeypatch: pytest.MonkeyPatch, excepted: str, url: str) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", excepted)
    assert proxy_for(origin_of(url)) is None
    assert proxy_for(origin_of("https://elsewhere.org/")) is None or excepted != "*"


@pytest.mark.parametrize("named", ["socks5://me:secret@host:1080", "http://", "http://[::1", "http://host:port"])
def test_a_proxy_that_cannot_be_used_is_an_error_without_its_secret(
    monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", named)
    with pytest.raises(Error) as caught:
        proxy_for(origin_of("https://registry.example.com/"))
    assert "HTTPS_PROXY" in str(caught.value) and "secret" not in str(caught.value)


def test_requests_go_through_the_proxy_with_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    with Standin() as proxy:
        proxy.script.append(lambda asked: Reply(200, b"through the proxy"))
        monkeypatch.setenv("http_proxy", f"http://me:secret@{proxy.host}")
        with transport(insecure=True).request("GET", "http://registry.invalid/v2/") as answer:
            assert answer.body() == b"through the proxy"
        assert proxy.asked[0].path == "http://registry.invalid/v2/"
        assert proxy.asked[0].headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"


def test_a_proxy_that_refuses_is_named_without_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(asked: Asked) -> Reply:
        return Reply(407 if asked.method == "CONNECT" else 200)

    with Standin() as proxy:
        proxy.script.append(refuse)
        monkeypatch.setenv("https_proxy", f"http://me:secret@{proxy.host}")
        with pytest.raises(Error) as caught:
            transport().request("GET", "https://registry.invalid/v2/")
    text = str(caught.value)
    assert "the proxy does not connect to 'registry.invalid'" in text and proxy.host in text
    assert "secret" not in text
