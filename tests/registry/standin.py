"""A stand-in for registries: a small real one on a free port of this machine, which can be told to misbehave.

It serves what the pull half of the distribution protocol needs. A script is asked first about each request, so that it can answer as
no plain registry does: slowly, cut short, wrongly, or from another host (another `Standin`).
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from modelbuild.ollama import manifest as media

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@dataclass
class Asked:
    """A request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def range(self) -> tuple[int, int] | None:
        """The first and the last byte that it asks for."""
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
        return (int(found[1]), int(found[2])) if found else None


@dataclass
class Reply:
    """An answer. `length` is the Content-Length that it claims (-1: none); after a body that is shorter the connection is closed."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    length: int | None = None


Script = Callable[[Asked], Reply | None]


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def ranged(asked: Asked, data: bytes) -> Reply:
    """Bytes, or the range of them that is asked for."""
    wanted = asked.range
    if wanted is None:
        return Reply(200, data)
    first, last = wanted[0], min(wanted[1], len(data) - 1)
    return Reply(206, data[first : last + 1], [("Content-Range", f"bytes {first}-{last}/{len(data)}")])


class Standin:
    """A registry, from `with` on. `host` is its host and port: each is another origin. `asked` lists all requests so far,
    and `connections` counts what they came by."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.script: list[Script] = []
        self.asked: list[Asked] = []
        self.connections = 0
        self._mutex = threading.Lock()
        standin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                with standin._mutex:
                    standin.connections += 1

            def log_message(self, *words: Any) -> None:
                pass

            def _handle(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", 0)))
                asked = Asked(self.command, self.path, headers, body)
                with standin._mutex:
                    standin.asked.append(asked)
                try:
                    self._send(standin.reply(asked))
                except OSError:
                    self.close_connection = True

            def _send(self, reply: Reply) -> None:
                whole = reply.body if isinstance(reply.body, bytes) else None
                length = reply.length if reply.length is not None else len(whole or b"")
                self.send_response(reply.status)
                for name, value in reply.headers:
                    self.send_header(name, value)
                if length >= 0:
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                sent = 0
                if self.command != "HEAD":
                    for piece in [whole] if whole is not None else reply.body:
                        assert isinstance(piece, bytes)
                        self.wfile.write(piece)
                        sent += len(piece)
                    if sent != length:
                        self.close_connection = True

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_CONNECT = _handle

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that leaves in the middle

        self._server = Server(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)

    def __enter__(self) -> Standin:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    # What it holds

    def add(self, repository: str, layers: list[tuple[str, bytes]], tag: str = "latest") -> bytes:
        """Add a model of layers (media type, bytes); returns its manifest."""
        config = json.dumps({"model_format": "gguf", "os": "linux"}).encode()
        entries = [
            {"mediaType": kind, "digest": self.put(data), "size": len(data)}
            for kind, data in [(media.CONFIG, config), *layers]
        ]
        value = {"schemaVersion": 2, "mediaType": MANIFEST, "config": entries[0], "layers": entries[1:]}
        return self.put_manifest(repository, json.dumps(value, indent=1).encode(), tag)

    def put(self, data: bytes) -> str:
        self.blobs[digest(data)] = data
        return digest(data)

    def put_manifest(self, repository: str, data: bytes, tag: str = "latest") -> bytes:
        for reference in (tag, digest(data)):
            self.manifests[f"/v2/{repository}/manifests/{reference}"] = data
        return data

    # What it answers

    def on(self, method: str, path: str, *replies: Callable[[Asked], Reply | None] | Reply, last: bool = True) -> None:
        """Answer requests of a method whose path matches (a regular expression) with these, one after the other.

        last  repeat the last one for ever; otherwise what follows is answered as usual
        """
        left = list(replies)

        def script(asked: Asked) -> Reply | None:
            if asked.method != method or not re.search(path, asked.path):
                return None
            with self._mutex:
                if not left:
                    return None
                reply = left[0] if last and len(left) == 1 else left.pop(0)
            return reply(asked) if callable(reply) else reply

        self.script.append(script)

    def reply(self, asked: Asked) -> Reply:
        for script in self.script:
            reply = script(asked)
            if reply is not None:
                return reply
        return self.usual(asked)

    def usual(self, asked: Asked) -> Reply:
        """As a plain registry answers."""
        path = asked.path.partition("?")[0]
        if path in self.manifests:
            data = self.manifests[path]
            return Reply(200, data, [("Content-Type", MANIFEST), ("Docker-Content-Digest", digest(data))])
        data = self.blobs.get(path.rpartition("/blobs/")[2])
        if data is not None and asked.method in ("GET", "HEAD"):
            return ranged(asked, data)
        text = json.dumps({"errors": [{"code": "NAME_UNKNOWN", "message": "repository name not known to registry"}]})
        return Reply(404, text.encode(), [("Content-Type", "application/json")])

    def paths(self, method: str = "GET") -> list[str]:
        """The paths of all requests of a method so far."""
        with self._mutex:
            return [asked.path for asked in self.asked if asked.method == method]
