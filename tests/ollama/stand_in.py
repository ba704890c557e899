"""A stand-in for Ollama's server: blobs, create, tags, show and chat over a models folder of its own, as docs/api.md there has them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from modelbuild.ollama import manifest
from modelbuild.ollama.manifest import Layer, Manifest
from modelbuild.ollama.name import Name


class StandIn:
    """What the server has, and what it was asked. Faults are set from outside.

    rewrites  whether it writes GGUF files anew, as versions from 0.34 on do
    refuses   the error that `create` streams
    cuts      whether `create` ends without its last word
    endless   whether an answer of `chat` has no end of its own
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.version = "0.34.1"
        self.rewrites = self.cuts = self.endless = False
        self.refuses = ""
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.listens = threading.Event()
        self.gone = threading.Event()
        (folder / "blobs").mkdir(parents=True)

    def blob(self, digest: str) -> Path:
        return self.folder / "blobs" / digest.replace(":", "-")

    def put(self, data: bytes) -> str:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blob(digest).write_bytes(data)
        return digest

    def models(self) -> dict[str, str]:
        found = {}
        for path in (self.folder / "manifests").glob("*/*/*/*"):
            name = Name.from_path("/".join(path.parts[-4:])).display()
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def create(self, body: dict[str, Any]) -> None:
        layers = []
        for member, kinds in (
            ("files", (manifest.MODEL, manifest.PROJECTOR)),
            ("adapters", (manifest.ADAPTER,)),
        ):
            for file, digest in sorted(body.get(member, {}).items()):
                data = self.blob(digest).read_bytes()
                if self.rewrites and member == "files":
                    digest = self.put(data + b"\0")
                kind = kinds[-1] if "projector" in file else kinds[0]
                layers.append(Layer(kind, digest, self.blob(digest).stat().st_size))
        texts = [(manifest.TEMPLATE, "template"), (manifest.SYSTEM, "system")]
        for kind, key in texts:
            if key in body:
                layers.append(self.text(kind, body[key].encode()))
        layers += [self.text(manifest.LICENSE, text.encode()) for text in body.get("license", [])]
        if "parameters" in body:
            layers.append(self.text(manifest.PARAMS, manifest.params_blob(body["parameters"])))
        if "messages" in body:
            pairs = [(each["role"], each["content"]) for each in body["messages"]]
            layers.append(self.text(manifest.MESSAGES, manifest.messages_blob(pairs)))
        found = json.loads((self.folder / "config.json").read_text())
        config = self.text(manifest.CONFIG, manifest.ConfigV2(**found).encode())
        path = self.folder / "manifests" / Name.parse(body["model"]).path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Manifest(config, tuple(layers)).encode())

    def text(self, kind: str, data: bytes) -> Layer:
        return Layer(kind, self.put(data), len(data))


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def object(self, status: int, value: Any) -> None:
        self.answer(status, json.dumps(value).encode())

    def do_HEAD(self) -> None:
        stand_in = self.server.stand_in
        stand_in.asked.append(("HEAD", self.path))
        self.answer(200 if stand_in.blob(self.path.rpartition("/")[2]).exists() else 404)

    def do_GET(self) -> None:
        stand_in = self.server.stand_in
        stand_in.asked.append(("GET", self.path))
        if self.path == "/api/version":
            self.object(200, {"version": stand_in.version})
        elif self.path == "/api/tags":
            models = [{"name": name, "digest": digest} for name, digest in stand_in.models().items()]
            self.object(200, {"models": models})
        else:
            self.object(404, {"error": "not found"})

    def do_POST(self) -> None:
        stand_in = self.server.stand_in
        stand_in.asked.append(("POST", self.path))
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/api/blobs/"):
            digest = self.path.rpartition("/")[2]
            got = "sha256:" + hashlib.sha256(data).hexdigest()
            if got != digest:
                self.object(400, {"error": f'digest mismatch, expected "{digest}", got "{got}"'})
                return
            stand_in.put(data)
            self.answer(201)
            return
        body = json.loads(data)
        stand_in.bodies.append(body)
        if self.path == "/api/create":
            self.create(stand_in, body)
        elif self.path == "/api/show":
            self.object(200, {"template": body.get("template", "{{ .Prompt }}"), "system": ""})
        elif self.path == "/api/chat":
            self.chat(stand_in)
        else:
            self.object(404, {"error": "not found"})

    def create(self, stand_in: StandIn, body: dict[str, Any]) -> None:
        self.begin()
        self.line({"status": "parsing GGUF"})
        if stand_in.refuses:
            self.line({"error": stand_in.refuses})
        elif not stand_in.cuts:
            stand_in.create(body)
            self.line({"status": "success"})
        self.close_connection = True

    def chat(self, stand_in: StandIn) -> None:
        self.begin()
        self.line({"message": {"role": "assistant", "content": "", "thinking": "Hm."}, "done": False})
        self.line({"message": {"role": "assistant", "content": "Once "}, "done": False})
        stand_in.listens.set()
        try:
            while stand_in.endless:
                self.line({"message": {"role": "assistant", "content": "more "}, "done": False})
        except OSError:
            stand_in.gone.set()
            return
        self.line({"message": {"role": "assistant", "content": "upon."}, "done": False})
        done = {"prompt_eval_count": 7, "prompt_eval_duration": 5 * 10**8, "eval_count": 4, "eval_duration": 2 * 10**9}
        self.line({"message": {"role": "assistant", "content": ""}, "done": True, **done})
        self.close_connection = True

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def line(self, value: Any) -> None:
        self.wfile.write(json.dumps(value).encode() + b"\n")
        self.wfile.flush()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, stand_in: StandIn) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stand_in = stand_in


@contextmanager
def serving(folder: Path) -> Iterator[tuple[StandIn, str]]:
    """A stand-in that answers, and its address."""
    stand_in = StandIn(folder)
    server = _Server(stand_in)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield stand_in, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
