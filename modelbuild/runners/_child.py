"""llama.cpp as the Python package xllamacpp has it, in a process of its own: run as a script, it takes and gives JSON objects, a line each.

    {"model", "adapters", "projector", "socket", and the names of CommonParams}       first: loads the model
        -> {"ready": true}, or {"failed": text}
    {"ask": "/v1/…", "body": {…}}       -> the events of the stream, then {"end": true}
    {"stop": true}                      ends the answer under way, as does the end of the input, which ends the process too

A process of its own, since the library prints to both streams, ends with the process if its C++ aborts, and hears no Ctrl-C.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from importlib import import_module
from queue import SimpleQueue
from typing import Any


def serve() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # What the library prints must not stand between the answers.
    os.dup2(2, 1)

    def say(value: Mapping[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    asked: SimpleQueue[dict[str, Any]] = SimpleQueue()
    stopped = threading.Event()

    def listen() -> None:
        for line in sys.stdin.buffer:
            value = json.loads(line)
            if value.get("stop"):
                stopped.set()
            else:
                asked.put(value)
        # Whoever asked is gone. The library's threads would go on.
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    try:
        server = _load(asked.get())
    except BaseException as error:
        say({"failed": str(error)})
        os._exit(1)
    say({"ready": True})

    def hear(event: Any) -> bool:
        say(event if isinstance(event, dict) else {"error": str(event)})
        return stopped.is_set()

    while True:
        request = asked.get()
        stopped.clear()
        try:
            handle = server.handle_chat_completions if "/chat/" in request["ask"] else server.handle_completions
            handle(request["body"], hear)
        except BaseException as error:
            say({"error": str(error)})
        say({"end": True})


def _load(request: dict[str, Any]) -> Any:
    xllamacpp: Any = import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = request["model"]
    adapters = []
    for path in request["adapters"]:
        adapters.append(xllamacpp.CommonAdapterLoraInfo())
        adapters[-1].path, adapters[-1].scale = path, 1.0
    params.lora_adapters = adapters
    if request["projector"]:
        params.mmproj.path = request["projector"]
    # Its HTTP server, which nobody asks here, cannot be left out. Two that look for a free port at once may find the same one,
    # and one of them then fails, or waits for ever; a socket with a path has no port.
    params.hostnames = [request["socket"]]
    params.n_ctx = request["n_ctx"]
    params.n_parallel = 1
    params.warmup = False
    params.verbosity = 1
    for name in ("n_batch", "n_gpu_layers", "main_gpu"):
        if name in request:
            setattr(params, name, request[name])
    if threads := request.get("n_threads"):
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    return xllamacpp.Server(params)


if __name__ == "__main__":
    serve()
