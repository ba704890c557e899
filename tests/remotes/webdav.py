"""A small web server with the layout of Bazel's caches, kept in memory, that can be told to fail."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """Holds files by path, notes each request, and asks `fault` what to do with it instead."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.login: str | None = None
        self.fault: Any = lambda handler: False
        self.knows_ranges = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/cache"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nothing to tell."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *arguments: Any) -> None:
        """Nothing is logged."""

    def _is_over(self) -> bool:
        self.server.asked.append((self.command, self.path, self.headers.get("Range", "")))
        if self.server.login is not None and self.headers.get("Authorization") != self.server.login:
            self.answer(401)
            return True
        return bool(self.server.fault(self))

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:  # noqa: N802 (the name that the base class looks for)
        if self._is_over():
            return
        body = self.server.files.get(self.path)
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if body is None:
            self.answer(404)
        elif found and self.server.knows_ranges:
            start, end = int(found[1]), int(found[2]) if found[2] else len(body) - 1
            self.answer(206, body[start : end + 1], Content_Range=f"bytes {start}-{end}/{len(body)}")
        else:
            self.answer(200, body)

    do_HEAD = do_GET  # noqa: N815

    def do_PUT(self) -> None:  # noqa: N802
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) == length and not self._is_over():
            self.server.files[self.path] = body
            self.answer(201)


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
