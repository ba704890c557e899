"""llama.cpp's runtime (xllamacpp) in a process of the peers' Python, such that no other process can disturb it.

xllamacpp knows models only behind its HTTP server. Its server listens on a socket of the file system here, so it takes no port;
and it is handed out only after it has answered once: one that is let go before its loop has begun waits for that loop for ever.
"""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import tempfile
from collections.abc import Sequence
from typing import Any

import xllamacpp

_folder = tempfile.TemporaryDirectory(prefix="modelbuild-peers-")
_numbers = itertools.count()


def serve(
    model: str, *, context: int = 512, adapters: Sequence[str] = (), draft: str | None = None, pooling: str = ""
) -> xllamacpp.Server:
    """Load a model with adapters over it, to be run on one thread and as exactly as can be. Raises RuntimeError where it does not load.

    draft    the file whose blocks predict further tokens; empty: the model's own do
    pooling  of an encoder: mean, cls, rank; empty: it is to go on with texts
    """
    params = xllamacpp.CommonParams()
    params.model.path = model
    if draft is not None:
        params.load_mtp = True
        params.speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_MTP]
        params.speculative.draft.mparams.path = draft
    loras = []
    for path in adapters:
        loras.append(xllamacpp.CommonAdapterLoraInfo())
        loras[-1].path, loras[-1].scale = path, 1.0
    params.lora_adapters = loras
    params.n_ctx = context
    params.n_parallel = 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    # Flash attention rounds to halves.
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    if pooling:
        params.embedding = True
        params.pooling_type = getattr(xllamacpp.llama_pooling_type, f"LLAMA_POOLING_TYPE_{pooling.upper()}")
    params.warmup = False
    params.verbosity = -1
    params.hostnames = [f"{_folder.name}/{next(_numbers)}.sock"]
    params.endpoint_metrics = True
    server = xllamacpp.Server(params)
    # Answered by the server's loop.
    server.handle_metrics()
    return server


def tokenize(server: xllamacpp.Server, text: str, *, special: bool) -> list[int]:
    """The ids of a text, special tokens in it included; `special` also adds those that the model puts around one."""
    connection = _Connection(server.listening_address.removeprefix("unix://"))
    try:
        body = json.dumps({"content": text, "add_special": special, "parse_special": True})
        connection.request("POST", "/tokenize", body, {"Content-Type": "application/json"})
        answer: dict[str, Any] = json.load(connection.getresponse())
    finally:
        connection.close()
    found: list[int] = answer["tokens"]
    return found


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket of the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)
