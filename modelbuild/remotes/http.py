"""A web server with Bazel's layout: `URL/ac/<sha256>` and `URL/cas/<sha256>` by GET, HEAD and PUT.

Source: Bazel, "Remote caching", HTTP caching protocol. It is spoken by nginx with WebDAV, bazel-remote, and buckets behind HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from modelbuild.errors import Error
from modelbuild.registry.faults import Unreachable
from modelbuild.registry.origin import Origin, origin_of
from modelbuild.registry.patience import Patience
from modelbuild.registry.transport import Answer, Transport
from modelbuild.remotes import Missing, Pieces, checked_name

SCHEMES = ("https", "http")

PATIENCE = Patience(tries=2, unheard=1, pause=0.2, longest=10.0, connect=5.0, silence=10.0)
"""Shorter than for a registry: what a cache does not give in time is made."""

_SCOPE = "cache"
_GONE = (404, 410)
_KEPT = (200, 201, 202, 204)


def connect(url: str) -> Http:
    """The server of a URL. A user and password come from ~/.netrc or $NETRC, as curl and Bazel read them."""
    parts = urlsplit(url)
    try:
        origin = origin_of(url)
    except Error as error:
        hint = "write user and password into ~/.netrc" if "@" in parts.netloc else "write https://host/path"
        raise error.replace(hint=hint) from None
    if parts.query or parts.fragment:
        hint = "write https://host/path; user and password stand in ~/.netrc"
        raise Error(f"the URL of the remote cache on '{origin}' contains a query or a fragment", hint=hint)
    return Http(f"{origin.url}{parts.path.rstrip('/')}", origin, PATIENCE)


class Http:
    """The remote on a web server."""

    def __init__(self, base: str, origin: Origin, patience: Patience) -> None:
        self.name = base
        self._base = base
        # Whoever writes http:// means it.
        self._transport = Transport(insecure=origin.scheme == "http", authorization=_Netrc(), patience=patience)

    def size(self, kind: str, digest: str) -> int | None:
        with self._request("HEAD", kind, digest) as answer:
            if answer.status in _GONE:
                return None
            if answer.status != 200:
                raise _refusal(answer)
            if answer.length is not None:
                return answer.length
        return self._length(kind, digest)

    def _length(self, kind: str, digest: str) -> int | None:
        """Bytes of what is there, where the answer to HEAD does not tell: as the answer to GET tells."""
        with self._request("GET", kind, digest, {"Range": "bytes=0-0"}) as answer:
            if answer.status in _GONE:
                return None
            if answer.status not in (200, 206, 416):
                raise _refusal(answer)
            told = answer.headers.get("Content-Range", "").rpartition("/")[2]
            if answer.status != 200 and told.isascii() and told.isdecimal() and len(told) < 20:
                return int(told)
            if answer.status == 200 and answer.length is not None:
                return answer.length
        hint = "have it send Content-Length for HEAD"
        raise Error(f"'{answer.origin}' does not say how large what it keeps is", hint=hint)

    def get(self, kind: str, digest: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        headers = {}
        if start or length is not None:
            headers["Range"] = f"bytes={start}-{'' if length is None else start + length - 1}"
        with self._request("GET", kind, digest, headers) as answer:
            if answer.status in _GONE:
                raise Missing
            if answer.status not in (200, 206) or answer.is_compressed:
                raise _refusal(answer)
            # A server that knows no ranges sends all.
            skipped = start if answer.status == 200 else 0
            for piece in answer.pieces():
                part = piece[skipped:] if skipped else piece
                skipped = max(0, skipped - len(piece))
                part = part if length is None else part[:length]
                # Also an empty one, of what is skipped: who asks looks at the time with each.
                yield part
                if length is not None and not (length := length - len(part)):
                    return

    def put(self, kind: str, digest: str, size: int, pieces: Pieces) -> None:
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        with self._request("PUT", kind, digest, headers, pieces) as answer:
            if answer.status not in _KEPT:
                raise _refusal(answer, sending=True)

    def stop(self) -> None:
        self._transport.stop()

    def close(self) -> None:
        self._transport.close()

    def _request(
        self, method: str, kind: str, digest: str, headers: Mapping[str, str] | None = None, body: Pieces | None = None
    ) -> Answer:
        url = f"{self._base}/{checked_name(kind, digest)}"
        return self._transport.request(method, url, headers=headers, body=body, scope=_SCOPE)


class _Netrc:
    """What a file `.netrc` says lets us in. It is sent at once, since many servers let everybody read and ask only those who write."""

    def __init__(self) -> None:
        self._known: dict[Origin, str | None] = {}

    def __repr__(self) -> str:
        return "_Netrc(…)"

    def known(self, origin: Origin, scope: str) -> str | None:
        if origin not in self._known:
            self._known[origin] = _login(origin)
        return self._known[origin]

    def answer(self, origin: Origin, scope: str, challenges: list[str], get: Callable[..., object]) -> str | None:
        """There is nothing else to try."""
        return None

    def refused(self, origin: Origin, header: str) -> None:
        raise Error(f"'{origin}' does not accept the user and password of ~/.netrc", hint="correct them there")


def _login(origin: Origin) -> str | None:
    """The header Authorization for a host. Raises Error for a file that cannot be read, and shows nothing of it."""
    import os
    from netrc import NetrcParseError, netrc

    from modelbuild.files import reason

    path = os.environ.get("NETRC") or os.path.expanduser("~/.netrc")
    try:
        found = netrc(path).authenticators(origin.host)
    except FileNotFoundError:
        return None
    except NetrcParseError as error:
        raise Error("is not a file of logins", path=path, line=error.lineno, hint="curl reads it too") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Error(f"cannot be read: {reason(error)}", path=path) from None
    if found is None:
        return None
    import base64

    login = f"{found[0]}:{found[2]}".encode()
    return "Basic " + base64.b64encode(login).decode()


def _refusal(answer: Answer, *, sending: bool = False) -> Error:
    """The error for a status that is none of success. Nothing of the answer's body is shown."""
    origin, status = answer.origin, answer.status
    if answer.is_compressed:
        return Error(f"'{origin}' sends what it keeps compressed, which was not asked for")
    if status in (401, 403):
        return Error(f"'{origin}' does not let us in (status {status})", hint="write user and password into ~/.netrc")
    if status in (405, 409):
        hint = "let the server take PUT below /ac/ and /cas/, and make the folders"
        return Error(f"'{origin}' takes no uploads there (status {status})", hint=hint)
    if status == 413:
        return Error(f"'{origin}' takes no files as large as this (status 413)", hint="raise its limit of a body")
    if sending and status in (500, 507):
        what = "has no room left" if status == 507 else "could not keep an upload"
        hint = "see whether the server may write to its folder, and has room on its disk; its log says more"
        return Unreachable(f"'{origin}' {what} (status {status})", hint=hint)
    if status == 429 or status >= 500:
        return Unreachable(f"'{origin}' failed (status {status})", hint="try again later")
    return Error(f"'{origin}' answered with status {status}", hint="check the URL of the remote cache")
