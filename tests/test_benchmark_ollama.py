"""benchmarks/ollama.py beside a stand-in for `ollama`: what it is asked, where it lives, and what is printed of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import synthetic

ROOT = Path(__file__).parents[1]

STAND_IN = """\
#!{python}
# A server that answers /api/version, and a `create` that asks it and writes a manifest with the digest of its Modelfile.
import hashlib, http.server, json, os, pathlib, sys, urllib.request

home = pathlib.Path(os.environ["HOME"])
with open({log!r}, "a") as log:
    told = {{name: os.environ.get(name) for name in ("HOME", "TMPDIR", "OLLAMA_HOST", "OLLAMA_MODELS")}}
    print(json.dumps({{"words": sys.argv[1:], "pid": os.getpid(), **told}}), file=log)
if sys.argv[1] == "--version":
    print("Warning: could not connect to a running Ollama instance\\nWarning: client version is 0.0.0-stand-in")
elif sys.argv[1] == "serve":
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{{"version": "0.0.0-stand-in"}}')
        def log_message(self, *words):
            pass
    host, port = os.environ["OLLAMA_HOST"].split(":")
    http.server.HTTPServer((host, int(port)), Handler).serve_forever()
elif sys.argv[1] == "create":
    urllib.request.urlopen(f"http://{{os.environ['OLLAMA_HOST']}}/api/version").read()
    text = pathlib.Path(sys.argv[sys.argv.index("-f") + 1]).read_bytes()
    digest = "sha256:" + hashlib.sha256(text).hexdigest()
    path = pathlib.Path(os.environ["OLLAMA_MODELS"], "manifests/registry.ollama.ai/library", sys.argv[2], "latest")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({{"layers": [{{"mediaType": "application/vnd.ollama.image.model", "digest": digest}}]}}))
    sys.exit({fails})
"""


class Stand:
    """A stand-in on the PATH, and the benchmark run with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log.jsonl"
        self.work = folder / "work"
        synthetic.checkpoint(folder / "weights", layers=1, hidden=256, intermediate=256, vocabulary=300)

    def put(self, fails: int = 0) -> None:
        program = self.folder / "bin" / "ollama"
        program.parent.mkdir()
        program.write_text(STAND_IN.format(python=sys.executable, log=str(self.log), fails=fails))
        program.chmod(0o755)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        script = str(ROOT / "benchmarks" / "ollama.py")
        places = ["--weights", str(self.folder / "weights"), "--work", str(self.work)]
        env = {**os.environ, "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "OLLAMA_MODELS": "/nowhere"}
        env["OLLAMA_HOST"] = "192.0.2.1:11434"
        command = [sys.executable, script, *places, "--rounds", "2", *words]
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)

    def calls(self, word: str) -> list[dict[str, Any]]:
        calls = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [call for call in calls if call["words"][0] == word]


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


@pytest.mark.peer
def test_both_sides_run_in_turn_and_are_compared(stand: Stand) -> None:
    stand.put()
    run = stand.run()
    assert run.returncode == 0, run.stderr
    rows = re.findall(
        r"^  (\d): (\w+) +[\d.]+ s  peak memory +[\d.]+ MiB  disk on the way +[\d.]+ MiB$", run.stdout, re.M
    )
    assert rows == [("1", "ollama"), ("1", "modelbuild"), ("2", "ollama"), ("2", "modelbuild")] * 2
    assert len(re.findall(r"^  ollama / modelbuild: median [\d.]+ \(from [\d.]+ to [\d.]+\)$", run.stdout, re.M)) == 2
    assert run.stdout.startswith(f"ollama 0.0.0-stand-in, from {stand.folder / 'weights'}\n")
    # cold twice, once to have something to edit, edit twice; each Modelfile another one
    created = stand.calls("create")
    assert [call["words"] for call in created] == [
        ["create", "bench", "-f", str(stand.work / "ollama/theirs/Modelfile"), "-q", "q4_K_M"]
    ] * 5
    assert len(stand.calls("serve")) == 5
    assert_servers_are_their_own_and_have_ended(stand)


def assert_servers_are_their_own_and_have_ended(stand: Stand) -> None:
    theirs = stand.work / "ollama" / "theirs"
    for call in [*stand.calls("--version"), *stand.calls("serve"), *stand.calls("create")]:
        assert re.fullmatch(r"127\.0\.0\.1:\d+", call["OLLAMA_HOST"])
        assert call["OLLAMA_MODELS"] == str(theirs / "models")
        assert (call["HOME"], call["TMPDIR"]) == (str(theirs / "home"), str(theirs / "tmp"))
    for server in stand.calls("serve"):
        with pytest.raises(ProcessLookupError):
            os.kill(server["pid"], 0)


def test_from_a_gguf_the_bytes_are_compared(stand: Stand) -> None:
    stand.put()
    run = stand.run("--from", "gguf", "cold", "--rounds", "1")
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith("  same bytes: False\n")
    source = re.search(r", from (.+)\n", run.stdout)
    assert source and Path(source[1]).read_bytes()[:4] == b"GGUF"
    assert_servers_are_their_own_and_have_ended(stand)


def test_a_create_that_fails_ends_with_what_it_said(stand: Stand) -> None:
    stand.put(fails=3)
    run = stand.run("cold")
    assert run.returncode == 1
    assert "create bench" in run.stderr
    assert "exited with 3" in run.stderr


def test_without_an_ollama_it_says_so_and_how_to_get_one(stand: Stand) -> None:
    run = stand.run()
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("ollama is not on the PATH, so there is nothing to compare with.\nInstall it")
