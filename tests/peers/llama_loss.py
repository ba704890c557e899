"""Measure the mean loss (nats a token) of texts in llama.cpp. JSON on stdin and stdout; runs in the peers' Python.

{"model": path of a GGUF, "texts": [ids, beginning with BOS]}
loss over every token but the first of each text; a token that is not among the 100 likeliest counts as 20
"""

from __future__ import annotations

import json
import sys

import serving

request = json.load(sys.stdin)
server = serving.serve(request["model"])
losses = []
for tokens in request["texts"]:
    for end in range(1, len(tokens)):
        answer = server.handle_completions(
            {"prompt": tokens[:end], "n_predict": 1, "temperature": 0, "n_probs": 100, "cache_prompt": True}
        )
        likeliest = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        losses.append(next((-token["logprob"] for token in likeliest if token["id"] == tokens[end]), 20.0))
json.dump(sum(losses) / len(losses), sys.stdout)
