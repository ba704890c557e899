from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterable
from email.utils import formatdate
from typing import Any

import pytest

from modelbuild import __version__
from modelbuild.errors import Error, Stopped
from modelbuild.registry.faults import Unreachable
from modelbuild.registry.origin import Origin
from modelbuild.registry.transport import CHUNK, REDIRECTS, Get
from tests.registry.clients import QUICK, transport
from tests.registry.standin import Asked, Reply, Standin


class Tokens:
    """Gives a token for each challenge, and knows the last one. Remembers whom it gave them to."""

    def __init__(self) -> None:
        self.given: list[tuple[Origin, str, list[str]]] = []

    def known(self, origin: Origin, scope: str) -> str | None:
        return f"Bearer token-{len(self.given)}" if self.given else None

    def answer(self, origin: Origin, scope: str, challenges: list[str], get: Get) -> str | None:
        self.given.append((origin, scope, challenges))
        return f"Bearer token-{len(self.given)}"

    def refused(self, origin: Origin, header: str) -> None:
        return None


def fetch(url: str, **options: Any) -> bytes:
    with transport(**options).request("GET", url, scope="repository:library/m:pull") as answer:
        assert answer.status == 200
        return answer.body()


# Tries


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_fails_in_passing_is_tried_again(status: int) -> None:
    with Standin() as registry:
        registry.on("GET", "/v2/", Reply(status), Reply(status), Reply(200, b"there"))
        assert fetch(f"{registry.url}/v2/") == b"there"
        assert len(registry.asked) == 3


def test_what_fails_for_good_is_returned_after_some_tries() -> None:
    with Standin() as registry:
        registry.on("GET", "/v2/", Reply(503, b"busy"))
        with transport().request("GET", f"{registry.url}/v2/") as answer:
            assert (answer.status, answer.body()) == (503, b"busy")
        assert len(registry.asked) == QUICK.tries


@pytest.mark.parametrize("status", [400, 401, 403, 404, 501])
def test_what_is_refused_is_not_tried_again(status: int) -> None:
    with Standin() as registry:
        registry.on("GET", "/v2/", Reply(status))
        with transport().request("GET", f"{registry.url}/v2/") as answer:
            assert answer.status == status
        assert len(registry.asked) == 1


def test_a_connection_that_breaks_before_the_answer_is_tried_again() -> None:
    with Standin() as registry:

        def broken(asked: Asked) -> Reply:
            raise BrokenPipeError

        registry.on("GET", "/v2/", broken, Reply(200, b"there"))
        assert fetch(f"{registry.url}/v2/") == b"there"


@pytest.mark.parametrize(("status", "sent"), [(500, 1), (503, 2)])
def test_what_is_not_repeatable_is_sent_again_only_if_the_server_put_it_off(status: int, sent: int) -> None:
    with Standin() as registry:
        registry.on("PUT", "/v2/", Reply(status), Reply(201))
        with transport().request("PUT", f"{registry.url}/v2/", body=b"data") as answer:
            assert answer.status == (201 if sent == 2 else status)
        assert [asked.body for asked in registry.asked] == [b"data"] * sent


def test_retry_after_is_honoured_in_seconds() -> None:
    with Standin() as registry:
        registry.on("GET", "/v2/", Reply(429, headers=[("Retry-After", "1")]), Reply(200, b"there"))
        begun = time.monotonic()
        assert fetch(f"{registry.url}/v2/") == b"there"
        assert time.monotonic() - begun >= 1


@pytest.mark.parametrize(
    "value", ["3600", "9" * 30, formatdate(time.time() + 4000, usegmt=True)], ids=["hours", "for-ever", "date"]
)
def test_a_server_that_asks_for_hours_is_not_waited_for(value: str) -> None:
    with Standin() as registry:
        registry.on("GET", "/v2/", Reply(503, headers=[("Retry-After", value)]))
        with pytest.raises(Unreachable, match="is busy .* and asks to wait"):
            fetch(f"{registry.url}/v2/")
        assert len(registry.asked) == 1


# Redirects and secrets


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_and_a_token_stays_at_home(status: int) -> None:
    with Standin() as registry, Standin() as storage:
        tokens = Tokens()
        registry.on("GET", "/v2/", Reply(401), last=False)
        registry.on("GET", "/v2/", Reply(status, headers=[("Location", f"{storage.url}/data?signature=secret")]))
        storage.on("GET", "/data", Reply(200, b"there"))
        assert fetch(f"{registry.url}/v2/", authorization=tokens) == b"there"
        assert [asked.headers.get("authorization") for asked in registry.asked] == [None, "Bearer token-1"]
        assert "authorization" not in storage.asked[0].headers
        assert storage.asked[0].path == "/data?signature=secret"


def test_a_redirect_within_the_registry_keeps_the_token() -> None:
    with Standin() as registry:
        registry.on("GET", "^/v2/$", Reply(401), Reply(307, headers=[("Location", "/other")]))
        registry.on("GET", "^/other$", lambda asked: Reply(200, asked.headers.get("authorization", "").encode()))
        assert fetch(f"{registry.url}/v2/", authorization=Tokens()) == b"Bearer token-1"


def test_a_storage_that_asks_for_the_token_does_not_get_it() -> None:
    with Standin() as registry, Standin() as storage:
        tokens = Tokens()
        registry.on("GET", "/v2/", Reply(401), Reply(307, headers=[("Location", f"{storage.url}/data")]))
        storage.on("GET", "/data", Reply(401, headers=[("WWW-Authenticate", f'Bearer realm="{registry.url}/token"')]))
        with transport(authorization=tokens).request("GET", f"{registry.url}/v2/", scope="x") as answer:
            assert answer.status == 401
        assert len(storage.asked) == 1 and "authorization" not in storage.asked[0].headers
        assert [str(origin) for origin, _, _ in tokens.given] == [registry.host]


def test_a_storage_that_leads_back_does_not_choose_what_the_token_asks_for() -> None:
    with Standin() as registry, Standin() as storage:
        registry.on("GET", "^/v2/$", Reply(401), Reply(307, headers=[("Location", f"{storage.url}/data")]))
        registry.on("GET", "^/private$", Reply(200, b"there"))
        storage.on("GET", "/data", Reply(307, headers=[("Location", f"{registry.url}/private")]))
        assert fetch(f"{registry.url}/v2/", authorization=Tokens()) == b"there"
        assert "authorization" not in registry.asked[-1].headers


def test_a_header_of_ones_own_stays_at_home_too() -> None:
    with Standin() as registry, Standin() as other:
        registry.on("GET", "/token", Reply(302, headers=[("Location", f"{other.url}/token")]))
        other.on("GET", "/token", Reply(200, b"{}"))
        status, _, body = transport().get(f"{registry.url}/token", {"Authorization": "Basic secret", "X-Mine": "1"})
        assert (status, body) == (200, b"{}")
        assert registry.asked[0].headers["authorization"] == "Basic secret"
        assert "authorization" not in other.asked[0].headers and other.asked[0].headers["x-mine"] == "1"


def test_redirects_end() -> None:
    with Standin() as registry:
        registry.on("GET", "/v2/", Reply(302, headers=[("Location", "/v2/")]))
        with pytest.raises(Error, match=f"redirects more than {REDIRECTS} times"):
            fetch(f"{registry.url}/v2/")
        assert len(registry.asked) == REDIRECTS + 1


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://host/x",
        "https://user:secret@host/",
        "https://",
        "//[",
        "gopher://secret/",
        "javascript:secret",
    ],
)
def test_a_redirect_to_what_is_no_web_page_is_an_error(location: str) -> None:
    with Standin() as registry:
        registry.on("GET", "/v2/", Reply(302, headers=[("Location", location)]))
        with pytest.raises(Error, match="redirects to what is no usable URL") as caught:
            fetch(f"{registry.url}/v2/")
        assert "secret" not in str(caught.value)


def test_plain_http_is_for_this_machine_or_on_demand() -> None:
    with pytest.raises(Error, match="would be reached by plain http") as caught:
        transport().request("GET", "http://registry.invalid/v2/")
    assert "--insecure" in str(caught.value)
    assert transport().origin("registry.example.com").url == "https://registry.example.com"
    assert transport(insecure=True).origin("registry.example.com:5000").url == "http://registry.example.com:5000"
    assert transport().origin("localhost:5000").url == "http://localhost:5000"


def test_other_methods_are_not_redirected() -> None:
    with Standin() as registry:
        registry.on("PUT", "/v2/", Reply(307, headers=[("Location", "/elsewhere")]))
        with transport().request("PUT", f"{registry.url}/v2/", body=b"x") as answer:
            assert (answer.status, answer.headers["Location"]) == (307, "/elsewhere")
        assert len(registry.asked) == 1


# Authorization


def test_a_401_is_answered_once() -> None:
    with Standin() as registry:
        tokens = Tokens()
        challenges = [("WWW-Authenticate", 'Bearer realm="a"'), ("WWW-Authenticate", "Basic")]
        registry.on("GET", "/v2/", Reply(401, headers=challenges))
        client = transport(authorization=tokens)
        with client.request("GET", f"{registry.url}/v2/", scope="repository:library/m:pull") as answer:
            assert answer.status == 401
        assert len(registry.asked) == 2
        (given,) = tokens.given
        assert (str(given[0]), given[1], given[2]) == (
            registry.host,
            "repository:library/m:pull",
            ['Bearer realm="a"', "Basic"],
        )


def test_what_is_known_is_sent_at_once_and_renewed() -> None:
    with Standin() as registry:
        tokens = Tokens()
        tokens.given.append((Origin("http", "x", 1), "", []))
        registry.on("GET", "/v2/", Reply(401), Reply(200, b"there"))
        assert fetch(f"{registry.url}/v2/", authorization=tokens) == b"there"
        assert [asked.headers["authorization"] for asked in registry.asked] == ["Bearer token-1", "Bearer token-2"]


def test_without_a_scope_nothing_is_sent() -> None:
    with Standin() as registry:
        tokens = Tokens()
        registry.on("GET", "/v2/", Reply(401))
        with transport(authorization=tokens).request("GET", f"{registry.url}/v2/") as answer:
            assert answer.status == 401
        assert tokens.given == [] and len(registry.asked) == 1


# Bodies


@pytest.mark.parametrize("length", [None, -1])
def test_an_answer_of_a_gigabyte_is_refused(length: int | None) -> None:
    sent = 0

    def endless() -> Iterable[bytes]:
        nonlocal sent
        for _ in range(1024):
            sent += 1 << 20
            yield bytes(1 << 20)

    with Standin() as registry:
        registry.on("GET", "/v2/", lambda asked: Reply(200, endless(), length=length or 1 << 30))
        with pytest.raises(Error, match="is too large: .*, expected at most 1.0 MB"):
            fetch(f"{registry.url}/v2/")
    assert sent < 64 << 20


def test_a_small_answer_that_trickles_is_given_up() -> None:
    def trickle() -> Iterable[bytes]:
        for _ in range(2000):
            time.sleep(0.02)
            yield b" "

    with Standin() as registry:
        registry.on("GET", "", lambda asked: Reply(200, trickle(), length=100_000))
        with pytest.raises(Unreachable, match="sends its answer too slowly"):
            fetch(f"{registry.url}/v2/", patience=QUICK._replace(longest=0.2))


def test_a_compressed_answer_is_refused_unpacked_by_nobody() -> None:
    with Standin() as registry:
        bomb = gzip.compress(bytes(10 << 20))
        registry.on("GET", "/v2/", Reply(200, bomb, [("Content-Encoding", "gzip")]))
        with pytest.raises(Error, match="compressed, which was not asked for"):
            fetch(f"{registry.url}/v2/")
        assert registry.asked[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("encoding", ["", "identity", "Identity ", "aws-chunked"])
def test_an_encoding_that_changes_nothing_is_none(encoding: str) -> None:
    with Standin() as registry:
        registry.on("GET", "/v2/", Reply(200, b"there", [("Content-Encoding", encoding)]))
        assert fetch(f"{registry.url}/v2/") == b"there"


def test_a_body_that_is_cut_short_is_an_error() -> None:
    with Standin() as registry:
        registry.on("GET", "/v2/", Reply(200, b"half", length=8))
        with pytest.raises(Unreachable, match="broke"):
            fetch(f"{registry.url}/v2/")


def test_a_server_that_says_nothing_is_given_up() -> None:
    hold = threading.Event()

    def silent() -> Iterable[bytes]:
        yield b"x"
        hold.wait(30)

    with Standin() as registry:
        registry.on("GET", "/v2/", lambda asked: Reply(200, silent(), length=2))
        with pytest.raises(Unreachable, match="stopped answering"):
            fetch(f"{registry.url}/v2/", patience=QUICK._replace(silence=0.2))
        hold.set()


def test_a_body_is_sent_anew_for_each_try() -> None:
    def pieces() -> Iterable[bytes]:
        yield from (b"one", b"two")

    with Standin() as registry:
        registry.on("PUT", "/v2/", Reply(503), Reply(201))
        client = transport()
        with client.request("PUT", f"{registry.url}/v2/", body=pieces, headers={"Content-Length": "6"}) as answer:
            assert answer.status == 201
        assert [asked.body for asked in registry.asked] == [b"onetwo", b"onetwo"]


def test_we_say_who_we_are_and_use_a_connection_again() -> None:
    with Standin() as registry:
        registry.on("GET", "/v2/", Reply(200, bytes(CHUNK + 1)))
        client = transport()
        for _ in range(3):
            with client.request("GET", f"{registry.url}/v2/") as answer:
                assert len(answer.body()) == CHUNK + 1
        assert {asked.headers["user-agent"] for asked in registry.asked} == {f"modelbuild/{__version__}"}
        client.close()
    assert registry.connections == 1


def test_a_connection_outlives_redirects_and_short_errors() -> None:
    with Standin() as registry:
        registry.on("GET", "^/v2/$", Reply(307, b"moved", [("Location", "/there")]))
        registry.on("GET", "^/there$", Reply(503, b"busy"), Reply(200, b"there"))
        client = transport()
        for _ in range(2):
            with client.request("GET", f"{registry.url}/v2/") as answer:
                assert answer.body() == b"there"
        client.close()
    assert (len(registry.asked), registry.connections) == (5, 1)


def test_a_rate_is_kept() -> None:
    with Standin() as registry:
        registry.on("GET", "/v2/", Reply(200, bytes(60_000)))
        begun = time.monotonic()
        fetch(f"{registry.url}/v2/", limit_rate=100_000)
        # A quarter of a second's worth may pass at once.
        assert time.monotonic() - begun >= 0.3


def test_stop_ends_a_read_in_another_thread() -> None:
    hold, begun, ended = threading.Event(), threading.Event(), []

    def silent() -> Iterable[bytes]:
        yield b"x"
        begun.set()
        hold.wait(30)

    with Standin() as registry:
        registry.on("GET", "/v2/", lambda asked: Reply(200, silent(), length=2))
        client = transport()

        def read() -> None:
            try:
                with client.request("GET", f"{registry.url}/v2/") as answer:
                    answer.body()
            except Stopped as stopped:
                ended.append(stopped)

        reader = threading.Thread(target=read)
        reader.start()
        assert begun.wait(30)
        time.sleep(0.05)
        client.stop()
        reader.join(15)
        assert not reader.is_alive() and len(ended) == 1
        hold.set()
    with pytest.raises(Stopped):
        client.request("GET", f"{registry.url}/v2/")


@pytest.mark.parametrize("host", ["docker.io", "Index.docker.io", "registry-1.docker.io"])
def test_dockers_registry_is_where_it_answers(host: str) -> None:
    assert transport().origin(host) == Origin("https", "registry-1.docker.io", 443)
    assert transport().origin("docker.io.example.com").host == "docker.io.example.com"
