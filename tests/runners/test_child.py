"""The process that runs xllamacpp ends with whoever started it, and prints nothing of the library's between its answers."""

from __future__ import annotations

import json
import subprocess
import sys

from modelbuild.runners import _child
from tests.runners.fakes import Fakes

LOADING = {"model": "/m", "adapters": [], "projector": None, "socket": "/s.sock", "n_ctx": 8}


def test_lines_of_json_until_the_input_ends(fakes: Fakes) -> None:
    fakes.package()
    process = subprocess.Popen(
        [sys.executable, "-P", _child.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout and process.stderr
    for request in (LOADING, {"ask": "/v1/completions", "body": {"prompt": "x"}}):
        process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    lines = []
    while "end" not in (lines or [{}])[-1]:
        lines.append(json.loads(process.stdout.readline()))
    assert lines[0] == {"ready": True} and len(lines) == 6
    process.stdin.close()
    assert process.wait(60) == 0 and process.stdout.read() == ""
    assert "llama.cpp prints to stdout" in process.stderr.read()
    process.stdout.close()
    process.stderr.close()
