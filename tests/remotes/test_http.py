"""The remote on a web server: logins, servers without ranges, and answers that are none."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelbuild.errors import Error
from modelbuild.registry.origin import origin_of
from modelbuild.registry.patience import Patience
from modelbuild.remotes import BLOBS
from modelbuild.remotes.http import Http
from tests.remotes.webdav import Server, serving

DATA = b"0123456789" * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def http(server: Server) -> Http:
    return Http(server.url, origin_of(server.url), Patience(tries=2, unheard=1, pause=0.001, longest=1.0, silence=0.5))


def test_a_server_without_ranges_sends_all_and_the_part_is_taken(server: Server) -> None:
    server.knows_ranges = False
    server.files[f"/cache/cas/{DIGEST}"] = DATA
    assert b"".join(http(server).get(BLOBS, DIGEST, 9_995, 3)) == b"567"


def test_a_server_that_sends_without_end_what_is_skipped_can_be_given_up(server: Server) -> None:
    server.knows_ranges = False
    server.files[f"/cache/cas/{DIGEST}"] = DATA
    assert next(http(server).get(BLOBS, DIGEST, 1 << 60, 3)) == b""


def test_a_login_comes_from_netrc_and_is_in_no_error(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ci password s3cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.login = "Basic " + base64.b64encode(b"ci:s3cret").decode()
    http(server).put(BLOBS, DIGEST, len(DATA), lambda: [DATA])
    assert server.files == {f"/cache/cas/{DIGEST}": DATA}
    server.login = "Basic other"
    with pytest.raises(Error, match="does not accept the user and password") as caught:
        http(server).size(BLOBS, DIGEST)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "does not let us in"),
        (405, "takes no uploads"),
        (413, "as large"),
        (500, "may write to its folder"),
        (507, "has no room left"),
    ],
)
def test_what_a_server_refuses_says_what_to_do(
    server: Server, status: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRC", "/nothing/here")
    server.fault = lambda handler: handler.answer(status, b"a secret") or True
    with pytest.raises(Error) as caught:
        http(server).put(BLOBS, DIGEST, len(DATA), lambda: [DATA])
    assert said in str(caught.value) and "a secret" not in str(caught.value)


def test_a_busy_server_is_asked_again(server: Server) -> None:
    server.files[f"/cache/cas/{DIGEST}"] = DATA
    left = [503]
    server.fault = lambda handler: bool(left) and (handler.answer(left.pop()) or True)
    assert b"".join(http(server).get(BLOBS, DIGEST)) == DATA


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_head_without_a_length_is_no_file_that_is_missing(server: Server, knows_ranges: bool) -> None:
    server.knows_ranges = knows_ranges
    server.files[f"/cache/cas/{DIGEST}"] = DATA
    server.fault = lambda handler: handler.command == "HEAD" and (silent(handler) or True)
    assert http(server).size(BLOBS, DIGEST) == len(DATA)
    server.files.clear()
    server.fault = lambda handler: handler.command == "HEAD" and not server.files and (silent(handler) or True)
    assert http(server).size(BLOBS, DIGEST) is None


def test_a_server_that_never_says_a_length_is_a_fault(server: Server) -> None:
    server.fault = lambda handler: silent(handler) or True
    with pytest.raises(Error, match="does not say how large") as caught:
        http(server).size(BLOBS, DIGEST)
    assert caught.value.hint == "have it send Content-Length for HEAD"


def silent(handler: Any) -> None:
    """Answers without a length."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.close_connection = True
