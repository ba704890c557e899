"""A stand-in for Hugging Face: what huggingface_hub asks of it to download a repository, on a free port of this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def commit_of(files: Mapping[str, bytes]) -> str:
    """A commit as git's: it follows from the files."""
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


class Hub:
    """A server, from `with` on. `asked` lists the paths of all requests so far, `fail` those that are answered with a status."""

    def __init__(self) -> None:
        self.revisions: dict[tuple[str, str], str] = {}
        self.commits: dict[tuple[str, str], Mapping[str, bytes]] = {}
        self.asked: list[str] = []
        self.tokens: list[str] = []
        self.tags: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        self.hold: Callable[[str], None] = lambda path: None
        self.fail: dict[str, tuple[int, dict[str, str]]] = {}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *words: Any) -> None:
                pass

            def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def _handle(self) -> None:
                path = self.path.partition("?")[0]
                hub.asked.append(path)
                if self.command == "GET":
                    hub.hold(path)
                hub.tokens.append(self.headers.get("Authorization", ""))
                for part, (status, headers) in hub.fail.items():
                    if part in path:
                        return self._answer(status, b"{}", headers)
                parts = path.strip("/").split("/")
                if parts[:2] == ["api", "models"]:
                    revision = "/".join(parts[5:]) or "main"
                    commit = hub.commit("/".join(parts[2:4]), revision)
                    if commit is not None:
                        return self._answer(200, hub.info("/".join(parts[2:4]), commit), {})
                elif parts[2:3] == ["resolve"]:
                    repository, commit = "/".join(parts[:2]), hub.commit("/".join(parts[:2]), parts[3])
                    data = hub.commits.get((repository, commit or ""), {}).get("/".join(parts[4:]))
                    if data is not None:
                        tag = hub.tags.get("/".join(parts[4:])) or hashlib.sha256(data).hexdigest()
                        return self._answer(200, data, {"ETag": f'"{tag}"', "X-Repo-Commit": str(commit)})
                    return self._answer(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": str(commit)})
                return self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

            do_GET = do_HEAD = _handle

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Hub:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, repository: str, files: Mapping[str, bytes], revision: str = "main") -> str:
        """Have a revision mean these files; returns the commit."""
        commit = commit_of(files)
        self.revisions[repository, revision] = commit
        self.commits[repository, commit] = dict(files)
        return commit

    def commit(self, repository: str, revision: str) -> str | None:
        known = (repository, revision) in self.commits
        return revision if known else self.revisions.get((repository, revision))

    def info(self, repository: str, commit: str) -> bytes:
        files = self.commits[repository, commit]
        return json.dumps(
            {
                "_id": "1",
                "id": repository,
                "modelId": repository,
                "sha": commit,
                "private": False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "siblings": [
                    {"rfilename": name, "size": self.sizes.get(name, len(data))} for name, data in files.items()
                ],
            }
        ).encode()


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a checkpoint folder, as a repository holds them."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
