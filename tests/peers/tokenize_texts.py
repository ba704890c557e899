"""Tokenize texts three ways. JSON on stdin and stdout; runs in the peers' Python.

{"checkpoint": folder, "model": path of a GGUF, "texts": [text]}
{"transformers": [ids], "sentencepiece": [ids], "llama": [ids]}, each with BOS
"""

from __future__ import annotations

import json
import sys
import urllib.request

import sentencepiece
import xllamacpp
from transformers import AutoTokenizer

request = json.load(sys.stdin)
params = xllamacpp.CommonParams()
params.model.path = request["model"]
params.n_ctx = 512
params.n_parallel = 1
params.warmup = False
params.verbosity = -1
server = xllamacpp.Server(params)


def llama(text: str) -> list[int]:
    body = json.dumps({"content": text, "add_special": True}).encode()
    call = urllib.request.Request(f"{server.listening_address}/tokenize", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(call) as answer:
        return json.load(answer)["tokens"]


tokenizer = AutoTokenizer.from_pretrained(request["checkpoint"])
pieces = sentencepiece.SentencePieceProcessor(f"{request['checkpoint']}/tokenizer.model")
texts = request["texts"]
answers = {
    "transformers": [tokenizer(text).input_ids for text in texts],
    "sentencepiece": [[pieces.bos_id(), *pieces.encode(text)] for text in texts],
    "llama": [llama(text) for text in texts],
}
json.dump(answers, sys.stdout)
