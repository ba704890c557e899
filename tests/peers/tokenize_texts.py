"""Tokenize texts three ways. JSON on stdin and stdout; runs in the peers' Python.

{"checkpoint": folder, "model": path of a GGUF, "texts": [text]}
{"transformers": [ids], "sentencepiece": [ids], "llama": [ids]}, each with BOS
"""

from __future__ import annotations

import json
import sys

import sentencepiece
import serving
from transformers import AutoTokenizer

request = json.load(sys.stdin)
server = serving.serve(request["model"])
tokenizer = AutoTokenizer.from_pretrained(request["checkpoint"])
pieces = sentencepiece.SentencePieceProcessor(f"{request['checkpoint']}/tokenizer.model")
texts = request["texts"]
answers = {
    "transformers": [tokenizer(text).input_ids for text in texts],
    "sentencepiece": [[pieces.bos_id(), *pieces.encode(text)] for text in texts],
    "llama": [serving.tokenize(server, text, special=True) for text in texts],
}
json.dump(answers, sys.stdout)
