"""A client of Ollama's HTTP API (docs/api.md there): models, blobs, and the streams of `create` and `chat`."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from modelbuild.errors import Error
from modelbuild.ollama.server import PORT, host_and_port
from modelbuild.tuples import NamedTuple

PATIENCE = 30.0
"""Seconds for an answer that needs no work of the server."""
LONGEST_SILENCE = 3600.0
"""Seconds without a word while a model is loaded or checked, which may be large."""
LONGEST_LINE = 8 << 20
"""Bytes of one object of a stream, and of a whole answer."""
CHUNK = 1 << 20


class Address(NamedTuple):
    """Where a server is: `http` or `https`, a host without brackets, a port, and the path before `/api`."""

    scheme: str
    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def address(text: str) -> Address:
    """Read an address as Ollama reads `$OLLAMA_HOST` (envconfig/config.go, Host); empty means this machine. Raises Error."""
    scheme, mark, rest = text.strip().strip("\"'").strip().partition("://")
    if not mark:
        scheme, rest = "http", scheme
    if "@" in rest:
        # It is not shown: what stands before it may be a password.
        raise Error(
            "the address of an Ollama server has no user and no password", hint=f"such as http://127.0.0.1:{PORT}"
        )
    if scheme not in ("http", "https") or any(char.isspace() or not char.isprintable() for char in rest):
        raise Error(f"'{text}' is not the address of an Ollama server", hint=f"such as http://127.0.0.1:{PORT}")
    hostport, _, path = rest.partition("/")
    host, said = host_and_port(hostport)
    port = {"http": 80, "https": 443}[scheme] if mark else PORT
    if said is not None:
        if not (said.isascii() and said.isdecimal() and 0 < int(said[:6]) <= 65535):
            raise Error(f"'{text}' has an invalid port, got '{said}'", hint=f"such as http://127.0.0.1:{PORT}")
        port = int(said)
    found = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return Address(scheme, found, port, f"/{path.strip('/')}" if path.strip("/") else "")


class Refused(Error):
    """An error that the server gave as its answer. `status` is the HTTP status, 200 within a stream."""

    def __init__(self, what: str, status: int = 200, **details: Any) -> None:
        super().__init__(what, **details)
        self.status = status


class Client:
    """A server. All methods raise Error: of one that cannot be reached, or Refused for what it answers."""

    def __init__(self, at: Address) -> None:
        self.at = at

    def version(self) -> tuple[int, ...]:
        """The version, such as (0, 34, 1); what is not a number ends it. Raises Error if the server is not Ollama."""
        try:
            text = str(self._object("GET", "/api/version")["version"])
        except (Refused, KeyError):
            raise Error(f"the server at {self.at} is not Ollama", hint="--ollama URL names another one") from None
        numbers: list[int] = []
        for part in text.split("-")[0].split("."):
            if not part.isdecimal():
                break
            numbers.append(int(part[:9]))
        return tuple(numbers)

    def listed(self) -> dict[str, str]:
        """The models: name as it is displayed, in lower case -> hex digest of the manifest."""
        models = self._object("GET", "/api/tags").get("models") or []
        if not isinstance(models, list) or not all(isinstance(model, dict) for model in models):
            raise self._odd()
        return {str(model.get("name")).casefold(): str(model.get("digest", "")) for model in models}

    def show(self, name: str) -> dict[str, Any]:
        """What the server shows of a model: `template`, `system`, `parameters` (as text), and more."""
        body, headers = json.dumps({"model": name}).encode(), {"Content-Type": "application/json"}
        with self._answer("POST", "/api/show", body, PATIENCE, headers) as answer:
            if answer.status != 200:
                raise self._refused(answer)
            return self._value(answer.read(LONGEST_LINE))

    def has_blob(self, digest: str) -> bool:
        """Whether the server has the blob of a digest (`sha256:<hex>`)."""
        with self._answer("HEAD", f"/api/blobs/{quote(digest, safe=':')}", None, PATIENCE) as answer:
            if answer.status not in (200, 404):
                raise self._refused(answer)
            return answer.status == 200

    def put_blob(self, digest: str, path: str, sent: Callable[[int], None]) -> None:
        """Send a file as the blob of its digest, which the server checks; `sent` hears of each chunk's bytes."""
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size

            def chunks() -> Iterator[bytes]:
                while data := file.read(CHUNK):
                    yield data
                    sent(len(data))

            headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
            with self._answer(
                "POST", f"/api/blobs/{quote(digest, safe=':')}", chunks(), LONGEST_SILENCE, headers
            ) as answer:
                if answer.status not in (200, 201):
                    raise self._refused(answer)

    def stream(
        self, path: str, body: Mapping[str, Any], begun: Callable[[Stop], None] | None = None
    ) -> Iterator[dict[str, Any]]:
        """POST an object; the objects that the server answers, a line each. `begun` gets what ends the answer early."""
        headers = {"Content-Type": "application/json"}
        stop = Stop()
        with self._answer("POST", path, json.dumps(body).encode(), LONGEST_SILENCE, headers, stop) as answer:
            if answer.status != 200:
                raise self._refused(answer)
            if begun is not None:
                begun(stop)
            while line := answer.readline(LONGEST_LINE):
                if stop.asked and not line.endswith(b"\n"):
                    # It was stopped within this line.
                    return
                value = self._value(line)
                if "error" in value:
                    raise Refused(str(value["error"]))
                yield value

    def _object(self, method: str, path: str) -> dict[str, Any]:
        with self._answer(method, path, None, PATIENCE) as answer:
            if answer.status != 200:
                raise self._refused(answer)
            return self._value(answer.read(LONGEST_LINE))

    def _value(self, data: bytes) -> dict[str, Any]:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            raise self._odd() from None
        if not isinstance(value, dict):
            raise self._odd()
        return value

    def _odd(self) -> Error:
        return Error(f"the server at {self.at} does not answer as Ollama does")

    def _refused(self, answer: http.client.HTTPResponse) -> Refused:
        """The error of an answer that is not good: `{"error": …}`, or whatever a proxy says."""
        try:
            value = json.loads(answer.read(LONGEST_LINE))
            text = str(value["error"])
        except (ValueError, LookupError, TypeError, RecursionError):
            text = f"HTTP status {answer.status} {answer.reason}".rstrip()
        return Refused(text, answer.status)

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        body: Any,
        patience: float,
        headers: Mapping[str, str] = {},
        stop: Stop | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        kind = http.client.HTTPSConnection if self.at.scheme == "https" else http.client.HTTPConnection
        connection = kind(self.at.host, self.at.port, timeout=PATIENCE)
        try:
            connection.connect()
            connection.sock.settimeout(patience)
            if stop is not None:
                stop.socket = connection.sock
            # A server that refuses a blob may close before it has read it: what it says is worth more.
            try:
                connection.request(method, self.at.path + path, body=body, headers=dict(headers))
            except (BrokenPipeError, ConnectionResetError):
                if body is None:
                    raise
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            if stop is not None and stop.asked:
                return
            what = str(getattr(error, "strerror", None) or error or type(error).__name__)
            raise Error(
                f"no answer from the Ollama server at {self.at}: {what[:1].lower() + what[1:]}",
                hint="start it with `ollama serve`, or name another one: OLLAMA_HOST, --ollama URL",
            ) from None
        finally:
            connection.close()


class Stop:
    """Ends a stream early: the server sees that nobody listens any more."""

    def __init__(self) -> None:
        self.socket: Any = None
        self.asked = False

    def __call__(self) -> None:
        import socket

        self.asked = True
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except (OSError, AttributeError):
            return
