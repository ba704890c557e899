"""Stand-ins for the programs that run models: `llama-server` as a script, xllamacpp as a package. They note what they are asked."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

PIECES = ("Once ", "upon ", "a time.")
EVENTS = '''
import json, os, sys, time

PIECES = ("Once ", "upon ", "a time.")
MODE = os.environ.get("FAKE_LLAMA", "")

def note(what):
    with open(os.environ["FAKE_LLAMA_LOG"], "a") as file:
        file.write(json.dumps(what) + "\\n")

def events(where, body):
    """What llama.cpp's server streams for a request."""
    def event(text=None, thought=None, **more):
        if "/chat/" in where:
            delta = {"content": text} if text is not None else {"reasoning_content": thought} if thought else {}
            return {"choices": [{"index": 0, "delta": delta}], **more}
        return {"choices": [{"index": 0, "text": text or ""}], **more}
    if MODE == "full" and len(body.get("messages", ())) + len(body.get("prompt", "").split("|")) > 3:
        yield {"error": {"type": "exceed_context_size_error", "message": "too long", "n_prompt_tokens": 9, "n_ctx": 8}}
        return
    if MODE == "refuse":
        yield {"error": {"message": "roles must alternate"}}
        return
    if "/chat/" in where:
        yield event(thought="Hm.")
    for piece in PIECES:
        yield event(piece)
    while MODE == "endless":
        yield event(" and")
        time.sleep(0.001)
    yield event(None, timings={"prompt_n": 5, "prompt_ms": 10.0, "predicted_n": 3, "predicted_ms": 20.0})
'''

SERVER = """
import socketserver
from http.server import BaseHTTPRequestHandler

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def address_string(self): return "socket"
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"{}")
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        note({"where": self.path, "body": body})
        found = events(self.path, body)
        first = next(found)
        if "error" in first:
            data = json.dumps(first).encode()
            self.send_response(400); self.send_header("Content-Length", str(len(data))); self.end_headers(); self.wfile.write(data)
            return
        self.send_response(200); self.send_header("Connection", "close"); self.end_headers(); self.close_connection = True
        try:
            for event in [first]: self.say(event)
            for event in found: self.say(event)
            self.wfile.write(b"data: [DONE]\\n\\n")
        except OSError:
            note({"gone": True})
    def say(self, event):
        self.wfile.write(b"data: " + json.dumps(event).encode() + b"\\n\\n"); self.wfile.flush()

class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

print("llama.cpp prints to stdout")
note({"arguments": sys.argv[1:]})
if MODE == "fail":
    print("error: unknown architecture", file=sys.stderr)
    sys.exit(1)
Server(sys.argv[sys.argv.index("--host") + 1], Handler).serve_forever()
"""

PACKAGE = """
from types import SimpleNamespace

class CommonAdapterLoraInfo:
    pass

class CommonParams:
    def __init__(self):
        self.model, self.mmproj = SimpleNamespace(path=""), SimpleNamespace(path="")
        self.cpuparams, self.cpuparams_batch = SimpleNamespace(n_threads=-1), SimpleNamespace(n_threads=-1)

class Server:
    def __init__(self, params):
        os.write(1, b"llama.cpp prints to stdout\\n")
        loaded = {key: value for key, value in vars(params).items() if isinstance(value, (int, str, list))}
        loaded["lora_adapters"] = [vars(each) for each in params.lora_adapters]
        loaded |= {"model": params.model.path, "mmproj": params.mmproj.path, "n_threads": params.cpuparams.n_threads}
        note({"loaded": loaded})
        if MODE == "fail":
            raise RuntimeError("unknown architecture")
        if MODE == "abort":
            os.write(2, b"GGML_ASSERT(x) failed\\n")
            os.abort()
    def _handle(self, where, body, callback):
        note({"where": where, "body": body})
        for event in events(where, body):
            if callback(event):
                note({"gone": True})
                return
    def handle_completions(self, body, callback):
        self._handle("/v1/completions", body, callback)
    def handle_chat_completions(self, body, callback):
        self._handle("/v1/chat/completions", body, callback)
"""


class Fakes:
    """A folder of stand-ins, and the variables of the environment that find them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.log.touch()
        self.bin = folder / "bin"
        self.packages = folder / "packages"
        self.bin.mkdir()
        self.packages.mkdir()
        self.environment = {
            "FAKE_LLAMA_LOG": str(self.log),
            # Only these are found, and none of the machine's.
            "PATH": str(self.bin),
            "PYTHONPATH": str(self.packages),
        }

    def program(self, name: str = "llama-server") -> Path:
        path = self.bin / name
        path.write_text(f"#!{sys.executable}\n{EVENTS}{SERVER}")
        path.chmod(0o755)
        return path

    def package(self) -> None:
        (self.packages / "xllamacpp.py").write_text(EVENTS + PACKAGE)

    def noted(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def bodies(self) -> list[dict[str, Any]]:
        return [each["body"] for each in self.noted() if "body" in each]

    def environ(self, **more: str) -> dict[str, str]:
        return {**os.environ, **self.environment, **more}
